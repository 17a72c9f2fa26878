package rl

import (
	"testing"

	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/train"
)

// marked is a state after validations: reward, share of valid answers, and score,
// below the best by chance alone where it is less than a fiftieth lower.
func marked(values ...float64) *state {
	s, best := new(state), 0.0
	for i := 0; i < len(values); i += 3 {
		best = max(best, values[i+2])
		s.Marks = append(s.Marks, mark{Step: i, Reward: values[i], Valid: values[i+1], Known: true, Score: values[i+2], Below: values[i+2] < .98*best})
	}
	return s
}

func TestDiverged(t *testing.T) {
	unknown := marked(.5, 1, .5, .6, 1, .4, .7, 1, .4)
	unknown.Marks[0].Known = false
	for name, c := range map[string]struct {
		state *state
		want  bool
	}{
		"hacked":                      {marked(.5, 1, .40, .6, 1, .42, .7, 1, .35, .8, 1, .30), true},
		"both rise":                   {marked(.5, 1, .40, .6, 1, .42, .7, 1, .43, .8, 1, .44), false},
		"both fall":                   {marked(.5, 1, .40, .6, 1, .42, .5, 1, .35, .4, 1, .30), false},
		"a dip":                       {marked(.5, 1, .40, .6, 1, .42, .7, 1, .35, .8, 1, .43), false},
		"noise":                       {marked(.5, 1, .40, .6, 1, .42, .7, 1, .418, .8, 1, .415), false},
		"one bad validation":          {marked(.5, 1, .40, .6, 1, .42, .7, 1, .35), false},
		"too few":                     {marked(.5, 1, .40, .6, 1, .30), false},
		"reward not known":            {unknown, false},
		"form unlearnt":               {marked(.5, .6, .40, .6, .5, .40, .7, .4, .40), true},
		"form unlearnt, and paid for": {marked(.5, .6, .40, .4, .5, .40, .3, .4, .40), false},
		"form learnt":                 {marked(.5, .4, .40, .6, .5, .40, .7, .6, .40), false},
		"form wavers":                 {marked(.5, .6, .40, .6, .58, .40, .7, .57, .40), false},
	} {
		if have := c.state.diverged() != ""; have != c.want {
			t.Errorf("%s: alarm %t", name, have)
		}
	}
}

// TestChanceRaisesNoAlarm: validations of a policy that neither learns nor forgets
// differ by chance, and its reward rises; one that ranks worse is told.
func TestChanceRaisesNoAlarm(t *testing.T) {
	for _, c := range []struct {
		loss   float64 // of the score, from the third validation on
		most   int     // alarms of 100 runs
		fewest int
	}{{0, 10, 0}, {.1, 100, 90}} {
		alarms := 0
		for run := range 100 {
			r := rng.New(1, rng.Key("alarm"), uint64(run))
			truth := make([]float64, 300)
			for i := range truth {
				truth[i] = r.Float64()
			}
			var s state
			rang := false
			for step := range 10 {
				v := train.Validation{Parts: make([]float64, len(truth))}
				for i, p := range truth {
					v.Parts[i] = p + .15*r.NormFloat64()
					if step >= 2 {
						v.Parts[i] -= c.loss
					}
					v.Score += v.Parts[i] / float64(len(truth))
				}
				rang = s.mark(v) != "" || rang
				s.note(.5+.01*float64(step), 1)
			}
			if rang {
				alarms++
			}
		}
		if alarms > c.most || alarms < c.fewest {
			t.Errorf("a loss of %g: %d alarms in 100 runs, want %d to %d", c.loss, alarms, c.fewest, c.most)
		}
	}
}

// TestWindow: a mark has the means since the one before, the first those of the
// step that follows it.
func TestWindow(t *testing.T) {
	var s state
	s.mark(train.Validation{Score: .4})
	for _, r := range []float64{.1, .2, .6} {
		s.note(r, r/2)
	}
	s.mark(train.Validation{Score: .5})
	s.mark(train.Validation{Score: .6})
	for i, want := range []mark{{Reward: .1, Valid: .05, Known: true, Score: .4}, {Reward: .3, Valid: .15, Known: true, Score: .5}, {Score: .6}} {
		have := s.Marks[i]
		near := func(a, b float64) bool { return a-b < 1e-12 && b-a < 1e-12 }
		if have.Known != want.Known || have.Score != want.Score || !near(have.Reward, want.Reward) || !near(have.Valid, want.Valid) {
			t.Errorf("mark %d is %+v, want %+v", i, have, want)
		}
	}
}
