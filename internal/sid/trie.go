package sid

import (
	"bytes"
	"iter"
)

// Node is a prefix that some item of the catalog has: a place in the trie for
// constrained decoding. Nodes count from Root level by level, in the order of
// their prefixes, so that the children of a node follow one another.
type Node int32

// Root is the empty prefix.
const Root Node = 0

// Nodes is the number of nodes.
func (x *Index) Nodes() int { return int(x.first[x.levels+1]) }

// Depth is the length of the node's prefix.
func (x *Index) Depth(n Node) int {
	level := 0
	for n >= x.first[level+1] {
		level++
	}
	return level
}

// Next is the node's children: the nodes from..to-1, none at a whole code.
func (x *Index) Next(n Node) (from, to Node) {
	level := x.Depth(n)
	if level == x.Levels() {
		return 0, 0
	}
	a, b := x.span(level, int(n-x.first[level]))
	return x.first[level+1] + Node(a), x.first[level+1] + Node(b)
}

// Labels is the codes, ascending, that lead to the node's children. The slice
// belongs to the index and must not be changed.
func (x *Index) Labels(n Node) []uint8 {
	level := x.Depth(n)
	if level == x.Levels() {
		return nil
	}
	from, to := x.span(level, int(n-x.first[level]))
	return x.labels[level][from:to:to]
}

// Child is the node that the code leads to.
func (x *Index) Child(n Node, code uint8) (Node, bool) {
	i := bytes.IndexByte(x.Labels(n), code)
	if i < 0 {
		return 0, false
	}
	from, _ := x.Next(n)
	return from + Node(i), true
}

// Find is the node of a prefix.
func (x *Index) Find(prefix []uint8) (Node, bool) {
	n, ok := Root, true
	for _, code := range prefix {
		if n, ok = x.Child(n, code); !ok {
			return 0, false
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

// Places is where the items below the node stand in the order of codes, equal
// codes by item: from..to-1.
func (x *Index) Places(n Node) (from, to int) {
	level := x.Depth(n)
	from, to = x.span(level, int(n-x.first[level]))
	for level++; level <= x.Levels(); level++ {
		from, to = int(x.ends[level].at(from)), int(x.ends[level].at(to))
	}
	return from, to
}

// At is the item at a place of the order of codes.
func (x *Index) At(place int) int32 { return int32(x.order.at(place)) }

// Items is the items below the node in the order of their codes.
func (x *Index) Items(n Node) iter.Seq[int32] {
	from, to := x.Places(n)
	return func(yield func(int32) bool) {
		for i := from; i < to && yield(x.At(i)); i++ {
		}
	}
}

// span is the children of a node among the nodes of the next level, or a leaf's
// places in the order. at counts within the level.
func (x *Index) span(level, at int) (from, to int) {
	ends := x.ends[level]
	return int(ends.at(at)), int(ends.at(at + 1))
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
