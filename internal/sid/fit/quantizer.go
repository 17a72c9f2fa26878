package fit

import (
	"encoding/json"
	"sync"

	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/kernel"
)

// Quantizer is what fitting leaves behind: all that is needed to code an item,
// today's or one that comes later.
type Quantizer struct {
	Kind    string          // who made it: KindRQKMeans, or the kind of another fitter
	Options json.RawMessage // of that fitter, for the record
	Encoder []Layer         // maps an embedding to the latent space; empty for the identity
	Books   Codebooks       // of the latent space
}

// KindRQKMeans is the Kind of what RQKMeans makes.
const KindRQKMeans = "rqkmeans"

// Layer is y = x Weight^T + Bias. All layers of an encoder but the last are
// followed by max(y, 0).
type Layer struct {
	Weight embed.Matrix // out x in
	Bias   []float32    // out
}

// Codebooks are the centroids of each level.
type Codebooks struct {
	Width  int            // codes a level
	Levels []embed.Matrix // live codes x dim; fewer than Width when the residuals have fewer distinct values
}

// InputDim is the length of the embeddings that Latent takes.
func (q *Quantizer) InputDim() int {
	if len(q.Encoder) > 0 {
		return q.Encoder[0].Weight.Cols
	}
	return q.LatentDim()
}

// LatentDim is the length of the vectors that Assign takes.
func (q *Quantizer) LatentDim() int { return q.Books.Levels[0].Cols }

// Latent maps embeddings (rows x InputDim) to the space of the codebooks (rows
// x LatentDim). A row's result does not depend on the other rows. Without an
// encoder it is emb itself, not a copy.
func (q *Quantizer) Latent(emb embed.Matrix) embed.Matrix { return Encode(q.Encoder, emb) }

// Encode is what the layers make of the rows of x: see Quantizer.Latent.
func Encode(layers []Layer, x embed.Matrix) embed.Matrix {
	if len(layers) == 0 {
		return x
	}
	out := embed.NewMatrix(x.Rows, layers[len(layers)-1].Weight.Rows)
	eachBlock(x.Rows, func(from, to int) {
		s := buffers.Get().(*buffer)
		defer buffers.Put(s)
		y := s.load(x, from, to)
		for i, layer := range layers {
			y = s.apply(layer, y)
			if i < len(layers)-1 {
				rectify(y)
			}
		}
		copy(out.Data[from*out.Cols:to*out.Cols], y)
	})
	return out
}

func rectify(x []float32) {
	for i, v := range x {
		x[i] = max(v, 0)
	}
}

// buffer is the working memory of one block of rows. A block is always computed
// whole, the last one filled up with zeros: the order in which a product is
// summed depends on its shape, and a row must not depend on its neighbours.
type buffer struct {
	x, y []float32 // block x dim each
}

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// load copies rows from..to of m into the buffer: block x m.Cols.
func (s *buffer) load(m embed.Matrix, from, to int) []float32 {
	s.x = grow(s.x, block*m.Cols)
	n := copy(s.x, m.Data[from*m.Cols:to*m.Cols])
	clear(s.x[n:])
	return s.x
}

// apply is the layer's y of the rows that the buffer holds, which it replaces.
func (s *buffer) apply(layer Layer, x []float32) []float32 {
	in, out := layer.Weight.Cols, layer.Weight.Rows
	s.y = grow(s.y, block*out)
	for r := range block {
		copy(s.y[r*out:(r+1)*out], layer.Bias)
	}
	kernel.Gemm(false, true, block, out, in, 1, x, in, layer.Weight.Data, in, 1, s.y, out)
	s.x, s.y = s.y, s.x
	return s.x
}

func grow(x []float32, n int) []float32 {
	if cap(x) < n {
		return make([]float32, n)
	}
	return x[:n]
}

// Nearest is the nearest code of each row at every level (rows x levels), the
// lower code of two equally near ones. A row's codes do not depend on the other
// rows.
func (b *Codebooks) Nearest(latent embed.Matrix) []uint8 {
	levels := len(b.Levels)
	norms := b.norms()
	codes := make([]uint8, latent.Rows*levels)
	eachBlock(latent.Rows, func(from, to int) {
		s := buffers.Get().(*buffer)
		defer buffers.Put(s)
		residual := s.load(latent, from, to)
		for l, book := range b.Levels {
			s.y = grow(s.y, block*book.Rows)
			kernel.Gemm(false, true, block, book.Rows, book.Cols, 1, residual, book.Cols, book.Data, book.Cols, 0, s.y, book.Rows)
			for i := range to - from {
				c, _ := nearestOf(norms[l], s.y[i*book.Rows:(i+1)*book.Rows])
				codes[(from+i)*levels+l] = uint8(c)
				kernel.Axpy(-1, book.Row(c), residual[i*book.Cols:(i+1)*book.Cols])
			}
		}
	})
	return codes
}

// norms is the squared length of each centroid, level by level.
func (b *Codebooks) norms() [][]float32 {
	var norms [][]float32
	for _, book := range b.Levels {
		norms = append(norms, squaredNorms(book))
	}
	return norms
}

// capacity is how many codes have the first n levels of a code in common; huge
// ones are cut off.
func (b *Codebooks) capacity(n int) int {
	const enough = 1 << 40
	total := 1
	for range len(b.Levels) - n {
		if total > enough {
			break
		}
		total *= b.Width
	}
	return total
}

// RelativeError is the mean squared distance between the rows of latent and the
// sums of their centroids, over the mean squared length of the rows. A code
// without a centroid adds nothing to its sum.
func (q *Quantizer) RelativeError(latent embed.Matrix, codes []uint8) float64 {
	return q.errorOf(latent, codes, len(q.Books.Levels))
}

// levelErrors is the RelativeError of the first level, of the first two, and so
// on.
func (q *Quantizer) levelErrors(latent embed.Matrix, codes []uint8) []float64 {
	errors := make([]float64, len(q.Books.Levels))
	for l := range errors {
		errors[l] = q.errorOf(latent, codes, l+1)
	}
	return errors
}

// errorOf is the RelativeError of the first n levels.
func (q *Quantizer) errorOf(latent embed.Matrix, codes []uint8, n int) float64 {
	left, total := 0.0, 0.0
	residual := make([]float32, latent.Cols)
	levels := len(q.Books.Levels)
	for i := range latent.Rows {
		row := latent.Row(i)
		total += float64(kernel.Dot(row, row))
		q.Books.residual(row, codes[i*levels:i*levels+n], residual)
		left += float64(kernel.Dot(residual, residual))
	}
	if total == 0 {
		return 0
	}
	return left / total
}

// residual sets dst to x less the centroids of a code or of its first levels.
func (b *Codebooks) residual(x []float32, code []uint8, dst []float32) {
	copy(dst, x)
	for l, c := range code {
		if book := b.Levels[l]; int(c) < book.Rows {
			kernel.Axpy(-1, book.Row(int(c)), dst)
		}
	}
}
