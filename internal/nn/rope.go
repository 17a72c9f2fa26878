package nn

import "github.com/gr2/gr2/internal/kernel"

// rope is x with each head turned by the angles of its position.
type rope struct {
	x        *Var
	heads    int
	pos      []int32
	cos, sin []float32
}

// rope rotates each of the heads of row i by the angles of position pos[i]: row
// pos[i] of the tables cos and sin, each headDim/2 wide (lm.RopeTables). It does
// so in place, as its gradient does, so no other operation may read x, nor the
// one that made it its result.
func (t *Tape) rope(x *Var, heads int, pos []int32, cos, sin []float32) *Var {
	want("rope positions", x.Rows, len(pos))
	o := t.ropes.put(rope{x, heads, pos, cos, sin})
	t.forward(rowBlocks(x.Rows, x.Cols), o)
	return t.record(x, o)
}

func (o *rope) backward(t *Tape) { t.reverse(rowBlocks(o.x.Rows, o.x.Cols), o) }

func (o *rope) forwardTask(i int) {
	dim := o.x.Cols / o.heads
	lo, hi := rowsOf(i, o.x.Rows, o.x.Cols)
	for r := lo; r < hi; r++ {
		cos, sin := o.angles(r, dim)
		kernel.RoPE(o.x.row(r), o.heads, dim, cos, sin)
	}
}

func (o *rope) backwardTask(i int) {
	dim := o.x.Cols / o.heads
	lo, hi := rowsOf(i, o.x.Rows, o.x.Cols)
	for r := lo; r < hi; r++ {
		cos, sin := o.angles(r, dim)
		kernel.RoPEGrad(o.x.gradRow(r), o.heads, dim, cos, sin)
	}
}

func (o *rope) angles(r, dim int) (cos, sin []float32) {
	at := int(o.pos[r]) * dim / 2
	return o.cos[at : at+dim/2], o.sin[at : at+dim/2]
}
