package nn

import (
	"math"

	"github.com/gr2/gr2/internal/kernel"
)

// rmsNorm is y = x / sqrt(mean(x^2) + eps) * gain, by rows.
type rmsNorm struct {
	x, y    *Var
	gain    *Param
	eps     float32
	first   bool      // to write the gradient of x
	inv     []float32 // 1/sqrt of each row
	partial []float32 // gradient of gain by each task: tasks x Cols
}

// RMSNorm normalises each row of x and multiplies it by gain (Zhang and
// Sennrich 2019).
func (t *Tape) RMSNorm(x *Var, gain *Param, eps float32) *Var {
	want("RMSNorm", len(gain.Value), x.Cols)
	y := t.result(x.Rows, x.Cols, x.Grad, gain.grad())
	o := t.rmsNorms.put(rmsNorm{x: x, y: y, gain: gain, eps: eps, inv: t.mem.take(x.Rows)})
	t.forward(rowBlocks(x.Rows, x.Cols), o)
	if y.Grad != nil {
		t.needGrad(x)
	}
	return t.record(y, o)
}

func (o *rmsNorm) forwardTask(i int) {
	lo, hi := rowsOf(i, o.x.Rows, o.x.Cols)
	for r := lo; r < hi; r++ {
		o.inv[r] = kernel.RMSNorm(o.y.row(r), o.x.row(r), o.gain.Value, o.eps)
	}
}

func (o *rmsNorm) backward(t *Tape) {
	o.first = o.x.first()
	n := rowBlocks(o.x.Rows, o.x.Cols)
	at := t.mem.at
	o.partial = nil
	if o.gain.grad() != nil {
		o.partial = t.mem.zeros(n * o.x.Cols)
	}
	t.reverse(n, o)
	addPartials(o.gain.grad(), o.partial)
	t.mem.release(at)
}

func (o *rmsNorm) backwardTask(i int) {
	cols := o.x.Cols
	var dgain []float32
	if o.partial != nil {
		dgain = o.partial[i*cols : (i+1)*cols]
	}
	lo, hi := rowsOf(i, o.x.Rows, cols)
	for r := lo; r < hi; r++ {
		if o.first {
			clear(o.x.gradRow(r))
		}
		kernel.RMSNormGrad(o.x.gradRow(r), dgain, o.y.gradRow(r), o.x.row(r), o.gain.Value, o.inv[r])
	}
}

// addPartials adds the rows of partial to dst, from the first to the last.
func addPartials(dst, partial []float32) {
	for len(partial) > 0 {
		kernel.Add(dst, dst, partial[:len(dst)])
		partial = partial[len(dst):]
	}
}

// layerNorm is y = (x - mean) / sqrt(variance + eps) * gain + bias, by rows.
type layerNorm struct {
	x, y       *Var
	gain, bias *Param
	eps        float32
	mean, inv  []float32
	partial    []float32 // gradients of gain and bias by each task: tasks x 2 x Cols
}

// LayerNorm centres and normalises each row of x, then applies gain and bias
// (Ba et al. 2016).
func (t *Tape) LayerNorm(x *Var, gain, bias *Param, eps float32) *Var {
	want("LayerNorm gain", x.Cols, len(gain.Value))
	want("LayerNorm bias", x.Cols, len(bias.Value))
	y := t.result(x.Rows, x.Cols, x.Grad, gain.grad(), bias.grad())
	o := t.layerNorms.put(layerNorm{x: x, y: y, gain: gain, bias: bias, eps: eps,
		mean: t.mem.take(x.Rows), inv: t.mem.take(x.Rows)})
	t.forward(rowBlocks(x.Rows, x.Cols), o)
	if y.Grad != nil {
		t.needGrad(x)
	}
	return t.record(y, o)
}

func (o *layerNorm) forwardTask(i int) {
	lo, hi := rowsOf(i, o.x.Rows, o.x.Cols)
	n := float32(o.x.Cols)
	for r := lo; r < hi; r++ {
		x, y := o.x.row(r), o.y.row(r)
		mean := kernel.Sum(x) / n
		for j, v := range x {
			y[j] = v - mean
		}
		inv := float32(1 / math.Sqrt(float64(kernel.Dot(y, y)/n+o.eps)))
		for j, v := range y {
			y[j] = v*inv*o.gain.Value[j] + o.bias.Value[j]
		}
		o.mean[r], o.inv[r] = mean, inv
	}
}

func (o *layerNorm) backward(t *Tape) {
	o.x.open()
	n, cols := rowBlocks(o.x.Rows, o.x.Cols), o.x.Cols
	at := t.mem.at
	o.partial = t.mem.zeros(n * 2 * cols)
	t.reverse(n, o)
	for p := o.partial; len(p) > 0; p = p[2*cols:] {
		if dgain := o.gain.grad(); dgain != nil {
			kernel.Add(dgain, dgain, p[:cols])
		}
		if dbias := o.bias.grad(); dbias != nil {
			kernel.Add(dbias, dbias, p[cols:2*cols])
		}
	}
	t.mem.release(at)
}

// backwardTask: with h = (x-mean)*inv and g = dy*gain,
// dx = inv * (g - mean(g) - h*mean(g*h)).
func (o *layerNorm) backwardTask(i int) {
	cols := o.x.Cols
	p := o.partial[i*2*cols : (i+1)*2*cols]
	dgain, dbias := p[:cols], p[cols:]
	gain := o.gain.Value
	lo, hi := rowsOf(i, o.x.Rows, cols)
	for r := lo; r < hi; r++ {
		x, dy, dx := o.x.row(r), o.y.gradRow(r), o.x.gradRow(r)
		mean, inv := o.mean[r], o.inv[r]
		var sumG, sumGH float32
		for j, d := range dy {
			h := (x[j] - mean) * inv
			g := d * gain[j]
			sumG += g
			sumGH += g * h
			dgain[j] += d * h
			dbias[j] += d
		}
		sumG /= float32(cols)
		sumGH /= float32(cols)
		for j, d := range dy {
			h := (x[j] - mean) * inv
			dx[j] += inv * (d*gain[j] - sumG - h*sumGH)
		}
	}
}
