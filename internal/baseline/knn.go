package baseline

import (
	"cmp"
	"math"
	"slices"

	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/market"
)

// KNNConfig holds the parameters of item-kNN: which pairs of a user's events
// count as co-engagement and how a history turns co-counts into scores.
//
//	score(j) = pop(j)^-PopPower * sum over visits h, newest first, a = 0, 1, ..:
//	           Decay^a * pop(h)^-QueryPower * C(h, j)
//	C(i, j)  = sum over users and their pairs at most Window events apart:
//	           Gap^(apart-1) * n^-Damp (n events of that user), symmetric
type KNNConfig struct {
	Window     int     `json:"window"`      // events; default 10
	Gap        float64 `json:"gap"`         // in (0,1]; default .9
	Damp       float64 `json:"damp"`        // exponent, >= 0; default 0
	SameTime   float64 `json:"same_time"`   // weight of pairs of equal time, >= 0; default 1.5
	PopPower   float64 `json:"pop_power"`   // exponent, >= 0; default .1
	QueryPower float64 `json:"query_power"` // exponent, >= 0; default .4
	Decay      float64 `json:"decay"`       // in (0,1]; default .7
	Backoff    float64 `json:"backoff"`     // share of popularity mixed in, in (0,1); default .03
}

// coCounts is the symmetric co-engagement matrix C in compressed rows.
type coCounts struct {
	start     []int32 // row i is start[i]..start[i+1]
	neighbour []int32 // ascending within a row
	weight    []float32
}

type coEntry struct {
	neighbour int32
	weight    float32
}

// countPairs builds C. Rows are summed in the order of the log, so the result
// does not depend on threads.
func countPairs(log *trainLog, cfg KNNConfig) *coCounts {
	gap := make([]float64, cfg.Window+1)
	for g := 1; g <= cfg.Window; g++ {
		gap[g] = math.Pow(cfg.Gap, float64(g-1))
	}
	rows := make([][]coEntry, log.items)
	for _, seq := range log.seqs {
		damp := math.Pow(float64(len(seq)), -cfg.Damp)
		for i := range seq {
			for j := i + 1; j < len(seq) && j-i <= cfg.Window; j++ {
				a, b := seq[i].Item, seq[j].Item
				w := gap[j-i] * damp
				if seq[i].Time == seq[j].Time {
					w *= cfg.SameTime
				}
				if a == b || w == 0 {
					continue
				}
				rows[a] = append(rows[a], coEntry{b, float32(w)})
				rows[b] = append(rows[b], coEntry{a, float32(w)})
			}
		}
	}
	kernel.Parallel(len(rows), func(i int) { rows[i] = mergeEntries(rows[i]) })
	return compressRows(rows)
}

// mergeEntries sorts a row by neighbour and sums equal ones, in place.
func mergeEntries(row []coEntry) []coEntry {
	slices.SortStableFunc(row, func(a, b coEntry) int { return cmp.Compare(a.neighbour, b.neighbour) })
	out := row[:0]
	for _, e := range row {
		if n := len(out); n > 0 && out[n-1].neighbour == e.neighbour {
			out[n-1].weight += e.weight
			continue
		}
		out = append(out, e)
	}
	return out
}

func compressRows(rows [][]coEntry) *coCounts {
	c := &coCounts{start: make([]int32, len(rows)+1)}
	for i, row := range rows {
		c.start[i+1] = c.start[i] + int32(len(row))
	}
	c.neighbour = make([]int32, 0, c.start[len(rows)])
	c.weight = make([]float32, 0, c.start[len(rows)])
	for _, row := range rows {
		for _, e := range row {
			c.neighbour = append(c.neighbour, e.neighbour)
			c.weight = append(c.weight, e.weight)
		}
	}
	return c
}

// itemKNN is the Ranker over C. Its scores are log-probabilities: the
// normalised neighbour scores mixed with popularity.
type itemKNN struct {
	cfg    KNNConfig
	pairs  *coCounts
	counts []float32

	known
	target    []float32 // pop^-PopPower of each item
	query     []float32 // pop^-QueryPower of each item
	share     []float64 // Backoff * popularity
	backedOff []float32 // log(share): the score without neighbours
}

func newItemKNN(cfg KNNConfig, pairs *coCounts, counts []float32) *itemKNN {
	k := &itemKNN{cfg: cfg, pairs: pairs, counts: counts, known: knownItems(counts)}
	n := len(counts)
	k.target, k.query = make([]float32, n), make([]float32, n)
	k.share, k.backedOff = make([]float64, n), make([]float32, n)
	for i, c := range counts {
		pop := math.Max(float64(c), 1)
		k.target[i] = float32(math.Pow(pop, -cfg.PopPower))
		k.query[i] = float32(math.Pow(pop, -cfg.QueryPower))
		k.share[i] = cfg.Backoff * math.Exp(float64(k.prior[i]))
		k.backedOff[i] = float32(math.Log(k.share[i]))
	}
	return k
}

func (k *itemKNN) Name() string { return OrderKNN }

// knnHistory is how many of the last visits are looked up; older ones have
// decayed to nothing.
const knnHistory = 50

// Scores fills dst with log((1-Backoff)*neighbours + Backoff*popularity), both
// distributions over the catalog.
func (k *itemKNN) Scores(history []market.Visit, _ int64, dst []float32) {
	clear(dst)
	weight, total := 1.0, 0.0
	history = k.read(history, knnHistory)
	for a := len(history) - 1; a >= 0; a-- {
		item := history[a].Item
		w := float32(weight) * k.query[item]
		for e := k.pairs.start[item]; e < k.pairs.start[item+1]; e++ {
			j := k.pairs.neighbour[e]
			s := w * k.pairs.weight[e] * k.target[j]
			dst[j] += s
			total += float64(s)
		}
		weight *= k.cfg.Decay
	}
	if total == 0 {
		copy(dst, k.prior)
		return
	}
	scale := (1 - k.cfg.Backoff) / total
	for i, s := range dst {
		if s == 0 {
			dst[i] = k.backedOff[i]
			continue
		}
		dst[i] = float32(math.Log(scale*float64(s) + k.share[i]))
	}
}

func (k *itemKNN) scoreBatch(queries []Query, dst []float32) {
	n := len(k.counts)
	kernel.Parallel(len(queries), func(i int) {
		k.Scores(queries[i].History, queries[i].Now, dst[i*n:(i+1)*n])
	})
}
