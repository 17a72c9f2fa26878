// Package step compares a training step (forward, backward, clipping, AdamW)
// with PyTorch, eager and compiled.
package step

import (
	"embed"

	"github.com/gr2/gr2/bench/compare"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/nn"
	"github.com/gr2/gr2/internal/rng"
)

//go:embed peer.py
var source embed.FS

// task is a batch of whole sequences, every token of which but the last
// predicts the next one. Its fields are what peers are told.
type task struct {
	name                                string
	Hidden, Layers, Heads, Inner, Vocab int
	Batch, Length                       int
}

// tasks are the reference decoder of the design and one of 30M parameters.
func tasks() []task {
	return []task{
		{"reference/8x256", 256, 4, 4, 768, 4096, 8, 256},
		{"30M/4x512", 512, 8, 8, 1408, 8192, 4, 512},
	}
}

// Suite is what Command bench runs.
func Suite() compare.Suite {
	s := compare.Suite{
		Name: "step", Unit: "tokens/s",
		Peers: []compare.Peer{
			{Name: "eager", Source: source, Script: "peer.py", Args: []string{"eager"}},
			{Name: "compile", Source: source, Script: "peer.py", Args: []string{"compile"}},
			{Name: "eager-bf16", Source: source, Script: "peer.py", Args: []string{"eager", "bf16"}},
		},
	}
	for _, t := range tasks() {
		s.Cases = append(s.Cases, compare.Case{Name: t.name, Work: float64(t.Batch * t.Length), Request: t, Prepare: t.prepare})
	}
	return s
}

func (t task) config() lm.Config {
	return lm.Config{Architecture: lm.Llama, VocabSize: t.Vocab, Hidden: t.Hidden, Layers: t.Layers, Heads: t.Heads, KVHeads: t.Heads,
		HeadDim: t.Hidden / t.Heads, Intermediate: t.Inner, MaxPositions: t.Length, RopeTheta: 10000, NormEps: 1e-6,
		TieEmbeddings: true, BOS: lm.NoToken, EOS: lm.NoToken, PAD: lm.NoToken}
}

func (t task) prepare() func() {
	model, err := lm.New(t.config(), 1)
	if err != nil {
		panic(err) // a constant of this package is wrong
	}
	d, tape, batch := nn.NewDecoder(model), nn.NewTape(), t.tokens()
	adam := nn.NewAdamW(d.Params(), nn.AdamWOptions{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1})
	norm := float32(t.Batch * (t.Length - 1))
	return func() {
		tape.Reset()
		tape.Backward(d.Loss(tape, batch, norm))
		adam.ClippedStep(1e-3, 1)
	}
}

// tokens are random.
func (t task) tokens() *nn.Batch {
	r, b := rng.New(1, rng.Key("bench/step")), new(nn.Batch)
	for range t.Batch {
		b.Docs = append(b.Docs, int32(len(b.Tokens)))
		for p := range t.Length {
			at := len(b.Tokens)
			b.Tokens, b.Pos = append(b.Tokens, int32(r.IntN(t.Vocab))), append(b.Pos, int32(p))
			b.Targets, b.Weights = append(b.Targets, -1), append(b.Weights, 0)
			if p > 0 {
				b.Targets[at-1], b.Weights[at-1] = b.Tokens[at], 1
			}
		}
	}
	return b
}
