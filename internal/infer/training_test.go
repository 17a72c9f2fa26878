package infer_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/infer"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/nn"
	"github.com/gr2/gr2/internal/rng"
)

// recorder notes what its grammar allowed before each token.
type recorder struct {
	infer.Grammar
	allowed [][]int32
}

func (r *recorder) Advance(tok int32) error {
	r.allowed = append(r.allowed, r.Allowed(nil))
	return r.Grammar.Advance(tok)
}

// TestSampledLogProbsAreThoseOfTraining: rollouts of several prompts, decoded
// together at several temperatures, with and without a grammar, have the
// log-probabilities that the training forward gives them when all sequences are
// packed into one batch.
func TestSampledLogProbsAreThoseOfTraining(t *testing.T) {
	for name, cfg := range configs {
		t.Run(name, func(t *testing.T) {
			cfg.VocabSize = 300 // so that both ways of choosing occur
			m := newModel(t, cfg)
			e := newEngine(t, m)
			var requests []infer.Request
			var prompts [][]int32
			for p, size := range []int{1, 63, 64, 200} {
				prompt := e.NewSession()
				ids := tokens(cfg, size, uint64(p))
				feed(t, prompt, ids)
				for g := range 6 {
					q := infer.Request{Session: prompt.Fork(), Stop: -1, Max: 30,
						Sampler: infer.Sampler{Temperature: 0.5 * float64(g), Rand: rng.New(uint64(p), uint64(g))}}
					if g%2 == 0 {
						q.Grammar = &recorder{Grammar: newScript(cfg, rng.New(9, uint64(g)))}
					}
					requests, prompts = append(requests, q), append(prompts, ids)
				}
			}
			outs, err := e.GenerateAll(t.Context(), requests)
			if err != nil {
				t.Fatal(err)
			}
			var b nn.Batch
			for i, out := range outs {
				var allowed [][]int32
				if r, ok := requests[i].Grammar.(*recorder); ok {
					allowed = r.allowed
				}
				pack(&b, prompts[i], out.Tokens, allowed)
			}
			want := trainingLogProbs(t, m, &b)
			if len(want) < 400 {
				t.Fatalf("only %d tokens were compared", len(want))
			}
			for i, out := range outs {
				for j, got := range out.LogProbs {
					if d := math.Abs(float64(got - want[0])); !(d <= 1e-4) {
						t.Errorf("%s: log-probability %g, in training %g", fmt.Sprintf("request %d, token %d of %d", i, j, len(out.Tokens)), got, want[0])
					}
					want = want[1:]
				}
			}
		})
	}
}

// pack appends a document whose targets are the output's tokens.
func pack(b *nn.Batch, prompt, output []int32, allowed [][]int32) {
	b.Docs = append(b.Docs, int32(len(b.Tokens)))
	ids := slices.Concat(prompt, output)
	for i := range len(ids) - 1 {
		target, list := int32(-1), []int32(nil)
		if at := i + 1 - len(prompt); at >= 0 {
			target = ids[i+1]
			if allowed != nil {
				list = allowed[at]
			}
		}
		b.Tokens, b.Pos, b.Targets = append(b.Tokens, ids[i]), append(b.Pos, int32(i)), append(b.Targets, target)
		b.Weights, b.Allowed = append(b.Weights, 0), append(b.Allowed, list)
	}
}

// trainingLogProbs are those of the batch's targets.
func trainingLogProbs(t *testing.T, m *lm.Model, b *nn.Batch) (logProbs []float32) {
	t.Helper()
	d := nn.NewDecoder(m)
	if err := d.Check(b); err != nil {
		t.Fatal(err)
	}
	for i, p := range d.LogProbs(nn.NewForwardTape(), b) {
		if b.Targets[i] >= 0 {
			logProbs = append(logProbs, p)
		}
	}
	return logProbs
}
