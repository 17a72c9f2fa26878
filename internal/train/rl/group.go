package rl

import (
	"math"

	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/reward"
)

// group is the answers to one prompt.
type group struct {
	// trunk is what they share: the prompt and what the grammar forces behind it.
	trunk   []int32
	slate   reward.Slate
	answers []answer
}

// answer is one sampled output. Its slices are parallel: the tokens behind the
// trunk up to the last that was a choice.
type answer struct {
	tokens  []int32
	choice  []bool
	allowed [][]int32 // what the choice was made among; nil for the vocabulary
	logProb []float32 // when it was sampled

	length    int // tokens in all, those of the trunk that the grammar forced included
	truncated bool
	parsed    reward.Answer
	score     reward.Score
	overlong  float64 // penalty, 0 or less

	// Of credit by place; nil where the answer stands or falls as a whole.
	earned []float64 // what each place adds to the metric
	named  []uint64  // which positives stand before each place, a bit for a candidate as shown
	place  []int     // of each token, the one that it helps to fill
}

// credit notes what each place of a valid ranking earns.
func (a *answer) credit(m reward.Metric, s reward.Slate) {
	a.earned = m.Places(s, a.parsed.Ranking)
	a.named = make([]uint64, len(a.earned))
	for place, candidate := range a.parsed.Ranking[:len(a.earned)-1] {
		a.named[place+1] = a.named[place]
		if s.Grades[candidate] > market.GradeNone {
			a.named[place+1] |= 1 << candidate
		}
	}
}

// alike reports whether two answers have as much to win from a place on: the
// same positives are still to come. All stand alike before their first place.
func (a *answer) alike(b *answer, place int) bool {
	if place == 0 {
		return true
	}
	return place < len(a.named) && place < len(b.named) && a.named[place] == b.named[place]
}

// at is the place whose advantage a token has.
func (a *answer) at(token int) int {
	if a.place == nil {
		return 0
	}
	return a.place[token]
}

// toGo is the part of the reward that choices from a place on can still change:
// all of it but what the places before have earned. What a condition takes from a
// whole ranking, or its form adds, is earned behind the last place.
func (a *answer) toGo(place int) float64 {
	r := a.reward()
	for _, e := range a.earned[:min(place, len(a.earned))] {
		r -= e
	}
	return r
}

// reward is what the answer is worth.
func (a *answer) reward() float64 { return a.score.Total + a.overlong }

// choices is the number of tokens that were chosen.
func (a *answer) choices() int {
	n := 0
	for _, c := range a.choice {
		if c {
			n++
		}
	}
	return n
}

// spread reports whether the answers differ in the raw ranking metric. The shaped
// reward is not asked: answers that differ in their form alone would stay, and
// answers that the shape makes equal would go (GR2 eq. 9).
func (g *group) spread() bool {
	for i := range g.answers {
		if g.answers[i].score.Raw != g.answers[0].score.Raw {
			return true
		}
	}
	return false
}

// leastDeviation keeps the advantages of a group of equal rewards at 0.
const leastDeviation = 1e-6

// advantages are the rewards less their mean in the group, A_i = R_i - mean, and
// over their standard deviation where that is asked for (GR2 eq. 8): one for each
// answer and place. Without credit by place all places of an answer share the
// first one's. With it a later place has that of the reward still to come, less
// its mean over the answers that stand alike there, which does not depend on the
// choice at the place. So a choice behind the last positive has none, and neither
// has one that no other answer can be compared with.
func (g *group) advantages(deviation bool) [][]float32 {
	scale := 1.0
	if deviation {
		scale = 1 / (g.deviation() + leastDeviation)
	}
	out := make([][]float32, len(g.answers))
	for i := range g.answers {
		a := &g.answers[i]
		for place := range max(1, len(a.earned)) {
			out[i] = append(out[i], float32((a.toGo(place)-g.meanToGo(a, place))*scale))
		}
	}
	return out
}

// meanToGo is the mean of the reward still to come over the answers that stand
// as this one does before a place.
func (g *group) meanToGo(a *answer, place int) float64 {
	sum, n := 0.0, 0.0
	for i := range g.answers {
		if other := &g.answers[i]; a.alike(other, place) {
			sum, n = sum+other.toGo(place), n+1
		}
	}
	return sum / n
}

// mean is that of the rewards.
func (g *group) mean() float64 {
	sum := 0.0
	for i := range g.answers {
		sum += g.answers[i].reward()
	}
	return sum / float64(len(g.answers))
}

// deviation is the standard deviation of the rewards, of the group as a whole.
func (g *group) deviation() float64 {
	mean, square := g.mean(), 0.0
	for i := range g.answers {
		d := g.answers[i].reward() - mean
		square += d * d
	}
	return math.Sqrt(square / float64(len(g.answers)))
}
