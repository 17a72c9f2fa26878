package embed

import (
	"math"

	"github.com/gr2/gr2/internal/kernel"
)

// Matrix is Rows x Cols, row-major.
type Matrix struct {
	Rows, Cols int
	Data       []float32
}

// NewMatrix is a matrix of zeros.
func NewMatrix(rows, cols int) Matrix {
	return Matrix{rows, cols, make([]float32, rows*cols)}
}

// Row is row i, in place.
func (m Matrix) Row(i int) []float32 { return m.Data[i*m.Cols : (i+1)*m.Cols] }

// Normalize scales x to unit length. What is as good as zero, and what has no
// finite length, becomes zero.
func Normalize(x []float32) {
	norm := math.Sqrt(float64(kernel.Dot(x, x)))
	if norm > 1e-6 && !math.IsInf(norm, 0) {
		kernel.Scale(float32(1/norm), x)
	} else {
		clear(x)
	}
}
