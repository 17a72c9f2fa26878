package nn

import (
	"math"

	"github.com/gr2/gr2/internal/kernel"
)

// Surrogate is the objective of policy-gradient learning from samples of an
// earlier policy, by prediction: with the ratio r = exp(log p - Old), the loss of
// one is
//
//	-min(r A, clip(r, 1-Low, 1+High) A) + Beta (exp(d) - d - 1), d = Reference - log p
//
// (Schulman et al. 2017 with the decoupled clip of DAPO; the second term, k3, is
// an estimate of KL(policy || reference); its gradient on samples of the policy is
// that of KL(reference || policy), for they are not differentiated).
type Surrogate struct {
	Advantage []float32 // A
	Old       []float32 // log-probability under the policy that sampled
	Reference []float32 // the same under a fixed one; not read where Beta is 0
	// Share is the part of a choice that a prediction stands for, for where all that
	// could have been chosen is weighed; nil where each is one. It counts in
	// PolicyStats alone, the loss has weights.
	Share     []float32
	Low, High float32 // how far the ratio counts below and above 1
	Beta      float32
	// Temperature is that of the distribution sampled from and learnt, softmax(logits
	// / Temperature), to which p, Old and Reference belong; 0 means 1.
	Temperature float32
}

// PolicyStats say what a surrogate met. Means over several losses are the sums
// over the counts.
type PolicyStats struct {
	Choices   float64
	Low, High float64 // choices whose ratio was clipped
	Entropy   float64 // sum, in nats, of the distribution each was drawn from as it is now
	Drift     float64 // sum of estimates (k3) of KL(old policy || policy) from samples of the old
	KL        float64 // sum of k3 to the reference
}

// Add adds the sums of another.
func (s *PolicyStats) Add(o PolicyStats) {
	s.Choices += o.Choices
	s.Low, s.High = s.Low+o.Low, s.High+o.High
	s.Entropy, s.Drift, s.KL = s.Entropy+o.Entropy, s.Drift+o.Drift, s.KL+o.KL
}

// term is the loss of prediction i at a log-probability and its derivative.
func (s *Surrogate) term(i int, logProb float32, stats *PolicyStats) (value, slope float64) {
	a, d := float64(s.Advantage[i]), float64(logProb-s.Old[i])
	ratio, share := math.Exp(d), s.share(i)
	stats.Choices += share
	stats.Drift += share * (ratio - 1 - d)
	switch low, high := 1-float64(s.Low), 1+float64(s.High); {
	case a > 0 && ratio > high:
		stats.High += share
		value = -high * a
	case a < 0 && ratio < low:
		stats.Low += share
		value = -low * a
	default:
		value, slope = -ratio*a, -ratio*a
	}
	if s.Beta != 0 {
		d := float64(s.Reference[i] - logProb)
		k3, beta := math.Exp(d)-d-1, float64(s.Beta)
		stats.KL += share * k3
		value, slope = value+beta*k3, slope+beta*(1-math.Exp(d))
	}
	return value, slope
}

func (s *Surrogate) share(i int) float64 {
	if s.Share == nil {
		return 1
	}
	return float64(s.Share[i])
}

// LinearPolicy is sum(weights * surrogate of log softmax(x W^T / s.Temperature)
// [targets]) / norm, as a 1x1 Var. allowed is as for LinearCrossEntropy; s is by row.
func (t *Tape) LinearPolicy(x *Var, w *Param, targets []int32, allowed [][]int32, weights []float32, s Surrogate, norm float32) (*Var, PolicyStats) {
	for _, list := range [][]float32{weights, s.Advantage, s.Old} {
		want("LinearPolicy", x.Rows, len(list))
	}
	if s.Beta != 0 {
		want("LinearPolicy reference", x.Rows, len(s.Reference))
	}
	if s.Share != nil {
		want("LinearPolicy shares", x.Rows, len(s.Share))
	}
	y := t.result(1, 1, x.Grad, w.grad())
	o := t.newHead(x, w, targets, allowed)
	o.y, o.norm = y, norm
	if s.Temperature > 0 {
		o.sharp = 1 / s.Temperature
	}
	o.keep(t)
	o.entropy = t.mem.zeros(x.Rows)
	o.score(t)
	var stats PolicyStats
	sum := 0.0
	o.weights = t.mem.take(x.Rows)
	for i, p := range o.logProb {
		value, slope := s.term(i, p, &stats)
		stats.Entropy += s.share(i) * float64(o.entropy[i])
		sum += float64(weights[i]) * value
		o.weights[i] = float32(-float64(weights[i]) * slope) // backward follows -weights * log p
	}
	o.entropy = nil // the backward pass may project again
	y.Value[0] = float32(sum / float64(norm))
	return t.record(y, o), stats
}

// entropyOf is that of a distribution, in nats: sum(p (norm - logit)) with norm the
// log of the sum of exp(logit), so that it takes no logarithm of each.
func entropyOf(p, logits []float32, norm float32) float32 {
	return max(0, norm-kernel.Dot(p, logits))
}

// PolicyLoss is sum(weight * surrogate) / norm over the predictions of the batch
// that have a weight; those marked as Early are no choices of the policy, and have
// -log p(target) for the surrogate. s is by prediction; where they are early, it is
// not read. There must be one that is late.
func (d *Decoder) PolicyLoss(t *Tape, b *Batch, s Surrogate, norm float32) (*Var, PolicyStats) {
	p, early := d.split(t, b, weighted)
	h, below := d.hidden(t, b, p.rows, early.rows)
	at := func(list []float32) []float32 {
		if list == nil {
			return nil
		}
		want("PolicyLoss", len(b.Targets), len(list))
		out := t.mem.take(len(p.at))
		for i, from := range p.at {
			out[i] = list[from]
		}
		return out
	}
	s.Advantage, s.Old, s.Reference, s.Share = at(s.Advantage), at(s.Old), at(s.Reference), at(s.Share)
	loss, stats := t.LinearPolicy(h, d.head, p.targets, p.allowed, p.weights, s, norm)
	if len(early.rows) > 0 {
		loss = t.Add(loss, early.loss(t, below, d.head, norm))
	}
	return loss, stats
}
