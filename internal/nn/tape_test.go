package nn

import (
	"math"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/rng"
)

// TestDropout: the mean stays, the share of zeros is p, the gradient passes
// where the value passed, and the stream decides alone.
func TestDropout(t *testing.T) {
	const p, n = 0.3, 40000
	run := func(seed uint64) (y, grad []float32) {
		x := NewParam("x", 1, n)
		fillOnes(x.Value)
		tape := NewTape()
		v := tape.Dropout(tape.Leaf(x), p, rng.New(seed))
		ones := slices.Clone(x.Value)
		tape.Backward(tape.MatMulT(v, tape.Const(1, n, ones)))
		return v.Value, x.Grad
	}
	y, grad := run(1)
	zeros, sum := 0, 0.0
	for _, v := range y {
		sum += float64(v)
		if v == 0 {
			zeros++
		}
	}
	if share := float64(zeros) / n; math.Abs(share-p) > 0.01 {
		t.Errorf("%g of the elements are zero, want %g", share, p)
	}
	if math.Abs(sum/n-1) > 0.02 {
		t.Errorf("the mean went from 1 to %g", sum/n)
	}
	if !slices.Equal(y, grad) {
		t.Error("the gradient of sum(dropout(1)) is not the mask")
	}
	if again, _ := run(1); !slices.Equal(y, again) {
		t.Error("equal streams give different masks")
	}
	if other, _ := run(2); slices.Equal(y, other) {
		t.Error("different streams give the same mask")
	}
	tape := NewTape()
	x := tape.Const(1, 1, []float32{5})
	if tape.Dropout(x, 0, nil) != x || tape.Dropout(x, 1, rng.New(1)).Value[0] != 0 {
		t.Error("probability 0 must keep everything, probability 1 nothing")
	}
}

func fillOnes(x []float32) {
	for i := range x {
		x[i] = 1
	}
}

// TestStraightThrough: values of one, gradient to the other.
func TestStraightThrough(t *testing.T) {
	x, q := NewParam("x", 1, 2), NewParam("q", 1, 2)
	copy(q.Value, []float32{3, 4})
	tape := NewTape()
	y := tape.StraightThrough(tape.Leaf(x), tape.Leaf(q))
	tape.Backward(tape.MatMulT(y, tape.Const(1, 2, []float32{10, 20})))
	if !slices.Equal(y.Value, q.Value) || !slices.Equal(x.Grad, []float32{10, 20}) || !slices.Equal(q.Grad, []float32{0, 0}) {
		t.Errorf("values %v, gradients %v and %v", y.Value, x.Grad, q.Grad)
	}
}

// TestFrozenParamsGetNoGradient, and what depends on nothing that is trained
// is not recorded.
func TestFrozenParamsGetNoGradient(t *testing.T) {
	x, w, gain := NewParam("x", 3, 4), NewParam("w", 4, 4), NewParam("gain", 1, 4)
	for _, p := range []*Param{x, w, gain} {
		fillOnes(p.Value)
		p.Frozen = true
	}
	tape := NewTape()
	targets, weights := []int32{0, 1, 2}, []float32{1, 1, 1}
	program := func() *Var {
		h := tape.RMSNorm(tape.Linear(tape.Leaf(x), w, nil), gain, 1e-6)
		return tape.CrossEntropy(tape.SwiGLU(h, h), targets, weights, 3)
	}
	tape.Backward(program())
	if len(tape.ops) != 0 {
		t.Errorf("%d operations recorded for frozen parameters", len(tape.ops))
	}
	tape.Reset()
	w.Frozen = false
	tape.Backward(program())
	zero := make([]float32, 12)
	if !slices.Equal(x.Grad, zero) || !slices.Equal(gain.Grad, zero[:4]) {
		t.Error("a frozen parameter got a gradient")
	}
	if slices.Equal(w.Grad, make([]float32, 16)) {
		t.Error("the trained parameter got none")
	}
}

// TestForwardTape computes the same values and records nothing.
func TestForwardTape(t *testing.T) {
	x, w := NewParam("x", 2, 3), NewParam("w", 2, 3)
	fillOnes(x.Value)
	fillOnes(w.Value)
	tape := NewForwardTape()
	y := tape.Linear(tape.Leaf(x), w, nil)
	if y.Value[3] != 3 || y.Grad != nil || len(tape.ops) != 0 {
		t.Errorf("value %g, gradient %v, %d operations, want 3, none and none", y.Value[3], y.Grad, len(tape.ops))
	}
}

// TestExtremeLogits: nothing overflows, and an improbable target keeps a
// finite loss and gradient.
func TestExtremeLogits(t *testing.T) {
	x := NewParam("logits", 2, 3)
	copy(x.Value, []float32{500, -500, 0, 1e30, -1e30, 0})
	tape := NewTape()
	loss := tape.CrossEntropy(tape.Leaf(x), []int32{1, 0}, []float32{1, 1}, 1)
	tape.Backward(loss)
	if loss.Value[0] != 1000 {
		t.Errorf("loss %g, want 1000", loss.Value[0])
	}
	near(t, "gradient", x.Grad, []float32{1, -1, 0, 0, 0, 0}, 1e-6)
}

// TestSampledSoftmaxIsFullSoftmax: with every item a candidate once and no
// correction, it is the cross-entropy over the catalog.
func TestSampledSoftmaxIsFullSoftmax(t *testing.T) {
	const items, dim = 6, 4
	r := rng.New(2)
	x, table := NewParam("x", 1, dim), NewParam("table", items, dim)
	for _, p := range []*Param{x, table} {
		for i := range p.Value {
			p.Value[i] = float32(r.NormFloat64())
		}
	}
	tape := NewTape()
	sampled := tape.SampledSoftmax(tape.Leaf(x), table, nil, []int32{2}, []int32{0, 1, 2, 3, 4, 5}, nil)
	full := tape.LinearCrossEntropy(tape.Leaf(x), table, []int32{2}, nil, []float32{1}, 1)
	near(t, "loss", sampled.Value, full.Value, 1e-6)
}

// TestMisuseIsLoud: shapes that do not fit are refused.
func TestMisuseIsLoud(t *testing.T) {
	tape := NewTape()
	a, b := tape.Const(2, 3, make([]float32, 6)), tape.Const(3, 2, make([]float32, 6))
	w := NewParam("w", 2, 2)
	for name, misuse := range map[string]func(){
		"Backward":  func() { tape.Backward(a) },
		"Add":       func() { tape.Add(a, b) },
		"Linear":    func() { tape.Linear(a, w, nil) },
		"Const":     func() { tape.Const(2, 2, make([]float32, 3)) },
		"Reshape":   func() { tape.Reshape(a, 4, 2) },
		"Attention": func() { tape.Attention(a, a, a, 1, 1, []int32{1}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: wrong shapes pass", name)
				}
			}()
			misuse()
		}()
	}
}
