package sid

import (
	"bytes"
	"iter"
)

// Node is a prefix that some item of the catalog has: a place in the trie for
// constrained decoding. The zero Node is the root, the empty prefix.
type Node struct {
	level int
	at    uint32 // among the nodes of its level, which stand in the order of their prefixes
}

// Labels is the codes, ascending, that may follow the node's prefix; empty at a
// whole code. The slice belongs to the index and must not be changed.
func (x *Index) Labels(n Node) []uint8 {
	from, to := x.span(n)
	if n.level == x.Levels() {
		return nil
	}
	return x.labels[n.level][from:to:to]
}

// Child is the node that the code leads to.
func (x *Index) Child(n Node, code uint8) (Node, bool) {
	i := bytes.IndexByte(x.Labels(n), code)
	if i < 0 {
		return Node{}, false
	}
	from, _ := x.span(n)
	return Node{n.level + 1, uint32(from + i)}, true
}

// Find is the node of a prefix.
func (x *Index) Find(prefix []uint8) (Node, bool) {
	n, ok := Node{}, true
	for _, code := range prefix {
		if n, ok = x.Child(n, code); !ok {
			return Node{}, false
		}
	}
	return n, true
}

// Children is the Labels of a prefix; empty for one that no item has.
func (x *Index) Children(prefix []uint8) []uint8 {
	n, ok := x.Find(prefix)
	if !ok {
		return nil
	}
	return x.Labels(n)
}

// Count is the number of items below the node.
func (x *Index) Count(n Node) int {
	from, to := x.below(n)
	return to - from
}

// Items is the items below the node in the order of their codes.
func (x *Index) Items(n Node) iter.Seq[int32] {
	from, to := x.below(n)
	return func(yield func(int32) bool) {
		for i := from; i < to && yield(int32(x.order.at(i))); i++ {
		}
	}
}

// span is the node's children among the nodes of the next level, or a leaf's
// places in the order.
func (x *Index) span(n Node) (from, to int) {
	ends := x.ends[n.level]
	return int(ends.at(int(n.at))), int(ends.at(int(n.at) + 1))
}

// below is the node's places in the order.
func (x *Index) below(n Node) (from, to int) {
	from, to = x.span(n)
	for level := n.level + 1; level <= x.Levels(); level++ {
		from, to = int(x.ends[level].at(from)), int(x.ends[level].at(to))
	}
	return from, to
}

// sortRows is the live rows by code, equal codes by row: counting sort from the
// last level to the first, which keeps the order of equals.
func sortRows(codes []uint8, levels, live int) []int32 {
	order, next := make([]int32, live), make([]int32, live)
	for i := range order {
		order[i] = int32(i)
	}
	for level := levels - 1; level >= 0; level-- {
		var start [maxWidth + 1]int
		for row := range live {
			start[int(codes[row*levels+level])+1]++
		}
		for c := range maxWidth {
			start[c+1] += start[c]
		}
		for _, row := range order {
			c := codes[int(row)*levels+level]
			next[start[c]] = row
			start[c]++
		}
		order, next = next, order
	}
	return order
}

// parting is, for each place of the order, the first level at which its code
// differs from the one before: 0 for the first, levels for an equal code.
func parting(order []int32, codes []uint8, levels int) []uint8 {
	out := make([]uint8, len(order))
	for i := 1; i < len(order); i++ {
		a, b := codes[int(order[i-1])*levels:], codes[int(order[i])*levels:]
		l := 0
		for l < levels && a[l] == b[l] {
			l++
		}
		out[i] = uint8(l)
	}
	return out
}

// countNodes fills the number of nodes at each level.
func (l *layout) countNodes(parting []uint8) {
	for _, at := range parting {
		for level := int(at); level < int(l.levels); level++ {
			l.nodes[level]++
		}
	}
}

// fillTrie writes order, ends and labels.
func (x *Index) fillTrie(order []int32, parting []uint8) {
	levels := x.Levels()
	var made [maxLevels + 1]int // nodes so far at each level, the root first
	made[0] = 1
	for i, row := range order {
		x.order.set(i, uint32(row))
		for level := int(parting[i]); level < levels; level++ {
			x.labels[level][made[level+1]] = x.codes[int(row)*levels+level]
			made[level+1]++
			x.ends[level].set(made[level], uint32(made[level+1]))
		}
		x.ends[levels].set(made[levels], uint32(i+1))
	}
}
