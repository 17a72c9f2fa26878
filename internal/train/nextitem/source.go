package nextitem

import (
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/prompt"
	"github.com/gr2/gr2/internal/rng"
)

// vocabulary is the tokens of documents: the codes level by level, then the
// begin token, then the gaps.
type vocabulary struct {
	trie  *trie
	begin int32
	gaps  bool
}

func newVocabulary(t *trie, gaps bool) vocabulary {
	return vocabulary{trie: t, begin: int32(t.Levels() * t.Width()), gaps: gaps}
}

// size is rounded up to whole vectors.
func (v vocabulary) size() int { return (int(v.begin) + 2 + len(gapEnds) + 63) / 64 * 64 }

const day = 24 * 3600

// gapEnds are the ends of the classes of gaps, in seconds: the same day, and up
// to a week, a month, a quarter, a year; the last class has none.
var gapEnds = [...]int64{day, 7 * day, 30 * day, 91 * day, 365 * day}

// gap is the token of the time between two visits.
func (v vocabulary) gap(seconds int64) int32 {
	class := 0
	for class < len(gapEnds) && seconds >= gapEnds[class] {
		class++
	}
	return v.begin + 1 + int32(class)
}

// prompt is the document of a history up to the item to predict.
func (v vocabulary) prompt(history []market.Visit, now int64) []int32 {
	tokens := []int32{v.begin}
	for i, visit := range history {
		if i > 0 && v.gaps {
			tokens = append(tokens, v.gap(visit.Time-history[i-1].Time))
		}
		tokens, _ = v.trie.path(visit.Item, tokens, nil)
	}
	if n := len(history); n > 0 && v.gaps {
		tokens = append(tokens, v.gap(now-history[n-1].Time))
	}
	return tokens
}

// source gives the training documents: windows of consecutive visits.
type source struct {
	vocabulary
	seed    uint64
	windows [][]market.Visit // at most as many visits as are read, and a target
}

// newSource cuts the training events, sorted by user, into windows.
func newSource(v vocabulary, train []market.Event, history int, seed uint64) *source {
	s := &source{vocabulary: v, seed: seed}
	visits := make([]market.Visit, len(train))
	for i, e := range train {
		visits[i] = market.Visit{Item: e.Item, Time: e.Time}
	}
	for from := 0; from < len(train); {
		to := from + 1
		for to < len(train) && train[to].User == train[from].User {
			to++
		}
		for end := to; end-from > 1; end -= history {
			s.windows = append(s.windows, visits[max(from, end-history-1):end])
		}
		from = to
	}
	return s
}

// Len is of train.Source.
func (s *source) Len() int { return len(s.windows) }

var tieStream = rng.Key("nextitem/ties")

// Example is of train.Source. Visits of equal time come in a new order in every
// epoch: theirs means nothing.
func (s *source) Example(epoch, i int) (prompt.Example, error) {
	window := market.ShuffleTies(s.windows[i], rng.New(s.seed, tieStream, uint64(epoch), uint64(i)))
	e := prompt.Example{Tokens: []int32{s.begin}, Weights: []float32{0}, Allowed: [][]int32{nil}}
	for i, visit := range window {
		if i > 0 && s.gaps {
			s.context(&e, s.gap(visit.Time-window[i-1].Time))
		}
		e.Tokens, e.Allowed = s.trie.path(visit.Item, e.Tokens, e.Allowed)
		for at := len(e.Weights); at < len(e.Tokens); at++ {
			weight := float32(0)
			if i > 0 && len(e.Allowed[at]) > 1 {
				weight = 1
			}
			e.Weights = append(e.Weights, weight)
		}
	}
	return e, nil
}

// context appends a token that is not predicted.
func (s *source) context(e *prompt.Example, token int32) {
	e.Tokens, e.Weights, e.Allowed = append(e.Tokens, token), append(e.Weights, 0), append(e.Allowed, nil)
}
