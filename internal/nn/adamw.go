package nn

import (
	"math"

	"github.com/gr2/gr2/internal/kernel"
)

// AdamWOptions are the settings of the optimiser.
type AdamWOptions struct {
	Beta1, Beta2 float64
	Eps          float64
	Decay        float64 // decoupled weight decay, as a share of the learning rate
}

// AdamW is Adam with decoupled weight decay (Loshchilov and Hutter 2019). Its
// whole state is Steps and Moments; with these, and the same parameters, a
// resumed run goes on to the same bits.
type AdamW struct {
	params []*Param
	opt    AdamWOptions
	m, v   [][]float32
	steps  int

	parts      []part
	update     func(i int)
	scale      float32 // of the gradients, in the step under way
	lr, c1, c2 float32
}

// part is a range of one parameter that one task updates.
type part struct{ param, lo, hi int }

// NewAdamW makes an optimiser with zero moments.
func NewAdamW(params []*Param, opt AdamWOptions) *AdamW {
	o := &AdamW{params: params, opt: opt}
	for i, p := range params {
		o.m = append(o.m, make([]float32, len(p.Value)))
		o.v = append(o.v, make([]float32, len(p.Value)))
		for s := range spans(len(p.Value)) {
			lo, hi := spanOf(s, len(p.Value))
			o.parts = append(o.parts, part{i, lo, hi})
		}
	}
	o.update = o.updatePart
	return o
}

// Step applies the gradients at learning rate lr and clears them. Frozen
// parameters, and rows below TrainFrom, keep their values and moments.
func (o *AdamW) Step(lr float64) { o.step(lr, 1) }

// ClippedStep is Step with the gradients scaled so that their joint Euclidean norm
// is at most limit, and returns the norm before. A limit of 0 or less only
// measures, and a norm that is no finite number scales nothing.
func (o *AdamW) ClippedStep(lr, limit float64) (norm float64) {
	norm = GradNorm(o.params)
	scale := 1.0
	if limit > 0 && norm > limit && !math.IsInf(norm, 0) {
		scale = limit / norm
	}
	o.step(lr, float32(scale))
	return norm
}

func (o *AdamW) step(lr float64, scale float32) {
	o.steps++
	o.lr, o.scale = float32(lr), scale
	o.c1 = float32(1 - math.Pow(o.opt.Beta1, float64(o.steps)))
	o.c2 = float32(1 - math.Pow(o.opt.Beta2, float64(o.steps)))
	kernel.Parallel(len(o.parts), o.update)
}

func (o *AdamW) updatePart(i int) {
	part := o.parts[i]
	p, m, v := o.params[part.param], o.m[part.param], o.v[part.param]
	lo, hi := max(part.lo, p.TrainFrom*p.Cols), part.hi
	if lo < hi && !p.Frozen {
		decay := float32(0)
		if p.Decay {
			decay = float32(o.opt.Decay)
		}
		kernel.AdamW(p.Value[lo:hi], p.Grad[lo:hi], m[lo:hi], v[lo:hi],
			o.scale, o.lr, float32(o.opt.Beta1), float32(o.opt.Beta2), float32(o.opt.Eps), decay, o.c1, o.c2)
	}
	clear(p.Grad[part.lo:part.hi])
}

// Steps is the number of steps made.
func (o *AdamW) Steps() int { return o.steps }

// SetSteps restores the number of steps, which corrects the moments' bias.
func (o *AdamW) SetSteps(n int) { o.steps = n }

// Moments are the running means of the gradients and of their squares, one
// slice per parameter in the order given to NewAdamW. They are the optimiser's
// own: read them to save its state, overwrite them to restore it.
func (o *AdamW) Moments() (first, second [][]float32) { return o.m, o.v }
