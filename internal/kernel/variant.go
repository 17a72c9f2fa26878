package kernel

import (
	"fmt"
	"strings"
	"sync/atomic"
)

// variant is one complete implementation of the primitives. Lengths have been
// checked by the exported functions: every slice is as long as the first.
type variant struct {
	name string

	// mr x nr is the tile of C that micro computes at a time, rowStep the unit of
	// its last tile's rows.
	mr, nr, rowStep int
	// micro computes rows x nr elements: C = alpha*A*B + beta*C, where b is k rows of
	// nr floats. rows is a multiple of mr, or of rowStep below mr. beta = 0 never
	// reads C.
	micro func(rows, k int, alpha float32, a tiles, b []float32, beta float32, c []float32, ldc int)
	// microPairs is micro where a float's two halves are the bfloat16 of two
	// columns of A or rows of B, the first in the lower half, and A is packed. Both
	// nil if the CPU cannot multiply them.
	microPairs func(rows, k int, alpha float32, a tiles, b []float32, beta float32, c []float32, ldc int)
	// pairSteps writes such a panel of ceil(k/2) steps from one of k, both of width
	// floats a step; a missing last one is zero. It may write to src.
	pairSteps func(panel []float32, width int, src []float32, k int)
	// transpose writes panel[p*width+i] = src[i*ld+p] for i < width, p < k. It
	// may write the panel's whole length.
	transpose func(panel []float32, width int, src []float32, ld, k int)
	// copySteps writes panel[p*width+i] = src[p*ld+i] for i < width, p < k.
	copySteps func(panel []float32, width int, src []float32, ld, k int)
	// dotRows is Gemm for few rows of A and transposed B: dot products of rows.
	dotRows func(m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int)
	// sumRows is Gemm for few rows of A and plain B: weighted sums of B's rows.
	// Element (i, p) of op(A) is a[i*rowA+p*colA].
	sumRows func(m, n, k int, alpha float32, a []float32, rowA, colA int, b []float32, ldb int, beta float32, c []float32, ldc int)

	// byteRows is how many rows dotBytes takes at most, byteRowsMax at most.
	byteRows int
	// dotBytes adds up the products of rows of activations and panels of weights
	// over quads groups of four columns, as Int8Rows and Int8 store them, starting
	// from shift; C = sum*aScale*wScale, multiplied in this order, or C += that.
	dotBytes func(rows, panels, quads int, a []uint8, lda int, aScale []float32, w []int8, wScale []float32, shift []int32, add bool, c []float32, ldc int)
	// absMax is the largest magnitude, by its bits: a NaN exceeds all numbers.
	absMax func(x []float32) float32
	// toBytes writes byteZero + x*by, rounded to even.
	toBytes func(dst []uint8, x []float32, by float32)

	toHalves   func(dst []uint16, src []float32)
	fromHalves func(dst []float32, src []uint16)

	dot    func(x, y []float32) float32
	dot3   func(x, y, z []float32) float32 // sum of x*y*z
	axpy   func(a float32, x, y []float32)
	mulAdd func(dst []float32, a float32, x, y []float32) // dst += a*x*y
	scale  func(a float32, x []float32)
	add    func(dst, x, y []float32)
	mul    func(dst, x, y []float32)
	sum    func(x []float32) float32
	max    func(x []float32) float32

	exp        func(dst, x []float32)
	expSum     func(dst, x []float32, shift float32) float32 // dst = exp(x-shift); returns its sum
	sumExp     func(x []float32, shift float32) float32      // expSum without dst
	normApply  func(dst, x, gain []float32, inv float32)     // dst = x*inv*gain
	swiGLU     func(dst, gate, up []float32)
	swiGLUGrad func(dgate, dup, dy, gate, up []float32)
	rotate     func(lo, hi, cos, sin []float32) // each pair (lo[i], hi[i]) by one angle
	adamW      func(p, g, m, v []float32, scale, lr, beta1, beta2, eps, decay, c1, c2 float32)
}

// tiles are rows of A, mr at a time: element (i, p) of one is
// data[i*row+p*step], and row or step is 1. The tile below begins next further on.
type tiles struct {
	data            []float32
	row, step, next int
}

var (
	variants = detect() // ascending by preference
	active   = func() *atomic.Pointer[variant] {
		p := new(atomic.Pointer[variant])
		p.Store(variants[len(variants)-1])
		return p
	}()
)

// Available lists the variants this CPU can run, the best one last.
func Available() []string {
	names := make([]string, len(variants))
	for i, v := range variants {
		names[i] = v.name
	}
	return names
}

// Active is the name of the variant in use.
func Active() string { return active.Load().name }

// Use makes the named variant active for the whole process. Calls under way
// finish with the variant they started with.
func Use(name string) error {
	for _, v := range variants {
		if v.name == name {
			active.Store(v)
			return nil
		}
	}
	return fmt.Errorf("kernel: variant %q is not available on this CPU; choose one of %s", name, strings.Join(Available(), ", "))
}
