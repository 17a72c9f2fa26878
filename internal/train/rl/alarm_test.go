package rl

import "testing"

func TestDiverged(t *testing.T) {
	marks := func(values ...float64) (all []mark) {
		for i := 0; i < len(values); i += 2 {
			all = append(all, mark{Step: i, Reward: values[i], Known: true, Score: values[i+1]})
		}
		return all
	}
	unknown := marks(.5, .5, .6, .4, .7, .4)
	unknown[0].Known = false
	for name, c := range map[string]struct {
		marks []mark
		want  bool
	}{
		"hacked":             {marks(.5, .40, .6, .42, .7, .35, .8, .30), true},
		"both rise":          {marks(.5, .40, .6, .42, .7, .43, .8, .44), false},
		"both fall":          {marks(.5, .40, .6, .42, .5, .35, .4, .30), false},
		"a dip":              {marks(.5, .40, .6, .42, .7, .35, .8, .43), false},
		"noise":              {marks(.5, .40, .6, .42, .7, .418, .8, .415), false},
		"one bad validation": {marks(.5, .40, .6, .42, .7, .35), false},
		"too few":            {marks(.5, .40, .6, .30), false},
		"reward not known":   {unknown, false},
	} {
		if have := diverged(c.marks) != ""; have != c.want {
			t.Errorf("%s: alarm %t", name, have)
		}
	}
}

// TestWindow: a mark has the mean reward since the one before, the first that of
// the step that follows it.
func TestWindow(t *testing.T) {
	var s state
	s.mark(.4)
	for _, r := range []float64{.1, .2, .6} {
		s.note(r)
	}
	s.mark(.5)
	s.mark(.6)
	for i, want := range []mark{{Reward: .1, Known: true, Score: .4}, {Reward: .3, Known: true, Score: .5}, {Score: .6}} {
		have := s.Marks[i]
		if have.Known != want.Known || have.Score != want.Score || have.Reward-want.Reward > 1e-12 || want.Reward-have.Reward > 1e-12 {
			t.Errorf("mark %d is %+v, want %+v", i, have, want)
		}
	}
}
