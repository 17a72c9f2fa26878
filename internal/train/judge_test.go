package train

import (
	"fmt"
	"math"
	"testing"

	"github.com/gr2/gr2/internal/infer"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/nn"
	"github.com/gr2/gr2/internal/prompt"
	"github.com/gr2/gr2/internal/rerank"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/token"
	"github.com/gr2/gr2/internal/train/sft"
)

// judgeWorld is a policy with opinionated random weights.
func judgeWorld(t *testing.T, numberAt string) rerank.Parts {
	t.Helper()
	var items []market.Item
	for i := range 60 {
		items = append(items, market.Item{ID: fmt.Sprint("i", i), Title: fmt.Sprint("Soft brush, set of ", i)})
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var p rerank.Parts
	var err error
	p.Catalog, err = market.NewCatalog(items)
	must(err)
	opt := prompt.Options{Title: true, Rank: true, Judge: true, NumberAt: numberAt}
	corpus, err := prompt.Corpus(p.Catalog, opt)
	must(err)
	p.Tokenizer, err = token.Train(corpus, token.Options{VocabSize: 400, Required: prompt.RequiredTokens(),
		Added: prompt.SpecialTokens(opt), Control: prompt.ControlTokens()})
	must(err)
	p.Builder, err = prompt.New(p.Tokenizer, p.Catalog, nil, opt)
	must(err)
	p.Model, err = lm.New(lm.Config{Architecture: lm.Qwen3, VocabSize: p.Tokenizer.Size(), Hidden: 32, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 8,
		Intermediate: 48, MaxPositions: 1500, RopeTheta: 1e4, NormEps: 1e-6, TieEmbeddings: true, QKNorm: true,
		BOS: lm.NoToken, EOS: lm.NoToken, PAD: lm.NoToken}, 2)
	must(err)
	for _, x := range p.Model.Tensors() {
		for i := range x.Data {
			if len(x.Shape) == 2 {
				x.Data[i] *= 8
			}
		}
	}
	return p
}

func judgeSlate(k int, seed uint64) *market.Slate {
	s := &market.Slate{ID: "s", User: -1, Time: 1e9}
	for i, item := range rng.New(seed).Perm(60)[:k] {
		s.Candidates = append(s.Candidates, market.Candidate{Item: int32(item)})
		s.Grades = append(s.Grades, uint8(i%3/2))
	}
	return s
}

// What training takes as the log-probability of a judgement is that of the
// margin by which the policy ranks, and the answer's is that of decoding under
// the grammar: packed behind another document, over prompts of several passes.
func TestTrainingScoresAreThoseOfThePolicy(t *testing.T) {
	for _, c := range []struct {
		numberAt string
		layers   int // below the judgements
	}{{prompt.NumberStart, 0}, {prompt.NumberEnd, 0}, {prompt.NumberEnd, 1}} {
		p := judgeWorld(t, c.numberAt)
		p.JudgeLayers = c.layers
		engine, err := infer.New(p.Model)
		if err != nil {
			t.Fatal(err)
		}
		policy, err := rerank.New(p, rerank.Judge)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range []int{3, 10, 50} {
			s := judgeSlate(k, uint64(k))
			source, err := sft.New(p.Builder, []sft.Case{{Slate: s}}, sft.Options{FirstShare: 1, LambdaOutput: 1, LambdaJudge: .5})
			if err != nil {
				t.Fatal(err)
			}
			e, err := source.Example(0, 0)
			if err != nil {
				t.Fatal(err)
			}
			logProbs := scored(t, p.Model, &e, c.layers)
			margins := judged(t, engine, p.Builder, &e, c.layers)
			for i, a := range e.Asides {
				odds := float64(margins[i])
				if s.Grades[i] == market.GradeNone {
					odds = -odds
				}
				close1e4(t, fmt.Sprintf("judgement %d of %d", i, k), logProbs[a.At], -math.Log1p(math.Exp(-odds)))
			}
			checkAnswer(t, engine, p.Builder, &e, k, logProbs)

			res, err := policy.Rerank(t.Context(), s)
			if err != nil || res.Fallback {
				t.Fatalf("%v %+v", err, res)
			}
			for i := 1; i < k; i++ {
				if before, after := margins[res.Order[i-1]], margins[res.Order[i]]; after > before+1e-4*max(1, before, -before) {
					t.Errorf("k=%d: the policy ranks margin %g before %g", k, before, after)
				}
			}
		}
	}
}

func close1e4(t *testing.T, what string, got float32, want float64) {
	t.Helper()
	if d := math.Abs(float64(got) - want); !(d <= 1e-4*max(1, math.Abs(want))) {
		t.Errorf("%s: log-probability %g in training, %g in inference", what, got, want)
	}
}

// scored are the log-probabilities of what the example's positions ask, packed
// behind another document.
func scored(t *testing.T, m *lm.Model, e *prompt.Example, judgeLayers int) []float32 {
	t.Helper()
	var b nn.Batch
	appendExample(&b, &prompt.Example{Tokens: []int32{1, 2, 3}, Weights: []float32{0, 1, 1}})
	appendExample(&b, e)
	d := nn.NewDecoder(m)
	if err := d.ReadEarly(judgeLayers); err != nil {
		t.Fatal(err)
	}
	if err := d.Check(&b); err != nil {
		t.Fatal(err)
	}
	return d.LogProbs(nn.NewForwardTape(), &b)[3:]
}

// judged are the margins of yes over no, as a policy asks for them.
func judged(t *testing.T, engine *infer.Engine, b *prompt.Builder, e *prompt.Example, layers int) []float32 {
	t.Helper()
	no, yes := b.JudgeTokens()
	var at []int
	for _, a := range e.Asides {
		at = append(at, a.At)
	}
	rows, err := engine.NewSession().Judge(e.Tokens[:at[len(at)-1]+1], at, []int32{no, yes}, layers)
	if err != nil {
		t.Fatal(err)
	}
	margins := make([]float32, len(rows))
	for i, row := range rows {
		margins[i] = row[1] - row[0]
	}
	return margins
}

// checkAnswer feeds the example's answer token by token and compares the
// log-probability, among what the grammar allows, of each one with loss.
func checkAnswer(t *testing.T, engine *infer.Engine, b *prompt.Builder, e *prompt.Example, k int, logProbs []float32) {
	t.Helper()
	answer, _, _ := b.Answer(make([]int, k), "")
	from := len(e.Tokens) - len(answer)
	grammar, compared := b.Grammar(k), 0
	session := engine.NewSession()
	if _, err := session.Feed(e.Tokens[:from]); err != nil {
		t.Fatal(err)
	}
	for i, tok := range e.Tokens[from:] {
		allowed := grammar.Allowed(nil)
		logits, err := session.Logits()
		if err != nil {
			t.Fatal(err)
		}
		if e.Weights[from+i] > 0 {
			sum := 0.0
			for _, a := range allowed {
				sum += math.Exp(float64(logits[a] - logits[tok]))
			}
			close1e4(t, fmt.Sprintf("answer token %d of k=%d", i, k), logProbs[from+i-1], -math.Log(sum))
			compared++
		}
		if err := grammar.Advance(tok); err != nil {
			t.Fatal(err)
		}
		if _, err := session.Feed([]int32{tok}); err != nil {
			t.Fatal(err)
		}
	}
	if compared == 0 {
		t.Error("no token of the answer carries loss")
	}
}

// judging is a source with masks and asides for the step loop.
type judging struct{}

func (judging) Len() int { return 16 }

func (judging) Example(_, i int) (prompt.Example, error) {
	var e prompt.Example
	for t := range 8 {
		token := int32((i*5 + t*t) % 30)
		e.Tokens, e.Weights, e.Allowed = append(e.Tokens, token), append(e.Weights, float32(t/5)), append(e.Allowed, nil)
		if t/5 > 0 {
			e.Allowed[t] = []int32{token, 30, 31}
		}
	}
	for at := range 3 {
		e.Asides = append(e.Asides, prompt.Aside{At: at, Token: int32(30 + (i+at)%2), Allowed: []int32{30, 31}, Weight: .5})
	}
	return e, nil
}

// Masks and asides count the same however a step is cut into micro-batches.
func TestAccumulationWithMasksAndAsides(t *testing.T) {
	train := func(tokens, accumulate int) []float64 {
		m, err := lm.New(lm.Config{Architecture: lm.Llama, VocabSize: 32, Hidden: 16, Layers: 1, Heads: 2, KVHeads: 2, HeadDim: 8,
			Intermediate: 32, MaxPositions: 64, RopeTheta: 1e4, NormEps: 1e-6, TieEmbeddings: true,
			BOS: lm.NoToken, EOS: lm.NoToken, PAD: lm.NoToken}, 1)
		if err != nil {
			t.Fatal(err)
		}
		var losses []float64
		l := &loop{Run: &Run{Model: m, Options: Options{Epochs: 1, BatchTokens: tokens, Accumulate: accumulate, LR: 1e-3, Floor: 1, Clip: 1}},
			decoder: nn.NewDecoder(m), tape: nn.NewTape()}
		l.feed = newFeed(judging{}, &l.Options)
		l.adam = nn.NewAdamW(l.decoder.Params(), nn.AdamWOptions{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8})
		for l.feed.next < l.feed.total {
			row, err := l.step()
			if err != nil {
				t.Fatal(err)
			}
			losses = append(losses, *row.Loss)
		}
		return losses
	}
	one, eight := train(8*8, 1), train(8, 8)
	if len(one) != 2 || len(eight) != 2 {
		t.Fatalf("%d and %d steps, want 2", len(one), len(eight))
	}
	for i := range one {
		if math.Abs(one[i]-eight[i]) > 1e-5*one[i] {
			t.Errorf("step %d: loss %g of one micro-batch, %g of eight", i, one[i], eight[i])
		}
	}
}
