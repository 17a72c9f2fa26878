package rl

import "github.com/gr2/gr2/internal/nn"

// lot is a micro-batch: trees of a prompt with its answers, and what the
// surrogate has to know of each choice in them.
type lot struct {
	batch     nn.Batch
	surrogate nn.Surrogate
}

// add appends a group.
func (l *lot) add(g *group, advantages [][]float32, w *weights) {
	root := l.batch.Append(-1, g.trunk, make([]float32, len(g.trunk)))
	for _, a := range g.asides {
		l.batch.Ask(root, a.At, a.Token, a.Allowed, w.judgement)
		l.surrogate.Old, l.surrogate.Advantage = append(l.surrogate.Old, 0), append(l.surrogate.Advantage, 0)
	}
	for i := range g.answers {
		a := &g.answers[i]
		list, one := make([]float32, len(a.tokens)), w.choice(a)
		for t, chosen := range a.choice {
			if !chosen {
				continue
			}
			list[t] = one
			l.batch.Allowed = append(l.batch.Allowed, a.allowed[t])
			l.surrogate.Old = append(l.surrogate.Old, a.logProb[t])
			l.surrogate.Advantage = append(l.surrogate.Advantage, advantages[i][a.at(t)])
		}
		if len(a.tokens) > 0 {
			l.batch.Append(root, a.tokens, list)
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

// weights are those of an update: the loss is the sum of weight * loss over
// choices and judgements, over norm.
type weights struct {
	norm      float64
	choice    func(*answer) float32 // of each choice of an answer
	judgement float32
}

// weigh gives the weights of an update of these groups. Judgements have the
// share of LambdaJudge in it, as a mean over all of them.
func (o *Options) weigh(groups []group, limit func(k int) int) *weights {
	w := &weights{choice: func(*answer) float32 { return 1 }}
	asides := 0
	for i := range groups {
		g := &groups[i]
		asides += len(g.asides)
		for j := range g.answers {
			switch o.Normalizer {
			case ByAnswer:
				w.norm++
			case Constant:
				w.norm += float64(limit(len(g.slate.Grades)))
			default:
				w.norm += float64(g.answers[j].choices())
			}
		}
	}
	w.norm = max(1, w.norm)
	if o.Normalizer == ByAnswer {
		w.choice = func(a *answer) float32 { return 1 / float32(max(1, a.choices())) }
	}
	if asides > 0 {
		w.judgement = float32(o.LambdaJudge * w.norm / float64(asides))
	}
	return w
}

// pack cuts groups into micro-batches of up to so many tokens.
func (o *Options) pack(groups []group, w *weights) []*lot {
	var lots []*lot
	for i := range groups {
		g := &groups[i]
		last := len(lots) - 1
		if last < 0 || len(lots[last].batch.Tokens)+g.tokens() > o.BatchTokens {
			lots = append(lots, &lot{surrogate: nn.Surrogate{Low: float32(o.Low), High: float32(o.High), Beta: float32(o.KL), Temperature: float32(o.Temperature)}})
			last++
		}
		lots[last].add(g, g.advantages(o.Deviation), w)
	}
	return lots
}
