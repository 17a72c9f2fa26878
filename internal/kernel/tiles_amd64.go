//go:build !noasm

package kernel

// tileKernels are the assembly of a micro kernel: for tiles of mr rows, and for a
// last one of a third or two thirds of that.
type tileKernels struct {
	mr                      int
	third, twoThirds, whole func(tiles, k int, alpha float32, a, b []float32, beta float32, c []float32, ldc int)
}

// micro is variant.micro, or variant.microPairs.
func (t *tileKernels) micro(rows, k int, alpha float32, a, b []float32, beta float32, c []float32, ldc int) {
	tiles, rest := rows/t.mr, rows%t.mr
	if tiles > 0 {
		t.whole(tiles, k, alpha, a, b, beta, c, ldc)
	}
	if rest == 0 {
		return
	}
	a, c = a[tiles*t.mr*k+t.mr-rest:], c[tiles*t.mr*ldc:]
	if rest == t.mr/3 {
		t.third(1, k, alpha, a, b, beta, c, ldc)
	} else {
		t.twoThirds(1, k, alpha, a, b, beta, c, ldc)
	}
}
