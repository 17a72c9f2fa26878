package fit

import (
	"math"
	"math/rand/v2"

	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/rng"
)

// Codebooks are the centroids of each level.
type Codebooks struct {
	Width  int
	Levels []embed.Matrix // live codes x dim; fewer than Width when the residuals have fewer distinct values
}

var kmeansStream = rng.Key("sid/fit/kmeans")

// RQKMeans quantises the rows of emb level by level: k-means of what the levels
// before left over, from a k-means++ start on those residuals. It returns the
// codebooks and, rows x levels, the nearest code at every level; see Assign for
// unique codes.
func RQKMeans(emb embed.Matrix, opt Options) (*Codebooks, []uint8, error) {
	if err := opt.Validate(); err != nil {
		return nil, nil, err
	}
	opt = opt.withDefaults()
	if emb.Rows == 0 || emb.Cols == 0 {
		return nil, nil, fault.Inputf("sid: no embeddings to quantise")
	}
	residual := embed.Matrix{Rows: emb.Rows, Cols: emb.Cols, Data: append([]float32(nil), emb.Data...)}
	books := &Codebooks{Width: opt.Width}
	codes := make([]uint8, emb.Rows*opt.Levels)
	for level := range opt.Levels {
		r := rng.New(opt.Seed, kmeansStream, uint64(level))
		book, nearest := kmeans(residual, opt.Width, opt.Iterations, r)
		books.Levels = append(books.Levels, book)
		for i, code := range nearest {
			codes[i*opt.Levels+level] = uint8(code)
			kernel.Axpy(-1, book.Row(int(code)), residual.Row(i))
		}
	}
	return books, codes, nil
}

// kmeans finds at most width centroids of x by Lloyd's algorithm and the
// nearest one of each row.
func kmeans(x embed.Matrix, width, iterations int, r *rand.Rand) (embed.Matrix, []int32) {
	book := seedCentroids(x, width, r)
	nearest, distance := make([]int32, x.Rows), make([]float32, x.Rows)
	assignNearest(x, book, nearest, distance)
	before := make([]int32, x.Rows)
	for range iterations {
		moveCentroids(x, book, nearest, distance)
		nearest, before = before, nearest
		assignNearest(x, book, nearest, distance)
		if same(nearest, before) {
			break
		}
	}
	return book, nearest
}

func same(a, b []int32) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// seedCentroids draws rows by k-means++ (Arthur and Vassilvitskii 2007): each
// with probability in proportion to its squared distance from those drawn. It
// stops early when every row equals a centroid.
func seedCentroids(x embed.Matrix, width int, r *rand.Rand) embed.Matrix {
	distance, norms := make([]float64, x.Rows), squaredNorms(x)
	book := embed.Matrix{Cols: x.Cols}
	pick := r.IntN(x.Rows)
	for {
		centroid := x.Row(pick)
		book.Data = append(book.Data, centroid...)
		book.Rows++
		if book.Rows == width {
			return book
		}
		first := book.Rows == 1
		eachBlock(x.Rows, func(from, to int) {
			for i := from; i < to; i++ {
				d := squaredDistance(norms[i], norms[pick], kernel.Dot(x.Row(i), centroid))
				if first || d < distance[i] {
					distance[i] = d
				}
			}
		})
		var ok bool
		if pick, ok = drawInProportion(distance, r); !ok {
			return book
		}
	}
}

// drawInProportion draws an index with probability in proportion to weight; not
// ok when every weight is 0.
func drawInProportion(weight []float64, r *rand.Rand) (int, bool) {
	total := 0.0
	for _, w := range weight {
		total += w
	}
	left := r.Float64() * total
	pick := -1
	for i, w := range weight {
		if w == 0 {
			continue
		}
		pick = i // rounding may leave a rest after the last one
		if left -= w; left < 0 {
			break
		}
	}
	return pick, pick >= 0
}

// squaredDistance of two vectors by their squared lengths and inner product;
// what rounding leaves between equal vectors counts as 0.
func squaredDistance(aa, bb, ab float32) float64 {
	d := float64(aa) + float64(bb) - 2*float64(ab)
	if d <= 1e-5*float64(aa+bb) || d < 1e-12 {
		return 0
	}
	return d
}

// block is how many rows one task handles.
const block = 512

func eachBlock(rows int, body func(from, to int)) {
	kernel.Parallel((rows+block-1)/block, func(b int) {
		body(b*block, min((b+1)*block, rows))
	})
}

// assignNearest finds the nearest centroid of each row, the lower code when two
// are equally near, and the squared distance to it.
func assignNearest(x, book embed.Matrix, nearest []int32, distance []float32) {
	norms := squaredNorms(book)
	const rows = 8 * block
	products := make([]float32, min(rows, x.Rows)*book.Rows)
	for start := 0; start < x.Rows; start += rows {
		n := min(rows, x.Rows-start)
		kernel.Gemm(false, true, n, book.Rows, x.Cols, 1, x.Data[start*x.Cols:], x.Cols, book.Data, x.Cols, 0, products, book.Rows)
		eachBlock(n, func(from, to int) {
			for i := from; i < to; i++ {
				row := x.Row(start + i)
				best, at := float32(math.Inf(1)), 0
				for c, p := range products[i*book.Rows : (i+1)*book.Rows] {
					if d := norms[c] - 2*p; d < best {
						best, at = d, c
					}
				}
				nearest[start+i], distance[start+i] = int32(at), max(best+kernel.Dot(row, row), 0)
			}
		})
	}
}

func squaredNorms(m embed.Matrix) []float32 {
	norms := make([]float32, m.Rows)
	for i := range norms {
		norms[i] = kernel.Dot(m.Row(i), m.Row(i))
	}
	return norms
}

// moveCentroids sets each centroid to the mean of its rows. A centroid without
// rows moves to the row that is farthest from its own centroid.
func moveCentroids(x, book embed.Matrix, nearest []int32, distance []float32) {
	sums := make([]float64, len(book.Data))
	counts := make([]int, book.Rows)
	for i, c := range nearest {
		counts[c]++
		sum := sums[int(c)*x.Cols : int(c+1)*x.Cols]
		for j, v := range x.Row(i) {
			sum[j] += float64(v)
		}
	}
	for c, n := range counts {
		if n == 0 {
			if far := farthest(distance); distance[far] > 0 {
				copy(book.Row(c), x.Row(far))
				distance[far] = 0
			}
			continue
		}
		for j, row := 0, book.Row(c); j < x.Cols; j++ {
			row[j] = float32(sums[c*x.Cols+j] / float64(n))
		}
	}
}

func farthest(distance []float32) int {
	at := 0
	for i, d := range distance {
		if d > distance[at] {
			at = i
		}
	}
	return at
}

// relativeError is the mean squared distance between the rows of emb and the
// sums of their centroids, over the mean squared length of the rows.
func (b *Codebooks) relativeError(emb embed.Matrix, codes []uint8) float64 {
	left, total := 0.0, 0.0
	residual := make([]float32, emb.Cols)
	for i := range emb.Rows {
		copy(residual, emb.Row(i))
		total += float64(kernel.Dot(residual, residual))
		for l, book := range b.Levels {
			kernel.Axpy(-1, book.Row(int(codes[i*len(b.Levels)+l])), residual)
		}
		left += float64(kernel.Dot(residual, residual))
	}
	if total == 0 {
		return 0
	}
	return left / total
}
