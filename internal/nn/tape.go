package nn

import (
	"fmt"

	"github.com/gr2/gr2/internal/kernel"
)

// Param is a trained matrix, row-major. Its owner allocates Value and Grad.
type Param struct {
	Name       string
	Rows, Cols int
	Value      []float32
	Grad       []float32 // accumulated by Backward, cleared by AdamW.Step
	Decay      bool      // subject to weight decay
	Frozen     bool      // neither gets gradients nor changes
	TrainFrom  int       // rows below stay fixed (token warm-up)
}

// NewParam makes a Param of zeros that is trained without decay.
func NewParam(name string, rows, cols int) *Param {
	return &Param{Name: name, Rows: rows, Cols: cols, Value: make([]float32, rows*cols), Grad: make([]float32, rows*cols)}
}

// row is row i of the values.
func (p *Param) row(i int32) []float32 {
	return p.Value[int(i)*p.Cols : (int(i)+1)*p.Cols]
}

// grad is where the gradient goes; nil when the parameter is frozen.
func (p *Param) grad() []float32 {
	if p == nil || p.Frozen {
		return nil
	}
	return p.Grad
}

// trained is the part of the gradient that may change values.
func (p *Param) trained() []float32 {
	if p.Frozen {
		return nil
	}
	return p.Grad[min(p.TrainFrom, p.Rows)*p.Cols:]
}

// Var is a matrix on a tape, row-major. Grad is nil when no gradient flows
// through it, and arbitrary until Backward writes to it.
type Var struct {
	Rows, Cols  int
	Value, Grad []float32
	written     *bool // whether Grad holds anything; one for all Vars that share it
}

// row is row i of the values.
func (v *Var) row(i int) []float32 { return v.Value[i*v.Cols : (i+1)*v.Cols] }

// gradRow is row i of the gradient.
func (v *Var) gradRow(i int) []float32 { return v.Grad[i*v.Cols : (i+1)*v.Cols] }

// first notes that the gradient of v is about to be written and tells whether
// that is the first time. Whoever comes first overwrites, the others add.
func (v *Var) first() bool {
	if v.Grad == nil || *v.written {
		return false
	}
	*v.written = true
	return true
}

// beta is first as the factor that Gemm applies to what the gradient holds.
func (v *Var) beta() float32 {
	if v.first() {
		return 0
	}
	return 1
}

// open makes the gradient of v one to add to.
func (v *Var) open() {
	if v.first() {
		clear(v.Grad)
	}
}

// leaf is the state of gradients that are added to from the start.
var leaf = true

// op is a recorded operation. backward adds to the gradients of its inputs,
// given the complete gradient of its result. An input whose gradient is not
// written yet holds no zeros: see Var.first.
type op interface{ backward(t *Tape) }

// record is an operation and its result.
type record struct {
	op
	y *Var
}

// tasks is an operation whose work falls into independent parts.
type tasks interface {
	forwardTask(i int)
	backwardTask(i int)
}

// Tape records operations and owns the memory of their results.
type Tape struct {
	// BF16 has products with parameters, and those of their gradients, rounded as
	// kernel.GemmBF16 does: activations, weights and gradients on their way into a
	// product, never where they are kept.
	BF16 bool

	ops     []record
	mem     arena
	ints    lists[int32]   // room for the row selections of one step
	allowed lists[[]int32] // room for their allowed tokens
	blocks  lists[block]   // room for the blocks of attention
	silent  bool           // record nothing: results carry no gradient
	limits  limits
	scratch scratch // of the operation under way
	pools

	current                tasks // whose tasks run
	runForward, runReverse func(i int)
}

// pools hold the records of each kind of operation.
type pools struct {
	vars       pool[Var]
	flags      pool[bool]
	linears    pool[linear]
	matmuls    pool[matMulT]
	pointwise  pool[pointwise]
	swiglus    pool[swiGLU]
	dropouts   pool[dropout]
	rmsNorms   pool[rmsNorm]
	layerNorms pool[layerNorm]
	embeds     pool[embed]
	gathers    pool[gather]
	ropes      pool[rope]
	attentions pool[attention]
	layouts    pool[documents]
	stretches  pool[stretch]
	entropies  pool[crossEntropy]
	heads      pool[headLoss]
	params     pool[Param]
	sampled    pool[sampledSoftmax]
	errors     pool[squaredError]
	usages     pool[codeUsage]
}

// NewTape makes an empty tape.
func NewTape() *Tape {
	t := &Tape{limits: defaultLimits}
	// Bound once: a method value made per call would allocate.
	t.runForward = func(i int) { t.current.forwardTask(i) }
	t.runReverse = func(i int) { t.current.backwardTask(i) }
	return t
}

// NewForwardTape makes a tape that records nothing: its results carry no
// gradient. It is for scoring.
func NewForwardTape() *Tape {
	t := NewTape()
	t.silent = true
	return t
}

// Reset forgets all operations. Everything the tape returned becomes invalid.
func (t *Tape) Reset() {
	t.ops = t.ops[:0]
	t.ints.reset()
	t.allowed.reset()
	t.blocks.reset()
	t.mem.reset()
	t.vars.reset()
	t.flags.reset()
	t.linears.reset()
	t.matmuls.reset()
	t.pointwise.reset()
	t.swiglus.reset()
	t.dropouts.reset()
	t.rmsNorms.reset()
	t.layerNorms.reset()
	t.embeds.reset()
	t.gathers.reset()
	t.ropes.reset()
	t.attentions.reset()
	t.layouts.reset()
	t.stretches.reset()
	t.entropies.reset()
	t.heads.reset()
	t.params.reset()
	t.sampled.reset()
	t.errors.reset()
	t.usages.reset()
}

// Backward adds the gradient of loss, a 1x1 Var of this tape, to every Param
// that it depends on. Call it once between two Resets.
func (t *Tape) Backward(loss *Var) {
	if loss.Rows != 1 || loss.Cols != 1 {
		panic(fmt.Sprintf("nn: Backward of a %dx%d matrix, want 1x1", loss.Rows, loss.Cols))
	}
	if loss.Grad == nil {
		return // depends on nothing that is trained
	}
	loss.Grad[0], *loss.written = 1, true
	t.unwind(0)
}

// unwind runs the operations from number n on in reverse and forgets them. One
// whose result has no gradient has nothing to hand on.
func (t *Tape) unwind(n int) {
	for i := len(t.ops) - 1; i >= n; i-- {
		if o := t.ops[i]; *o.y.written {
			o.backward(t)
		}
	}
	t.ops = t.ops[:n]
}

// Leaf is the parameter as a Var.
func (t *Tape) Leaf(p *Param) *Var {
	v := Var{Rows: p.Rows, Cols: p.Cols, Value: p.Value}
	if !t.silent {
		v.Grad, v.written = p.grad(), &leaf
	}
	return t.vars.put(v)
}

// Const is data as a Var without gradient.
func (t *Tape) Const(rows, cols int, data []float32) *Var {
	want("Const", rows*cols, len(data))
	return t.vars.put(Var{Rows: rows, Cols: cols, Value: data})
}

// Reshape is x with the same elements, in the same order, in rows of cols.
func (t *Tape) Reshape(x *Var, rows, cols int) *Var {
	want("Reshape", x.Rows*x.Cols, rows*cols)
	return t.vars.put(Var{Rows: rows, Cols: cols, Value: x.Value, Grad: x.Grad, written: x.written})
}

// StopGradient is x without its gradient.
func (t *Tape) StopGradient(x *Var) *Var { return t.Const(x.Rows, x.Cols, x.Value) }

// StraightThrough has the values of quantised and hands its gradient to x
// unchanged (Bengio et al. 2013).
func (t *Tape) StraightThrough(x, quantised *Var) *Var {
	sameShape("StraightThrough", x, quantised)
	return t.vars.put(Var{Rows: x.Rows, Cols: x.Cols, Value: quantised.Value, Grad: x.Grad, written: x.written})
}

// result makes the Var of an operation, with a gradient when one of what it
// depends on has one. Values and gradient are arbitrary.
func (t *Tape) result(rows, cols int, grads ...[]float32) *Var {
	v := t.vars.put(Var{Rows: rows, Cols: cols, Value: t.mem.take(rows * cols)})
	if t.silent {
		return v
	}
	for _, g := range grads {
		if g != nil {
			t.needGrad(v)
			break
		}
	}
	return v
}

// needGrad gives v a gradient buffer if it has none. Operations whose kernels
// compute the gradients of all operands ask for it: nobody reads it then.
func (t *Tape) needGrad(v *Var) {
	if v.Grad == nil {
		v.Grad, v.written = t.mem.take(len(v.Value)), t.flags.put(false)
	}
}

// record keeps o for Backward when its result y carries a gradient.
func (t *Tape) record(y *Var, o op) *Var {
	if y.Grad != nil {
		t.ops = append(t.ops, record{o, y})
	}
	return y
}

// forward and reverse run the n tasks of o on the worker pool.
func (t *Tape) forward(n int, o tasks) {
	t.current = o
	kernel.Parallel(n, t.runForward)
}

func (t *Tape) reverse(n int, o tasks) {
	t.current = o
	kernel.Parallel(n, t.runReverse)
}

// span is the number of elements that one task of an elementwise operation
// takes: a matter of shape, so that sums do not depend on threads.
const span = 1 << 14

// spans is the number of tasks for n elements, spanOf the range of task i.
func spans(n int) int { return (n + span - 1) / span }

func spanOf(i, n int) (lo, hi int) { return i * span, min(n, (i+1)*span) }

// blockRows is the number of rows that make about one span.
func blockRows(cols int) int { return max(1, span/max(1, cols)) }

// rowBlocks is the number of tasks for rows of cols, rowsOf the rows of task i.
func rowBlocks(rows, cols int) int { return (rows + blockRows(cols) - 1) / blockRows(cols) }

func rowsOf(i, rows, cols int) (lo, hi int) {
	n := blockRows(cols)
	return i * n, min(rows, (i+1)*n)
}

func want(op string, want, have int) {
	if want != have {
		panic(fmt.Sprintf("nn: %s: have %d where %d belong", op, have, want))
	}
}

func sameShape(op string, a, b *Var) {
	if a.Rows != b.Rows || a.Cols != b.Cols {
		panic(fmt.Sprintf("nn: %s: shapes %dx%d and %dx%d differ", op, a.Rows, a.Cols, b.Rows, b.Cols))
	}
}
