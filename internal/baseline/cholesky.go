package baseline

import "math"

// solveSPD solves a*x = b for a symmetric positive definite a (n, n), of which
// only the lower triangle is read. It overwrites a with its Cholesky factor
// and b with x. A pivot that rounding made non-positive is lifted to tiny.
func solveSPD(a []float64, n int, b []float64) {
	const tiny = 1e-12
	for j := range n {
		row := a[j*n : j*n+j+1]
		for i := j; i < n; i++ {
			r := a[i*n : i*n+j+1]
			s := r[j]
			for k := range j {
				s -= r[k] * row[k]
			}
			if i == j {
				r[j] = math.Sqrt(math.Max(s, tiny))
			} else {
				r[j] = s / row[j]
			}
		}
	}
	for i := range n {
		for k := range i {
			b[i] -= a[i*n+k] * b[k]
		}
		b[i] /= a[i*n+i]
	}
	for i := n - 1; i >= 0; i-- {
		for k := i + 1; k < n; k++ {
			b[i] -= a[k*n+i] * b[k]
		}
		b[i] /= a[i*n+i]
	}
}
