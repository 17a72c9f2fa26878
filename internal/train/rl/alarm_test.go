package rl

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/train"
)

// about are steps whose numbers have this mean and deviation.
func about(mean, deviation float64, steps int) (e estimate) {
	for i := range steps {
		e.add(mean+deviation*float64(1-2*(i%2)), 1)
	}
	return e
}

// validated is what a validation and the steps before it were like.
type validated struct{ reward, valid, n3, copied, score float64 }

// marked is a state after validations, 50 steps from one to the next, of a policy
// whose copies are right in .2: below the best by chance alone where the score is
// less than a fiftieth lower.
func marked(values ...validated) *state {
	s, best := new(state), 0.0
	for i, v := range values {
		best = max(best, v.score)
		s.Marks = append(s.Marks, mark{Step: 50 * i, Score: v.score, Below: v.score < .98*best, window: window{
			Reward: about(v.reward, .02, 50), Valid: about(v.valid, .02, 50), Flat: about(.3, .02, 50), N3: about(v.n3, .02, 50), Copied: about(v.copied, .02, 50), Perfect: about(.2, .02, 50),
		}})
	}
	return s
}

func TestDiverged(t *testing.T) {
	unknown := marked(validated{.5, 1, .3, 0, .5}, validated{.6, 1, .3, 0, .4}, validated{.7, 1, .3, 0, .4})
	unknown.Marks[0].window = window{}
	varied := marked(validated{.5, 1, .3, 0, .30}, validated{.6, 1, .3, .35, .34}, validated{.6, 1, .3, .35, .34})
	for i := range varied.Marks[1:] {
		varied.Marks[i+1].Copied = about(.35, 1, 50)
	}
	sure := marked(validated{.5, 1, .3, 0, .40}, validated{.4, 1, .3, 0, .3}, validated{.4, 1, .3, 0, .3})
	solved := marked(validated{.5, 1, .3, 0, .40}, validated{.6, 1, .3, 0, .5}, validated{.6, 1, .3, 0, .5})
	constant := marked(validated{.5, 1, .3, 0, .30}, validated{.5, 1, .3, 0, .30}, validated{.5, 1, .3, 0, .30})
	for i := range 2 {
		sure.Marks[i+1].Flat, solved.Marks[i+1].Flat = about(1, 0, 50), about(1, 0, 50)
		constant.Marks[i+1].One = .8
	}
	lucky := marked(validated{.5, .3, .3, 0, .40}, validated{.5, .1, .3, 0, .40}, validated{.5, .1, .3, 0, .40})
	small := marked(validated{.5, .6, .3, 0, .40}, validated{.6, .5, .3, 0, .40}, validated{.7, .4, .3, 0, .40})
	lucky.Marks[0].Copied, small.Marks[0].Copied = about(0, 0, enough-1), about(0, 0, enough-1)
	still := validated{.6, 1, .3, .05, .37} // few of the samples are copies
	given := func(s *state, shares ...float64) *state {
		for i, share := range shares {
			s.Marks[i].Given = share
		}
		return s
	}
	for name, c := range map[string]struct {
		state *state
		want  AlarmKind
	}{
		"hacked":             {marked(validated{.5, 1, .3, 0, .40}, validated{.6, 1, .3, 0, .42}, validated{.7, 1, .3, 0, .35}, validated{.8, 1, .3, 0, .30}), HollowReward},
		"by heart":           {marked(validated{.5, 1, .3, 0, .40}, validated{.6, 1, .4, 0, .42}, validated{.7, 1, .5, 0, .35}, validated{.8, 1, .6, 0, .30}), ByHeart},
		"both rise":          {marked(validated{.5, 1, .3, 0, .40}, validated{.6, 1, .4, 0, .42}, validated{.7, 1, .5, 0, .43}, validated{.8, 1, .6, 0, .44}), 0},
		"both fall":          {marked(validated{.5, 1, .3, 0, .40}, validated{.6, 1, .3, 0, .42}, validated{.5, 1, .3, 0, .35}, validated{.4, 1, .3, 0, .30}), 0},
		"a dip":              {marked(validated{.5, 1, .3, 0, .40}, validated{.6, 1, .3, 0, .42}, validated{.7, 1, .3, 0, .35}, validated{.8, 1, .3, 0, .43}), 0},
		"noise":              {marked(validated{.5, 1, .3, 0, .40}, validated{.6, 1, .3, 0, .42}, validated{.7, 1, .3, 0, .418}, validated{.8, 1, .3, 0, .415}), 0},
		"reward by chance":   {marked(validated{.5, 1, .3, 0, .40}, validated{.6, 1, .3, 0, .42}, validated{.602, 1, .3, 0, .35}, validated{.603, 1, .3, 0, .30}), 0},
		"one bad validation": {marked(validated{.5, 1, .3, 0, .40}, validated{.6, 1, .3, 0, .42}, validated{.7, 1, .3, 0, .35}), 0},
		"too few":            {marked(validated{.5, 1, .3, 0, .40}, validated{.6, 1, .3, 0, .30}), 0},
		"reward not known":   {unknown, 0},

		"too sure":        {sure, Collapsed},
		"sure and better": {solved, 0},
		"reads no slate":  {constant, OneOrder},

		"form unlearnt":               {marked(validated{.5, .6, .3, 0, .40}, validated{.6, .5, .3, 0, .40}, validated{.7, .4, .3, 0, .40}), FewerRankings},
		"form unlearnt, and paid for": {marked(validated{.5, .6, .3, 0, .40}, validated{.4, .5, .3, 0, .40}, validated{.3, .4, .3, 0, .40}), 0},
		"form unlearnt for nothing":   {marked(validated{.5, .6, .3, 0, .40}, validated{.5, .5, .3, 0, .40}, validated{.501, .4, .3, 0, .40}), FewerRankings},
		"form of a lucky first step":  {lucky, 0},
		"form unlearnt by few":        {small, FewerRankings},
		"form learnt":                 {marked(validated{.5, .4, .3, 0, .40}, validated{.6, .5, .3, 0, .40}, validated{.7, .6, .3, 0, .40}), 0},
		"form wavers":                 {marked(validated{.5, .6, .3, 0, .40}, validated{.6, .58, .3, 0, .40}, validated{.7, .57, .3, 0, .40}), 0},

		"copies":                  {marked(validated{.5, 1, .3, 0, .30}, validated{.6, 1, .3, .2, .34}, validated{.6, 1, .3, .35, .34}, validated{.6, 1, .3, .4, .34}), Copies},
		"copies when read":        {given(marked(validated{.5, 1, .3, 0, .30}, still, still, still), 0, 0, 1, 1), Copies},
		"copies once when read":   {given(marked(validated{.5, 1, .3, 0, .30}, still, still, still), 0, 0, 0, 1), 0},
		"copied from the first":   {given(marked(validated{.5, 1, .3, 0, .30}, still, still, still), 1, 1, 1, 1), 0},
		"reads half as they came": {given(marked(validated{.5, 1, .3, 0, .30}, still, still, still), 0, .5, .6, .6), 0},
		"copies by chance":        {varied, 0},
		"copies as often right":   {marked(validated{.5, 1, .3, 0, .30}, validated{.6, 1, .3, .2, .34}, validated{.6, 1, .3, .25, .34}, validated{.6, 1, .3, .25, .34}), 0},
		"copied before it learnt": {marked(validated{.5, 1, .3, .5, .30}, validated{.6, 1, .3, .5, .34}, validated{.6, 1, .3, .5, .34}, validated{.6, 1, .3, .5, .34}), 0},
	} {
		have := c.state.diverged()
		if (have == nil) != (c.want == 0) || have != nil && have.Kind != c.want {
			t.Errorf("%s: alarm %+v, want kind %d", name, have, c.want)
		}
	}
}

// TestChanceRaisesNoAlarm: validations of a policy that neither learns nor forgets
// differ by chance, and so does the reward of one that earns no more; one that
// earns more and ranks worse is told.
func TestChanceRaisesNoAlarm(t *testing.T) {
	for _, c := range []struct {
		loss    float64 // of the score, from the third validation on
		rise    float64 // of the reward, from one validation to the next
		fewest  int     // alarms of 100 runs
		highest int
	}{{0, .01, 0, 10}, {.1, 0, 0, 10}, {.1, .01, 90, 100}} {
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
				rang = s.mark(v) != nil || rang
				for range 25 {
					m := Metrics{Reward: Rewards{Total: .5 + c.rise*float64(step) + .01*r.NormFloat64()}, Valid: 1}
					s.note(&m)
				}
			}
			if rang {
				alarms++
			}
		}
		if alarms < c.fewest || alarms > c.highest {
			t.Errorf("a loss of %g, a rise of %g: %d alarms in 100 runs, want %d to %d", c.loss, c.rise, alarms, c.fewest, c.highest)
		}
	}
}

// TestAlarmOnRecordedRuns: of the runs of experiments/reward_hacking that write
// freely, the alarm of lost rankings rings in those that end without any.
func TestAlarmOnRecordedRuns(t *testing.T) {
	logs, err := filepath.Glob(filepath.Join("..", "..", "..", "experiments", "reward_hacking", "form*.metrics.jsonl"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("no recorded runs: %v", err)
	}
	for _, log := range logs {
		f, err := os.Open(log)
		if err != nil {
			t.Fatal(err)
		}
		var s state
		var row struct {
			Metrics
			Validation map[string]float64
		}
		valid, rang := 0.0, false
		for rows := json.NewDecoder(f); rows.More(); {
			row.Validation = nil
			if err := rows.Decode(&row); err != nil {
				t.Fatalf("%s: %v", log, err)
			}
			s.Steps = row.Step
			if row.Validation == nil {
				s.note(&row.Metrics)
				valid = row.Valid
				continue
			}
			a := s.mark(train.Validation{Score: row.Validation["N@3"], Metrics: row.Validation})
			rang = rang || a != nil && a.Kind == FewerRankings
		}
		f.Close()
		if rang != (valid == 0) {
			t.Errorf("%s: the alarm rang: %t; %.3f of the last answers are rankings", filepath.Base(log), rang, valid)
		}
		if valid == 0 && !strings.Contains(log, "naive") {
			t.Errorf("%s: no ranking is left", filepath.Base(log))
		}
	}
}

// TestFewRankings: what rankings are like is a mean over rankings, not over steps, of
// which most may have none. Those of N@3 .5 that become more are not learnt by heart.
func TestFewRankings(t *testing.T) {
	var s state
	rows := func(reward float64, every int) {
		for i := range 60 {
			m := Metrics{Reward: Rewards{Total: reward + .01*float64(i%2)}, Groups: Groups{Drawn: 64}}
			if i%every == 0 {
				m.Valid, m.Ranking = .01*float64(1+i%2), &Rankings{N3: .5, Perfect: .4}
			}
			s.note(&m)
		}
	}
	scores := [][]float64{{.5, .6, .7}, {.3, .4, .5}, {.3, .4, .5}}
	for i, parts := range scores {
		s.mark(train.Validation{Score: parts[1], Parts: parts})
		rows(.5+.1*float64(i), 6-2*i)
	}
	last := s.mark(train.Validation{Score: .4, Parts: scores[2]})
	if last == nil || last.Kind != HollowReward {
		t.Errorf("alarm %+v, want that of a hollow reward", last)
	}
	for i, m := range s.Marks[1:] {
		if !near(m.N3.mean(), .5) || !near(m.Perfect.mean(), .4) {
			t.Errorf("window %d: N@3 of the rankings %g, a copy is right in %g; they are .5 and .4 in every step that has any", i, m.N3.mean(), m.Perfect.mean())
		}
	}
	s = state{}
	for range 4 { // everything given back, and nothing known of what is right
		last = s.mark(train.Validation{Score: .4, Metrics: map[string]float64{"copied": 1}})
		s.note(&Metrics{})
	}
	if last != nil {
		t.Errorf("alarm %+v where no ranking was sampled", last)
	}
}

// TestFewCopies: one ranking that is a copy, of thousands of answers, is no habit.
func TestFewCopies(t *testing.T) {
	rung := func(valid float64) *Alarm {
		var s state
		var last *Alarm
		for range 4 {
			last = s.mark(train.Validation{Score: .4})
			for i := range 50 {
				m := Metrics{Groups: Groups{Drawn: 64}}
				if i%10 == 9 {
					m.Valid, m.Ranking = valid, &Rankings{Copied: 1, Perfect: .2}
				}
				s.note(&m)
			}
		}
		return last
	}
	if a := rung(1. / 512); a != nil {
		t.Errorf("alarm %+v of a ranking in ten steps", a)
	}
	if a := rung(.2); a == nil || a.Kind != Copies {
		t.Errorf("alarm %+v where a fifth of the answers of every tenth step are copies, and no other is a ranking", a)
	}
}

// TestAlarmsOfTheLikeliestAnswers: what validation and the prompts say of a policy that
// reads nothing, or is too sure to learn, reaches the alarm.
func TestAlarmsOfTheLikeliestAnswers(t *testing.T) {
	rung := func(one float64, score float64, flat int) AlarmKind {
		var s state
		kind := AlarmKind(0)
		for i := range 4 {
			parts := []float64{score, score, score, score}
			if i == 0 {
				parts = []float64{.5, .5, .5, .5}
			}
			v := train.Validation{Score: parts[0], Parts: parts, Metrics: map[string]float64{train.OneOrder: one, train.Incoming: .45}}
			if a := s.mark(v); a != nil {
				kind = a.Kind
			}
			for range 20 {
				s.note(&Metrics{Valid: 1, Ranking: &Rankings{}, Groups: Groups{Drawn: 200, Flat: flat}})
			}
		}
		return kind
	}
	for _, c := range []struct {
		one, score float64
		flat       int
		want       AlarmKind
	}{
		{.51, .3, 0, OneOrder}, {.5, .3, 0, 0}, {.9, .6, 0, 0}, // better than the incoming order
		{0, .3, 199, Collapsed}, {0, .3, 198, 0}, {0, .6, 200, 0}, // solved
	} {
		if have := rung(c.one, c.score, c.flat); have != c.want {
			t.Errorf("one order in %g, score %g, %d of 200 prompts flat: alarm %d, want %d", c.one, c.score, c.flat, have, c.want)
		}
	}
}

// TestStateOfCountedSteps: a run that began with a version that counted steps goes on.
func TestStateOfCountedSteps(t *testing.T) {
	var old, again estimate
	if err := json.Unmarshal([]byte(`{"steps":4,"sum":2,"squares":1.5}`), &old); err != nil || old != (estimate{Weight: 4, Weight2: 4, Sum: 2, Squares: 1.5}) {
		t.Errorf("%+v, %v", old, err)
	}
	old.add(.5, 3)
	b, err := json.Marshal(old)
	if err == nil {
		err = json.Unmarshal(b, &again)
	}
	if err != nil || again != old {
		t.Errorf("%+v after %s, %v", again, b, err)
	}
}

// TestWeights: a step that weighs twice counts as two that are equal, but not as two
// that say something each.
func TestWeights(t *testing.T) {
	var twice, both estimate
	for _, v := range []float64{.2, .5, .3} {
		twice.add(v, 2)
		both.add(v, 1)
		both.add(v, 1)
	}
	if !near(twice.mean(), both.mean()) || !near(twice.steps(), 3) || !near(both.steps(), 6) {
		t.Errorf("means %g and %g, %g and %g steps", twice.mean(), both.mean(), twice.steps(), both.steps())
	}
	once := about(.1, .1, 3)
	var weighed estimate
	for i := range 3 {
		weighed.add(.1+.1*float64(1-2*(i%2)), 7)
	}
	if have, want := weighed.chance(once), once.chance(once); !near(have, want) {
		t.Errorf("chance %g of steps that weigh 7 each, %g of the same that weigh 1", have, want)
	}
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-12 }

// TestWindow: a mark has the means since the one before, the first those of the
// step that follows it.
func TestWindow(t *testing.T) {
	var s state
	s.mark(train.Validation{Score: .4})
	for _, r := range []float64{.1, .2, .6} {
		s.note(&Metrics{Reward: Rewards{Total: r}, Valid: r / 2})
	}
	s.mark(train.Validation{Score: .5})
	s.mark(train.Validation{Score: .6})
	for i, want := range []validated{{reward: .1, valid: .05, score: .4}, {reward: .3, valid: .15, score: .5}} {
		if m := s.Marks[i]; m.Score != want.score || !near(m.Reward.mean(), want.reward) || !near(m.Valid.mean(), want.valid) {
			t.Errorf("mark %d is %+v, want %+v", i, m, want)
		}
	}
	if s.Marks[2].known() {
		t.Errorf("no step has followed the last mark: %+v", s.Marks[2])
	}
}
