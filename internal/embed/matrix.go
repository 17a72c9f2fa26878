package embed

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
