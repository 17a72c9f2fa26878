package kernel

import "math"

// portable is the specification of every variant, and the fallback.
var portable = variant{
	name:       "portable",
	mr:         4,
	nr:         4,
	rowStep:    4,
	micro:      microPortable,
	transpose:  transposePortable,
	copySteps:  copyStepsPortable,
	dotRows:    dotRowsPortable,
	sumRows:    sumRowsPortable,
	byteRows:   byteRowsMax,
	dotBytes:   dotBytesPortable,
	absMax:     absMaxPortable,
	toBytes:    toBytesPortable,
	toHalves:   toHalvesPortable,
	fromHalves: fromHalvesPortable,
	dot:        dotPortable,
	dot3:       dot3Portable,
	axpy:       axpyPortable,
	mulAdd:     mulAddPortable,
	scale:      scalePortable,
	add:        addPortable,
	mul:        mulPortable,
	sum:        sumPortable,
	max:        maxPortable,
	exp:        expPortable,
	expSum:     expSumPortable,
	sumExp:     sumExpPortable,
	normApply:  normApplyPortable,
	swiGLU:     swiGLUPortable,
	swiGLUGrad: swiGLUGradPortable,
	rotate:     rotatePortable,
	adamW:      adamWPortable,
}

func dotPortable(x, y []float32) float32 {
	var s float32
	for i, v := range x {
		s += v * y[i]
	}
	return s
}

func dot3Portable(x, y, z []float32) float32 {
	var s float32
	for i, v := range x {
		s += v * y[i] * z[i]
	}
	return s
}

func axpyPortable(a float32, x, y []float32) {
	for i, v := range x {
		y[i] += a * v
	}
}

func mulAddPortable(dst []float32, a float32, x, y []float32) {
	for i, v := range x {
		dst[i] += a * v * y[i]
	}
}

func scalePortable(a float32, x []float32) {
	for i := range x {
		x[i] *= a
	}
}

func addPortable(dst, x, y []float32) {
	for i := range dst {
		dst[i] = x[i] + y[i]
	}
}

func mulPortable(dst, x, y []float32) {
	for i := range dst {
		dst[i] = x[i] * y[i]
	}
}

func sumPortable(x []float32) float32 {
	var s float32
	for _, v := range x {
		s += v
	}
	return s
}

func maxPortable(x []float32) float32 {
	m := float32(math.Inf(-1))
	for _, v := range x {
		if v > m {
			m = v
		}
	}
	return m
}

func exp32(x float32) float32 { return float32(math.Exp(float64(x))) }

// expOf is exp(x-shift) with the exact difference: rounded, it would cost as much
// accuracy as all the rest of a softmax.
func expOf(x, shift float32) float32 { return float32(math.Exp(float64(x) - float64(shift))) }

func expPortable(dst, x []float32) {
	for i, v := range x {
		dst[i] = exp32(v)
	}
}

func expSumPortable(dst, x []float32, shift float32) float32 {
	var s float32
	for i, v := range x {
		dst[i] = expOf(v, shift)
		s += dst[i]
	}
	return s
}

func sumExpPortable(x []float32, shift float32) float32 {
	var s float32
	for _, v := range x {
		s += expOf(v, shift)
	}
	return s
}

func normApplyPortable(dst, x, gain []float32, inv float32) {
	for i, v := range x {
		dst[i] = v * inv * gain[i]
	}
}

func sigmoid(x float32) float32 { return 1 / (1 + exp32(-x)) }

func swiGLUPortable(dst, gate, up []float32) {
	for i, g := range gate {
		dst[i] = g * sigmoid(g) * up[i]
	}
}

func swiGLUGradPortable(dgate, dup, dy, gate, up []float32) {
	for i, g := range gate {
		s := sigmoid(g)
		silu := g * s
		dup[i] += dy[i] * silu
		dgate[i] += dy[i] * up[i] * (s + silu*(1-s))
	}
}

func rotatePortable(lo, hi, cos, sin []float32) {
	for i, c := range cos {
		a, b, s := lo[i], hi[i], sin[i]
		lo[i] = a*c - b*s
		hi[i] = b*c + a*s
	}
}

func adamWPortable(p, g, m, v []float32, scale, lr, beta1, beta2, eps, decay, c1, c2 float32) {
	for i, d := range g {
		d *= scale
		m[i] = beta1*m[i] + (1-beta1)*d
		v[i] = beta2*v[i] + (1-beta2)*d*d
		step := m[i] / c1 / (float32(math.Sqrt(float64(v[i]/c2))) + eps)
		p[i] -= lr * (step + decay*p[i])
	}
}
