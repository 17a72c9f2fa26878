package train

import (
	"fmt"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/nn"
	"github.com/gr2/gr2/internal/prompt"
	"pgregory.net/rapid"
)

// drawExample draws a document: context, then an answer with loss on some of
// its tokens. Masks and asides are there or not.
func drawExample(t *rapid.T) prompt.Example {
	token := rapid.Int32Range(0, 30)
	context, answer := rapid.IntRange(0, 6).Draw(t, "context"), rapid.IntRange(0, 6).Draw(t, "answer")
	n := context + answer
	e := prompt.Example{Tokens: rapid.SliceOfN(token, n, n).Draw(t, "tokens"), Weights: make([]float32, n)}
	for i := max(1, context); i < n; i++ {
		e.Weights[i] = rapid.SampledFrom([]float32{0, 1, 2}).Draw(t, "weight")
	}
	if rapid.Bool().Draw(t, "masked") {
		e.Allowed = make([][]int32, n)
		for i := range n {
			if e.Weights[i] > 0 && rapid.Bool().Draw(t, "choice") {
				e.Allowed[i] = []int32{e.Tokens[i], 31}
			}
		}
	}
	if n > 0 && rapid.Bool().Draw(t, "asked") {
		for _, at := range rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 1, n, rapid.ID).Draw(t, "asides") {
			e.Asides = append(e.Asides, prompt.Aside{At: at, Token: 40, Allowed: []int32{40, 41}, Weight: .5})
		}
	}
	return e
}

// Position t of a document predicts its token t+1 with that token's weight and
// mask; asides answer where it takes no loss, and nowhere else.
func TestPackAlignsWeightsMasksAndAsides(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		examples := rapid.SliceOfN(rapid.Custom(drawExample), 1, 5).Draw(r, "examples")
		var b nn.Batch
		sum, start := 0.0, 0
		var kept []prompt.Example
		for _, e := range examples {
			if len(e.Tokens) > 0 {
				kept = append(kept, e)
				again, weight := appendExample(&b, &e)
				if len(again) > 0 {
					r.Fatalf("asked twice: %+v", again)
				}
				sum += weight
			}
		}
		for n, e := range kept {
			if int(b.Docs[n]) != start {
				r.Fatalf("document %d starts at %d, want %d", n, b.Docs[n], start)
			}
			for at := range e.Tokens {
				want := position(&e, at)
				have := expected{b.Targets[start+at], b.Weights[start+at], nil}
				if b.Allowed != nil {
					have.allowed = b.Allowed[start+at]
				}
				if b.Tokens[start+at] != e.Tokens[at] || int(b.Pos[start+at]) != at {
					r.Fatalf("document %d: token %d at %d, position %d", n, b.Tokens[start+at], at, b.Pos[start+at])
				}
				if have.target != want.target || have.weight != want.weight || want.weight != 0 && !slices.Equal(have.allowed, want.allowed) {
					r.Fatalf("document %d, position %d: %+v, want %+v", n, at, have, want)
				}
				sum -= float64(want.weight)
			}
			start += len(e.Tokens)
		}
		if sum != 0 || len(b.Tokens) != start || b.Allowed != nil && len(b.Allowed) != start {
			r.Fatalf("the sum of weights is off by %g; %d tokens and %d lists, want %d", sum, len(b.Tokens), len(b.Allowed), start)
		}
	})
}

// expected is what a position asks.
type expected struct {
	target  int32
	weight  float32
	allowed []int32
}

func position(e *prompt.Example, at int) expected {
	if next := at + 1; next < len(e.Tokens) && e.Weights[next] != 0 {
		x := expected{e.Tokens[next], e.Weights[next], nil}
		if e.Allowed != nil {
			x.allowed = e.Allowed[next]
		}
		return x
	}
	for _, a := range e.Asides {
		if a.At == at {
			return expected{a.Token, a.Weight, a.Allowed}
		}
	}
	return expected{-1, 0, nil}
}

// numbered gives documents of varying length whose first token is their
// number; some are too short to teach, some exceed a batch.
type numbered int

func (n numbered) Len() int { return int(n) }

func (n numbered) Example(epoch, i int) (prompt.Example, error) {
	size := []int{0, 1, 2, 3, 5, 7, 30}[i%7]
	e := prompt.Example{Tokens: make([]int32, size), Weights: make([]float32, size)}
	for t := range size {
		e.Tokens[t], e.Weights[t] = int32(i), float32(min(t, 1))
	}
	return e, nil
}

// Every document that can teach is handed out once an epoch, in another order
// each, and only one that is too long by itself exceeds the bound.
func TestFeedHandsOutEveryExampleOnce(t *testing.T) {
	const bound = 16
	f := newFeed(numbered(35), &Options{Epochs: 2, Seed: 3})
	var drawn []int32
	for f.next < f.total {
		b, weight, err := f.batch(bound)
		if err != nil {
			t.Fatal(err)
		}
		if len(b.Tokens) > bound && len(b.Docs) > 1 {
			t.Errorf("%d documents take %d tokens of at most %d", len(b.Docs), len(b.Tokens), bound)
		}
		if want := len(b.Tokens) - len(b.Docs); weight != float64(want) {
			t.Errorf("weight %g, want %d", weight, want)
		}
		for _, at := range b.Docs {
			drawn = append(drawn, b.Tokens[at])
		}
	}
	if len(drawn) != 50 {
		t.Fatalf("%d documents, want 25 an epoch", len(drawn))
	}
	first, second := drawn[:25], drawn[25:]
	if slices.Equal(first, second) {
		t.Error("both epochs have the same order")
	}
	if a, b := fmt.Sprint(slices.Sorted(slices.Values(first))), fmt.Sprint(slices.Sorted(slices.Values(second))); a != b {
		t.Errorf("epochs %s and %s", a, b)
	}
	if b, _, err := f.batch(bound); b != nil || err != nil || f.done() != 1 {
		t.Errorf("behind the end: %v, %v, done %g", b, err, f.done())
	}
}

// questions is a source of two documents. At token 1 of the second both answers
// are learnt, in parts; its token 0 is asked once.
type questions struct{}

func (questions) Len() int { return 2 }

func (questions) Example(epoch, i int) (prompt.Example, error) {
	e := prompt.Example{Tokens: []int32{1, 2, 3}, Weights: []float32{0, 0, 1}}
	if i == 1 {
		e.Weights[2] = 0
		both := []int32{40, 41}
		e.Asides = []prompt.Aside{{At: 0, Token: 40, Allowed: both, Weight: 1}, {At: 1, Token: 41, Allowed: both, Weight: .75}, {At: 1, Token: 40, Allowed: both, Weight: .25}}
	}
	return e, nil
}

// A token that is asked twice makes two predictions.
func TestPackAsksTwice(t *testing.T) {
	b, weight, err := newFeed(questions{}, &Options{Epochs: 1}).batch(100)
	if err != nil {
		t.Fatal(err)
	}
	last := len(b.Targets) - 1
	if weight != 3 || len(b.Tokens) != 6 || last != 6 || len(b.Rows) != 7 || len(b.Allowed) != 7 || len(b.Early) != 7 {
		t.Fatalf("weight %g, %d tokens, predictions of %v", weight, len(b.Tokens), b.Rows)
	}
	row := b.Rows[last]
	if b.Tokens[row] != 2 || b.Targets[row] != 41 || b.Weights[row] != .75 || b.Targets[last] != 40 || b.Weights[last] != .25 || !b.Early[row] || !b.Early[last] {
		t.Errorf("token %d: %d with weight %g and %d with weight %g", row, b.Targets[row], b.Weights[row], b.Targets[last], b.Weights[last])
	}
	for i, r := range b.Rows[:last] {
		if int(r) != i {
			t.Errorf("prediction %d is made by token %d", i, r)
		}
	}
}

// shared is a source of one document whose last choice is learnt in parts.
type shared struct{}

func (shared) Len() int { return 1 }

func (shared) Example(epoch, i int) (prompt.Example, error) {
	choice := []int32{3, 4, 5}
	return prompt.Example{
		Tokens: []int32{1, 2, 3}, Weights: []float32{0, 0, .5}, Allowed: [][]int32{nil, nil, choice},
		Asides: []prompt.Aside{{At: 0, Token: 40, Allowed: []int32{40, 41}, Weight: 1}, {At: 1, Token: 5, Allowed: choice, Weight: .25, Late: true}},
	}, nil
}

// What the document itself asks is asked again in place of another answer, at the
// same depth.
func TestPackSharesAChoice(t *testing.T) {
	b, weight, err := newFeed(shared{}, &Options{Epochs: 1}).batch(100)
	if err != nil {
		t.Fatal(err)
	}
	if weight != 1.75 || !slices.Equal(b.Rows, []int32{0, 1, 2, 1}) || !slices.Equal(b.Targets, []int32{40, 3, -1, 5}) {
		t.Fatalf("weight %g, tokens %v are to predict %v", weight, b.Rows, b.Targets)
	}
	if !slices.Equal(b.Weights, []float32{1, .5, 0, .25}) || !slices.Equal(b.Early, []bool{true, false, false, false}) || !slices.Equal(b.Allowed[3], b.Allowed[1]) {
		t.Errorf("weights %v, early %v, allowed %v", b.Weights, b.Early, b.Allowed)
	}
}
