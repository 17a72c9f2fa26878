package pipeline

import (
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/train/rl"
)

// docs/rl.md has the three algorithms as settings of one: what the name sets is
// the normaliser and the division by the deviation, and the rest passes through.
func TestAlgorithms(t *testing.T) {
	for name, want := range map[string]struct {
		normalizer rl.Normalizer
		deviation  bool
	}{
		algorithmDAPO:   {rl.ByToken, true},
		algorithmGRPO:   {rl.ByAnswer, true},
		algorithmDrGRPO: {rl.Constant, false},
	} {
		r := RLOptions{Algorithm: name, Attempts: 3, ClipLow: .2, ClipHigh: .25, KL: .04, Reward: "b", Metric: "auc", Alpha: .2, Decode: decodeFree, Credit: "answer"}
		o := r.train(7)
		if o.Normalizer != want.normalizer || o.Deviation != want.deviation {
			t.Errorf("%s: normaliser %v, deviation %t; want %v and %t", name, o.Normalizer, o.Deviation, want.normalizer, want.deviation)
		}
		if o.Attempts != 3 || o.Low != .2 || o.High != .25 || o.KL != .04 || !o.Free || o.Seed != 7 || o.Credit != rl.ToAnswer || o.Reward != r.reward() {
			t.Errorf("%s: settings are lost: %+v", name, o)
		}
	}
}

// TestAdvice: settings that leave rewards little to do are named, others are not.
func TestAdvice(t *testing.T) {
	good := func() *Options {
		return &Options{RL: RLOptions{Steps: 375, Validate: 75, Average: .99, From: StageSFT}}
	}
	for name, c := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"the preset's steps":    {func(*Options) {}, ""},
		"no mean of weights":    {func(o *Options) { o.RL.Average, o.RL.Steps, o.RL.Validate = 0, 10, 2 }, ""},
		"few steps":             {func(o *Options) { o.RL.Steps, o.RL.Validate = 78, 15 }, "rl.average 0.99 the policy after 78 steps is still 46%"},
		"many steps":            {func(o *Options) { o.RL.Steps, o.RL.Validate, o.RL.Average = 3000, 600, .9999 }, "lower it to about 0.999"},
		"most steps":            {func(o *Options) { o.RL.Steps, o.RL.Validate, o.RL.Average = 1000, 200, .9999 }, "lower it to about 0.997"},
		"as often as can be":    {func(o *Options) { o.RL.Steps, o.RL.Validate, o.RL.Average = 2, 1, 0 }, ""},
		"free, form not taught": {func(o *Options) { o.RL.Decode = decodeFree }, "prompt.syntax_loss=true"},
		"free, form taught":     {func(o *Options) { o.RL.Decode, o.Prompt.SyntaxLoss = decodeFree, true }, ""},
		"few validations":       {func(o *Options) { o.RL.Validate = 150 }, "rl.validate is 150 and rl.steps 375"},
		"trees":                 {func(o *Options) { o.SFT.TeacherTrees = true }, "sft.teacher_trees=false"},
		"trees, from midtrain":  {func(o *Options) { o.SFT.TeacherTrees, o.RL.From = true, StageMidtrain }, ""},
	} {
		o := good()
		c.change(o)
		advice := strings.Join(o.rlAdvice(), "\n")
		if (advice == "") != (c.want == "") || !strings.Contains(advice, c.want) {
			t.Errorf("%s: advice %q, want %q", name, advice, c.want)
		}
	}
}

// TestWarnings: a training is doubted for what it was, and not for what it was not.
func TestWarnings(t *testing.T) {
	good := rl.Result{Steps: 100, BestStep: 75, BestScore: .5, Rankings: 9000}
	slates := rlSlates{Held: 300, Incoming: .4}
	for name, c := range map[string]struct {
		change func(*RLOptions, *rlSlates, *rl.Result)
		want   string
	}{
		"nothing":          {func(*RLOptions, *rlSlates, *rl.Result) {}, ""},
		"nothing held out": {func(_ *RLOptions, s *rlSlates, r *rl.Result) { s.Held, s.Incoming, r.BestScore = 0, 0, 0 }, "sft.valid_share"},
		"kept nothing":     {func(_ *RLOptions, _ *rlSlates, r *rl.Result) { r.BestStep = 0 }, "the one of sft that it began with"},
		"no better":        {func(_ *RLOptions, _ *rlSlates, r *rl.Result) { r.BestScore = .4 }, "no better than the incoming order"},
		"no ranking":       {func(o *RLOptions, _ *rlSlates, r *rl.Result) { o.Attempts, r.Rankings, r.Short = 4, 0, 800 }, "prompt.syntax_loss=true"},
		"groups missing":   {func(o *RLOptions, _ *rlSlates, r *rl.Result) { o.Attempts, r.Short = 4, 300 }, "300 of 800 groups were not found"},
		"some missing":     {func(o *RLOptions, _ *rlSlates, r *rl.Result) { o.Attempts, r.Short = 4, 30 }, ""},
	} {
		o, s, r := RLOptions{From: StageSFT, Prompts: 8}, slates, good
		c.change(&o, &s, &r)
		list := o.warnings(s, r)
		if len(list) > 1 || (len(list) == 0) != (c.want == "") || !strings.Contains(strings.Join(list, ""), c.want) {
			t.Errorf("%s: %q, want %q", name, list, c.want)
		}
	}
}
