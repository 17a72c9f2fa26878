package nn

import (
	"math"

	"github.com/gr2/gr2/internal/kernel"
)

// sampledSoftmax is the mean cross-entropy of each row's target among the
// candidates: the targets of all rows, then the negatives.
type sampledSoftmax struct {
	x, y        *Var
	table, bias *Param
	targets     []int32
	candidates  []int32
	offset      []float32 // bias - logq of each candidate
	items       []float32 // table rows of the candidates
	probs       []float32 // x.Rows x candidates
	nll         []float32
}

// SampledSoftmax is the mean over the rows of x of the cross-entropy of
// targets[i] against the in-batch targets and the shared negatives, with scores
// x . table[c] + bias[c] - logq[c] (Bengio and Senecal 2008; Jean et al. 2015).
// logq, by item, is the log of how often an item is expected among the
// candidates; nil corrects nothing. bias has one value per item, or is nil. In
// row i a candidate equal to targets[i] other than its own is masked: it is no
// negative.
func (t *Tape) SampledSoftmax(x *Var, table, bias *Param, targets, negatives []int32, logq []float32) *Var {
	want("SampledSoftmax targets", x.Rows, len(targets))
	want("SampledSoftmax columns", table.Cols, x.Cols)
	y := t.result(1, 1, x.Grad, table.grad(), bias.grad())
	n := len(targets) + len(negatives)
	o := t.sampled.put(sampledSoftmax{x: x, y: y, table: table, bias: bias, targets: targets,
		candidates: append(append(t.ints.take(n), targets...), negatives...),
		offset:     t.mem.zeros(n), items: t.mem.take(n * table.Cols),
		probs: t.mem.take(x.Rows * n), nll: t.mem.take(x.Rows)})
	for j, c := range o.candidates {
		copy(o.items[j*table.Cols:], table.row(c))
		if bias != nil {
			o.offset[j] = bias.Value[c]
		}
		if logq != nil {
			o.offset[j] -= logq[c]
		}
	}
	kernel.Gemm(false, true, x.Rows, n, x.Cols, 1, x.Value, x.Cols, o.items, x.Cols, 0, o.probs, n)
	t.forward(rowBlocks(x.Rows, n), o)
	sum := 0.0
	for _, v := range o.nll {
		sum += float64(v)
	}
	y.Value[0] = float32(sum / float64(max(1, x.Rows)))
	return t.record(y, o)
}

func (o *sampledSoftmax) forwardTask(i int) {
	n := len(o.candidates)
	lo, hi := rowsOf(i, o.x.Rows, n)
	for r := lo; r < hi; r++ {
		row := o.probs[r*n : (r+1)*n]
		kernel.Add(row, row, o.offset)
		for j, c := range o.candidates {
			if c == o.targets[r] && j != r {
				row[j] = float32(math.Inf(-1))
			}
		}
		o.nll[r] = -softmaxLogProb(row, r)
	}
}

func (o *sampledSoftmax) backward(t *Tape) {
	n, d := len(o.candidates), o.x.Cols
	t.reverse(rowBlocks(o.x.Rows, n), o) // probs becomes the gradient of the scores
	if o.x.Grad != nil {
		kernel.Gemm(false, false, o.x.Rows, d, n, 1, o.probs, n, o.items, d, o.x.beta(), o.x.Grad, d)
	}
	if o.table.grad() != nil {
		at := t.mem.at
		ditems := t.mem.take(n * d)
		kernel.Gemm(true, false, n, d, o.x.Rows, 1, o.probs, n, o.x.Value, d, 0, ditems, d)
		for j, c := range o.candidates { // serial: a candidate may occur twice
			o.table.addGradRow(c, ditems[j*d:(j+1)*d])
		}
		t.mem.release(at)
	}
	if db := o.bias.grad(); db != nil {
		at := t.mem.at
		sums := t.mem.zeros(n)
		addPartials(sums, o.probs)
		for j, c := range o.candidates {
			db[c] += sums[j]
		}
		t.mem.release(at)
	}
}

func (o *sampledSoftmax) backwardTask(i int) {
	n := len(o.candidates)
	coef := o.y.Grad[0] / float32(o.x.Rows)
	lo, hi := rowsOf(i, o.x.Rows, n)
	for r := lo; r < hi; r++ {
		row := o.probs[r*n : (r+1)*n]
		kernel.Scale(coef, row)
		row[r] -= coef
	}
}
