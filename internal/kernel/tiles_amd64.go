//go:build !noasm

package kernel

type tilesFunc func(tiles, k int, alpha float32, a []float32, lda, next int, b []float32, beta float32, c []float32, ldc int)

// tileKernels are the assembly of a micro kernel: for tiles of mr rows, and for
// one of a third or two thirds of that. steps are for tiles whose rows lie side by
// side, rows for those whose steps do.
type tileKernels struct {
	mr          int
	steps, rows [3]tilesFunc // a third, two thirds, whole
}

// micro is variant.micro, or variant.microPairs.
func (t *tileKernels) micro(rows, k int, alpha float32, a tiles, b []float32, beta float32, c []float32, ldc int) {
	kernels, lda := &t.steps, a.step
	if a.row != 1 {
		kernels, lda = &t.rows, a.row
	}
	if rows < t.mr {
		kernels[rows/(t.mr/3)-1](1, k, alpha, a.data, lda, 0, b, beta, c, ldc)
		return
	}
	kernels[2](rows/t.mr, k, alpha, a.data, lda, a.next, b, beta, c, ldc)
}
