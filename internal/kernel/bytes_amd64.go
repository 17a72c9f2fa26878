//go:build !noasm

package kernel

type dotBytesFunc func(panels, quads int, a []uint8, lda int, aScale []float32, w []int8, wScale []float32, shift []int32, add bool, c []float32, ldc int)

// byteKernels is the assembly of a variant for products of bytes: element i
// takes i+1 rows of activations.
type byteKernels []dotBytesFunc

func (k byteKernels) dotBytes(rows, panels, quads int, a []uint8, lda int, aScale []float32, w []int8, wScale []float32, shift []int32, add bool, c []float32, ldc int) {
	k[rows-1](panels, quads, a, lda, aScale, w, wScale, shift, add, c, ldc)
}
