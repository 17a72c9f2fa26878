//go:build !noasm

package kernel

//go:generate sh -c "cd _gen && go run . -isa avx2 -out ../avx2_amd64.s -stubs ../avx2_amd64.go -pkg kernel"

var avx2 = variant{
	name:       "avx2",
	mr:         6,
	nr:         16,
	rowStep:    2,
	micro:      tilesAVX2.micro,
	transpose:  transposeAVX2,
	copySteps:  copyStepsAVX2,
	dotRows:    rowsAVX2.dotRows,
	sumRows:    rowsAVX2.sumRows,
	byteRows:   len(bytesAVX2),
	dotBytes:   bytesAVX2.dotBytes,
	absMax:     absMaxAVX2,
	toBytes:    toBytesAVX2,
	toHalves:   toHalvesAVX2,
	fromHalves: fromHalvesAVX2,
	dot:        dotAVX2,
	dot3:       dot3AVX2,
	axpy:       axpyAVX2,
	mulAdd:     mulAddAVX2,
	scale:      scaleAVX2,
	add:        addAVX2,
	mul:        mulAVX2,
	sum:        sumAVX2,
	max:        maxAVX2,
	exp:        expAVX2,
	expSum:     expSumAVX2,
	sumExp:     sumExpAVX2,
	normApply:  normApplyAVX2,
	swiGLU:     swiGLUAVX2,
	swiGLUGrad: swiGLUGradAVX2,
	rotate:     rotateAVX2,
	adamW:      adamWAVX2,
}

var rowsAVX2 = &rowKernels{
	dots: []dotRowsFunc{dotRows1AVX2, dotRows2AVX2, dotRows3AVX2},
	sums: []sumRowsFunc{sumRows1AVX2, sumRows2AVX2, sumRows3AVX2},
	dot:  dotAVX2,
}

var bytesAVX2 = byteKernels{dotBytes1AVX2, dotBytes2AVX2}

var tilesAVX2 = &tileKernels{
	mr:    6,
	steps: [3]tilesFunc{microSteps2AVX2, microSteps4AVX2, microSteps6AVX2},
	rows:  [3]tilesFunc{microRows2AVX2, microRows4AVX2, microRows6AVX2},
}

// transposeAVX2 transposes 8 steps at a time and leaves the last few, and
// widths the assembly does not know, to the portable form.
func transposeAVX2(panel []float32, width int, src []float32, ld, k int) {
	whole := k &^ 7
	switch width {
	case 6:
		transpose6AVX2(panel, width, src, ld, whole)
	case 16:
		transpose8AVX2(panel, width, src, ld, whole)
		transpose8AVX2(panel[8:], width, src[8*ld:], ld, whole)
	default:
		whole = 0
	}
	if whole < k {
		transposePortable(panel[whole*width:], width, src[whole:], ld, k-whole)
	}
}

func copyStepsAVX2(panel []float32, width int, src []float32, ld, k int) {
	switch width {
	case 6:
		copySteps6AVX2(panel, src, ld, k)
	case 16:
		copySteps16AVX2(panel, src, ld, k)
	default:
		copyStepsPortable(panel, width, src, ld, k)
	}
}

// toBytesAVX2 leaves the last few to the portable form.
func toBytesAVX2(dst []uint8, x []float32, by float32) {
	whole := len(x) &^ 7
	toBytes8AVX2(dst[:whole], x[:whole], by)
	toBytesPortable(dst[whole:], x[whole:], by)
}

func toHalvesAVX2(dst []uint16, src []float32) {
	whole := len(dst) &^ 7
	toHalves8AVX2(dst[:whole], src[:whole])
	toHalvesPortable(dst[whole:], src[whole:])
}

func fromHalvesAVX2(dst []float32, src []uint16) {
	whole := len(dst) &^ 7
	fromHalves8AVX2(dst[:whole], src[:whole])
	fromHalvesPortable(dst[whole:], src[whole:])
}
