//go:build !noasm

package kernel

//go:generate sh -c "cd _gen && go run . -out ../avx2_amd64.s -stubs ../avx2_amd64.go -pkg kernel"

var avx2 = variant{
	name:       "avx2",
	mr:         6,
	nr:         16,
	micro:      microAVX2,
	transpose:  transposeAVX2,
	copySteps:  copyStepsAVX2,
	dotRows:    dotRowsAVX2,
	sumRows:    sumRowsAVX2,
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

// dotRowsAVX2 keeps as many rows of B in L1 as it can while all rows of A meet
// them, three at a time.
func dotRowsAVX2(m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	const cached = 6144 // floats of B in L1
	stride := n
	if m > 3 {
		stride = max(4, cached/k&^3)
	}
	for j := 0; j < n; j += stride {
		cols := min(stride, n-j)
		for i := 0; i < m; {
			rows := rowGroup(m - i)
			dotRowGroup(rows, cols, k, alpha, a[i*lda:], lda, b[j*ldb:], ldb, beta, c[i*ldc+j:], ldc)
			i += rows
		}
	}
}

// rowGroup is how many of the rows left the next call takes: three, but four
// are taken as two and two.
func rowGroup(left int) int {
	if left == 4 {
		return 2
	}
	return min(left, 3)
}

func dotRowGroup(rows, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	whole := n &^ 3
	switch rows {
	case 1:
		dotRows1AVX2(whole, k, alpha, a, lda, b, ldb, beta, c, ldc)
	case 2:
		dotRows2AVX2(whole, k, alpha, a, lda, b, ldb, beta, c, ldc)
	case 3:
		dotRows3AVX2(whole, k, alpha, a, lda, b, ldb, beta, c, ldc)
	}
	for j := whole; j < n; j++ {
		for i := range rows {
			at := &c[i*ldc+j]
			s := alpha * dotAVX2(a[i*lda:i*lda+k], b[j*ldb:j*ldb+k])
			if beta != 0 {
				s += beta * *at
			}
			*at = s
		}
	}
}

func sumRowsAVX2(m, n, k int, alpha float32, a []float32, rowA, colA int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	for i := 0; i < m; {
		rows := rowGroup(m - i)
		from, to := a[i*rowA:], c[i*ldc:]
		switch rows {
		case 1:
			sumRows1AVX2(n, k, alpha, from, rowA, colA, b, ldb, beta, to, ldc)
		case 2:
			sumRows2AVX2(n, k, alpha, from, rowA, colA, b, ldb, beta, to, ldc)
		case 3:
			sumRows3AVX2(n, k, alpha, from, rowA, colA, b, ldb, beta, to, ldc)
		}
		i += rows
	}
}
