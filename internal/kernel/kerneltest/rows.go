package kerneltest

import (
	"math"
	"testing"

	"github.com/gr2/gr2/internal/kernel"
	"pgregory.net/rapid"
)

// rowOp is an operation on rows of equal length. Its oracle computes in float64
// what becomes of each row, given what they were; nil: the row must not change.
// size bounds the magnitude that rounding works on, beyond the result's own;
// spread, where there is one, multiplies it for ill-conditioned inputs.
type rowOp struct {
	name   string
	rows   int
	run    func(x [][]float32)
	oracle func(x [][]float64, i int) []float64 // element i of every row
	size   float64
	spread func(x [][]float64) float64
}

func silu(x float64) float64 { return x / (1 + math.Exp(-x)) }

func siluSlope(x float64) float64 {
	s := 1 / (1 + math.Exp(-x))
	return s + x*s*(1-s)
}

const same = math.MaxFloat64 // an oracle's mark for an element that keeps its bits

var rowOps = []rowOp{
	{"Axpy", 2, func(x [][]float32) { kernel.Axpy(0.75, x[0], x[1]) },
		func(x [][]float64, i int) []float64 { return []float64{same, 0.75*x[0][i] + x[1][i]} }, 4, nil},
	{"Scale", 1, func(x [][]float32) { kernel.Scale(-3, x[0]) },
		func(x [][]float64, i int) []float64 { return []float64{-3 * x[0][i]} }, 0, nil},
	{"Add", 3, func(x [][]float32) { kernel.Add(x[0], x[1], x[2]) },
		func(x [][]float64, i int) []float64 { return []float64{x[1][i] + x[2][i], same, same} }, 0, nil},
	{"Mul", 3, func(x [][]float32) { kernel.Mul(x[0], x[1], x[2]) },
		func(x [][]float64, i int) []float64 { return []float64{x[1][i] * x[2][i], same, same} }, 0, nil},
	{"MulAdd", 3, func(x [][]float32) { kernel.MulAdd(x[0], -1.5, x[1], x[2]) },
		func(x [][]float64, i int) []float64 { return []float64{x[0][i] - 1.5*x[1][i]*x[2][i], same, same} }, 20, nil},
	{"Exp", 2, func(x [][]float32) { kernel.Exp(x[0], x[1]) },
		func(x [][]float64, i int) []float64 { return []float64{math.Exp(x[1][i]), same} }, 0, nil},
	{"Exp in place", 1, func(x [][]float32) { kernel.Exp(x[0], x[0]) },
		func(x [][]float64, i int) []float64 { return []float64{math.Exp(x[0][i])} }, 0, nil},
	{"SwiGLU", 3, func(x [][]float32) { kernel.SwiGLU(x[0], x[1], x[2]) },
		func(x [][]float64, i int) []float64 { return []float64{silu(x[1][i]) * x[2][i], same, same} }, 0, nil},
	{"SwiGLUGrad", 5, func(x [][]float32) { kernel.SwiGLUGrad(x[0], x[1], x[2], x[3], x[4]) },
		func(x [][]float64, i int) []float64 {
			dy, g, u := x[2][i], x[3][i], x[4][i]
			return []float64{x[0][i] + dy*u*siluSlope(g), x[1][i] + dy*silu(g), same, same, same}
		}, 20, nil},
	{"RMSNorm", 3, func(x [][]float32) { kernel.RMSNorm(x[0], x[1], x[2], 1e-5) },
		func(x [][]float64, i int) []float64 { return []float64{x[1][i] * invRMS(x[1]) * x[2][i], same, same} }, 0, nil},
	{"RMSNormGrad", 5, func(x [][]float32) {
		kernel.RMSNormGrad(x[0], x[1], x[2], x[3], x[4], float32(invRMS(widen(x[3]))))
	}, rmsNormGrad, 40, func(x [][]float64) float64 { return max(1, invRMS(x[3])) }},
	{"Softmax", 1, func(x [][]float32) { kernel.Softmax(x[0]) },
		func(x [][]float64, i int) []float64 { return []float64{math.Exp(x[0][i] - logSumExp(x[0]))} }, 0, nil},
	{"AdamW", 4, func(x [][]float32) {
		kernel.Mul(x[3], x[3], x[3]) // second moments are not negative
		kernel.AdamW(x[0], x[1], x[2], x[3], 0.7, 0.01, 0.9, 0.95, 1e-6, 0.1, 0.5, 0.4)
	}, adamW, 4, nil},
}

func invRMS(x []float64) float64 {
	var s float64
	for _, v := range x {
		s += v * v
	}
	return 1 / math.Sqrt(s/float64(len(x))+1e-5)
}

func rmsNormGrad(x [][]float64, i int) []float64 {
	dy, in, gain := x[2], x[3], x[4]
	inv := invRMS(in)
	var s float64
	for j := range in {
		s += dy[j] * gain[j] * in[j]
	}
	dx := x[0][i] + inv*dy[i]*gain[i] - in[i]*inv*inv*inv*s/float64(len(in))
	return []float64{dx, x[1][i] + dy[i]*in[i]*inv, same, same, same}
}

func adamW(x [][]float64, i int) []float64 {
	p, g := x[0][i], 0.7*x[1][i]
	m := 0.9*x[2][i] + 0.1*g
	v := 0.95*x[3][i]*x[3][i] + 0.05*g*g
	p -= 0.01 * (m/0.5/(math.Sqrt(v/0.4)+1e-6) + 0.1*p)
	return []float64{p, same, m, v}
}

func logSumExp(x []float64) float64 {
	top := math.Inf(-1)
	for _, v := range x {
		top = max(top, v)
	}
	var s float64
	for _, v := range x {
		s += math.Exp(v - top)
	}
	return top + math.Log(s)
}

func widen(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

func conformRows(t *testing.T) {
	m := newMemory(t)
	for _, op := range rowOps {
		t.Run(op.name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				n := rapid.IntRange(0, 160).Draw(rt, "n")
				m.reset(rapid.Uint64().Draw(rt, "seed"))
				op.check(t, m, n)
			})
		})
	}
}

func (op rowOp) check(t *testing.T, m *memory, n int) {
	x, was := make([][]float32, op.rows), make([][]float64, op.rows)
	for r := range x {
		x[r] = m.normal(n)
		was[r] = widen(x[r])
	}
	op.run(x)
	m.check(op.name)
	size := op.size
	if op.spread != nil && n > 0 {
		size *= op.spread(was)
	}
	for i := range n {
		for r, want := range op.oracle(was, i) {
			got := float64(x[r][i])
			if want == same {
				want = was[r][i]
			}
			if !close(got, want, size, n) {
				t.Fatalf("%s of %d on %s: row %d[%d] = %g, want %g", op.name, n, kernel.Active(), r, i, got, want)
			}
		}
	}
}

// close allows rounding in proportion to the result and to size, and a little
// for a sum over n elements.
func close(got, want, size float64, n int) bool {
	return math.Abs(got-want) <= epsilon*(3+float64(n)/16)*(math.Abs(want)+size)
}

func conformReductions(t *testing.T) {
	m := newMemory(t)
	ops := []struct {
		name string
		run  func(x, y []float32) float32
		want func(x, y []float64) float64
	}{
		{"Dot", kernel.Dot, func(x, y []float64) (s float64) {
			for i := range x {
				s += x[i] * y[i]
			}
			return s
		}},
		{"Sum", func(x, _ []float32) float32 { return kernel.Sum(x) }, func(x, _ []float64) (s float64) {
			for _, v := range x {
				s += v
			}
			return s
		}},
		{"Max", func(x, _ []float32) float32 { return kernel.Max(x) }, func(x, _ []float64) float64 {
			top := math.Inf(-1)
			for _, v := range x {
				top = max(top, v)
			}
			return top
		}},
		{"LogSumExp", func(x, _ []float32) float32 { return kernel.LogSumExp(x) }, func(x, _ []float64) float64 {
			return logSumExp(append([]float64{math.Inf(-1)}, x...))
		}},
	}
	for _, op := range ops {
		t.Run(op.name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				n := rapid.IntRange(0, 160).Draw(rt, "n")
				m.reset(rapid.Uint64().Draw(rt, "seed"))
				x, y := m.normal(n), m.normal(n)
				got, want := float64(op.run(x, y)), op.want(widen(x), widen(y))
				m.check(op.name)
				if n == 0 && op.name == "LogSumExp" {
					want = math.Inf(-1)
				}
				if got != want && !close(got, want, float64(n), 0) {
					t.Fatalf("%s of %d on %s = %g, want %g", op.name, n, kernel.Active(), got, want)
				}
			})
		})
	}
}

// conformRoPE checks the rotation against complex multiplication, and that
// RoPEGrad undoes it.
func conformRoPE(t *testing.T) {
	m := newMemory(t)
	rapid.Check(t, func(rt *rapid.T) {
		heads, half := rapid.IntRange(1, 4).Draw(rt, "heads"), rapid.IntRange(1, 40).Draw(rt, "half")
		m.reset(rapid.Uint64().Draw(rt, "seed"))
		x, cos, sin := m.normal(heads*2*half), m.floats(half), m.floats(half)
		for i := range cos {
			angle := m.rand.Float64() * 7
			cos[i], sin[i] = float32(math.Cos(angle)), float32(math.Sin(angle))
		}
		was := widen(x)
		kernel.RoPE(x, heads, 2*half, cos, sin)
		m.check("RoPE")
		for i := range x {
			head, at := i/(2*half)*2*half, i%(2*half)
			z := complex(was[head+at%half], was[head+at%half+half]) * complex(float64(cos[at%half]), float64(sin[at%half]))
			want := real(z)
			if at >= half {
				want = imag(z)
			}
			if !close(float64(x[i]), want, 4, 0) {
				t.Fatalf("RoPE on %s: x[%d] = %g, want %g", kernel.Active(), i, x[i], want)
			}
		}
		kernel.RoPEGrad(x, heads, 2*half, cos, sin)
		m.check("RoPEGrad")
		for i := range x {
			if !close(float64(x[i]), was[i], 4, 0) {
				t.Fatalf("RoPEGrad on %s does not undo RoPE: x[%d] = %g, want %g", kernel.Active(), i, x[i], was[i])
			}
		}
	})
}
