package nn

// stretch is a layer of which only the input and the output are kept.
type stretch struct {
	d     *Decoder
	layer *decoderLayer
	x, y  *Var
	pos   []int32
	docs  *documents
}

// stretch is the layer's output, computed without records. Its gradient is the
// input's, as in addLinear, which ends the layer.
func (d *Decoder) stretch(t *Tape, l *decoderLayer, x *Var, pos []int32, docs *documents) *Var {
	o := t.stretches.put(stretch{d: d, layer: l, x: x, y: t.result(x.Rows, x.Cols), pos: pos, docs: docs})
	silent, at := t.silent, t.mem.at
	t.silent = true
	copy(o.y.Value, o.run(t, t.StopGradient(x)).Value)
	t.silent = silent
	t.mem.release(at)
	if o.y.Grad, o.y.written = x.Grad, x.written; !t.silent && l.trains() {
		t.needGrad(o.y)
	}
	return t.record(o.y, o)
}

func (o *stretch) run(t *Tape, x *Var) *Var {
	return o.d.transform(t, o.layer, x, o.d.attend(t, o.layer, x, o.pos, o.docs))
}

// backward runs the layer again, with records, and these in reverse.
func (o *stretch) backward(t *Tape) {
	at, n := t.mem.at, len(t.ops)
	o.run(t, t.vars.put(Var{Rows: o.x.Rows, Cols: o.x.Cols, Value: o.x.Value, Grad: o.y.Grad, written: o.y.written}))
	t.unwind(n)
	t.mem.release(at)
}

// trains tells whether any parameter of the layer is trained.
func (l *decoderLayer) trains() bool {
	for _, p := range [...]*Param{l.attnNorm, l.q, l.k, l.v, l.o, l.qBias, l.kBias, l.vBias, l.qNorm, l.kNorm, l.mlpNorm, l.gate, l.up, l.down} {
		if p.grad() != nil {
			return true
		}
	}
	return false
}
