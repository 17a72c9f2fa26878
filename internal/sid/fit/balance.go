package fit

import (
	"cmp"
	"math"
	"slices"

	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/kernel"
)

// balance bounds the rows of each centroid by ceil(rows/centroids * (1+slack)),
// given the nearest centroid of each row, and changes nearest and distance to
// what the bound allows. Rows choose in the order of their regret, what the
// second nearest centroid would cost them beyond the nearest; each takes the
// nearest one with room. This is the greedy step of constrained k-means (Bradley
// et al. 2000 solve it as a flow).
func balance(x, book embed.Matrix, slack float64, nearest []int32, distance []float32) {
	limit := int(math.Ceil(float64(x.Rows) / float64(book.Rows) * (1 + slack)))
	norms, rank := squaredNorms(book), make([]float32, book.Rows)
	room := make([]int, book.Rows)
	for c := range room {
		room[c] = limit
	}
	for _, row := range byRegret(x, book, norms, nearest, distance) {
		if c := nearest[row]; room[c] > 0 {
			room[c]--
			continue
		}
		for c := range rank {
			rank[c] = float32(math.NaN())
			if room[c] > 0 {
				rank[c] = norms[c] - 2*kernel.Dot(book.Row(c), x.Row(int(row)))
			}
		}
		c, d := lowest(rank)
		room[c]--
		nearest[row] = int32(c)
		distance[row] = max(0, d+kernel.Dot(x.Row(int(row)), x.Row(int(row))))
	}
}

// byRegret is the rows of x, those first that lose most without their nearest
// centroid.
func byRegret(x, book embed.Matrix, norms []float32, nearest []int32, distance []float32) []int32 {
	regret, order := make([]float32, x.Rows), make([]int32, x.Rows)
	eachBlock(x.Rows, func(from, to int) {
		for i := from; i < to; i++ {
			row, second := x.Row(i), float32(math.Inf(1))
			for c := range book.Rows {
				if c != int(nearest[i]) {
					second = min(second, norms[c]-2*kernel.Dot(book.Row(c), row))
				}
			}
			order[i], regret[i] = int32(i), second+kernel.Dot(row, row)-distance[i]
		}
	})
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(regret[b], regret[a]) })
	return order
}
