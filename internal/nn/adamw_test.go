package nn

import (
	"math"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/rng"
)

func randomGrad(p *Param, step uint64) {
	r := rng.New(5, rng.Key(p.Name), step)
	for i := range p.Grad {
		p.Grad[i] = float32(r.NormFloat64())
	}
}

// TestAdamWMatchesReference follows the paper's algorithm in float64.
func TestAdamWMatchesReference(t *testing.T) {
	p, plain := NewParam("decays", 2, 30000), NewParam("plain", 1, 3) // more than one task
	p.Decay = true
	opt := AdamWOptions{Beta1: 0.9, Beta2: 0.95, Eps: 1e-6, Decay: 0.1}
	adam := NewAdamW([]*Param{p, plain}, opt)
	want := map[*Param][]float64{p: make([]float64, len(p.Value)), plain: make([]float64, 3)}
	moments := map[*Param][2][]float64{}
	for _, q := range []*Param{p, plain} {
		moments[q] = [2][]float64{make([]float64, len(q.Value)), make([]float64, len(q.Value))}
	}
	const lr = 0.02
	for step := 1; step <= 5; step++ {
		for _, q := range []*Param{p, plain} {
			randomGrad(q, uint64(step))
			for i, g32 := range q.Grad {
				g, m, v := float64(g32), moments[q][0], moments[q][1]
				m[i] = 0.9*m[i] + 0.1*g
				v[i] = 0.95*v[i] + 0.05*g*g
				if q.Decay {
					want[q][i] *= 1 - lr*opt.Decay
				}
				want[q][i] -= lr * m[i] / (1 - math.Pow(0.9, float64(step))) /
					(math.Sqrt(v[i]/(1-math.Pow(0.95, float64(step)))) + opt.Eps)
			}
		}
		adam.Step(lr)
	}
	for _, q := range []*Param{p, plain} {
		near(t, q.Name, q.Value, float32s(want[q]), 1e-5)
		if slices.IndexFunc(q.Grad, func(g float32) bool { return g != 0 }) >= 0 {
			t.Errorf("%s: Step left a gradient", q.Name)
		}
	}
}

// TestAdamWResumesExactly: steps and moments are the whole state.
func TestAdamWResumesExactly(t *testing.T) {
	opt := AdamWOptions{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Decay: 0.01}
	p := NewParam("p", 4, 5)
	adam := NewAdamW([]*Param{p}, opt)
	run := func(p *Param, o *AdamW, from, to uint64) {
		for s := from; s < to; s++ {
			randomGrad(p, s)
			o.Step(0.1)
		}
	}
	run(p, adam, 0, 3)
	q := NewParam("p", 4, 5)
	copy(q.Value, p.Value)
	resumed := NewAdamW([]*Param{q}, opt)
	m, v := adam.Moments()
	m2, v2 := resumed.Moments()
	copy(m2[0], m[0])
	copy(v2[0], v[0])
	resumed.SetSteps(adam.Steps())
	run(p, adam, 3, 6)
	run(q, resumed, 3, 6)
	if !slices.Equal(p.Value, q.Value) {
		t.Error("a resumed optimiser goes another way")
	}
}

func TestClippedStep(t *testing.T) {
	a, b, frozen := NewParam("a", 1, 2), NewParam("b", 2, 1), NewParam("frozen", 1, 1)
	frozen.Frozen, b.TrainFrom = true, 1
	set := func() {
		copy(a.Grad, []float32{3, 0})
		copy(b.Grad, []float32{100, 4})
		frozen.Grad[0] = 100
	}
	all := []*Param{a, b, frozen}
	for _, c := range []struct{ limit, scale float64 }{{10, 1}, {5, 1}, {2.5, 0.5}, {0, 1}} {
		set()
		adam := NewAdamW(all, AdamWOptions{Beta1: 0.9, Beta2: 0.99, Eps: 1e-8})
		if norm := adam.ClippedStep(0.1, c.limit); math.Abs(norm-5) > 1e-6 {
			t.Errorf("limit %g: norm %g, want 5", c.limit, norm)
		}
		m, _ := adam.Moments() // a tenth of the gradients that were applied
		near(t, "clipped", []float32{10 * m[0][0], 10 * m[1][1]}, []float32{float32(3 * c.scale), float32(4 * c.scale)}, 1e-6)
		if m[1][0] != 0 || m[2][0] != 0 {
			t.Errorf("limit %g: what is not trained has moments %g and %g", c.limit, m[1][0], m[2][0])
		}
		if GradNorm(all) != 0 {
			t.Errorf("limit %g: the step left a gradient", c.limit)
		}
	}
	set()
	a.Grad[1] = float32(math.NaN())
	adam := NewAdamW(all, AdamWOptions{Beta1: 0.9, Beta2: 0.99, Eps: 1e-8})
	norm := adam.ClippedStep(0.1, 1)
	if m, _ := adam.Moments(); !math.IsNaN(norm) || math.Abs(float64(m[0][0])-0.3) > 1e-6 {
		t.Errorf("a NaN gradient: norm %g, moment %g beside it, want NaN and 0.3", norm, m[0][0])
	}
}
