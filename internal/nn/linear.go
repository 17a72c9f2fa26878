package nn

import "github.com/gr2/gr2/internal/kernel"

// linear is y = x W^T + bias, or y = residual + x W^T. With a residual, y and
// residual share one gradient buffer.
type linear struct {
	x, y     *Var
	w, bias  *Param
	residual *Var // nil for none
	dbias    []float32
}

// Linear is x W^T + bias, with w of shape (out, in) and bias of out elements or
// nil. The result is x.Rows by out.
func (t *Tape) Linear(x *Var, w, bias *Param) *Var {
	want("Linear", w.Cols, x.Cols)
	y := t.result(x.Rows, w.Rows, x.Grad, w.grad(), bias.grad())
	beta := float32(0)
	if bias != nil {
		want("Linear bias", w.Rows, len(bias.Value))
		for i := range y.Rows {
			copy(y.row(i), bias.Value)
		}
		beta = 1
	}
	t.gemm(false, true, x.Rows, w.Rows, w.Cols, 1, x.Value, x.Cols, w.Value, w.Cols, beta, y.Value, y.Cols)
	return t.record(y, t.linears.put(linear{x: x, y: y, w: w, bias: bias}))
}

// addLinear is residual + x W^T. The gradient of the sum is the residual's as
// it stands, so both use one buffer; hence no operation recorded after this
// one may take residual as its input.
func (t *Tape) addLinear(residual, x *Var, w *Param) *Var {
	want("addLinear", w.Cols, x.Cols)
	want("addLinear residual", w.Rows, residual.Cols)
	y := t.result(x.Rows, w.Rows)
	o := t.linears.put(linear{x: x, y: y, w: w, residual: residual})
	t.forward(spans(len(y.Value)), o)
	if y.Grad, y.written = residual.Grad, residual.written; !t.silent && (x.Grad != nil || w.grad() != nil) {
		t.needGrad(y)
	}
	t.gemm(false, true, x.Rows, w.Rows, w.Cols, 1, x.Value, x.Cols, w.Value, w.Cols, 1, y.Value, y.Cols)
	return t.record(y, o)
}

// forwardTask copies the residual, to which the product is added.
func (o *linear) forwardTask(i int) {
	lo, hi := spanOf(i, len(o.y.Value))
	copy(o.y.Value[lo:hi], o.residual.Value[lo:hi])
}

func (o *linear) backward(t *Tape) {
	x, y, w := o.x, o.y, o.w
	if x.Grad != nil {
		t.gemm(false, false, x.Rows, w.Cols, w.Rows, 1, y.Grad, y.Cols, w.Value, w.Cols, x.beta(), x.Grad, x.Cols)
	}
	t.weightGrad(w, y.Grad, x.Value, x.Rows)
	if o.dbias = o.bias.grad(); o.dbias != nil {
		t.reverse((y.Cols+biasBlock-1)/biasBlock, o)
	}
}

// biasBlock is the number of columns of a task that sums the gradient of a bias.
const biasBlock = 64

// backwardTask adds up some columns of the gradient, row by row.
func (o *linear) backwardTask(i int) {
	lo, hi := i*biasBlock, min((i+1)*biasBlock, o.y.Cols)
	for r := range o.y.Rows {
		kernel.Add(o.dbias[lo:hi], o.dbias[lo:hi], o.y.gradRow(r)[lo:hi])
	}
}

// gemm multiplies with a parameter, or for its gradient.
func (t *Tape) gemm(transA, transB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	if t.BF16 {
		kernel.GemmBF16(transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
		return
	}
	kernel.Gemm(transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
}

// weightGrad adds dy^T x to the gradient of w, for the rows that are trained.
// dy is rows x w.Rows, x is rows x w.Cols.
func (t *Tape) weightGrad(w *Param, dy, x []float32, rows int) {
	from := w.TrainFrom
	if w.Frozen || from >= w.Rows || rows == 0 {
		return
	}
	t.gemm(true, false, w.Rows-from, w.Cols, rows, 1, dy[from:], w.Rows, x, w.Cols, 1, w.Grad[from*w.Cols:], w.Cols)
}

// matMulT is y = a b^T.
type matMulT struct{ a, b, y *Var }

// MatMulT is a b^T: a.Rows by b.Rows.
func (t *Tape) MatMulT(a, b *Var) *Var {
	want("MatMulT", a.Cols, b.Cols)
	y := t.result(a.Rows, b.Rows, a.Grad, b.Grad)
	kernel.Gemm(false, true, a.Rows, b.Rows, a.Cols, 1, a.Value, a.Cols, b.Value, b.Cols, 0, y.Value, y.Cols)
	return t.record(y, t.matmuls.put(matMulT{a, b, y}))
}

func (o *matMulT) backward(*Tape) {
	a, b, y := o.a, o.b, o.y
	if a.Grad != nil {
		kernel.Gemm(false, false, a.Rows, a.Cols, b.Rows, 1, y.Grad, y.Cols, b.Value, b.Cols, a.beta(), a.Grad, a.Cols)
	}
	if b.Grad != nil {
		kernel.Gemm(true, false, b.Rows, b.Cols, a.Rows, 1, y.Grad, y.Cols, a.Value, a.Cols, b.beta(), b.Grad, b.Cols)
	}
}
