package rl

import "github.com/gr2/gr2/internal/nn"

// lot is a micro-batch: trees of a prompt with its answers, and what the
// surrogate has to know of each choice in them.
type lot struct {
	batch     nn.Batch
	surrogate nn.Surrogate
}

// add appends a group. weight is the loss weight of the choices of an answer.
func (l *lot) add(g *group, advantages [][]float32, weight func(*answer) float32) {
	root := l.batch.Append(-1, g.trunk, make([]float32, len(g.trunk)))
	for i := range g.answers {
		a := &g.answers[i]
		weights, w := make([]float32, len(a.tokens)), weight(a)
		for t, chosen := range a.choice {
			if !chosen {
				continue
			}
			weights[t] = w
			l.batch.Allowed = append(l.batch.Allowed, a.allowed[t])
			l.surrogate.Old = append(l.surrogate.Old, a.logProb[t])
			l.surrogate.Advantage = append(l.surrogate.Advantage, advantages[i][a.at(t)])
		}
		if len(a.tokens) > 0 {
			l.batch.Append(root, a.tokens, weights)
		}
	}
}

// tokens is what a group takes in a batch.
func (g *group) tokens() int {
	n := len(g.trunk)
	for i := range g.answers {
		n += len(g.answers[i].tokens)
	}
	return n
}

// weigh gives the weight of an answer's choices and the norm of an update of
// these groups: the loss is sum(weight * loss of a choice) / norm.
func (o *Options) weigh(groups []group, limit func(k int) int) (weight func(*answer) float32, norm float64) {
	weight = func(*answer) float32 { return 1 }
	for i := range groups {
		g := &groups[i]
		for j := range g.answers {
			switch o.Normalizer {
			case ByAnswer:
				norm++
			case Constant:
				norm += float64(limit(len(g.slate.Grades)))
			default:
				norm += float64(g.answers[j].choices())
			}
		}
	}
	if o.Normalizer == ByAnswer {
		weight = func(a *answer) float32 { return 1 / float32(max(1, a.choices())) }
	}
	return weight, max(1, norm)
}

// pack cuts groups into micro-batches of up to so many tokens.
func (o *Options) pack(groups []group, weight func(*answer) float32) []*lot {
	var lots []*lot
	for i := range groups {
		g := &groups[i]
		last := len(lots) - 1
		if last < 0 || len(lots[last].batch.Tokens)+g.tokens() > o.BatchTokens {
			lots = append(lots, &lot{surrogate: nn.Surrogate{Low: float32(o.Low), High: float32(o.High), Beta: float32(o.KL), Temperature: float32(o.Temperature)}})
			last++
		}
		lots[last].add(g, g.advantages(o.Deviation), weight)
	}
	return lots
}
