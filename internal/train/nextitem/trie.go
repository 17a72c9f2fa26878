package nextitem

import (
	"bytes"
	"slices"

	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/sid"
)

// trie is the codes of a catalog for infer.Beam. Its nodes are numbered in
// depth-first order from 0, the root.
type trie struct {
	levels int
	width  int
	nodes  []node
	items  []int32 // by code, then by number
	place  []int32 // of each item in items
}

// node is a prefix of codes. Without children it is a whole code.
type node struct {
	tokens, next []int32 // of its children
	from, to     int32   // its items, as places
}

func newTrie(index *sid.Index) *trie {
	t := &trie{levels: index.Levels(), width: index.Width(), items: make([]int32, index.Len()), place: make([]int32, index.Len())}
	for i := range t.items {
		t.items[i] = int32(i)
	}
	slices.SortStableFunc(t.items, func(a, b int32) int { return bytes.Compare(index.Code(a), index.Code(b)) })
	for place, item := range t.items {
		t.place[item] = int32(place)
	}
	t.grow(index, 0, 0, int32(len(t.items)))
	return t
}

// grow appends the node of a level with the items at from..to, and those below.
func (t *trie) grow(index *sid.Index, level int, from, to int32) int32 {
	number := len(t.nodes)
	t.nodes = append(t.nodes, node{from: from, to: to})
	if level == t.levels {
		return int32(number)
	}
	var tokens, next []int32
	for from < to {
		code := index.Code(t.items[from])[level]
		end := from + 1
		for end < to && index.Code(t.items[end])[level] == code {
			end++
		}
		tokens = append(tokens, t.token(level, code))
		next = append(next, t.grow(index, level+1, from, end))
		from = end
	}
	t.nodes[number].tokens, t.nodes[number].next = tokens, next
	return int32(number)
}

// token is the token of a code at a level.
func (t *trie) token(level int, code uint8) int32 { return int32(level*t.width) + int32(code) }

// Children is of infer.Trie.
func (t *trie) Children(n int32) (tokens, nodes []int32) { return t.nodes[n].tokens, t.nodes[n].next }

// path appends the tokens of an item and, for each, the tokens it is among.
func (t *trie) path(item int32, tokens []int32, among [][]int32) ([]int32, [][]int32) {
	place := t.place[item]
	for n := &t.nodes[0]; len(n.next) > 0; {
		i, _ := slices.BinarySearchFunc(n.next, place, func(child, place int32) int {
			if t.nodes[child].to <= place {
				return -1
			}
			return 1
		})
		tokens, among = append(tokens, n.tokens[i]), append(among, n.tokens)
		n = &t.nodes[n.next[i]]
	}
	return tokens, among
}

// without skips the nodes all of whose items are in the history.
func (t *trie) without(history []market.Visit) func(int32) bool {
	seen := make([]int32, len(history))
	for i, v := range history {
		seen[i] = t.place[v.Item]
	}
	slices.Sort(seen)
	seen = slices.Compact(seen)
	return func(number int32) bool {
		n := &t.nodes[number]
		from, _ := slices.BinarySearch(seen, n.from)
		to, _ := slices.BinarySearch(seen, n.to)
		return to-from == int(n.to-n.from)
	}
}
