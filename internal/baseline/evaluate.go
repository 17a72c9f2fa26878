package baseline

import (
	"math"

	"github.com/gr2/gr2/internal/market"
)

// Measures are means over targets of full-catalog ranking metrics. A target
// with several items (a basket) counts recall as hits over min(k, items) and
// NDCG over its ideal order.
type Measures struct {
	Targets int     `json:"targets"`
	R1      float64 `json:"R@1"`
	R5      float64 `json:"R@5"`
	R10     float64 `json:"R@10"`
	N10     float64 `json:"N@10"`
}

// Evaluate ranks the whole catalog for every target, without sampling. Items
// of the history are masked unless keepSeen; a masked target item is a miss.
// Items with equal scores stand at their expected rank.
func Evaluate(r Ranker, targets []market.Target, items int, keepSeen bool) Measures {
	each := make([]Measures, len(targets))
	EachScored(r, queriesOf(targets), items, func(i int, row []float32) {
		if !keepSeen {
			maskSeen(row, targets[i].History)
		}
		each[i] = measure(row, targets[i].Items)
	})
	return Mean(each)
}

func queriesOf(targets []market.Target) []Query {
	queries := make([]Query, len(targets))
	for i, t := range targets {
		queries[i] = Query{History: t.History, Now: t.Time}
	}
	return queries
}

// Mean is the mean over targets. It adds in their order, so that it does not
// depend on threads.
func Mean(each []Measures) Measures {
	m := Measures{Targets: len(each)}
	for _, e := range each {
		m.R1 += e.R1
		m.R5 += e.R5
		m.R10 += e.R10
		m.N10 += e.N10
	}
	if n := float64(len(each)); n > 0 {
		m.R1, m.R5, m.R10, m.N10 = m.R1/n, m.R5/n, m.R10/n, m.N10/n
	}
	return m
}

// measure judges one scored and masked row against the items that followed.
func measure(row []float32, positives []int32) Measures {
	ranks := make([]float64, len(positives))
	for i, item := range positives {
		ranks[i] = expectedRank(row, item)
	}
	return Measured(ranks)
}

// Measured judges one target by the ranks of its items, from 1; +Inf for one
// that is not ranked.
func Measured(ranks []float64) Measures {
	m := Measures{Targets: 1}
	ideal := 0.0
	for i, rank := range ranks {
		m.R1 += hit(rank, 1, len(ranks))
		m.R5 += hit(rank, 5, len(ranks))
		m.R10 += hit(rank, 10, len(ranks))
		if rank <= 10 {
			m.N10 += 1 / math.Log2(1+rank)
		}
		if i < 10 {
			ideal += 1 / math.Log2(float64(i)+2)
		}
	}
	if ideal > 0 {
		m.N10 /= ideal
	}
	return m
}

func hit(rank float64, k, positives int) float64 {
	if rank > float64(k) {
		return 0
	}
	return 1 / float64(min(k, positives))
}

// expectedRank is the rank of the item, from 1, when equal scores are ordered
// at random; +Inf when it is masked or not a number.
func expectedRank(row []float32, item int32) float64 {
	score := row[item]
	if score == minusInf || score != score {
		return math.Inf(1)
	}
	above, equal := 0, 0
	for _, s := range row {
		if s > score {
			above++
		} else if s == score {
			equal++
		}
	}
	return 1 + float64(above) + float64(equal-1)/2
}
