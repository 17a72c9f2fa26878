package token

import (
	"cmp"
	"container/heap"
	"fmt"
	"iter"
	"slices"

	"github.com/gr2/gr2/internal/fault"
)

// Options of Train.
type Options struct {
	// VocabSize bounds the BPE vocabulary: 256 bytes, the merges of Required
	// and the learnt merges. Learning stops earlier when no pair occurs twice.
	VocabSize int
	// Required strings are single tokens, e.g. "10".."50". Each must be one
	// chunk of the pre-tokenizer.
	Required []string
	// Added tokens follow the BPE vocabulary in this order. They are cut out
	// of the corpus.
	Added []string
	// Control names the Added ones that frame turns; see Extend.
	Control []string
	// PadTo, when above 1, fills the vocabulary with tokens <|reserved_N|> to
	// a multiple of it. Leave 0 when the model pads its own rows.
	PadTo int
}

// Train learns a byte-level BPE vocabulary from the corpus, with the Llama 3
// pre-tokenizer. The pair of highest count is merged first, of equal counts
// the one of lower token ids.
func Train(corpus iter.Seq[string], opt Options) (*Tokenizer, error) {
	if opt.VocabSize < 256 || opt.VocabSize > maxVocab {
		return nil, fault.Usagef("vocabulary size %d: use 256 to %d", opt.VocabSize, maxVocab)
	}
	model := newByteModel()
	if err := model.require(llama3, opt.Required); err != nil {
		return nil, err
	}
	if len(model.names) > opt.VocabSize {
		return nil, fault.Usagef("vocabulary size %d: the required strings alone need %d", opt.VocabSize, len(model.names))
	}
	t, err := newTokenizer(llama3, model, nil)
	if err != nil {
		return nil, err
	}
	if t, err = t.Extend(opt.Added, opt.Control); err != nil { // ids are given again below
		return nil, err
	}
	learner := newLearner(model, countChunks(corpus, t))
	for len(model.names) < opt.VocabSize && learner.step() {
	}
	model.cache = nil
	if t, err = newTokenizer(llama3, model, nil); err != nil {
		return nil, err
	}
	return t.Extend(append(slices.Clone(opt.Added), reserved(len(model.names)+len(t.added.tokens), opt)...), opt.Control)
}

// reserved names the tokens that fill the vocabulary to a multiple of PadTo.
func reserved(base int, opt Options) (names []string) {
	if opt.PadTo <= 1 {
		return nil
	}
	distinct := map[string]bool{}
	for _, a := range opt.Added {
		distinct[a] = true
	}
	for n := base + len(distinct); n%opt.PadTo != 0; n++ {
		names = append(names, fmt.Sprintf("<|reserved_%d|>", len(names)))
	}
	return names
}

// require adds the merges that make each string one token. Merges of later
// strings have higher ranks, so they cannot break an earlier one.
func (m *bpe) require(p pattern, required []string) error {
	for _, s := range required {
		if s == "" || p.next(s) != len(s) {
			return fault.Usagef("required token %q: the pre-tokenizer does not keep it in one piece", s)
		}
		for {
			ids := m.mergeChunk(nil, s)
			if len(ids) == 1 {
				break
			}
			m.learn(makePair(ids[0], ids[1]))
		}
	}
	return nil
}

// countChunks counts the chunks of the corpus, those of one byte left out.
func countChunks(corpus iter.Seq[string], t *Tokenizer) map[string]int64 {
	counts := map[string]int64{}
	for text := range corpus {
		t.added.cut(text, func(part string) {
			for part != "" {
				n := t.pattern.next(part)
				if n > 1 {
					counts[part[:n]]++
				}
				part = part[n:]
			}
		})
	}
	return counts
}

// word is a distinct chunk: how often it occurs and its present tokens.
type word struct {
	count int64
	ids   []int32
}

// learner keeps the count of every pair and the words it may occur in, and
// updates both from the words that a merge touches.
type learner struct {
	model  *bpe
	words  []word
	counts map[pair]int64
	where  map[pair][]int32 // words by index, ascending within one merge; may be stale
	best   pairQueue        // counts in it are upper bounds
	dirty  map[pair]bool    // pairs whose count rose in the present step
}

func newLearner(model *bpe, chunks map[string]int64) *learner {
	l := &learner{model: model, counts: map[pair]int64{}, where: map[pair][]int32{}, dirty: map[pair]bool{}}
	keys := make([]string, 0, len(chunks))
	for chunk := range chunks {
		keys = append(keys, chunk)
	}
	slices.Sort(keys)
	for i, chunk := range keys {
		w := word{count: chunks[chunk], ids: model.mergeChunk(nil, chunk)}
		l.words = append(l.words, w)
		for j := range len(w.ids) - 1 {
			l.add(makePair(w.ids[j], w.ids[j+1]), w.count, int32(i))
		}
	}
	l.flush()
	return l
}

// add changes a pair's count by what one place in word i contributes.
func (l *learner) add(p pair, delta int64, i int32) {
	l.counts[p] += delta
	if delta < 0 {
		return
	}
	l.dirty[p] = true
	if at := l.where[p]; len(at) == 0 || at[len(at)-1] != i {
		l.where[p] = append(at, i)
	}
}

// flush queues the pairs whose count rose. The queue orders them totally, so
// the map's order does not matter.
func (l *learner) flush() {
	for p := range l.dirty {
		heap.Push(&l.best, counted{l.counts[p], p})
	}
	clear(l.dirty)
}

// step learns the merge of the most frequent pair; false when none occurs twice.
func (l *learner) step() bool {
	p, ok := l.pop()
	if !ok {
		return false
	}
	id := l.model.learn(p)
	at := l.where[p]
	slices.Sort(at)
	for _, i := range slices.Compact(at) {
		l.replace(i, p, id)
	}
	delete(l.where, p)
	delete(l.counts, p)
	l.flush()
	return true
}

func (l *learner) pop() (pair, bool) {
	for len(l.best) > 0 {
		top := heap.Pop(&l.best).(counted)
		now := l.counts[top.pair]
		switch {
		case now < 2:
		case now == top.count:
			return top.pair, true
		case now < top.count:
			heap.Push(&l.best, counted{now, top.pair})
		} // now above: a later entry holds it
	}
	return 0, false
}

// replace merges the pair in word i, from the left.
func (l *learner) replace(i int32, p pair, id int32) {
	w := &l.words[i]
	a, b := p.split()
	out := w.ids[:0]
	for j := 0; j < len(w.ids); j++ {
		if w.ids[j] != a || j+1 == len(w.ids) || w.ids[j+1] != b {
			out = append(out, w.ids[j])
			continue
		}
		if len(out) > 0 {
			l.add(makePair(out[len(out)-1], a), -w.count, i)
			l.add(makePair(out[len(out)-1], id), w.count, i)
		}
		if j+2 < len(w.ids) {
			l.add(makePair(b, w.ids[j+2]), -w.count, i)
			l.add(makePair(id, w.ids[j+2]), w.count, i)
		}
		l.counts[p] -= w.count
		out = append(out, id)
		j++
	}
	w.ids = out
}

type counted struct {
	count int64
	pair  pair
}

// pairQueue pops the highest count first, of equal ones the lower pair.
type pairQueue []counted

func (q pairQueue) Len() int { return len(q) }
func (q pairQueue) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(q[j].count, q[i].count), cmp.Compare(q[i].pair, q[j].pair)) < 0
}
func (q pairQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *pairQueue) Push(x any)   { *q = append(*q, x.(counted)) }
func (q *pairQueue) Pop() any {
	old := *q
	c := old[len(old)-1]
	*q = old[:len(old)-1]
	return c
}
