package control

import (
	"math"

	"github.com/gr2/gr2/internal/fault"
)

// LinearOptions of FitLinear. A zero field takes its default.
type LinearOptions struct {
	// L2 is the weight of half the squared norm of the weights (of features
	// scaled to unit deviation) beside the mean cross-entropy; default 0.003.
	L2 float64
	// Features limits the model to these; default: all of Features().
	Features []string
}

// Weight is one feature's part in a Linear: Value multiplies the feature
// divided by Scale, its standard deviation within slates.
type Weight struct {
	Feature string  `json:"feature"`
	Scale   float64 `json:"scale"`
	Value   float64 `json:"value"`
}

// Linear scores a candidate by a weighted sum. Stored as JSON.
type Linear struct {
	Weights []Weight `json:"weights"`
	L2      float64  `json:"l2"`
	Slates  int      `json:"slates"` // that it was fitted on
	Loss    float64  `json:"loss"`   // mean cross-entropy there, nats
}

// FitLinear minimises the mean cross-entropy between the softmax of the scores
// over a slate and its gains 2^grade - 1, scaled to sum to 1. Slates that lack
// a positive or a negative teach nothing and are left out. The problem is
// strictly convex, so the order of the cases moves nothing but rounding.
func FitLinear(cases []Case, opt LinearOptions) (*Linear, error) {
	if opt.L2 == 0 {
		opt.L2 = 3e-3
	}
	if opt.L2 < 0 || math.IsNaN(opt.L2) {
		return nil, fault.Usagef("control: L2 %v; use a number above 0", opt.L2)
	}
	if opt.Features == nil {
		opt.Features = Features()
	}
	m := &Linear{L2: opt.L2}
	for _, name := range opt.Features {
		m.Weights = append(m.Weights, Weight{Feature: name, Scale: 1})
	}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	kept, targets, err := usable(cases)
	if err != nil {
		return nil, err
	}
	groups := make([]group, len(kept))
	for i, c := range kept {
		groups[i] = group{rows: m.rows(c), target: targets[i]}
	}
	m.scale(groups)
	w, loss := fitSoftmax(groups, opt.L2)
	for i := range m.Weights {
		m.Weights[i].Value = w[i]
	}
	m.Slates, m.Loss = len(groups), loss
	return m, nil
}

// Validate refuses a model (read from a file, say) that Rank cannot use.
func (m *Linear) Validate() error {
	for _, w := range m.Weights {
		if err := checkFeatures([]string{w.Feature}); err != nil {
			return err
		}
		if !(w.Scale > 0) || math.IsInf(w.Scale, 0) || math.IsNaN(w.Value) || math.IsInf(w.Value, 0) {
			return fault.Corruptf("control: feature %s has scale %v and weight %v: fit the linear control again", w.Feature, w.Scale, w.Value)
		}
	}
	return nil
}

// scale divides every feature by its deviation within slates: a softmax over
// the slate sees no other. A feature that never varies there becomes 0, so that
// it gets no weight, and keeps scale 1.
func (m *Linear) scale(groups []group) {
	for f := range m.Weights {
		deviation := deviationWithin(groups, f)
		factor := 0.0
		if deviation > 1e-12 {
			m.Weights[f].Scale, factor = deviation, 1/deviation
		}
		for _, g := range groups {
			for _, row := range g.rows {
				row[f] *= factor
			}
		}
	}
}

func deviationWithin(groups []group, f int) float64 {
	sum, n := 0.0, 0
	for _, g := range groups {
		mean := 0.0
		for _, row := range g.rows {
			mean += row[f] / float64(len(g.rows))
		}
		for _, row := range g.rows {
			sum += (row[f] - mean) * (row[f] - mean)
		}
		n += len(g.rows)
	}
	return math.Sqrt(sum / float64(n))
}

// rows are the unscaled features of the case's candidates (K x features).
func (m *Linear) rows(c Case) [][]float64 {
	names := make([]string, len(m.Weights))
	for f := range names {
		names[f] = m.Weights[f].Feature
	}
	return rowsOf(c, names, 0)
}

// LinearName is the policy name of Linear, ShownName that of one on the evidence
// which prompts show.
const (
	LinearName = "control/linear"
	ShownName  = "control/linear-shown"
)

// Name is LinearName.
func (m *Linear) Name() string { return LinearName }

// Rank orders the candidates by score; equal scores keep the incoming order.
func (m *Linear) Rank(c Case) []int { return byScore(m.Scores(c)) }

// Scores are the candidates' logits: their softmax over the slate is what the
// fit made most likely.
func (m *Linear) Scores(c Case) []float64 {
	scores := make([]float64, len(c.Evidence))
	for k, row := range m.rows(c) {
		for f, w := range m.Weights {
			scores[k] += row[f] / w.Scale * w.Value
		}
	}
	return scores
}
