package baseline

import (
	"math"

	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/market"
)

// Names of the orders.
const (
	OrderPopularity = "popularity"
	OrderKNN        = "knn"
	OrderIALS       = "ials"
	OrderBPR        = "bpr" // item bias included: the production-like order
	OrderSASRec     = "sasrec"
	OrderBlend      = "blend"
)

// Ranker scores every item of the catalog for one request. Higher is better;
// scores are logits, so that a log-softmax over the catalog makes sense.
type Ranker interface {
	// Name is the name of the order that the ranker gives, such as "sasrec".
	Name() string
	// Scores fills dst (one score per catalog item) from the history, oldest
	// visit first, for a request at time now. It is safe for concurrent use.
	Scores(history []market.Visit, now int64, dst []float32)
}

// Query is one request to a Ranker.
type Query struct {
	History []market.Visit // oldest first
	Now     int64
}

// batchRanker is a Ranker that scores many queries faster than one by one.
type batchRanker interface {
	Ranker
	// scoreBatch fills dst, (len(queries), items).
	scoreBatch(queries []Query, dst []float32)
}

// batchElements bounds the scores that are held at once: 128 queries over a
// catalog of 16,384 items.
const batchElements = 1 << 21

// EachScored scores the queries and calls visit once for each, from several
// goroutines. row holds one score per item and is visit's to change until it
// returns.
func EachScored(r Ranker, queries []Query, items int, visit func(i int, row []float32)) {
	if items == 0 {
		return
	}
	chunk := min(max(batchElements/items, 1), 256, len(queries))
	scores := make([]float32, chunk*items)
	batch, batched := r.(batchRanker)
	for from := 0; from < len(queries); from += chunk {
		part := queries[from:min(from+chunk, len(queries))]
		if batched {
			batch.scoreBatch(part, scores[:len(part)*items])
		}
		kernel.Parallel(len(part), func(i int) {
			row := scores[i*items : (i+1)*items]
			if !batched {
				r.Scores(part[i].History, part[i].Now, row)
			}
			visit(from+i, row)
		})
	}
}

// scoreOne is Scores of a batchRanker.
func scoreOne(r batchRanker, history []market.Visit, now int64, dst []float32) {
	r.scoreBatch([]Query{{History: history, Now: now}}, dst)
}

var minusInf = float32(math.Inf(-1))

// maskSeen gives the items of the history the score -Inf.
func maskSeen(row []float32, history []market.Visit) {
	for _, v := range history {
		row[v.Item] = minusInf
	}
}

// logNormaliser returns the logarithm of the normaliser over the catalog: the
// log-probability of item i is row[i] minus it. It leaves row as it is and
// skips masked items.
func logNormaliser(row []float32) float64 {
	top := kernel.Max(row)
	if math.IsInf(float64(top), -1) {
		return 0
	}
	sum := 0.0
	for _, s := range row {
		sum += math.Exp(float64(s - top))
	}
	return float64(top) + math.Log(sum)
}

// topK returns the k best items of row, best first; masked items never. ties
// holds a frozen hash per item that orders equal scores.
func topK(row []float32, k int, ties []uint64) []int32 {
	better := func(a, b int32) bool {
		if row[a] != row[b] {
			return row[a] > row[b]
		}
		if ties[a] != ties[b] {
			return ties[a] < ties[b]
		}
		return a < b
	}
	best := make([]int32, 0, k+1)
	for i, s := range row {
		item := int32(i)
		if s == minusInf || s != s || len(best) == k && !better(item, best[k-1]) {
			continue
		}
		best = append(best, item)
		for j := len(best) - 1; j > 0 && better(item, best[j-1]); j-- {
			best[j], best[j-1] = best[j-1], item
		}
		best = best[:min(len(best), k)]
	}
	return best
}
