package embed

import (
	"context"
	"math"

	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/rng"
	"gonum.org/v1/gonum/mat"
)

const (
	oversample = 8 // columns beyond dim in the random sketch
	powerSteps = 4 // subspace iterations; text spectra decay slowly
	// A direction with less than this share of the largest squared length is
	// rounding, not data.
	rankTolerance = 1e-5
)

var sketchStream = rng.Key("embed/lsa/sketch")

// rightSingular is the leading dim right singular vectors of a as columns,
// (a.cols, dim), fewer when the rank of a is lower, by randomized subspace
// iteration (Halko, Martinsson and Tropp 2011, algorithms 4.4 and 5.1).
func rightSingular(ctx context.Context, a sparse, dim int, seed uint64) (Matrix, error) {
	t := a.transpose()
	sketch := NewMatrix(a.cols, min(dim, a.rows(), a.cols)+oversample)
	for i := range sketch.Rows {
		r := rng.New(seed, sketchStream, uint64(i))
		for j, row := 0, sketch.Row(i); j < len(row); j++ {
			row[j] = float32(r.NormFloat64())
		}
	}
	q := orthonormal(a.times(sketch))
	for range powerSteps {
		q = orthonormal(a.times(orthonormal(t.times(q))))
		if err := ctx.Err(); err != nil {
			return Matrix{}, err
		}
	}
	// a is about q*b', so with b = V*S*W', a is about (q*W)*S*V'.
	b := t.times(q)
	values, w := eigen(b)
	dim = min(dim, rank(values))
	return multiply(b, whitening(values, w, dim)), nil
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
		x = multiply(x, whitening(values, vectors, rank(values)))
	}
	return x
}

// rank counts the eigenvalues, which descend, that are more than rounding.
func rank(values []float64) int {
	n := 0
	for n < len(values) && values[n] > rankTolerance*values[0] && values[0] > 0 {
		n++
	}
	return n
}

// whitening is W*S^-1 by the leading dim eigenvectors W of x'x and the roots of
// their eigenvalues: the columns of x times it are orthonormal.
func whitening(values []float64, vectors *mat.Dense, dim int) Matrix {
	n := len(values)
	w := NewMatrix(n, dim)
	for j := range dim {
		for i := range n {
			w.Row(i)[j] = float32(vectors.At(i, n-1-j) / math.Sqrt(values[j]))
		}
	}
	return w
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
