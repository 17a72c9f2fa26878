package rl

import (
	"math"

	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/prompt"
	"github.com/gr2/gr2/internal/reward"
)

// group is the answers to one prompt.
type group struct {
	// trunk is what they share: the prompt and what the grammar forces behind it.
	trunk   []int32
	slate   reward.Slate
	answers []answer
	asides  []prompt.Aside // judgements of the prompt; nil where none are learnt
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
	placed []uint64  // which positives stand before each place, a bit for a candidate as shown
	place  []int     // of each token, the one that it helps to fill

	picks []pick // of credit by choice, first to last
}

// credit notes what each place of a valid ranking earns.
func (a *answer) credit(m reward.Metric, s reward.Slate) {
	a.earned = m.Places(s, a.parsed.Ranking)
	a.placed = make([]uint64, len(a.earned))
	for place, candidate := range a.parsed.Ranking[:len(a.earned)-1] {
		a.placed[place+1] = a.placed[place]
		if s.Grades[candidate] > market.GradeNone {
			a.placed[place+1] |= 1 << candidate
		}
	}
}

// at is the place whose advantage a token has.
func (a *answer) at(token int) int {
	if a.place == nil {
		return 0
	}
	return a.place[token]
}

// toGo is the part of the reward that choices from each place on can still
// change: all of it but what the places before have earned. What a condition takes
// from a whole ranking, or its form adds, is earned behind the last place.
// Without credit by place there is one place.
func (a *answer) toGo() []float64 {
	left := []float64{a.reward()}
	for p := 1; p < len(a.earned); p++ {
		left = append(left, left[p-1]-a.earned[p-1])
	}
	return left
}

// standing tells apart, at a place, the answers that have other positives still to
// come. Before the first place all stand alike.
func (a *answer) standing(place int) uint64 {
	if place == 0 {
		return 0
	}
	return a.placed[place]
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

// leastDeviation is that of a group whose rewards count as equal: there is nothing
// to divide by, and nothing to learn.
const leastDeviation = 1e-6

// advantages are the rewards less their mean in the group, A_i = R_i - mean, and
// over their standard deviation where that is asked for (GR2 eq. 8): one for each
// answer and place. Without credit by place all places of an answer share the
// first one's. With it a later place has that of the reward still to come, less
// the mean of that over the other answers that stand as this one does, or over all
// others where none does. Neither depends on the choice at the place, so the
// expected gradient is that of whole answers; but a choice behind the last
// positive has no advantage, except for what a condition takes from the whole.
//
// The mean of eq. 8 holds the answer itself, which makes its advantage (G-1)/G of
// that over the others' mean; all places have that factor.
func (g *group) advantages(deviation bool) [][]float32 {
	scale := g.scale(deviation)
	toGo, out := make([][]float64, len(g.answers)), make([][]float32, len(g.answers))
	for i := range g.answers {
		toGo[i] = g.answers[i].toGo()
	}
	for place := 0; ; place++ {
		all, alike := tally{}, map[uint64]tally{}
		for i := range g.answers {
			if place < len(toGo[i]) {
				s := g.answers[i].standing(place)
				all, alike[s] = all.with(toGo[i][place], 1), alike[s].with(toGo[i][place], 1)
			}
		}
		if all.n == 0 {
			return out
		}
		for i := range g.answers {
			if place >= len(toGo[i]) {
				continue
			}
			here := toGo[i][place]
			others := alike[g.answers[i].standing(place)].with(here, -1)
			if others.n == 0 {
				others = all.with(here, -1)
			}
			out[i] = append(out[i], float32((here-others.mean())*scale))
		}
	}
}

// scale is the factor of all advantages of the group.
func (g *group) scale(deviation bool) float64 {
	n := float64(len(g.answers))
	scale := (n - 1) / n
	if deviation {
		if d := g.deviation(); d < leastDeviation {
			scale = 0
		} else {
			scale /= d
		}
	}
	return scale
}

// tally is a sum of n values.
type tally struct{ sum, n float64 }

// with is the tally with a value more, or less where times is -1.
func (t tally) with(value, times float64) tally {
	return tally{t.sum + times*value, t.n + times}
}

// mean is 0 where there is nothing.
func (t tally) mean() float64 {
	if t.n == 0 {
		return 0
	}
	return t.sum / t.n
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
