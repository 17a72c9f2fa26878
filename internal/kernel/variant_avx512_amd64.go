//go:build !noasm

package kernel

//go:generate sh -c "cd _gen && go run . -isa avx512 -out ../avx512_amd64.s -stubs ../avx512_amd64.go -pkg kernel"
//go:generate sh -c "cd _gen && go run . -isa avx512bf16 -out ../avx512bf16_amd64.s -stubs ../avx512bf16_amd64.go -pkg kernel"

var avx512 = variant{
	name:       "avx512",
	mr:         12,
	nr:         32,
	rowStep:    4,
	micro:      tilesAVX512.micro,
	transpose:  transposeAVX512,
	copySteps:  copyStepsAVX512,
	dotRows:    rowsAVX512.dotRows,
	sumRows:    rowsAVX512.sumRows,
	byteRows:   len(bytesAVX512),
	dotBytes:   bytesAVX512.dotBytes,
	absMax:     absMaxAVX512,
	toBytes:    toBytesAVX512,
	toHalves:   toHalvesAVX512,
	fromHalves: fromHalvesAVX512,
	dot:        dotAVX512,
	dot3:       dot3AVX512,
	axpy:       axpyAVX512,
	mulAdd:     mulAddAVX512,
	scale:      scaleAVX512,
	add:        addAVX512,
	mul:        mulAVX512,
	sum:        sumAVX512,
	max:        maxAVX512,
	exp:        expAVX512,
	expSum:     expSumAVX512,
	sumExp:     sumExpAVX512,
	normApply:  normApplyAVX512,
	swiGLU:     swiGLUAVX512,
	swiGLUGrad: swiGLUGradAVX512,
	rotate:     rotateAVX512,
	adamW:      adamWAVX512,
}

var rowsAVX512 = &rowKernels{
	dots: []dotRowsFunc{
		dotRows1AVX512, dotRows2AVX512, dotRows3AVX512,
		dotRows4AVX512, dotRows5AVX512, dotRows6AVX512,
	},
	sums: []sumRowsFunc{
		sumRows1AVX512, sumRows2AVX512, sumRows3AVX512,
		sumRows4AVX512, sumRows5AVX512, sumRows6AVX512,
	},
	dot: dotAVX512,
}

var bytesAVX512 = byteKernels{
	dotBytes1AVX512, dotBytes2AVX512, dotBytes3AVX512,
	dotBytes4AVX512, dotBytes5AVX512, dotBytes6AVX512,
}

var tilesAVX512 = &tileKernels{
	mr:    12,
	steps: [3]tilesFunc{microSteps4AVX512, microSteps8AVX512, microSteps12AVX512},
	rows:  [3]tilesFunc{microRows4AVX512, microRows8AVX512, microRows12AVX512},
}

// pairTilesAVX512 meet packed tiles alone.
var pairTilesAVX512 = &tileKernels{
	mr:    12,
	steps: [3]tilesFunc{microPairs4AVX512, microPairs8AVX512, microPairs12AVX512},
}

// pairStepsAVX512 knows the widths that are packed, 12 and 32.
func pairStepsAVX512(panel []float32, width int, src []float32, k int) {
	if k%2 == 1 {
		clear(src[k*width : (k+1)*width])
	}
	for i := 0; i < width; i += 16 {
		pairSteps16AVX512(panel[i:], width, min(16, width-i), src[i:], (k+1)/2)
	}
}

// transposeAVX512 transposes 16 steps at a time and leaves the last few, and
// widths the assembly does not know, to the portable form.
func transposeAVX512(panel []float32, width int, src []float32, ld, k int) {
	whole := k &^ 15
	switch width {
	case 12:
		transpose12AVX512(panel, width, src, ld, whole)
	case 32:
		transpose16AVX512(panel, width, src, ld, whole)
		transpose16AVX512(panel[16:], width, src[16*ld:], ld, whole)
	default:
		whole = 0
	}
	if whole < k {
		transposePortable(panel[whole*width:], width, src[whole:], ld, k-whole)
	}
}

func copyStepsAVX512(panel []float32, width int, src []float32, ld, k int) {
	switch width {
	case 12:
		copySteps12AVX512(panel, src, ld, k)
	case 32:
		copySteps32AVX512(panel, src, ld, k)
	default:
		copyStepsPortable(panel, width, src, ld, k)
	}
}

// toBytesAVX512 leaves the last few to the portable form.
func toBytesAVX512(dst []uint8, x []float32, by float32) {
	whole := len(x) &^ 15
	toBytes16AVX512(dst[:whole], x[:whole], by)
	toBytesPortable(dst[whole:], x[whole:], by)
}

func toHalvesAVX512(dst []uint16, src []float32) {
	whole := len(dst) &^ 15
	toHalves16AVX512(dst[:whole], src[:whole])
	toHalvesPortable(dst[whole:], src[whole:])
}

func fromHalvesAVX512(dst []float32, src []uint16) {
	whole := len(dst) &^ 15
	fromHalves16AVX512(dst[:whole], src[:whole])
	fromHalvesPortable(dst[whole:], src[whole:])
}
