package token

import (
	"container/heap"
	"strings"
	"sync"
)

const (
	cacheWords = 1 << 15 // chunks remembered before the cache starts afresh
	cacheBytes = 48      // longest chunk remembered
)

// pair is two neighbouring tokens, left in the high half.
type pair uint64

func makePair(a, b int32) pair            { return pair(uint32(a))<<32 | pair(uint32(b)) }
func (p pair) split() (left, right int32) { return int32(p >> 32), int32(uint32(p)) }

type merge struct{ rank, id int32 }

// bpe is the merge model. All but the cache is immutable after construction.
type bpe struct {
	names        []string         // bytes of every token by id
	ids          map[string]int32 // inverse of names
	bytes        [256]int32       // token of a single byte, -1 when the vocabulary lacks it
	gaps         bool             // some bytes, impossible in UTF-8, have no token
	order        []pair           // merges by rank
	merges       map[pair]merge
	ignoreMerges bool // a chunk that is a token as a whole is taken as it is

	mu    sync.RWMutex
	cache map[string][]int32
}

// newByteModel is the vocabulary of the 256 bytes, without merges.
func newByteModel() *bpe {
	m := &bpe{ids: make(map[string]int32, 1024), merges: map[pair]merge{}}
	for b := range 256 {
		name := string([]byte{byte(b)})
		m.bytes[b] = int32(b)
		m.ids[name] = int32(b)
		m.names = append(m.names, name)
	}
	return m
}

// learn appends a merge and returns its token. Two merges may spell the same
// token; a merge that is known keeps its rank.
func (m *bpe) learn(p pair) int32 {
	if known, ok := m.merges[p]; ok {
		return known.id
	}
	a, b := p.split()
	name := m.names[a] + m.names[b]
	id, known := m.ids[name]
	if !known {
		id = int32(len(m.names))
		m.names = append(m.names, name)
		m.ids[name] = id
	}
	m.merges[p] = merge{rank: int32(len(m.order)), id: id}
	m.order = append(m.order, p)
	return id
}

// appendChunk appends the tokens of one chunk.
func (m *bpe) appendChunk(dst []int32, chunk string) []int32 {
	if len(chunk) == 1 {
		return append(dst, m.bytes[chunk[0]])
	}
	if len(chunk) > cacheBytes {
		return m.mergeChunk(dst, chunk)
	}
	m.mu.RLock()
	ids, ok := m.cache[chunk]
	m.mu.RUnlock()
	if ok {
		return append(dst, ids...)
	}
	start := len(dst)
	dst = m.mergeChunk(dst, chunk)
	m.remember(chunk, dst[start:])
	return dst
}

func (m *bpe) remember(chunk string, ids []int32) {
	key, value := strings.Clone(chunk), append([]int32(nil), ids...)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cache == nil || len(m.cache) >= cacheWords {
		m.cache = make(map[string][]int32, 1024)
	}
	m.cache[key] = value
}

// mergeChunk spells the chunk in bytes and applies the merge of lowest rank,
// leftmost first, until none applies: O(n log n) in the length of the chunk,
// which a hostile text makes as long as itself.
func (m *bpe) mergeChunk(dst []int32, chunk string) []int32 {
	if m.ignoreMerges {
		if id, ok := m.ids[chunk]; ok {
			return append(dst, id)
		}
	}
	w := workPool.Get().(*work)
	defer workPool.Put(w)
	w.load(m, chunk)
	for len(w.queue) > 0 {
		c := heap.Pop(&w.queue).(candidate)
		w.apply(m, c)
	}
	for at := int32(0); at >= 0; at = w.syms[at].next {
		dst = append(dst, w.syms[at].id)
	}
	return dst
}

// symbol is a node of the doubly linked list of a chunk's tokens; -1 ends it.
type symbol struct{ id, prev, next int32 }

// candidate is a merge that applied at position at when it was queued.
type candidate struct {
	rank, at int32
	pair     pair
}

type queue []candidate

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].rank < q[j].rank || q[i].rank == q[j].rank && q[i].at < q[j].at
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(candidate)) }
func (q *queue) Pop() any {
	old := *q
	c := old[len(old)-1]
	*q = old[:len(old)-1]
	return c
}

// work is the scratch memory of mergeChunk.
type work struct {
	syms  []symbol
	queue queue
}

var workPool = sync.Pool{New: func() any { return new(work) }}

func (w *work) load(m *bpe, chunk string) {
	w.syms, w.queue = w.syms[:0], w.queue[:0]
	for i := range len(chunk) {
		w.syms = append(w.syms, symbol{m.bytes[chunk[i]], int32(i - 1), int32(i + 1)})
	}
	w.syms[len(chunk)-1].next = -1
	for i := range len(chunk) - 1 {
		if c, ok := w.candidateAt(m, int32(i)); ok {
			w.queue = append(w.queue, c)
		}
	}
	heap.Init(&w.queue)
}

// candidateAt is the merge of the symbol at this position with the next one.
func (w *work) candidateAt(m *bpe, at int32) (candidate, bool) {
	s := w.syms[at]
	if s.next < 0 {
		return candidate{}, false
	}
	p := makePair(s.id, w.syms[s.next].id)
	mg, ok := m.merges[p]
	return candidate{mg.rank, at, p}, ok
}

// apply merges at the candidate's place unless the symbols have changed since.
func (w *work) apply(m *bpe, c candidate) {
	s := &w.syms[c.at]
	if s.id == dead || s.next < 0 || makePair(s.id, w.syms[s.next].id) != c.pair {
		return
	}
	gone := s.next
	s.id, s.next = m.merges[c.pair].id, w.syms[gone].next
	w.syms[gone].id = dead
	if s.next >= 0 {
		w.syms[s.next].prev = c.at
	}
	if next, ok := w.candidateAt(m, c.at); ok {
		heap.Push(&w.queue, next)
	}
	if s.prev >= 0 {
		if next, ok := w.candidateAt(m, s.prev); ok {
			heap.Push(&w.queue, next)
		}
	}
}

// dead marks a symbol that was merged into its left neighbour.
const dead = -2
