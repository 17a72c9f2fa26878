package rl

import (
	"math"

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
	place  []int     // of each token, the one that it helps to fill
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
// first one's; with it a later place has that of the reward still to come, less
// its mean in the group, which does not depend on the choice there.
func (g *group) advantages(deviation bool) [][]float32 {
	scale, places := 1.0, 1
	if deviation {
		scale = 1 / (g.deviation() + leastDeviation)
	}
	for i := range g.answers {
		places = max(places, len(g.answers[i].earned))
	}
	out := make([][]float32, len(g.answers))
	for place := range places {
		mean := 0.0
		for i := range g.answers {
			mean += g.answers[i].toGo(place) / float64(len(g.answers))
		}
		for i := range g.answers {
			out[i] = append(out[i], float32((g.answers[i].toGo(place)-mean)*scale))
		}
	}
	return out
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
