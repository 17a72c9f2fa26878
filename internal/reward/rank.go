package reward

import (
	"slices"

	"github.com/gr2/gr2/internal/metric"
)

// Slate is the truth about a slate as shown.
type Slate struct {
	Grades []uint8 // by place; above 0 is a positive
	// Incoming is the legacy order, as places: what an answer that ranks
	// nothing by itself inherits. The identity unless candidates were shuffled.
	Incoming []int
}

// Perfect reports whether the incoming order has all positives before all
// negatives, so that a copy of it is right: its AUC is 1. What positives of
// different grades could gain from one another is not asked.
func (s Slate) Perfect() bool { return AUC.Of(s, s.Incoming) == 1 }

// Usable reports whether grades hold both a positive and a negative: where they
// do not, all rankings are equally right.
func Usable(grades []uint8) bool {
	positive, negative := false, false
	for _, g := range grades {
		positive, negative = positive || g > 0, negative || g == 0
	}
	return positive && negative
}

// Metric names what the rank reward measures of a full ranking.
type Metric string

const (
	// AUC is the share of pairs of a positive and a negative in which the
	// positive stands first: 1/(|M||N|) sum_{i in M, j in N} 1[rank(i) < rank(j)]
	// (GR2 eq. 5). 0 to 1.
	AUC Metric = "auc"
	// NDCG is 1/Z sum_i (2^g_i - 1)/log2(i+1) over all places i from 1, Z that of
	// the ideal order (GR2 eq. 6). Above 0, at most 1.
	NDCG Metric = "ndcg"
	// Promotion is the mean over the positives of (rank before - rank after)/K,
	// for one positive the rank promotion of arXiv:2602.07774. Between
	// -(K-1)/K and (K-1)/K, 0 for the incoming order.
	Promotion Metric = "promotion"
)

// Metrics lists them.
func Metrics() []Metric { return []Metric{AUC, NDCG, Promotion} }

// Of is the metric of a full ranking of a usable slate.
func (m Metric) Of(s Slate, ranking []int) float64 {
	j := metric.Judged{Ranking: ranking, Grades: s.Grades}
	switch m {
	case NDCG:
		return j.NDCGAt(len(s.Grades))
	case Promotion:
		return promotion(s, ranking)
	}
	v, _ := j.AUC()
	return v
}

// Places are what each place of a full ranking of a usable slate adds to the
// metric, best first: they sum to Of. What a place adds is settled once it and
// those before it are filled.
//
//	AUC        a positive: the share of the pairs in which it stands before a negative still to come
//	NDCG       (2^g - 1)/log2(place+1)/Z
//	Promotion  a positive: (place before - place)/(K times the positives)
func (m Metric) Places(s Slate, ranking []int) []float64 {
	out := make([]float64, len(ranking))
	before := make([]int, len(ranking)) // the incoming place of each candidate
	for i, c := range s.Incoming {
		before[c] = i
	}
	positives, ideal := 0, slices.Clone(s.Grades)
	for _, g := range s.Grades {
		positives += int(min(g, 1))
	}
	slices.SortFunc(ideal, func(a, b uint8) int { return int(b) - int(a) })
	z := 0.0
	for i, g := range ideal {
		z += metric.Gain(g) * metric.Discount(i)
	}
	negatives := len(ranking) - positives
	left := negatives
	for i, c := range ranking {
		switch g := s.Grades[c]; {
		case m == NDCG:
			out[i] = metric.Gain(g) * metric.Discount(i) / z
		case g == 0:
			left--
		case m == Promotion:
			out[i] = float64(before[c]-i) / float64(positives*len(ranking))
		default:
			out[i] = float64(left) / float64(positives*negatives)
		}
	}
	return out
}

// Earns is what a candidate adds to the metric at the place behind those that
// are filled: Places of any ranking that goes on so.
func (m Metric) Earns(s Slate, filled []int, candidate int) float64 {
	ranking := append(slices.Clone(filled), candidate)
	for c := range s.Grades {
		if !slices.Contains(ranking, c) {
			ranking = append(ranking, c)
		}
	}
	return m.Places(s, ranking)[len(filled)]
}

func promotion(s Slate, ranking []int) float64 {
	positives, places := 0, 0
	for i, c := range s.Incoming {
		if s.Grades[c] > 0 {
			positives++
			places += i
		}
	}
	for i, c := range ranking {
		if s.Grades[c] > 0 {
			places -= i
		}
	}
	return float64(places) / float64(positives*len(s.Grades))
}
