package nextitem

import (
	"slices"

	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/sid"
)

// trie is the trie of an index for infer.Beam: its nodes by their numbers, and
// the tokens of the model that lead to them.
type trie struct {
	*sid.Index
	tokens []int32 // that lead to each node; the root's means nothing
	nodes  []int32 // 0, 1, 2...
	place  []int32 // of each item in the order of codes
}

func newTrie(index *sid.Index) *trie {
	t := &trie{index, make([]int32, index.Nodes()), make([]int32, index.Nodes()), make([]int32, index.Len())}
	for i := range t.nodes {
		n := sid.Node(i)
		t.nodes[i] = int32(i)
		level := index.Depth(n)
		from, _ := index.Next(n)
		for j, code := range index.Labels(n) {
			t.tokens[int(from)+j] = t.token(level, code)
		}
	}
	for place := range t.place {
		t.place[index.At(place)] = int32(place)
	}
	return t
}

// token is the token of a code at a level.
func (t *trie) token(level int, code uint8) int32 { return int32(level*t.Width()) + int32(code) }

// Children is of infer.Trie.
func (t *trie) Children(n int32) (tokens, nodes []int32) {
	from, to := t.Next(sid.Node(n))
	return t.tokens[from:to], t.nodes[from:to]
}

// path appends the tokens of an item and, for each, the tokens it is among.
func (t *trie) path(item int32, tokens []int32, among [][]int32) ([]int32, [][]int32) {
	n := sid.Root
	for level, code := range t.Code(item) {
		choice, _ := t.Children(int32(n))
		tokens, among = append(tokens, t.token(level, code)), append(among, choice)
		n, _ = t.Child(n, code)
	}
	return tokens, among
}

// items is the items below a node.
func (t *trie) items(n int32) []int32 { return slices.Collect(t.Items(sid.Node(n))) }

// without skips the nodes all of whose items are in the history.
func (t *trie) without(history []market.Visit) func(int32) bool {
	seen := make([]int, len(history))
	for i, v := range history {
		seen[i] = int(t.place[v.Item])
	}
	slices.Sort(seen)
	seen = slices.Compact(seen)
	return func(n int32) bool {
		first, last := t.Places(sid.Node(n))
		from, _ := slices.BinarySearch(seen, first)
		to, _ := slices.BinarySearch(seen, last)
		return to-from == last-first
	}
}
