package nn

import (
	"math"
	"slices"

	"github.com/gr2/gr2/internal/kernel"
)

// limits bound the temporary memory of operations.
type limits struct {
	// A chunk of the vocabulary projection has at most chunk logits, and a pass
	// with up to kept in all keeps the probabilities for its backward pass; a
	// larger one computes them a second time.
	chunk, kept int
	// A tile of attention has at most queries rows and keys columns. keys is a
	// multiple of lane and at least 2*(queries+lane), so that the first tile of a
	// row holds its diagonal.
	queries, keys int
}

// defaultLimits are 16 MiB and 64 MiB of logits, and 192 KiB of scores.
var defaultLimits = limits{chunk: 1 << 22, kept: 1 << 24, queries: 96, keys: 512}

// headLoss is the cross-entropy of x W^T, or what LinearPolicy makes of the same
// log-probabilities.
type headLoss struct {
	x, y    *Var
	w       *Param
	few     *Var // the rows that w stands for, where it is a part of the vocabulary
	targets []int32
	allowed [][]int32 // by row; nil for the whole vocabulary
	weights []float32
	norm    float32
	sharp   float32   // logits are multiplied by it: 1/temperature
	logProb []float32 // of the targets
	entropy []float32 // of the rows, or nil
	scratch *scratch  // the tape's, for entropies

	chunk  int       // rows projected at a time
	kept   []float32 // probabilities of all rows, or nil
	from   int       // first row of the chunk under way
	beta   float32   // of the gradient of x
	logits []float32 // of the chunk under way
}

// LinearCrossEntropy is CrossEntropy(Linear(x, w), ...) in chunks of bounded
// size. Every row is projected: gather those that count (Rows) first. Where
// allowed is not nil and has tokens for a row, the softmax runs over these
// alone, as it does when a grammar masks the rest; the target must be one.
func (t *Tape) LinearCrossEntropy(x *Var, w *Param, targets []int32, allowed [][]int32, weights []float32, norm float32) *Var {
	want("LinearCrossEntropy weights", x.Rows, len(weights))
	y := t.result(1, 1, x.Grad, w.grad())
	o := t.newHead(x, w, targets, allowed)
	o.y, o.weights, o.norm = y, weights, norm
	o.keep(t)
	o.score(t)
	y.Value[0] = -weightedMean(o.logProb, weights, norm)
	return t.record(y, o)
}

// LinearLogProbs is log softmax(x W^T / temperature)[targets] for each row. It
// carries no gradient and is valid until Reset. allowed is as for
// LinearCrossEntropy.
func (t *Tape) LinearLogProbs(x *Var, w *Param, targets []int32, allowed [][]int32, temperature float32) []float32 {
	o := t.newHead(x, w, targets, allowed)
	o.sharp = 1 / temperature
	o.score(t)
	return o.logProb
}

func (t *Tape) newHead(x *Var, w *Param, targets []int32, allowed [][]int32) *headLoss {
	want("vocabulary projection", w.Cols, x.Cols)
	want("targets", x.Rows, len(targets))
	if allowed != nil {
		want("allowed tokens", x.Rows, len(allowed))
	}
	o := headLoss{x: x, w: w, targets: targets, allowed: allowed, sharp: 1, logProb: t.mem.take(x.Rows)}
	if tokens := t.union(allowed, targets, w.Rows/2); tokens != nil {
		o.narrow(t, tokens)
	}
	o.chunk = min(max(1, t.limits.chunk/o.w.Rows), max(1, x.Rows))
	return t.heads.put(o)
}

// union is the targets and all tokens that some row allows, ascending; nil where a
// row allows every token, or where they are more than most: a grammar leaves a choice
// among a few.
func (t *Tape) union(allowed [][]int32, targets []int32, most int) []int32 {
	n := len(targets)
	for _, list := range allowed {
		if len(list) == 0 {
			return nil
		}
		n += len(list)
	}
	if len(allowed) == 0 {
		return nil
	}
	all := append(t.ints.take(n), targets...)
	for _, list := range allowed {
		all = append(all, list...)
	}
	slices.Sort(all)
	if all = slices.Compact(all); len(all) > most {
		return nil
	}
	return all
}

// narrow puts the rows of these tokens in the place of the vocabulary and their
// numbers in that of the tokens.
func (o *headLoss) narrow(t *Tape, tokens []int32) {
	o.few = t.Embed(o.w, tokens)
	o.w = t.params.put(Param{Rows: len(tokens), Cols: o.w.Cols, Value: o.few.Value, Grad: o.few.Grad, Frozen: o.few.Grad == nil})
	number := func(token int32) int32 {
		n, _ := slices.BinarySearch(tokens, token)
		return int32(n)
	}
	targets, allowed := t.ints.take(len(o.targets)), t.allowed.take(len(o.allowed))
	for i, token := range o.targets {
		few := t.ints.take(len(o.allowed[i]))
		for _, other := range o.allowed[i] {
			few = append(few, number(other))
		}
		targets, allowed = append(targets, number(token)), append(allowed, few)
	}
	o.targets, o.allowed = targets, allowed
}

// keep makes room for the probabilities where they are wanted and not too many.
func (o *headLoss) keep(t *Tape) {
	if total := o.x.Rows * o.w.Rows; o.y.Grad != nil && total <= t.limits.kept {
		o.kept = t.mem.take(total)
	}
}

// score fills logProb, chunk by chunk.
func (o *headLoss) score(t *Tape) {
	at := t.mem.at
	buffer := o.buffer(t)
	for o.from = 0; o.from < o.x.Rows; o.from += o.chunk {
		o.project(t, buffer)
	}
	t.mem.release(at)
}

// buffer is room for the logits of a chunk, where they are not kept.
func (o *headLoss) buffer(t *Tape) []float32 {
	if o.kept != nil {
		return nil
	}
	return t.mem.take(o.chunk * o.w.Rows)
}

// rows is the number of rows of the chunk at o.from.
func (o *headLoss) rows() int { return min(o.chunk, o.x.Rows-o.from) }

// project computes the probabilities of the chunk at o.from into o.logits and
// the log-probabilities of its targets.
func (o *headLoss) project(t *Tape, buffer []float32) {
	n, d, vocab := o.rows(), o.w.Cols, o.w.Rows
	o.logits = buffer
	if o.kept != nil {
		o.logits = o.kept[o.from*vocab:]
	}
	o.logits = o.logits[:n*vocab]
	t.gemm(false, true, n, vocab, d, o.sharp, o.x.Value[o.from*d:], d, o.w.Value, d, 0, o.logits, vocab)
	tasks, at := rowBlocks(n, vocab), t.mem.at
	if o.entropy != nil {
		o.scratch = &t.scratch
		o.scratch.fill(&t.mem, vocab, tasks)
	}
	t.forward(tasks, o)
	t.mem.release(at)
}

func (o *headLoss) forwardTask(i int) {
	vocab := o.w.Rows
	lo, hi := rowsOf(i, o.rows(), vocab)
	var logits []float32
	if o.entropy != nil {
		logits = o.scratch.take()
		defer o.scratch.give(logits)
	}
	for r := lo; r < hi; r++ {
		row, target := o.logits[r*vocab:(r+1)*vocab], int(o.targets[o.from+r])
		copy(logits, row) // of a masked token, too: 0 * -Inf would be no number
		if o.allowed != nil && len(o.allowed[o.from+r]) > 0 {
			maskLogits(row, o.allowed[o.from+r])
		}
		o.logProb[o.from+r] = softmaxLogProb(row, target)
		if o.entropy != nil {
			o.entropy[o.from+r] = entropyOf(row, logits, logits[target]-o.logProb[o.from+r])
		}
	}
}

// maskLogits sets the logits of all other tokens to -Inf, so that they get
// probability and gradient 0.
func maskLogits(row []float32, allowed []int32) {
	var held [64]float32 // room for a slate's numbers; more of them allocate
	keep := held[:0]
	for _, token := range allowed {
		keep = append(keep, row[token])
	}
	for i := range row {
		row[i] = minusInf
	}
	for i, token := range allowed {
		row[token] = keep[i]
	}
}

var minusInf = float32(math.Inf(-1))

func (o *headLoss) backward(t *Tape) {
	o.beta = o.x.beta()
	if o.few != nil {
		o.few.open()
	}
	at := t.mem.at
	buffer := o.buffer(t)
	for o.from = 0; o.from < o.x.Rows; o.from += o.chunk {
		o.backwardChunk(t, buffer)
	}
	t.mem.release(at)
}

func (o *headLoss) backwardChunk(t *Tape, buffer []float32) {
	n, d, vocab := o.rows(), o.w.Cols, o.w.Rows
	if o.kept == nil {
		o.project(t, buffer)
	} else {
		o.logits = o.kept[o.from*vocab : (o.from+n)*vocab]
	}
	t.reverse(rowBlocks(n, vocab), o)
	t.weightGrad(o.w, o.logits, o.x.Value[o.from*d:], n)
	if o.x.Grad != nil {
		t.gemm(false, false, n, d, vocab, 1, o.logits, vocab, o.w.Value, d, o.beta, o.x.Grad[o.from*d:], d)
	}
}

// backwardTask turns probabilities into the gradient of the logits.
func (o *headLoss) backwardTask(i int) {
	vocab := o.w.Rows
	lo, hi := rowsOf(i, o.rows(), vocab)
	for r := lo; r < hi; r++ {
		row := o.logits[r*vocab : (r+1)*vocab]
		coef := o.y.Grad[0] * o.weights[o.from+r] / o.norm * o.sharp
		kernel.Scale(coef, row)
		row[o.targets[o.from+r]] -= coef
	}
}
