package token

import (
	"cmp"
	"slices"
	"strings"

	"github.com/gr2/gr2/internal/fault"
)

// addedToken is an entry of added_tokens in tokenizer.json.
type addedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

// addedSet finds added tokens in text. Immutable.
type addedSet struct {
	tokens []addedToken // by id
	ids    map[string]int32
	is     map[int32]bool
	first  [256]bool // bytes that begin a token
	trie   []trieNode
}

// trieNode has its children in next, ascending by byte; token is -1 inside.
type trieNode struct {
	next  []trieEdge
	token int32
}

type trieEdge struct {
	b  byte
	to int32
}

func newAddedSet(tokens []addedToken) (addedSet, error) {
	s := addedSet{
		tokens: slices.Clone(tokens),
		ids:    make(map[string]int32, len(tokens)),
		is:     make(map[int32]bool, len(tokens)),
		trie:   []trieNode{{token: -1}},
	}
	slices.SortFunc(s.tokens, func(a, b addedToken) int { return cmp.Compare(a.ID, b.ID) })
	for _, a := range s.tokens {
		if _, dup := s.ids[a.Content]; dup || s.is[a.ID] {
			return addedSet{}, fault.Inputf("added token %q (id %d) is given twice", a.Content, a.ID)
		}
		s.ids[a.Content], s.is[a.ID] = a.ID, true
		s.insert(a.Content, a.ID)
	}
	return s, nil
}

func (s *addedSet) insert(name string, id int32) {
	s.first[name[0]] = true
	at := int32(0)
	for i := range len(name) {
		to := s.child(at, name[i])
		if to < 0 {
			to = int32(len(s.trie))
			s.trie = append(s.trie, trieNode{token: -1})
			edges := s.trie[at].next
			k, _ := searchEdge(edges, name[i])
			s.trie[at].next = slices.Insert(edges, k, trieEdge{name[i], to})
		}
		at = to
	}
	s.trie[at].token = id
}

func searchEdge(edges []trieEdge, b byte) (int, bool) {
	return slices.BinarySearchFunc(edges, b, func(e trieEdge, b byte) int { return cmp.Compare(e.b, b) })
}

func (s *addedSet) child(node int32, b byte) int32 {
	edges := s.trie[node].next
	if k, ok := searchEdge(edges, b); ok {
		return edges[k].to
	}
	return -1
}

func (s *addedSet) lookup(name string) (int32, bool) {
	id, ok := s.ids[name]
	return id, ok
}

func (s *addedSet) has(id int32) bool { return s.is[id] }

// find returns the leftmost allowed token, the longest that begins there; with
// none, start and end are len(text) and id is -1.
func (s *addedSet) find(text string, allow func(int32) bool) (start, end int, id int32) {
	for i := range len(text) {
		if !s.first[text[i]] {
			continue
		}
		if n, id := s.match(text[i:], allow); n > 0 {
			return i, i + n, id
		}
	}
	return len(text), len(text), -1
}

func (s *addedSet) match(text string, allow func(int32) bool) (n int, id int32) {
	at := int32(0)
	for i := range len(text) {
		if at = s.child(at, text[i]); at < 0 {
			break
		}
		if tok := s.trie[at].token; tok >= 0 && allow(tok) {
			n, id = i+1, tok
		}
	}
	return n, id
}

// cut yields the parts of text between added tokens.
func (s *addedSet) cut(text string, yield func(part string)) {
	for text != "" {
		start, end, _ := s.find(text, func(int32) bool { return true })
		if start > 0 {
			yield(strings.Clone(text[:start]))
		}
		text = text[end:]
	}
}
