package train

import (
	"github.com/gr2/gr2/internal/nn"
	"github.com/gr2/gr2/internal/prompt"
	"github.com/gr2/gr2/internal/rng"
)

// feed hands out the examples of all epochs in their shuffled order and packs
// them. Its whole state is next, the number of examples handed out.
type feed struct {
	source Source
	seed   uint64
	total  int // examples of the whole stage
	next   int

	epoch int // whose order is held; -1 for none
	order []int
}

func newFeed(source Source, o *Options) *feed {
	return &feed{source: source, seed: o.Seed, total: int(o.Epochs*float64(source.Len()) + 0.5), epoch: -1}
}

// done is the share of the examples handed out.
func (f *feed) done() float64 {
	if f.total == 0 {
		return 1
	}
	return float64(f.next) / float64(f.total)
}

func (f *feed) at(n int) (prompt.Example, error) {
	epoch := n / f.source.Len()
	if epoch != f.epoch {
		f.epoch = epoch
		f.order = rng.New(f.seed, rng.Key("order"), uint64(epoch)).Perm(f.source.Len())
	}
	return f.source.Example(epoch, f.order[n%f.source.Len()])
}

// batch packs examples until the next would not fit. It returns the sum of
// the loss weights, or nil at the end of the stage.
func (f *feed) batch(tokens int) (*nn.Batch, float64, error) {
	var b *nn.Batch
	var more []ask
	weight := 0.0
	for f.next < f.total {
		e, err := f.at(f.next)
		if err != nil {
			return nil, 0, err
		}
		if b != nil && len(b.Tokens)+len(e.Tokens) > tokens {
			break
		}
		f.next++
		if len(e.Tokens) < 2 {
			continue
		}
		if b == nil {
			b = &nn.Batch{}
		}
		again, sum := appendExample(b, &e)
		more, weight = append(more, again...), weight+sum
	}
	askAgain(b, more)
	return b, weight, nil
}

// ask is an aside at a token of the batch that answers something else as well.
type ask struct {
	row int32
	prompt.Aside
}

// askAgain adds the asides to a batch that has one prediction for each token.
func askAgain(b *nn.Batch, more []ask) {
	if len(more) == 0 {
		return
	}
	b.Rows = make([]int32, len(b.Targets), len(b.Targets)+len(more))
	for i := range b.Rows {
		b.Rows[i] = int32(i)
	}
	for _, a := range more {
		b.Rows, b.Targets, b.Weights = append(b.Rows, a.row), append(b.Targets, a.Token), append(b.Weights, a.Weight)
		b.Allowed, b.Early = append(b.Allowed, a.Aside.Allowed), append(b.Early, !a.Late)
	}
}

// appendExample adds the example as one document: position t predicts token
// t+1 with that token's weight, or answers an aside where the document takes
// no loss. It returns the asides at tokens that answer something else as well, and
// the sum of the weights.
func appendExample(b *nn.Batch, e *prompt.Example) (more []ask, sum float64) {
	b.Docs = append(b.Docs, int32(len(b.Tokens)))
	if (e.Allowed != nil || e.Asides != nil) && b.Allowed == nil {
		b.Allowed = make([][]int32, len(b.Tokens))
	}
	b.Tokens = append(b.Tokens, e.Tokens...)
	b.Early = append(b.Early, make([]bool, len(e.Tokens))...)
	start, last := len(b.Tokens)-len(e.Tokens), len(e.Tokens)-1
	for t := range e.Tokens {
		b.Pos = append(b.Pos, int32(t))
		if b.Allowed != nil {
			b.Allowed = append(b.Allowed, allowedAfter(e, t))
		}
		if t == last || e.Weights[t+1] == 0 {
			b.Targets = append(b.Targets, -1)
			b.Weights = append(b.Weights, 0)
			continue
		}
		b.Targets = append(b.Targets, e.Tokens[t+1])
		b.Weights = append(b.Weights, e.Weights[t+1])
		sum += float64(e.Weights[t+1])
	}
	for _, a := range e.Asides {
		at := start + a.At
		if a.Late || b.Early[at] {
			more, sum = append(more, ask{int32(at), a}), sum+float64(a.Weight)
			continue
		}
		if b.Weights[at] != 0 {
			continue // the document itself asks there
		}
		b.Targets[at], b.Weights[at], b.Allowed[at], b.Early[at] = a.Token, a.Weight, a.Allowed, true
		sum += float64(a.Weight)
	}
	return more, sum
}

// allowedAfter is what the grammar allows behind token t.
func allowedAfter(e *prompt.Example, t int) []int32 {
	if e.Allowed == nil || t+1 >= len(e.Tokens) {
		return nil
	}
	return e.Allowed[t+1]
}
