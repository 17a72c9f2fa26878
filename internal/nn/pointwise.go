package nn

import (
	"math"
	"math/rand/v2"

	"github.com/gr2/gr2/internal/kernel"
)

// kind tells the elementwise operations apart.
type kind uint8

const (
	addKind kind = iota
	mulKind
	scaleKind
	reluKind
	geluKind
	siluKind
)

// pointwise is y = f(a) or y = f(a, b), element by element.
type pointwise struct {
	kind    kind
	a, b, y *Var
	factor  float32
}

// Add is a + b.
func (t *Tape) Add(a, b *Var) *Var { return t.binary(addKind, a, b) }

// Mul is a * b, element by element.
func (t *Tape) Mul(a, b *Var) *Var { return t.binary(mulKind, a, b) }

// Scale is factor * a.
func (t *Tape) Scale(a *Var, factor float32) *Var { return t.unary(scaleKind, a, factor) }

// ReLU is max(a, 0).
func (t *Tape) ReLU(a *Var) *Var { return t.unary(reluKind, a, 0) }

// GELU is a * Phi(a) with the exact normal distribution function, as
// torch.nn.GELU by default.
func (t *Tape) GELU(a *Var) *Var { return t.unary(geluKind, a, 0) }

// SiLU is a / (1 + exp(-a)).
func (t *Tape) SiLU(a *Var) *Var { return t.unary(siluKind, a, 0) }

func (t *Tape) binary(k kind, a, b *Var) *Var {
	sameShape("elementwise", a, b)
	return t.apply(pointwise{kind: k, a: a, b: b, y: t.result(a.Rows, a.Cols, a.Grad, b.Grad)})
}

func (t *Tape) unary(k kind, a *Var, factor float32) *Var {
	return t.apply(pointwise{kind: k, a: a, y: t.result(a.Rows, a.Cols, a.Grad), factor: factor})
}

func (t *Tape) apply(v pointwise) *Var {
	o := t.pointwise.put(v)
	t.forward(spans(len(o.y.Value)), o)
	return t.record(o.y, o)
}

func (o *pointwise) backward(t *Tape) {
	o.a.open()
	if o.b != nil {
		o.b.open()
	}
	t.reverse(spans(len(o.y.Value)), o)
}

func (o *pointwise) forwardTask(i int) {
	lo, hi := spanOf(i, len(o.y.Value))
	y, a := o.y.Value[lo:hi], o.a.Value[lo:hi]
	switch o.kind {
	case addKind:
		kernel.Add(y, a, o.b.Value[lo:hi])
	case mulKind:
		kernel.Mul(y, a, o.b.Value[lo:hi])
	case scaleKind:
		copy(y, a)
		kernel.Scale(o.factor, y)
	case reluKind:
		for j, v := range a {
			y[j] = max(v, 0)
		}
	case geluKind:
		for j, v := range a {
			y[j] = v * float32(normalCDF(float64(v)))
		}
	case siluKind:
		for j, v := range a {
			y[j] = v * float32(sigmoid(float64(v)))
		}
	}
}

func (o *pointwise) backwardTask(i int) {
	lo, hi := spanOf(i, len(o.y.Value))
	dy, a := o.y.Grad[lo:hi], o.a.Value[lo:hi]
	switch {
	case o.kind == addKind:
		o.addTo(o.a, lo, hi, dy)
		o.addTo(o.b, lo, hi, dy)
	case o.kind == mulKind:
		if o.a.Grad != nil {
			kernel.MulAdd(o.a.Grad[lo:hi], 1, dy, o.b.Value[lo:hi])
		}
		if o.b.Grad != nil {
			kernel.MulAdd(o.b.Grad[lo:hi], 1, dy, a)
		}
	case o.kind == scaleKind:
		kernel.Axpy(o.factor, dy, o.a.Grad[lo:hi])
	default:
		da := o.a.Grad[lo:hi]
		for j, v := range a {
			da[j] += dy[j] * o.kind.slope(v)
		}
	}
}

func (o *pointwise) addTo(v *Var, lo, hi int, dy []float32) {
	if v.Grad != nil {
		kernel.Add(v.Grad[lo:hi], v.Grad[lo:hi], dy)
	}
}

// slope is the derivative of an activation at v.
func (k kind) slope(v float32) float32 {
	x := float64(v)
	switch k {
	case reluKind:
		if v > 0 {
			return 1
		}
		return 0
	case geluKind:
		return float32(normalCDF(x) + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi))
	default:
		s := sigmoid(x)
		return float32(s * (1 + x*(1-s)))
	}
}

func normalCDF(x float64) float64 { return 0.5 * math.Erfc(-x/math.Sqrt2) }

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// swiGLU is y = silu(gate) * up.
type swiGLU struct {
	gate, up, y        *Var
	gateFirst, upFirst bool // of the gradients
}

// SwiGLU is silu(gate) * up (Shazeer 2020).
func (t *Tape) SwiGLU(gate, up *Var) *Var {
	sameShape("SwiGLU", gate, up)
	o := t.swiglus.put(swiGLU{gate: gate, up: up, y: t.result(gate.Rows, gate.Cols, gate.Grad, up.Grad)})
	t.forward(spans(len(o.y.Value)), o)
	if o.y.Grad != nil {
		t.needGrad(gate)
		t.needGrad(up)
	}
	return t.record(o.y, o)
}

func (o *swiGLU) backward(t *Tape) {
	o.gateFirst, o.upFirst = o.gate.first(), o.up.first()
	t.reverse(spans(len(o.y.Value)), o)
}

func (o *swiGLU) forwardTask(i int) {
	lo, hi := spanOf(i, len(o.y.Value))
	kernel.SwiGLU(o.y.Value[lo:hi], o.gate.Value[lo:hi], o.up.Value[lo:hi])
}

func (o *swiGLU) backwardTask(i int) {
	const piece = 1 << 11 // cleared and added to while it is in the L1 cache
	lo, end := spanOf(i, len(o.y.Value))
	for ; lo < end; lo += piece {
		hi := min(end, lo+piece)
		if o.gateFirst {
			clear(o.gate.Grad[lo:hi])
		}
		if o.upFirst {
			clear(o.up.Grad[lo:hi])
		}
		kernel.SwiGLUGrad(o.gate.Grad[lo:hi], o.up.Grad[lo:hi], o.y.Grad[lo:hi], o.gate.Value[lo:hi], o.up.Value[lo:hi])
	}
}

// dropout is y = x * mask, with mask 0 or 1/(1-p), or residual + x * mask.
type dropout struct {
	x, y *Var
	mask []float32
}

// Dropout zeroes each element with probability p (to 1/65536) and scales the
// others so that the mean stays. It draws from r in a fixed order; key r by
// the coordinates of the step. With p <= 0 it is x itself.
func (t *Tape) Dropout(x *Var, p float64, r *rand.Rand) *Var {
	cut := dropoutCut(p)
	if cut == 0 {
		return x
	}
	o := t.dropouts.put(dropout{x: x, y: t.result(x.Rows, x.Cols, x.Grad), mask: t.mem.take(len(x.Value))})
	o.draw(cut, r)
	kernel.Mul(o.y.Value, x.Value, o.mask)
	return t.record(o.y, o)
}

// addDropout is residual + Dropout(x). The sum has the residual's gradient, as in
// addLinear, so the same operations are barred from taking residual.
func (t *Tape) addDropout(residual, x *Var, p float64, r *rand.Rand) *Var {
	sameShape("addDropout", residual, x)
	y := t.result(x.Rows, x.Cols)
	o := t.dropouts.put(dropout{x: x, y: y, mask: t.mem.take(len(x.Value))})
	o.draw(dropoutCut(p), r)
	copy(y.Value, residual.Value)
	kernel.MulAdd(y.Value, 1, x.Value, o.mask)
	if y.Grad, y.written = residual.Grad, residual.written; x.Grad != nil {
		t.needGrad(y)
	}
	return t.record(y, o)
}

// dropoutCut is p in parts of 65536.
func dropoutCut(p float64) uint64 { return uint64(math.Round(max(p, 0) * (1 << 16))) }

func (o *dropout) draw(cut uint64, r *rand.Rand) {
	keep := float32(0)
	if cut < 1<<16 {
		keep = float32(1<<16) / float32(1<<16-cut)
	}
	var bits uint64
	for i := range o.mask {
		if i%4 == 0 {
			bits = r.Uint64() // four draws of 16 bits
		}
		o.mask[i] = 0
		if bits&0xffff >= cut {
			o.mask[i] = keep
		}
		bits >>= 16
	}
}

func (o *dropout) backward(*Tape) {
	if o.x.Grad == nil {
		return
	}
	o.x.open()
	kernel.MulAdd(o.x.Grad, 1, o.y.Grad, o.mask)
}
