package kernel

import "math"

// The portable forms of the matrix primitives; the fields of variant say what
// each computes.

func microPortable(rows, k int, alpha float32, a tiles, b []float32, beta float32, c []float32, ldc int) {
	const mr = 4
	for i := 0; i < rows; i += mr {
		tilePortable(k, alpha, a, b, beta, c[i*ldc:], ldc)
		a.data = a.data[min(a.next, len(a.data)):]
	}
}

func tilePortable(k int, alpha float32, a tiles, b []float32, beta float32, c []float32, ldc int) {
	const mr, nr = 4, 4
	var acc [mr * nr]float32
	for p := range k {
		x := a.data[p*a.step:]
		y := (*[nr]float32)(b[p*nr:])
		for i := range mr {
			u, row := x[i*a.row], (*[nr]float32)(acc[i*nr:])
			row[0] += u * y[0]
			row[1] += u * y[1]
			row[2] += u * y[2]
			row[3] += u * y[3]
		}
	}
	for i := range mr {
		blend(c[i*ldc:i*ldc+nr], alpha, acc[i*nr:i*nr+nr], beta)
	}
}

// blend is c = alpha*x + beta*c; beta = 0 never reads c.
func blend(c []float32, alpha float32, x []float32, beta float32) {
	if beta == 0 {
		for i, v := range x {
			c[i] = alpha * v
		}
		return
	}
	for i, v := range x {
		c[i] = alpha*v + beta*c[i]
	}
}

func transposePortable(panel []float32, width int, src []float32, ld, k int) {
	for i := range width {
		for p, v := range src[i*ld : i*ld+k] {
			panel[p*width+i] = v
		}
	}
}

func copyStepsPortable(panel []float32, width int, src []float32, ld, k int) {
	for p := range k {
		copy(panel[p*width:p*width+width], src[p*ld:])
	}
}

func dotRowsPortable(m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	for i := range m {
		for j := range n {
			s := [1]float32{dotPortable(a[i*lda:i*lda+k], b[j*ldb:j*ldb+k])}
			blend(c[i*ldc+j:i*ldc+j+1], alpha, s[:], beta)
		}
	}
}

func sumRowsPortable(m, n, k int, alpha float32, a []float32, rowA, colA int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	for i := range m {
		row := c[i*ldc : i*ldc+n]
		scaleOrClear(row, beta)
		for p := range k {
			axpyPortable(alpha*a[i*rowA+p*colA], b[p*ldb:p*ldb+n], row)
		}
	}
}

// scaleOrClear is c = beta*c; beta = 0 never reads c.
func scaleOrClear(c []float32, beta float32) {
	if beta == 0 {
		clear(c)
		return
	}
	if beta != 1 {
		scalePortable(beta, c)
	}
}

// roundBF16 rounds to the upper 16 bits of a float32, to nearest even. A NaN stays
// one.
func roundBF16(dst, src []float32) {
	for i := range dst {
		x := math.Float32bits(src[i])
		if src[i] != src[i] {
			x |= 1 << 22
		} else {
			x += 0x7fff + x>>16&1
		}
		dst[i] = math.Float32frombits(x &^ 0xffff)
	}
}
