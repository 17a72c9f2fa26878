package nn

import (
	"math"

	"github.com/gr2/gr2/internal/kernel"
)

// crossEntropy is sum_i weight_i * nll_i / norm over rows of logits.
type crossEntropy struct {
	logits, y *Var
	targets   []int32
	weights   []float32
	norm      float32
	probs     []float32 // softmax of each row
	nll       []float32 // of each row; 0 where the weight is
}

// CrossEntropy is sum(weights * -log softmax(logits)[targets]) / norm, as a 1x1
// Var. Rows with weight 0 are left out; their target may be anything.
func (t *Tape) CrossEntropy(logits *Var, targets []int32, weights []float32, norm float32) *Var {
	want("CrossEntropy targets", logits.Rows, len(targets))
	want("CrossEntropy weights", logits.Rows, len(weights))
	y := t.result(1, 1, logits.Grad)
	o := t.entropies.put(crossEntropy{logits: logits, y: y, targets: targets, weights: weights, norm: norm,
		probs: t.mem.take(len(logits.Value)), nll: t.mem.take(logits.Rows)})
	t.forward(rowBlocks(logits.Rows, logits.Cols), o)
	y.Value[0] = weightedMean(o.nll, weights, norm)
	return t.record(y, o)
}

func (o *crossEntropy) forwardTask(i int) {
	cols := o.logits.Cols
	lo, hi := rowsOf(i, o.logits.Rows, cols)
	for r := lo; r < hi; r++ {
		o.nll[r] = 0
		if o.weights[r] != 0 {
			p := o.probs[r*cols : (r+1)*cols]
			copy(p, o.logits.row(r))
			o.nll[r] = -softmaxLogProb(p, int(o.targets[r]))
		}
	}
}

func (o *crossEntropy) backward(t *Tape) {
	o.logits.open()
	t.reverse(rowBlocks(o.logits.Rows, o.logits.Cols), o)
}

func (o *crossEntropy) backwardTask(i int) {
	cols := o.logits.Cols
	lo, hi := rowsOf(i, o.logits.Rows, cols)
	for r := lo; r < hi; r++ {
		if o.weights[r] != 0 {
			coef := o.y.Grad[0] * o.weights[r] / o.norm
			d := o.logits.gradRow(r)
			kernel.Axpy(coef, o.probs[r*cols:(r+1)*cols], d)
			d[o.targets[r]] -= coef
		}
	}
}

// softmaxLogProb turns a row of logits into probabilities, in place, and
// returns the log-probability of the target. It is computed from the logits,
// so a target whose probability underflows keeps a finite one.
func softmaxLogProb(row []float32, target int) float32 {
	top, logit := kernel.Max(row), row[target]
	kernel.Softmax(row)
	// The largest probability is exp(0)/sum.
	return logit - top + float32(math.Log(float64(kernel.Max(row))))
}

// weightedMean is sum(x * weights) / norm, in double precision and in order.
func weightedMean(x, weights []float32, norm float32) float32 {
	sum := 0.0
	for i, v := range x {
		sum += float64(v) * float64(weights[i])
	}
	return float32(sum / float64(norm))
}

// squaredError is mean((a-b)^2).
type squaredError struct{ a, b, y *Var }

// MSE is the mean of (a-b)^2 over all elements, as a 1x1 Var.
func (t *Tape) MSE(a, b *Var) *Var {
	sameShape("MSE", a, b)
	y := t.result(1, 1, a.Grad, b.Grad)
	sum := 0.0
	for i, v := range a.Value {
		d := float64(v) - float64(b.Value[i])
		sum += d * d
	}
	y.Value[0] = float32(sum / float64(len(a.Value)))
	return t.record(y, t.errors.put(squaredError{a, b, y}))
}

func (o *squaredError) backward(*Tape) {
	o.a.open()
	o.b.open()
	coef := 2 * o.y.Grad[0] / float32(len(o.a.Value))
	for i, v := range o.a.Value {
		d := coef * (v - o.b.Value[i])
		if o.a.Grad != nil {
			o.a.Grad[i] += d
		}
		if o.b.Grad != nil {
			o.b.Grad[i] -= d
		}
	}
}
