package nn

import "github.com/gr2/gr2/internal/kernel"

// rope is y = x with each head turned by the angles of its position.
type rope struct {
	x, y     *Var
	heads    int
	pos      []int32
	cos, sin []float32
}

// RoPE rotates each of the heads of row i by the angles of position pos[i]:
// row pos[i] of the tables cos and sin, each headDim/2 wide (lm.RopeTables).
func (t *Tape) RoPE(x *Var, heads int, pos []int32, cos, sin []float32) *Var {
	want("RoPE positions", x.Rows, len(pos))
	y := t.result(x.Rows, x.Cols, x.Grad)
	o := t.ropes.put(rope{x, y, heads, pos, cos, sin})
	t.forward(rowBlocks(x.Rows, x.Cols), o)
	return t.record(y, o)
}

func (o *rope) backward(t *Tape) { t.reverse(rowBlocks(o.x.Rows, o.x.Cols), o) }

func (o *rope) forwardTask(i int) {
	dim := o.x.Cols / o.heads
	lo, hi := rowsOf(i, o.x.Rows, o.x.Cols)
	for r := lo; r < hi; r++ {
		copy(o.y.row(r), o.x.row(r))
		cos, sin := o.angles(r, dim)
		kernel.RoPE(o.y.row(r), o.heads, dim, cos, sin)
	}
}

// backwardTask turns the gradient back in place: nobody reads dy again.
func (o *rope) backwardTask(i int) {
	dim := o.x.Cols / o.heads
	lo, hi := rowsOf(i, o.x.Rows, o.x.Cols)
	for r := lo; r < hi; r++ {
		cos, sin := o.angles(r, dim)
		kernel.RoPEGrad(o.y.gradRow(r), o.heads, dim, cos, sin)
		kernel.Add(o.x.gradRow(r), o.x.gradRow(r), o.y.gradRow(r))
	}
}

func (o *rope) angles(r, dim int) (cos, sin []float32) {
	at := int(o.pos[r]) * dim / 2
	return o.cos[at : at+dim/2], o.sin[at : at+dim/2]
}
