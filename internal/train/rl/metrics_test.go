package rl

import (
	"math"
	"testing"

	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/reward"
)

// answered is an answer to a slate, not valid where the ranking is not all of it.
func answered(s reward.Slate, length int, ranking ...int) answer {
	a := answer{parsed: reward.Answer{Valid: len(ranking) == len(s.Grades), Ranking: ranking}, length: length}
	a.score = reward.Reward{Variant: reward.A, Metric: reward.AUC, Alpha: .5}.Score(s, a.parsed)
	return a
}

// TestMeasure: each mean of a row, on answers made by hand.
func TestMeasure(t *testing.T) {
	third := reward.Slate{Grades: []uint8{0, 0, 1, 0, 0}, Incoming: []int{0, 1, 2, 3, 4}}
	reversed := reward.Slate{Grades: []uint8{0, 0, 1}, Incoming: []int{2, 1, 0}}
	overlong := answered(third, 30, 0, 1)
	overlong.truncated, overlong.overlong = true, -.25
	groups := []group{
		{slate: third, answers: []answer{
			answered(third, 10, 2, 0, 1, 3, 4), // right
			answered(third, 11, 0, 1, 2, 3, 4), // the incoming order, and as shown
			answered(third, 12, 0, 1, 2, 4, 3), // as good as that
			answered(third, 13, 0, 1, 3, 2, 4), // worse, fourth
			overlong,
		}},
		{slate: reversed, answers: []answer{
			answered(reversed, 7, 2, 1, 0), // the incoming order, which is right
			answered(reversed, 7, 0, 1, 2), // as shown
		}},
	}
	m := measure(groups)
	near := func(name string, have, want float64) {
		if math.Abs(have-want) > 1e-12 {
			t.Errorf("%s is %g, want %g", name, have, want)
		}
	}
	near("ranking.auc", m.Ranking.AUC, (1+.5+.5+.25+1+0)/6)
	near("ranking.n3", m.Ranking.N3, (1+.5+.5+0+1+.5)/6)
	near("ranking.copied", m.Ranking.Copied, 2./6)
	near("ranking.perfect", m.Ranking.Perfect, 2./6)
	near("ranking.idle", m.Ranking.Idle, 2./6)
	near("ranking.echoed", m.Ranking.Echoed, 2./6)
	near("valid", m.Valid, 6./7)
	near("truncated", m.Truncated, 1./7)
	near("length", m.Length, (10+11+12+13+30+7+7)/7.)
	near("reward.rank", m.Reward.Rank, (1+0+.5+.25+0+1+0)/7)
	near("reward.format", m.Reward.Format, .5*6/7)
	near("reward.overlong", m.Reward.Overlong, -.25/7)
	near("reward.total", m.Reward.Total, m.Reward.Rank+m.Reward.Format+m.Reward.Overlong)
	near("reward.spread", m.Reward.Spread, (groups[0].deviation()+groups[1].deviation())/2)
	if m.Groups != (Groups{Drawn: 2}) {
		t.Errorf("groups %+v", m.Groups)
	}
	if m := measure([]group{{slate: third, answers: []answer{overlong, overlong}}}); m.Ranking != nil || m.Groups.Flat != 1 {
		t.Errorf("no answer is a ranking, and the row has %+v of %+v", m.Ranking, m.Groups)
	}
}

// TestMeansOfUpdates: losses are means over the optimiser steps, the rest over
// their choices.
func TestMeansOfUpdates(t *testing.T) {
	w := newWorld(t)
	row := func(updates int) Metrics {
		o := options()
		o.Steps, o.Attempts, o.Prompts, o.Updates, o.Schedule.LR = 1, 0, 8, updates, 1e-9
		r := w.run(t, t.TempDir(), o)
		if _, err := r.Do(t.Context()); err != nil {
			t.Fatal(err)
		}
		return rows(t, r.Dir)[0]
	}
	one, four := row(1), row(4) // of the same policy, for nothing is learnt
	if a, b := one.Policy.Entropy, four.Policy.Entropy; math.Abs(a-b) > 1e-4 || a < .5 || a > math.Log(5) {
		t.Errorf("entropy %g of one update, %g of four; a choice is among five at most", a, b)
	}
	if four.GradNorm < one.GradNorm || four.GradNorm > 3*one.GradNorm {
		t.Errorf("gradients of %g in one update, of %g in four: a mean over quarters is larger, but less than thrice", one.GradNorm, four.GradNorm)
	}
}

// TestClipAndRate: a gradient clipped to nothing moves nothing, and the first step
// of a warm-up learns.
func TestClipAndRate(t *testing.T) {
	w := newWorld(t)
	moved := func(set func(*Options)) (most float64, log []Metrics) {
		o := options()
		o.Steps, o.Attempts, o.Updates, o.Decay = 1, 0, 1, 0
		set(&o)
		r := w.run(t, t.TempDir(), o)
		if _, err := r.Do(t.Context()); err != nil {
			t.Fatal(err)
		}
		return distance(r.Model, w.model(t)), rows(t, r.Dir)
	}
	if most, _ := moved(func(o *Options) { o.Clip = 1e-13 }); most > 1e-6 {
		t.Errorf("a weight has moved by %g", most)
	}
	most, log := moved(func(o *Options) { o.Schedule.Warmup, o.Steps = .5, 4 })
	if most < 1e-4 {
		t.Errorf("no weight has moved by more than %g", most)
	}
	for i, want := range []float64{5e-4, 1e-3, 1e-3, 1e-3} {
		if math.Abs(log[i].LR-want) > 1e-9 {
			t.Errorf("step %d has learning rate %g, want %g", i+1, log[i].LR, want)
		}
	}
}

// distance is the largest difference of two weights.
func distance(a, b *lm.Model) (most float64) {
	x, y := a.Tensors(), b.Tensors()
	for i := range x {
		for j := range x[i].Data {
			most = max(most, math.Abs(float64(x[i].Data[j]-y[i].Data[j])))
		}
	}
	return most
}
