package embed

import (
	"math"

	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/text"
	"gonum.org/v1/gonum/mat"
)

const (
	oversample = 8 // columns beyond Dim in the random sketch
	powerSteps = 4 // subspace iterations; text spectra decay slowly
	// A direction with less than this share of the largest squared length is
	// rounding, not data.
	rankTolerance = 1e-5
)

var sketchStream = rng.Key("sid/fit/sketch")

// TFIDF turns each text into a unit vector (zero when it has no words): TF-IDF,
// then its truncated SVD by randomized subspace iteration (Halko, Martinsson and
// Tropp 2011, algorithm 4.4). The result has dim columns, or fewer when the rank
// of the texts is lower.
func TFIDF(docs []string, dim int, seed uint64) Matrix {
	minDF := 2 // a word of one item relates it to no other
	if len(docs) < 100 {
		minDF = 1
	}
	model := text.FitTFIDF(docs, text.Options{MinDF: minDF})
	vectors := make([]text.Sparse, len(docs))
	for i, doc := range docs {
		vectors[i] = model.Vector(doc)
	}
	emb := truncatedSVD(newSparseMatrix(vectors, model.Terms()), dim, seed)
	normalizeRows(emb)
	return emb
}

// truncatedSVD is U*S of the leading dim singular directions of a, at most its
// rank many, at least one column.
func truncatedSVD(a sparseMatrix, dim int, seed uint64) Matrix {
	width := min(dim+oversample, len(a.rows), len(a.columns))
	sketch := NewMatrix(len(a.columns), width)
	for i := range sketch.Rows {
		r := rng.New(seed, sketchStream, uint64(i))
		for j, row := 0, sketch.Row(i); j < width; j++ {
			row[j] = float32(r.NormFloat64())
		}
	}
	q := orthonormal(times(a.rows, sketch))
	for range powerSteps {
		q = orthonormal(times(a.rows, orthonormal(times(a.columns, q))))
	}
	b := times(a.columns, q) // terms x rank; a is about q*b'
	values, vectors := eigen(b)
	dim = min(dim, q.Cols)
	if dim == 0 {
		return NewMatrix(len(a.rows), 1)
	}
	rotate := NewMatrix(q.Cols, dim)
	for j := range dim {
		scale := math.Sqrt(max(values[j], 0))
		for i := range q.Cols {
			rotate.Row(i)[j] = float32(vectors.At(i, vectors.RawMatrix().Cols-1-j) * scale)
		}
	}
	return multiply(q, rotate)
}

// sparseMatrix holds a matrix by rows and by columns, so that products with it
// and its transpose both run row by row in a fixed order.
type sparseMatrix struct {
	rows, columns []text.Sparse
}

func newSparseMatrix(rows []text.Sparse, columns int) sparseMatrix {
	m := sparseMatrix{rows, make([]text.Sparse, columns)}
	for i, row := range rows {
		for k, j := range row.Index {
			m.columns[j].Index = append(m.columns[j].Index, int32(i))
			m.columns[j].Value = append(m.columns[j].Value, row.Value[k])
		}
	}
	return m
}

// times is the product of sparse rows with x.
func times(rows []text.Sparse, x Matrix) Matrix {
	out := NewMatrix(len(rows), x.Cols)
	kernel.Parallel(len(rows), func(i int) {
		for k, j := range rows[i].Index {
			kernel.Axpy(rows[i].Value[k], x.Row(int(j)), out.Row(i))
		}
	})
	return out
}

func multiply(a, b Matrix) Matrix {
	out := NewMatrix(a.Rows, b.Cols)
	if a.Rows > 0 && a.Cols > 0 && b.Cols > 0 {
		kernel.Gemm(false, false, a.Rows, b.Cols, a.Cols, 1, a.Data, a.Cols, b.Data, b.Cols, 0, out.Data, b.Cols)
	}
	return out
}

// orthonormal is an orthonormal basis of the columns of x, fewer than those
// when x lacks full rank. Two rounds, because one loses digits in proportion to
// the square of the condition.
func orthonormal(x Matrix) Matrix {
	for range 2 {
		values, vectors := eigen(x)
		rank := 0
		for rank < len(values) && values[rank] > rankTolerance*values[0] && values[0] > 0 {
			rank++
		}
		whiten := NewMatrix(x.Cols, rank)
		for j := range rank {
			for i := range x.Cols {
				whiten.Row(i)[j] = float32(vectors.At(i, x.Cols-1-j) / math.Sqrt(values[j]))
			}
		}
		x = multiply(x, whiten)
	}
	return x
}

// eigen decomposes x'x: eigenvalues from the largest down, eigenvectors as
// columns in the opposite order.
func eigen(x Matrix) ([]float64, *mat.Dense) {
	n := x.Cols
	if n == 0 || x.Rows == 0 {
		return nil, &mat.Dense{}
	}
	gram := make([]float32, n*n)
	kernel.Gemm(true, false, n, n, x.Rows, 1, x.Data, n, x.Data, n, 0, gram, n)
	symmetric := mat.NewSymDense(n, nil)
	for i := range n {
		for j := i; j < n; j++ {
			symmetric.SetSym(i, j, float64(gram[i*n+j]))
		}
	}
	var factors mat.EigenSym
	factors.Factorize(symmetric, true) // cannot fail on finite input
	values := factors.Values(nil)
	for i, j := 0, n-1; i < j; i, j = i+1, j-1 {
		values[i], values[j] = values[j], values[i]
	}
	var vectors mat.Dense
	factors.VectorsTo(&vectors)
	return values, &vectors
}

func normalizeRows(m Matrix) {
	for i := range m.Rows {
		row := m.Row(i)
		if norm := math.Sqrt(float64(kernel.Dot(row, row))); norm > 1e-6 {
			kernel.Scale(float32(1/norm), row)
		} else {
			clear(row)
		}
	}
}
