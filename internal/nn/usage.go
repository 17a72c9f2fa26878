package nn

import "github.com/gr2/gr2/internal/kernel"

// codeUsage is C * sum_j p_j^2, with p the mean over the rows of x of
// softmax_j(-|x - code_j|^2).
type codeUsage struct {
	x, y    *Var
	codes   *Param
	norms   []float32 // |code|^2
	shares  []float32 // softmax of each row: x.Rows x codes
	mean    []float32 // p
	partial []float32 // sums of shares by task: tasks x codes
}

// CodeUsage is C * sum_j p_j^2 as a 1x1 Var, where p_j is the mean over the rows
// of x of how likely code j of C is, softmax(-squared distance). It is least, 1,
// when all codes are equally likely on average, and most, C, when one code takes
// all rows.
func (t *Tape) CodeUsage(x *Var, codes *Param) *Var {
	want("CodeUsage", codes.Cols, x.Cols)
	n := codes.Rows
	y := t.result(1, 1, x.Grad, codes.grad())
	tasks := rowBlocks(x.Rows, n)
	o := t.usages.put(codeUsage{x: x, y: y, codes: codes, norms: t.mem.take(n), shares: t.mem.take(x.Rows * n),
		mean: t.mem.zeros(n), partial: t.mem.zeros(tasks * n)})
	for j := range o.norms {
		row := codes.row(int32(j))
		o.norms[j] = kernel.Dot(row, row)
	}
	// |x|^2 is the same for all codes of a row and leaves the softmax unchanged.
	kernel.Gemm(false, true, x.Rows, n, x.Cols, 2, x.Value, x.Cols, codes.Value, x.Cols, 0, o.shares, n)
	t.forward(tasks, o)
	addPartials(o.mean, o.partial)
	kernel.Scale(1/float32(x.Rows), o.mean)
	y.Value[0] = float32(n) * kernel.Dot(o.mean, o.mean)
	return t.record(y, o)
}

func (o *codeUsage) row(r int) []float32 { return o.shares[r*o.codes.Rows : (r+1)*o.codes.Rows] }

func (o *codeUsage) forwardTask(i int) {
	n := o.codes.Rows
	sum := o.partial[i*n : (i+1)*n]
	lo, hi := rowsOf(i, o.x.Rows, n)
	for r := lo; r < hi; r++ {
		row := o.row(r)
		kernel.Axpy(-1, o.norms, row)
		kernel.Softmax(row)
		kernel.Add(sum, sum, row)
	}
}

// backward: with g the gradient of the logits, whose rows sum to 0,
// dx = 2 g codes and dcodes = 2 (g^T x - diag(sum of g) codes).
func (o *codeUsage) backward(t *Tape) {
	n, d := o.codes.Rows, o.codes.Cols
	at := t.mem.at
	o.partial = t.mem.zeros(rowBlocks(o.x.Rows, n) * n)
	t.reverse(rowBlocks(o.x.Rows, n), o) // shares becomes g
	if o.x.Grad != nil {
		kernel.Gemm(false, false, o.x.Rows, d, n, 2, o.shares, n, o.codes.Value, d, o.x.beta(), o.x.Grad, d)
	}
	if grad := o.codes.grad(); grad != nil {
		kernel.Gemm(true, false, n, d, o.x.Rows, 2, o.shares, n, o.x.Value, d, 1, grad, d)
		sums := t.mem.zeros(n)
		addPartials(sums, o.partial)
		for j, sum := range sums {
			kernel.Axpy(-2*sum, o.codes.row(int32(j)), grad[j*d:(j+1)*d])
		}
	}
	t.mem.release(at)
}

// backwardTask turns shares s into g_j = s_j (2 C p_j - sum_k s_k 2 C p_k) / rows.
func (o *codeUsage) backwardTask(i int) {
	n := o.codes.Rows
	coef := 2 * float32(n) / float32(o.x.Rows) * o.y.Grad[0]
	sum := o.partial[i*n : (i+1)*n]
	lo, hi := rowsOf(i, o.x.Rows, n)
	for r := lo; r < hi; r++ {
		row := o.row(r)
		inner := kernel.Dot(row, o.mean)
		for j, s := range row {
			row[j] = coef * s * (o.mean[j] - inner)
		}
		kernel.Add(sum, sum, row)
	}
}
