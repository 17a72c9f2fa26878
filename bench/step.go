package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/nn"
	"github.com/gr2/gr2/internal/rng"
)

// stepTask is a training step of a decoder: forward, backward, clipping, AdamW.
type stepTask struct {
	name       string
	config     lm.Config
	batch, seq int
	steps      int // timed ones of a round
}

func stepTasks() []stepTask {
	shape := func(hidden, layers, heads, inner, vocab, positions int) lm.Config {
		return lm.Config{Architecture: lm.Llama, VocabSize: vocab, Hidden: hidden, Layers: layers, Heads: heads, KVHeads: heads,
			HeadDim: hidden / heads, Intermediate: inner, MaxPositions: positions, RopeTheta: 10000, NormEps: 1e-6,
			TieEmbeddings: true, BOS: lm.NoToken, EOS: lm.NoToken, PAD: lm.NoToken}
	}
	return []stepTask{
		{"reference, 8x256", shape(256, 4, 4, 768, 4096, 256), 8, 256, 8},
		{"30M, 4x512", shape(512, 8, 8, 1408, 8192, 512), 4, 512, 3},
	}
}

func stepContests(s *setup) ([]contest, error) {
	var all []contest
	for _, t := range stepTasks() {
		c := contest{name: "training step, " + t.name, unit: "tokens/s", entrants: []entrant{{"gr2 float32", t.ours(s.threads)}}}
		if s.python != "" {
			c.entrants = append(c.entrants,
				entrant{"PyTorch eager", t.torch(s)},
				entrant{"PyTorch compile", t.torch(s, "--compile")},
				entrant{"PyTorch eager bf16", t.torch(s, "--bf16")})
		}
		all = append(all, c)
	}
	return all, nil
}

// rate is the median tokens per second over the steps of one round.
func (t *stepTask) rate(seconds []float64) float64 {
	return float64(t.batch*t.seq) / median(seconds)
}

// ours trains afresh in every round, as the peers' processes do; two steps
// warm up.
func (t stepTask) ours(threads int) func(context.Context) (float64, error) {
	return func(context.Context) (float64, error) {
		kernel.SetThreads(threads)
		model, err := lm.New(t.config, 1)
		if err != nil {
			return 0, err
		}
		d, tape := nn.NewDecoder(model), nn.NewTape()
		adam := nn.NewAdamW(d.Params(), nn.AdamWOptions{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1})
		var seconds []float64
		for i := range t.steps + 2 {
			batch := t.tokens(uint64(i))
			start := time.Now()
			tape.Reset()
			loss := d.Loss(tape, batch, float32(t.batch*(t.seq-1)))
			tape.Backward(loss)
			nn.ClipGradNorm(d.Params(), 1)
			adam.Step(1e-3)
			if i >= 2 {
				seconds = append(seconds, time.Since(start).Seconds())
			}
		}
		return t.rate(seconds), nil
	}
}

// tokens is a batch of random sequences; every token but the last predicts the
// next one.
func (t *stepTask) tokens(step uint64) *nn.Batch {
	r := rng.New(1, rng.Key("bench/step"), step)
	b := new(nn.Batch)
	for range t.batch {
		b.Docs = append(b.Docs, int32(len(b.Tokens)))
		for p := range t.seq {
			b.Tokens = append(b.Tokens, int32(r.IntN(t.config.VocabSize)))
			b.Pos = append(b.Pos, int32(p))
			b.Targets, b.Weights = append(b.Targets, -1), append(b.Weights, 0)
			if p > 0 {
				at := len(b.Tokens) - 1
				b.Targets[at-1], b.Weights[at-1] = b.Tokens[at], 1
			}
		}
	}
	return b
}

// torch runs bench/peers/train_torch.py on the same shapes.
func (t stepTask) torch(s *setup, flags ...string) func(context.Context) (float64, error) {
	c := &t.config
	args := append([]string{}, flags...)
	for _, a := range []struct {
		name  string
		value int
	}{
		{"hidden", c.Hidden}, {"layers", c.Layers}, {"heads", c.Heads}, {"inner", c.Intermediate}, {"vocab", c.VocabSize},
		{"batch", t.batch}, {"seq", t.seq}, {"steps", t.steps}, {"threads", s.threads},
	} {
		args = append(args, "--"+a.name, strconv.Itoa(a.value))
	}
	return func(ctx context.Context) (float64, error) {
		var out struct{ Seconds []float64 }
		if err := s.peerScript(ctx, &out, "train_torch.py", args...); err != nil {
			return 0, err
		}
		if len(out.Seconds) != t.steps {
			return 0, fmt.Errorf("train_torch.py timed %d steps, want %d", len(out.Seconds), t.steps)
		}
		return t.rate(out.Seconds), nil
	}
}
