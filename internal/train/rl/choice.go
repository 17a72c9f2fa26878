package rl

import (
	"math"

	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/prompt"
	"github.com/gr2/gr2/internal/reward"
)

// pick is a choice of credit by choice: that of a candidate by one token.
type pick struct {
	token, place int
	candidates   []int     // what could have been chosen, parallel to the allowed tokens
	logProb      []float32 // of each
}

// note keeps the choices whose every alternative names a candidate. Where numbers
// take several tokens some do not, and have credit by place.
func (a *answer) note(build *prompt.Builder, spread [][]float32) {
	for t, chosen := range a.choice {
		if !chosen {
			continue
		}
		p := pick{token: t, place: a.place[t], logProb: spread[t]}
		for _, token := range a.allowed[t] {
			if candidate, ok := build.Candidate(token); ok {
				p.candidates = append(p.candidates, candidate)
			}
		}
		if len(p.candidates) == len(a.allowed[t]) {
			a.picks = append(a.picks, p)
		}
	}
}

// alternatives are the advantages of all that could have been chosen by a pick.
type alternatives struct {
	*pick
	advantage []float32
}

// byChoice is credit by choice: for each answer the advantages of everything that
// could have been chosen where there was something to be won. To choose c is worth
//
//	Q(c) = what c earns at its place + V, what is still to come then
//
// The first is known of all candidates, not only of the one that was sampled. V is
// the mean of that over the other answers with the same positives placed, or over
// all others where there are none. It is an estimate, so the candidate sampled has
// also what came of it beyond Q, over its probability. With the loss of each
// alternative weighed by its probability p, the gradient is
//
//	sum_c p(c) grad log p(c) (Q(c) - sum_b p(b) Q(b)) + grad log p(sampled) (R - Q(sampled))
//
// where R is the reward to go. Q does not depend on the choice, so its expectation is
// that of whole answers (Q-Prop, Gu et al. 2017, eq. 6, with the first term over all
// actions: Allen et al. 2017, Mean Actor Critic).
//
// Where advantages are divided by a deviation it is that of Q under the policy, at
// each choice. Eq. 8 estimates it from the rewards of a group, which are too few to
// tell an open slate from a settled one.
func (g *group) byChoice(m reward.Metric, deviation bool) [][]alternatives {
	f := g.forecast()
	out := make([][]alternatives, len(g.answers))
	for i := range g.answers {
		a := &g.answers[i]
		for n := range a.picks {
			p := &a.picks[n]
			if a.standing(p.place) == f.positives {
				break // nothing is left to be won
			}
			out[i] = append(out[i], alternatives{p, f.advantages(i, p, f.worth(i, p, m), deviation)})
		}
	}
	return out
}

// forecast says what answers of a group still come to.
type forecast struct {
	*group
	positives uint64 // bits of the candidates, as answer.placed
	toGo      [][]float64
}

func (g *group) forecast() *forecast {
	f := &forecast{group: g}
	for i := range g.answers {
		f.toGo = append(f.toGo, g.answers[i].toGo())
	}
	for c, grade := range g.slate.Grades {
		if grade > market.GradeNone {
			f.positives |= 1 << c
		}
	}
	return f
}

// worth is Q of the alternatives of a pick of answer i.
func (f *forecast) worth(i int, p *pick, m reward.Metric) []float64 {
	a := &f.answers[i]
	out := make([]float64, len(p.candidates))
	negative := f.value(i, p.place+1, a.standing(p.place))
	for k, c := range p.candidates {
		out[k] = negative
		if f.slate.Grades[c] > market.GradeNone {
			out[k] = m.Earns(f.slate, a.parsed.Ranking[:p.place], c) + f.value(i, p.place+1, a.standing(p.place)|1<<c)
		}
	}
	return out
}

// leastSpread is the least that advantages of a choice are divided by. What is worth
// less to choose between is settled, and dividing by it would make much of the
// noise of V.
const leastSpread = 0.03

// advantages are those of the alternatives of a pick of answer i, worth so much.
func (f *forecast) advantages(i int, p *pick, worth []float64, deviation bool) []float32 {
	mean, spread := p.moments(worth)
	scale := f.scale(false)
	if deviation {
		scale /= max(spread, leastSpread)
	}
	out := make([]float32, len(worth))
	for k, c := range p.candidates {
		advantage := worth[k] - mean
		if c == f.answers[i].parsed.Ranking[p.place] {
			advantage += (f.toGo[i][p.place] - worth[k]) / math.Exp(float64(p.logProb[k]))
		}
		out[k] = float32(advantage * scale)
	}
	return out
}

// moments are mean and standard deviation of the alternatives' worth under the
// policy that sampled.
func (p *pick) moments(worth []float64) (mean, deviation float64) {
	square := 0.0
	for k, q := range worth {
		probability := math.Exp(float64(p.logProb[k]))
		mean += probability * q
		square += probability * q * q
	}
	return mean, math.Sqrt(max(0, square-mean*mean))
}

// value is what the answers but i still come to, on average, that have these
// positives behind them at a place: that of all but i where none has. With all
// positives placed the place does not matter.
func (f *forecast) value(i, place int, standing uint64) float64 {
	var alike, all tally
	for j := range f.answers {
		a := &f.answers[j]
		if j == i || a.earned == nil {
			continue
		}
		if standing == f.positives {
			last := len(a.earned) - 1
			alike = alike.with(f.toGo[j][last]-a.earned[last], 1)
			continue
		}
		if a.standing(place) == standing {
			alike = alike.with(f.toGo[j][place], 1)
		}
		all = all.with(f.toGo[j][place], 1)
	}
	if alike.n > 0 {
		return alike.mean()
	}
	return all.mean()
}
