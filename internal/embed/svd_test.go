package embed

import (
	"math"
	"testing"

	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/text"
)

// The product with the right singular vectors has the singular values as the
// lengths of its columns.
func TestTruncatedSVDIsOptimal(t *testing.T) {
	// A matrix with singular values 1, 1/2, 1/4, ... in random directions.
	const rows, cols, rank, dim = 80, 60, 30, 5
	u, v := randomBasis(rows, rank, 1), randomBasis(cols, rank, 2)
	for i := range u.Rows {
		for j := range u.Cols {
			u.Row(i)[j] *= float32(math.Pow(0.5, float64(j)))
		}
	}
	dense := NewMatrix(rows, cols)
	kernel.Gemm(false, true, rows, cols, rank, 1, u.Data, rank, v.Data, rank, 0, dense.Data, cols)
	var sparseRows []text.Sparse
	for i := range rows {
		s := text.Sparse{}
		for j, x := range dense.Row(i) {
			s.Index, s.Value = append(s.Index, int32(j)), append(s.Value, x)
		}
		sparseRows = append(sparseRows, s)
	}
	a := newSparse(sparseRows, cols)
	v2, err := rightSingular(t.Context(), a, dim, 3)
	if err != nil {
		t.Fatal(err)
	}
	values, _ := eigen(a.times(v2))
	for j := range dim {
		if want := math.Pow(0.5, float64(j)); math.Abs(math.Sqrt(values[j])-want) > 1e-3*want {
			t.Errorf("singular value %d is %v, want %v", j, math.Sqrt(values[j]), want)
		}
	}
}

func randomBasis(rows, cols int, seed uint64) Matrix {
	m, r := NewMatrix(rows, cols), rng.New(seed)
	for i := range m.Data {
		m.Data[i] = float32(r.NormFloat64())
	}
	return orthonormal(m)
}
