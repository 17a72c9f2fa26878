package fit

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/rng"
)

var kmeansStream = rng.Key("sid/fit/kmeans")

// RQKMeans fits codebooks to the rows of emb level by level: k-means of what the
// levels before left over, from a k-means++ start on those residuals. With
// Balanced, k-means is constrained: see balance.
func RQKMeans(emb embed.Matrix, opt Options) (*Quantizer, error) {
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	opt = opt.withDefaults()
	if emb.Rows == 0 || emb.Cols == 0 {
		return nil, fault.Inputf("sid: no embeddings to quantise")
	}
	record, err := json.Marshal(opt)
	if err != nil {
		return nil, err
	}
	q := &Quantizer{Kind: KindRQKMeans, Options: record, Books: Codebooks{Width: opt.Width}}
	residual := Gather(emb, SampleRows(emb.Rows, opt.Sample, opt.Seed))
	nearest, distance := make([]int32, residual.Rows), make([]float32, residual.Rows)
	for level := range opt.Levels {
		r := rng.New(opt.Seed, kmeansStream, uint64(level))
		book := seedCentroids(residual, opt.Width, r)
		lloyd(residual, book, opt, nearest, distance)
		q.Books.Levels = append(q.Books.Levels, book)
		AssignNearest(residual, book, nearest, distance)
		for i, code := range nearest {
			kernel.Axpy(-1, book.Row(int(code)), residual.Row(i))
		}
	}
	return q, nil
}

var sampleStream = rng.Key("sid/fit/sample")

// SampleRows draws at most n numbers below rows without replacement, ascending.
func SampleRows(rows, n int, seed uint64) []int {
	sample := rng.New(seed, sampleStream).Perm(rows)[:min(n, rows)]
	slices.Sort(sample)
	return sample
}

// Gather copies rows of x.
func Gather(x embed.Matrix, rows []int) embed.Matrix {
	out := embed.NewMatrix(len(rows), x.Cols)
	for to, from := range rows {
		copy(out.Row(to), x.Row(from))
	}
	return out
}

// lloyd moves the centroids of book by Lloyd's algorithm.
func lloyd(x, book embed.Matrix, opt Options, nearest []int32, distance []float32) {
	before := make([]int32, x.Rows)
	for i := range opt.Iterations {
		copy(before, nearest)
		AssignNearest(x, book, nearest, distance)
		if opt.Balanced {
			balance(x, book, opt.Slack, nearest, distance)
		}
		if i > 0 && slices.Equal(nearest, before) {
			break
		}
		moveCentroids(x, book, nearest, distance)
	}
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
const block = 256

func eachBlock(rows int, body func(from, to int)) {
	kernel.Parallel((rows+block-1)/block, func(b int) {
		body(b*block, min((b+1)*block, rows))
	})
}

// AssignNearest finds the nearest centroid of each row, the lower code when two
// are equally near, and the squared distance to it.
func AssignNearest(x, book embed.Matrix, nearest []int32, distance []float32) {
	norms := squaredNorms(book)
	const rows = 16 * block
	products := make([]float32, min(rows, x.Rows)*book.Rows)
	for start := 0; start < x.Rows; start += rows {
		n := min(rows, x.Rows-start)
		kernel.Gemm(false, true, n, book.Rows, x.Cols, 1, x.Data[start*x.Cols:], x.Cols, book.Data, x.Cols, 0, products, book.Rows)
		eachBlock(n, func(from, to int) {
			for i := from; i < to; i++ {
				row := x.Row(start + i)
				at, best := nearestOf(norms, products[i*book.Rows:(i+1)*book.Rows])
				nearest[start+i], distance[start+i] = int32(at), max(best+kernel.Dot(row, row), 0)
			}
		})
	}
}

// nearestOf is the centroid c with the least |c|^2 - 2 c.r, the first of equals,
// given the squared lengths and the inner products with r, and that number.
func nearestOf(norms, products []float32) (at int, best float32) {
	best = float32(math.Inf(1))
	for c, p := range products {
		if d := norms[c] - 2*p; d < best {
			best, at = d, c
		}
	}
	return at, best
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
	sums, counts := sumByCentroid(x, book.Rows, nearest)
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

// sumByCentroid adds up the rows of each centroid (centroids x cols) and counts
// them. A task owns some columns, so that each sum runs in the order of rows.
func sumByCentroid(x embed.Matrix, centroids int, nearest []int32) (sums []float64, counts []int) {
	const columns = 32
	sums, counts = make([]float64, centroids*x.Cols), make([]int, centroids)
	for _, c := range nearest {
		counts[c]++
	}
	kernel.Parallel((x.Cols+columns-1)/columns, func(task int) {
		lo, hi := task*columns, min((task+1)*columns, x.Cols)
		for i, c := range nearest {
			sum := sums[int(c)*x.Cols+lo : int(c)*x.Cols+hi]
			for j, v := range x.Row(i)[lo:hi] {
				sum[j] += float64(v)
			}
		}
	})
	return sums, counts
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
