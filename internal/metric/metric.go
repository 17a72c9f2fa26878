package metric

import (
	"math"
	"slices"
)

// Judged is a ranking beside the truth. Ranking holds distinct indices into
// Grades. Grades may be longer than Ranking: a positive that is never ranked
// (it was not in the slate) can not be hit and still counts in the ideal.
type Judged struct {
	Ranking []int
	Grades  []uint8
}

// RecallAt is the number of positives among the first k divided by
// min(k, positives), so that 1 can be reached at every k. With one positive it
// is hit@k. Without the cap, R@1 of a slate with three clicks could not exceed
// 1/3, and means over slates of mixed numbers would not be comparable with the
// leave-one-out tables of the literature.
func (j Judged) RecallAt(k int) float64 {
	positives := j.positives()
	if positives == 0 || k <= 0 {
		return 0
	}
	hits := 0
	for _, c := range j.Ranking[:min(k, len(j.Ranking))] {
		if j.Grades[c] > 0 {
			hits++
		}
	}
	return float64(hits) / float64(min(k, positives))
}

// NDCGAt is DCG@k over the DCG@k of the ideal order, with gains 2^grade-1 and
// discount 1/log2(1+position), position from 1 (Järvelin and Kekäläinen 2002
// with the gains of Burges et al. 2005; GR2 Eq. 6).
func (j Judged) NDCGAt(k int) float64 {
	dcg := 0.0
	for i, c := range j.Ranking[:min(max(k, 0), len(j.Ranking))] {
		dcg += Gain(j.Grades[c]) * Discount(i)
	}
	if dcg == 0 {
		return 0
	}
	return dcg / idealDCG(j.Grades, k)
}

// idealDCG is DCG@k of the grades in falling order, by counting them: no sort,
// no allocation for the usual few grades.
func idealDCG(grades []uint8, k int) float64 {
	var count [256]int
	for _, g := range grades {
		count[g]++
	}
	dcg, place := 0.0, 0
	for g := 255; g > 0 && place < k; g-- {
		for n := count[g]; n > 0 && place < k; n-- {
			dcg += Gain(uint8(g)) * Discount(place)
			place++
		}
	}
	return dcg
}

// Gain of a grade: 2^grade - 1.
func Gain(grade uint8) float64 { return math.Ldexp(1, int(grade)) - 1 }

// Discount of the place i, counted from 0: 1/log2(i+2).
func Discount(i int) float64 { return 1 / math.Log2(float64(i)+2) }

// MRR is 1 over the position (from 1) of the first positive; 0 when none is
// ranked.
func (j Judged) MRR() float64 {
	i := slices.IndexFunc(j.Ranking, func(c int) bool { return j.Grades[c] > 0 })
	if i < 0 {
		return 0
	}
	return 1 / float64(i+1)
}

// AP is average precision over the whole ranking: the mean, over all
// positives, of the precision at the positive's place (0 for one never
// ranked). Its mean over slates is MAP. With one positive it equals MRR.
func (j Judged) AP() float64 {
	positives := j.positives()
	if positives == 0 {
		return 0
	}
	sum, hits := 0.0, 0
	for i, c := range j.Ranking {
		if j.Grades[c] > 0 {
			hits++
			sum += float64(hits) / float64(i+1)
		}
	}
	return sum / float64(positives)
}

// AUC is the share of pairs of a ranked positive and a ranked negative in
// which the positive stands first (GR2 Eq. 5). ok is false, and the slate must
// be left out of a mean, when there is no such pair. Grades 1 and 2 are one
// class here.
func (j Judged) AUC() (value float64, ok bool) {
	right, above, negatives := 0, 0, 0
	for _, c := range j.Ranking {
		if j.Grades[c] > 0 {
			above++
			continue
		}
		negatives++
		right += above
	}
	if above == 0 || negatives == 0 {
		return 0, false
	}
	return float64(right) / float64(above*negatives), true
}

func (j Judged) positives() int {
	n := 0
	for _, g := range j.Grades {
		if g > 0 {
			n++
		}
	}
	return n
}
