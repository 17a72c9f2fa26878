package eval

import (
	"cmp"
	"math"
	"slices"

	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/sid"
)

// LevelOrder is how far the codes of one level follow an order of the items,
// within the items that share all levels before.
type LevelOrder struct {
	Rule  string `json:"rule"`  // number or id: the order
	Level int    `json:"level"` // from 0
	// Correlation of an item's place in the order with its code, 0 for none.
	Correlation float64 `json:"correlation"`
	// Deviation is the correlation in standard deviations of the same codes
	// renamed at random, prefix by prefix. Which items share a code stays: codes of
	// alike items are to be alike, and ids may tell a brand or a year.
	Deviation float64 `json:"deviation"`
	Leak      bool    `json:"leak"`
}

// CodeOrder is the probe of semantic IDs for the order of a file, which is that
// of ids where files are sorted by id, and of item numbers elsewhere.
type CodeOrder struct {
	Levels []LevelOrder `json:"levels"`
	Leak   bool         `json:"leak"` // any level leaks
}

// orderedCorrelation is the correlation from which on codes are said to follow
// an order. Codes that number collisions in turn have .7 and more. Those of real
// clusters have .05: clusters are renamed for all prefixes at once, not prefix
// by prefix, which makes deviations alone accuse too often.
const orderedCorrelation = .2

// ProbeCodeOrder tries the orders at every level. A level leaks when its
// correlation is high and not to be had by renaming codes.
func ProbeCodeOrder(index *sid.Index, catalog *market.Catalog) CodeOrder {
	items := make([]int32, index.Len())
	for i := range items {
		items[i] = int32(i)
	}
	numbers := ranks(items, func(a, b int32) int { return cmp.Compare(a, b) })
	ids := ranks(items, func(a, b int32) int { return compareIDs(catalog.Items[a].ID, catalog.Items[b].ID) })
	slices.SortFunc(items, func(a, b int32) int { return slices.Compare(index.Code(a), index.Code(b)) })
	var probe CodeOrder
	for level := range index.Levels() {
		for _, rule := range []struct {
			name string
			rank []int32
		}{{"number", numbers}, {"id", ids}} {
			o := orderOf(index, items, level, rule.rank)
			o.Rule = rule.name
			probe.Levels = append(probe.Levels, o)
			probe.Leak = probe.Leak || o.Leak
		}
	}
	return probe
}

// orderOf measures a level; items are sorted by code.
func orderOf(index *sid.Index, items []int32, level int, rank []int32) LevelOrder {
	o := LevelOrder{Level: level}
	var product, codes, places, variance float64
	for from := 0; from < len(items); {
		to := from + 1
		for to < len(items) && slices.Equal(index.Code(items[to])[:level], index.Code(items[from])[:level]) {
			to++
		}
		p := newPrefix(index, items[from:to], level, rank)
		product += p.product
		codes += p.codes
		places += p.places
		variance += p.variance
		from = to
	}
	if codes > 0 && places > 0 {
		o.Correlation = product / math.Sqrt(codes*places)
	}
	if variance > 0 {
		o.Deviation = product / math.Sqrt(variance)
	}
	o.Leak = math.Abs(o.Correlation) > orderedCorrelation && math.Abs(o.Deviation) > strictDeviation
	return o
}

// prefix is sums over the items with one prefix, of places x in the order and
// ranks y of the code among those used, both less their means.
type prefix struct {
	product       float64 // sum of x y
	codes, places float64 // sums of y y and of x x
	variance      float64 // of product, when the codes are renamed at random
}

func newPrefix(index *sid.Index, items []int32, level int, rank []int32) (p prefix) {
	x := make([]float64, len(items))
	mean := 0.0
	for i, item := range items {
		x[i] = float64(rank[item])
		mean += x[i] / float64(len(items))
	}
	var sums, counts []float64 // by code: of x, of items
	last := -1
	for i, item := range items {
		if c := int(index.Code(item)[level]); c != last {
			sums, counts, last = append(sums, 0), append(counts, 0), c
		}
		sums[len(sums)-1] += x[i] - mean
		counts[len(counts)-1]++
		p.places += (x[i] - mean) * (x[i] - mean)
	}
	meanCode, squares := 0.0, 0.0
	for c, n := range counts {
		meanCode += float64(c) * n / float64(len(items))
		squares += sums[c] * sums[c]
	}
	for c, n := range counts {
		p.product += sums[c] * float64(c)
		p.codes += n * (float64(c) - meanCode) * (float64(c) - meanCode)
	}
	// A random permutation of 0..m-1 over sums that add up to 0 has a product of
	// variance squares * m(m+1)/12.
	m := float64(len(counts))
	p.variance = squares * m * (m + 1) / 12
	return p
}
