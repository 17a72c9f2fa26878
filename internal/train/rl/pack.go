package rl

import (
	"math"
	"slices"

	"github.com/gr2/gr2/internal/nn"
)

// lot is a micro-batch: trees of a prompt with its answers, and what the
// surrogate has to know of each choice in them.
type lot struct {
	batch     nn.Batch
	surrogate nn.Surrogate
}

// add appends a group.
func (l *lot) add(g *group, o *Options, w *weights) {
	root := l.batch.Append(-1, g.trunk, make([]float32, len(g.trunk)))
	for _, a := range g.asides {
		l.batch.Ask(root, a.At, a.Token, a.Allowed, w.judgement)
		l.note(0, 0, 0)
	}
	advantages := g.advantages(o.Deviation)
	others := make([][]alternatives, len(g.answers))
	if o.Credit == ToChoice {
		others = g.byChoice(o.Reward.Metric, o.Deviation)
	}
	for i := range g.answers {
		if a := &g.answers[i]; len(a.tokens) > 0 {
			l.answer(root, a, advantages[i], others[i], w.choice(a))
		}
	}
}

// answer appends an answer below its prompt. The choices whose alternatives are
// weighed have these for predictions, the others what was sampled.
func (l *lot) answer(root int, a *answer, advantages []float32, others []alternatives, weight float32) {
	sampled := slices.Clone(a.choice)
	for _, p := range others {
		sampled[p.token] = false
	}
	list := make([]float32, len(a.tokens))
	for t, is := range sampled {
		if is {
			list[t] = weight
			l.batch.Allowed = append(l.batch.Allowed, a.allowed[t])
			l.note(a.logProb[t], advantages[a.at(t)], 1)
		}
	}
	doc := l.batch.Append(root, a.tokens, list)
	for _, p := range others {
		for k, token := range a.allowed[p.token] {
			share := float32(math.Exp(float64(p.logProb[k])))
			l.batch.Weigh(doc, p.token, token, a.allowed[p.token], weight*share)
			l.note(p.logProb[k], p.advantage[k], share)
		}
	}
}

// note adds what the surrogate knows of a prediction.
func (l *lot) note(old, advantage, share float32) {
	s := &l.surrogate
	s.Old, s.Advantage, s.Share = append(s.Old, old), append(s.Advantage, advantage), append(s.Share, share)
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
		lots[last].add(g, o, w)
	}
	return lots
}
