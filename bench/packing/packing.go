// Package packing measures what a training step gains by sharing the prompt of a
// group of rollouts: the same loss and gradients, with the prompt once or with a
// copy for each rollout.
package packing

import (
	"fmt"

	"github.com/gr2/gr2/bench/compare"
	"github.com/gr2/gr2/bench/reference"
	"github.com/gr2/gr2/internal/nn"
	"github.com/gr2/gr2/internal/rng"
)

// group is rollouts of one prompt, every token of which carries loss.
type group struct{ Prompt, Rollouts, Length int }

// Suite is what Command bench runs. It has no peers: none of them shares.
func Suite() compare.Suite {
	s := compare.Suite{Name: "packing", Unit: "rollout tokens/s"}
	for _, g := range []group{{256, 8, 48}, {512, 8, 48}, {512, 16, 48}} {
		s.Cases = append(s.Cases, g.measure("shared", g.shared), g.measure("unshared", g.unshared))
	}
	return s
}

func (g group) measure(name string, batch func() *nn.Batch) compare.Case {
	return compare.Case{
		Name:    fmt.Sprintf("%d+%dx%d/%s", g.Prompt, g.Rollouts, g.Length, name),
		Work:    float64(g.Rollouts * g.Length),
		Prepare: func() func() { return step(batch()) },
	}
}

func (g group) shared() *nn.Batch {
	b := new(nn.Batch)
	prompt := b.Append(-1, g.tokens(0, g.Prompt), make([]float32, g.Prompt))
	for i := range g.Rollouts {
		b.Append(prompt, g.tokens(1+i, g.Length), ones(g.Length))
	}
	return b
}

func (g group) unshared() *nn.Batch {
	b := new(nn.Batch)
	for i := range g.Rollouts {
		b.Append(-1, append(g.tokens(0, g.Prompt), g.tokens(1+i, g.Length)...), append(make([]float32, g.Prompt), ones(g.Length)...))
	}
	return b
}

// tokens are random: those of the prompt, number 0, or of a rollout.
func (g group) tokens(number, n int) []int32 {
	r := rng.New(1, rng.Key("bench/packing"), uint64(number))
	all := make([]int32, n)
	for i := range all {
		all[i] = int32(r.IntN(reference.Config.VocabSize))
	}
	return all
}

func ones(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = 1
	}
	return x
}

// step returns a training step on the batch.
func step(b *nn.Batch) func() {
	d, tape := nn.NewDecoder(reference.Model()), nn.NewTape()
	adam := nn.NewAdamW(d.Params(), nn.AdamWOptions{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1})
	norm := float32(len(b.Targets))
	return func() {
		tape.Reset()
		tape.Backward(d.Loss(tape, b, norm))
		adam.ClippedStep(1e-3, 1)
	}
}
