package kernel

import "math"

// The portable forms of the primitives in eight bits; the fields of variant say
// what each computes. All variants give the same bits, so conversions keep the
// compiler from fusing multiplication and addition.

func absMaxPortable(x []float32) float32 {
	var top uint32
	for _, v := range x {
		top = max(top, math.Float32bits(v)&^(1<<31))
	}
	return math.Float32frombits(top)
}

func toBytesPortable(dst []uint8, x []float32, by float32) {
	for i, v := range x {
		dst[i] = uint8(byteZero + int(math.RoundToEven(float64(v*by))))
	}
}

func dotBytesPortable(rows, panels, quads int, a []uint8, lda int, aScale []float32, w []int8, wScale []float32, shift []int32, add bool, c []float32, ldc int) {
	for p := range panels {
		panel := w[p*quads*panelBytes:][:quads*panelBytes]
		for i := range rows {
			sums := [panelRows]int32(shift[p*panelRows:])
			for q := range quads {
				x := (*[4]uint8)(a[i*lda+4*q:])
				y := (*[panelBytes]int8)(panel[q*panelBytes:])
				for j := range sums {
					sums[j] += int32(x[0])*int32(y[4*j]) + int32(x[1])*int32(y[4*j+1]) +
						int32(x[2])*int32(y[4*j+2]) + int32(x[3])*int32(y[4*j+3])
				}
			}
			out := c[i*ldc+p*panelRows:][:panelRows]
			for j, s := range sums {
				y := float32(float32(float32(s)*aScale[i]) * wScale[p*panelRows+j])
				if add {
					y += out[j]
				}
				out[j] = y
			}
		}
	}
}
