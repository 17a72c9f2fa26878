package infer

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gr2/gr2/internal/kernel"
)

// Sampler says how to choose among the allowed tokens.
type Sampler struct {
	Temperature float64    // 0 = the most probable token, ties to the lower id
	TopP        float64    // nucleus: the fewest most probable tokens with this mass; 0 and 1 = all
	Rand        *rand.Rand // required when Temperature > 0
	Tempered    bool       // log-probabilities are those at Temperature, where it is above 0
}

func (sm Sampler) validate() error {
	switch {
	case !(sm.Temperature >= 0) || math.IsInf(sm.Temperature, 0):
		return fmt.Errorf("infer: temperature is %g, want 0 (greedy) or a positive number", sm.Temperature)
	case !(sm.TopP >= 0 && sm.TopP <= 1):
		return fmt.Errorf("infer: top-p is %g, want 0 to 1", sm.TopP)
	case sm.Temperature > 0 && sm.Rand == nil:
		return errors.New("infer: sampling at a temperature needs Sampler.Rand")
	}
	return nil
}

// choice holds the buffers of one decision.
type choice struct {
	allowed []int32   // token ids; all of the vocabulary when empty
	scores  []float32 // logits of the allowed tokens
	weights []float32 // unnormalised probabilities of the same
	order   []int     // positions of the larger weights, by falling weight
	spread  bool      // picks have the log-probabilities of all allowed tokens
}

// pick is the outcome of one decision.
type pick struct {
	token   int32
	logProb float32 // among the allowed tokens
	spread  []float32
	err     error
}

// pickMasked is pick from the logits of the whole vocabulary.
func (c *choice) pickMasked(logits []float32, sm Sampler) pick {
	if len(c.allowed) == 0 {
		return c.pick(logits, sm)
	}
	c.scores = c.scores[:0]
	for _, t := range c.allowed {
		c.scores = append(c.scores, logits[t])
	}
	return c.pick(c.scores, sm)
}

// pick chooses one of the allowed tokens by their logits.
func (c *choice) pick(scores []float32, sm Sampler) pick {
	total := kernel.LogSumExp(scores)
	if t := float64(total); math.IsNaN(t) || math.IsInf(t, 0) {
		return pick{err: fmt.Errorf("infer: the model's logits sum to %g; its weights are broken", total)}
	}
	at, mass, top := 0, 0.0, kernel.Max(scores)
	if sm.Temperature > 0 {
		at, mass = c.sample(scores, top, sm)
	} else {
		at = slices.Index(scores, top)
	}
	p := pick{token: int32(at)}
	logProb := func(v float32) float32 { return v - total }
	if sm.Tempered && sm.Temperature > 0 {
		logProb = func(v float32) float32 { return float32(float64(v-top)/sm.Temperature - math.Log(mass)) }
	}
	p.logProb = logProb(scores[at])
	if c.spread {
		p.spread = make([]float32, len(scores))
		for i, v := range scores {
			p.spread[i] = logProb(v)
		}
	}
	if len(c.allowed) > 0 {
		p.token = c.allowed[at]
	}
	return p
}

// sample draws a position in scores, whose maximum is top. all is the sum of
// exp((score-top)/temperature) over all of them.
func (c *choice) sample(scores []float32, top float32, sm Sampler) (at int, all float64) {
	c.weights = resize(c.weights, len(scores))
	for i, v := range scores {
		c.weights[i] = v - top
	}
	if sm.Temperature != 1 {
		for i, v := range c.weights {
			c.weights[i] = float32(float64(v) / sm.Temperature)
		}
	}
	kernel.Exp(c.weights, c.weights)
	mass := sumOf(c.weights)
	all = mass
	if sm.TopP > 0 && sm.TopP < 1 {
		mass = c.nucleus(mass, sm.TopP)
	}
	u := sm.Rand.Float64() * mass
	for i, w := range c.weights {
		if w == 0 {
			continue
		}
		at = i
		if u < float64(w) {
			break
		}
		u -= float64(w)
	}
	return at, all
}

// sumOf adds up in double precision, in four chains: one would wait for each addition.
func sumOf(x []float32) float64 {
	var a, b, c, d float64
	i := 0
	for ; i+4 <= len(x); i += 4 {
		a, b, c, d = a+float64(x[i]), b+float64(x[i+1]), c+float64(x[i+2]), d+float64(x[i+3])
	}
	for ; i < len(x); i++ {
		a += float64(x[i])
	}
	return (a + b) + (c + d)
}

// nucleus zeroes the weights outside the fewest largest ones that reach share of
// mass, the sum of all, ties to the lower id, and returns the mass of what is
// left.
func (c *choice) nucleus(mass, share float64) float64 {
	// All weights below this together are less than what may be left out, so
	// only the others, few as a rule, have to be sorted.
	least := (1 - share) * mass / float64(len(c.weights))
	c.order = c.order[:0]
	for i, w := range c.weights {
		if float64(w) < least {
			c.weights[i] = 0
			continue
		}
		c.order = append(c.order, i)
	}
	slices.SortFunc(c.order, func(a, b int) int {
		return cmp.Or(cmp.Compare(c.weights[b], c.weights[a]), a-b)
	})
	var kept float64
	for n, i := range c.order {
		kept += float64(c.weights[i])
		if kept >= share*mass {
			for _, j := range c.order[n+1:] {
				c.weights[j] = 0
			}
			break
		}
	}
	return kept
}
