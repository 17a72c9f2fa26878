//go:build !noasm

package kernel

type (
	dotRowsFunc func(n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int)
	sumRowsFunc func(n, k int, alpha float32, a []float32, rowA, colA int, b []float32, ldb int, beta float32, c []float32, ldc int)
)

// rowKernels is the assembly of a variant for few rows of A: element i of dots
// and sums takes i+1 rows, and dots only a multiple of four columns; dot takes
// the columns left over.
type rowKernels struct {
	dots []dotRowsFunc
	sums []sumRowsFunc
	dot  func(x, y []float32) float32
}

// dotRows lets each group of rows of A, which stay in L1, meet all rows of B.
func (r *rowKernels) dotRows(m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	for i := 0; i < m; {
		rows := rowGroup(m-i, len(r.dots))
		r.dotGroup(rows, n, k, alpha, a[i*lda:], lda, b, ldb, beta, c[i*ldc:], ldc)
		i += rows
	}
}

func (r *rowKernels) dotGroup(rows, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	whole := n &^ 3
	r.dots[rows-1](whole, k, alpha, a, lda, b, ldb, beta, c, ldc)
	for j := whole; j < n; j++ {
		for i := range rows {
			at := &c[i*ldc+j]
			s := alpha * r.dot(a[i*lda:i*lda+k], b[j*ldb:j*ldb+k])
			if beta != 0 {
				s += beta * *at
			}
			*at = s
		}
	}
}

func (r *rowKernels) sumRows(m, n, k int, alpha float32, a []float32, rowA, colA int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	for i := 0; i < m; {
		rows := rowGroup(m-i, len(r.sums))
		r.sums[rows-1](n, k, alpha, a[i*rowA:], rowA, colA, b, ldb, beta, c[i*ldc:], ldc)
		i += rows
	}
}
