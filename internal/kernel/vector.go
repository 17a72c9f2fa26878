package kernel

import (
	"fmt"
	"math"
)

// Dot is the inner product of x and y.
func Dot(x, y []float32) float32 { return active.Load().dot(x, match(y, len(x))) }

// Axpy adds a*x to y.
func Axpy(a float32, x, y []float32) { active.Load().axpy(a, x, match(y, len(x))) }

// Scale multiplies x by a in place.
func Scale(a float32, x []float32) { active.Load().scale(a, x) }

// Add is dst = x + y. The slices may be the same ones.
func Add(dst, x, y []float32) {
	active.Load().add(dst, match(x, len(dst)), match(y, len(dst)))
}

// Mul is dst = x * y, element by element. The slices may be the same ones.
func Mul(dst, x, y []float32) {
	active.Load().mul(dst, match(x, len(dst)), match(y, len(dst)))
}

// MulAdd is dst += a * x * y, element by element.
func MulAdd(dst []float32, a float32, x, y []float32) {
	active.Load().mulAdd(dst, a, match(x, len(dst)), match(y, len(dst)))
}

// Sum is the sum of x.
func Sum(x []float32) float32 { return active.Load().sum(x) }

// Max is the largest element of x; NaNs are passed over, and -Inf is the
// maximum of nothing.
func Max(x []float32) float32 { return active.Load().max(x) }

// Exp is dst = exp(x), to about 1e-7 of the value; dst may be x.
func Exp(dst, x []float32) { active.Load().exp(dst, match(x, len(dst))) }

// ExpSum replaces x by exp(x - shift) and returns the sum. The difference counts
// as if it were exact.
func ExpSum(x []float32, shift float32) float32 { return active.Load().expSum(x, x, shift) }

// Softmax replaces row by exp(row) / sum(exp(row)). At least one element must
// be finite, or the row becomes NaN.
func Softmax(row []float32) {
	if len(row) == 0 {
		return
	}
	v := active.Load()
	total := v.expSum(row, row, v.max(row))
	v.scale(1/total, row)
}

// LogSumExp is log(sum(exp(row))); -Inf for an empty row.
func LogSumExp(row []float32) float32 {
	v := active.Load()
	top := v.max(row)
	if math.IsInf(float64(top), 0) && !hasNaN(row) {
		return top
	}
	return top + float32(math.Log(float64(v.sumExp(row, top))))
}

func hasNaN(row []float32) bool {
	for _, x := range row {
		if x != x {
			return true
		}
	}
	return false
}

// RMSNorm is dst = x * inv * gain with inv = 1/sqrt(mean(x^2) + eps), which it
// returns for RMSNormGrad. dst may be x.
func RMSNorm(dst, x, gain []float32, eps float32) (inv float32) {
	x, gain = match(x, len(dst)), match(gain, len(dst))
	if len(x) == 0 {
		return 0
	}
	v := active.Load()
	mean := v.dot(x, x) / float32(len(x))
	inv = float32(1 / math.Sqrt(float64(mean+eps)))
	v.normApply(dst, x, gain, inv)
	return inv
}

// RMSNormGrad adds the gradients of RMSNorm to dx and dgain, given the gradient
// dy of its result. A nil dgain is not computed.
//
//	dx_i += inv*dy_i*gain_i - x_i * inv^3/n * sum_j(dy_j*gain_j*x_j)
func RMSNormGrad(dx, dgain, dy, x, gain []float32, inv float32) {
	n := len(dx)
	dy, x, gain = match(dy, n), match(x, n), match(gain, n)
	if n == 0 {
		return
	}
	v := active.Load()
	coef := v.dot3(dy, x, gain) * inv * inv * inv / float32(n)
	v.mulAdd(dx, inv, dy, gain)
	v.axpy(-coef, x, dx)
	if dgain != nil {
		v.mulAdd(match(dgain, n), inv, dy, x)
	}
}

// SwiGLU is dst = silu(gate) * up, with silu(g) = g/(1+exp(-g)). dst may be
// gate or up.
func SwiGLU(dst, gate, up []float32) {
	active.Load().swiGLU(dst, match(gate, len(dst)), match(up, len(dst)))
}

// SwiGLUGrad adds the gradients of SwiGLU to dgate and dup, given the gradient
// dy of its result.
func SwiGLUGrad(dgate, dup, dy, gate, up []float32) {
	n := len(dgate)
	active.Load().swiGLUGrad(dgate, match(dup, n), match(dy, n), match(gate, n), match(up, n))
}

// RoPE rotates the heads of one position in place: x is heads*headDim, cos and
// sin are headDim/2. Element i of a head turns with element i+headDim/2, the
// layout of Hugging Face ("rotate half", Su et al. 2021).
func RoPE(x []float32, heads, headDim int, cos, sin []float32) {
	half := headDim / 2
	x, cos, sin = match(x, heads*headDim), match(cos, half), match(sin, half)
	rotate := active.Load().rotate
	for ; len(x) > 0; x = x[headDim:] {
		rotate(x[:half], x[half:headDim], cos, sin)
	}
}

// RoPEGrad is the inverse rotation of RoPE, which is also its gradient.
func RoPEGrad(x []float32, heads, headDim int, cos, sin []float32) {
	half := headDim / 2
	x, cos, sin = match(x, heads*headDim), match(cos, half), match(sin, half)
	rotate := active.Load().rotate
	for ; len(x) > 0; x = x[headDim:] {
		// Exchanging the halves turns the other way.
		rotate(x[half:headDim], x[:half], cos, sin)
	}
}

// AdamW makes one step of Adam with decoupled weight decay (Loshchilov & Hutter
// 2019) on parameters p with gradients scale*g and moments m and v; c1 = 1-beta1^t
// and c2 = 1-beta2^t correct the moments' bias.
func AdamW(p, g, m, v []float32, scale, lr, beta1, beta2, eps, decay, c1, c2 float32) {
	n := len(p)
	active.Load().adamW(p, match(g, n), match(m, n), match(v, n), scale, lr, beta1, beta2, eps, decay, c1, c2)
}

// match checks that x has n elements.
func match(x []float32, n int) []float32 {
	if len(x) != n {
		panic(fmt.Sprintf("kernel: a slice has %d elements where %d belong", len(x), n))
	}
	return x
}
