package embed

import (
	"fmt"
	"math"
	"testing"

	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/text"
)

// topics makes n titles of words drawn from a few topics.
func topics(n int, seed uint64) []string {
	titles := make([]string, n)
	for i := range titles {
		r := rng.New(seed, uint64(i))
		topic := r.IntN(12)
		for range 5 {
			titles[i] += fmt.Sprintf("w%d_%d ", topic, r.IntN(20))
		}
	}
	return titles
}

// The embedding is U*S of the TF-IDF matrix: its Gram matrix is the best of its
// rank, so with all directions kept it reproduces every cosine.
func TestEmbeddingKeepsCosines(t *testing.T) {
	titles := topics(60, 8)
	emb := TFIDF(titles, 200, 1)
	model := text.FitTFIDF(titles, text.Options{})
	for i := range titles {
		for j := range titles {
			want := text.Cosine(model.Vector(titles[i]), model.Vector(titles[j]))
			got := kernel.Dot(emb.Row(i), emb.Row(j))
			if math.Abs(float64(want-got)) > 2e-2 {
				t.Fatalf("cosine of %d and %d is %v, in the embedding %v", i, j, want, got)
			}
		}
	}
}

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
	var sparse []text.Sparse
	for i := range rows {
		s := text.Sparse{}
		for j, x := range dense.Row(i) {
			s.Index, s.Value = append(s.Index, int32(j)), append(s.Value, x)
		}
		sparse = append(sparse, s)
	}
	got := truncatedSVD(newSparseMatrix(sparse, cols), dim, 3)
	values, _ := eigen(got)
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
