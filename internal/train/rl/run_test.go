package rl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/gr2/gr2/internal/infer"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/reward"
	"github.com/gr2/gr2/internal/train"
)

// rows reads the steps of metrics.jsonl.
func rows(t *testing.T, dir string) (all []Metrics) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, train.LogName))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		var m Metrics
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatal(err)
		}
		if m.Draws > 0 {
			all = append(all, m)
		}
	}
	return all
}

// TestRewardRises: the policy learns from rewards alone that the incoming order has
// its positive last.
func TestRewardRises(t *testing.T) {
	w := newWorld(t)
	for name, set := range map[string]func(*Options){
		"DAPO":                      func(*Options) {},
		"GRPO with KL":              func(o *Options) { o.Normalizer, o.High, o.KL, o.Attempts = ByAnswer, .2, .01, 0 },
		"Dr. GRPO":                  func(o *Options) { o.Normalizer, o.High, o.Deviation = Constant, .2, false },
		"credit by place":           func(o *Options) { o.Credit = ToPlace },
		"credit by choice, with KL": func(o *Options) { o.Credit, o.KL = ToChoice, .01 },
		"two passes, variant c": func(o *Options) {
			o.Epochs = 2
			o.Reward = reward.Reward{Variant: reward.C, Metric: reward.Promotion, Alpha: .2}
		},
	} {
		o := options()
		o.Steps, o.Prompts, o.Group, o.Shuffle, o.Validate = 30, 4, 8, 0, 100
		set(&o)
		r := w.run(t, t.TempDir(), o)
		r.Cases = lastIsRight(12, 4)
		if o.KL > 0 {
			r.Reference = w.model(t)
		}
		res, err := r.Do(t.Context())
		if err != nil {
			t.Fatal(name, err)
		}
		all := rows(t, r.Dir)
		first, last := all[0].Ranking.AUC, 0.0
		for _, m := range all[len(all)-5:] {
			last += m.Ranking.AUC / 5
		}
		t.Logf("%s: AUC %.3f to %.3f", name, first, last)
		if res.Steps != 30 || res.BestStep != 30 || first > .7 || last < .9 {
			t.Errorf("%s: AUC %.3f to %.3f in %d steps", name, first, last, res.Steps)
		}
	}
}

// TestJudgementsBesideRewards: with their loss beside the surrogate the judgements
// tell the positive, which the reward alone never asks for; and the share they have
// in the loss is their weight, however many there are.
func TestJudgementsBesideRewards(t *testing.T) {
	w := newJudges(t)
	learn := func(lambda float64) (margin, loss float64) {
		o := options()
		o.Steps, o.Prompts, o.Group, o.Validate, o.LambdaJudge, o.JudgeLayers = 80, 4, 2, 100, lambda, 1
		o.Schedule.LR = 3e-3
		r := w.run(t, t.TempDir(), o)
		if _, err := r.Do(t.Context()); err != nil {
			t.Fatal(err)
		}
		return judgedMargin(t, w, r), rows(t, r.Dir)[0].Loss
	}
	without, _ := learn(0)
	with, loss := learn(1)
	t.Logf("yes over no of positives less that of negatives: %.3f without, %.3f with", without, with)
	if without > 1 || with < 3 {
		t.Errorf("positives are judged %.3f above negatives, and %.3f with the judgements' loss; want nothing, then much", without, with)
	}
	// Two updates of a new policy: no surrogate to speak of, and a coin's entropy.
	if want := math.Ln2; math.Abs(loss-want) > .05 {
		t.Errorf("the first loss is %.3f, want the %.3f of judgements that know nothing", loss, want)
	}
}

// judgedMargin is how much more the model says yes at positives than at negatives.
func judgedMargin(t *testing.T, w world, r *Run) float64 {
	t.Helper()
	e, err := infer.New(r.Model)
	if err != nil {
		t.Fatal(err)
	}
	no, yes := w.build.JudgeTokens()
	var sum, n [2]float64
	for _, c := range r.Cases {
		p, err := w.build.Render(c.Slate, nil, c.Evidence)
		if err != nil {
			t.Fatal(err)
		}
		logits, err := e.NewSession().Judge(p.Tokens, p.Judged, []int32{no, yes}, r.Options.JudgeLayers)
		if err != nil {
			t.Fatal(err)
		}
		for i, l := range logits {
			g := c.Slate.Grades[i]
			sum[g], n[g] = sum[g]+float64(l[1]-l[0]), n[g]+1
		}
	}
	return sum[1]/n[1] - sum[0]/n[0]
}

// lastIsRight are slates whose last candidate is the positive.
func lastIsRight(n, k int) []Case {
	all := cases(n, k)
	for _, c := range all {
		clear(c.Slate.Grades)
		c.Slate.Grades[k-1] = 1
	}
	return all
}

// scored gives one score after the other, the last one for ever.
func scored(scores ...float64) func(context.Context) (train.Validation, error) {
	n := -1
	return func(context.Context) (train.Validation, error) {
		n++
		v := scores[min(n, len(scores)-1)]
		return train.Validation{Score: v, Metrics: map[string]float64{"score": v}}, nil
	}
}

// byWeights scores how far the model has come from where it began, so that the
// score is a function of the step and the last is the best. It can be stopped amid
// its work, as often as the stops of testResume are apart.
func byWeights(m *lm.Model) func(context.Context) (train.Validation, error) {
	from := flat(m)
	return func(ctx context.Context) (train.Validation, error) {
		for range stopStride {
			if err := ctx.Err(); err != nil {
				return train.Validation{}, err
			}
		}
		v := 0.0
		for i, x := range flat(m) {
			v += math.Abs(float64(x - from[i]))
		}
		return train.Validation{Score: v, Metrics: map[string]float64{"score": v}}, nil
	}
}

// stopStride is how many more times a run of testResume is asked before it stops
// than the one before.
const stopStride = 7

// interrupted is a context that ends at the n-th time it is asked.
type interrupted struct {
	context.Context
	left atomic.Int64
}

func interruptedAfter(ctx context.Context, n int) *interrupted {
	c := &interrupted{Context: ctx}
	c.left.Store(int64(n))
	return c
}

func (c *interrupted) Err() error {
	if c.left.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

// TestResumedRunEqualsUnbroken: a run that is stopped anywhere, amid its rollouts
// above all, ends with the weights, choice and curves of one that is not.
func TestResumedRunEqualsUnbroken(t *testing.T) {
	testResume(t, newWorld(t), options())
	o := options()
	o.Credit, o.LambdaJudge, o.JudgeLayers = ToPlace, 1, 1
	testResume(t, newJudges(t), o)
	o = options()
	o.Credit, o.Temperature, o.Average = ToChoice, .8, .7
	testResume(t, newWorld(t), o)
	o = options()
	o.Free, o.KL, o.Reward.Variant = true, .1, reward.Naive
	testResume(t, newWorld(t), o)
}

func testResume(t *testing.T, w world, o Options) {
	t.Helper()
	whole := w.run(t, t.TempDir(), o)
	whole.Validate = byWeights(whole.Model)
	want, err := whole.Do(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir, stops, resumed := t.TempDir(), 0, []int(nil)
	for after := 3; ; after += stopStride {
		r := w.run(t, dir, o)
		r.Validate = byWeights(r.Model)
		r.Progress = func(s Status) {
			if s.Resumed {
				resumed = append(resumed, s.Step)
			}
		}
		got, err := r.Do(interruptedAfter(t.Context(), after))
		if errors.Is(err, context.Canceled) {
			stops++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) || !bytes.Equal(bits(r.Model), bits(whole.Model)) {
			t.Errorf("resumed %+v differs from unbroken %+v", got, want)
		}
		break
	}
	if want.BestStep == 0 {
		t.Error("the best weights are those of the start: this test compares nothing")
	}
	if stops < 3 {
		t.Errorf("stopped %d times: this test breaks too little", stops)
	}
	if len(resumed) == 0 || resumed[0] == 0 || !slices.IsSorted(resumed) || resumed[len(resumed)-1] > want.Steps {
		t.Errorf("it is said to go on after steps %v", resumed)
	}
	a, _ := os.ReadFile(filepath.Join(dir, train.LogName))
	b, _ := os.ReadFile(filepath.Join(whole.Dir, train.LogName))
	if !bytes.Equal(a, b) {
		t.Errorf("metrics.jsonl differs from that of the unbroken run:\n%s\n%s", a, b)
	}
	again := w.run(t, dir, o)
	if got, err := again.Do(t.Context()); err != nil || !reflect.DeepEqual(got, want) || !bytes.Equal(bits(again.Model), bits(whole.Model)) {
		t.Errorf("a finished run is not loaded as it is: %+v, %v", got, err)
	}
}

// TestValidationChooses: the weights kept are those of the best validation,
// whatever the reward, and a run ends when none is better for a while.
func TestValidationChooses(t *testing.T) {
	w := newWorld(t)
	run := func(steps, patience int, scores ...float64) (*Run, Result) {
		o := options()
		o.Steps, o.Patience, o.Validate = steps, patience, 1
		r := w.run(t, t.TempDir(), o)
		if scores != nil {
			r.Validate = scored(scores...)
		}
		res, err := r.Do(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return r, res
	}
	start, _ := run(0, 0)
	if !bytes.Equal(bits(start.Model), bits(w.model(t))) {
		t.Error("no steps changed the weights")
	}
	fell, res := run(4, 0, .5, .4, .3)
	if !reflect.DeepEqual(res, Result{Steps: 4, BestStep: 0, BestScore: .5, Rankings: 4 * 4 * 4}) || !bytes.Equal(bits(fell.Model), bits(start.Model)) {
		t.Errorf("scores that only fall: %+v, want the weights of the start", res)
	}
	third, res := run(4, 0, .5, .4, .3, .6, .6)
	last, _ := run(4, 0)
	if res.BestStep != 3 || bytes.Equal(bits(third.Model), bits(last.Model)) || bytes.Equal(bits(third.Model), bits(start.Model)) {
		t.Errorf("%+v, want the weights after step 3", res)
	}
	if _, res := run(9, 2, .5, .6, .4, .5, .9); !reflect.DeepEqual(res, Result{Steps: 3, BestStep: 1, BestScore: .6, Stopped: true, Rankings: 3 * 4 * 4}) {
		t.Errorf("with patience 2: %+v", res)
	}
}

// TestAverageIsValidatedAndKept: with Average the policy is the moving mean of the
// weights that the same training goes through without it.
func TestAverageIsValidatedAndKept(t *testing.T) {
	w := newWorld(t)
	run := func(decay float64, validated bool) (seen [][]float32, end []float32) {
		o := options()
		o.Average, o.Validate = decay, 1
		r := w.run(t, t.TempDir(), o)
		if validated {
			r.Validate = func(context.Context) (train.Validation, error) {
				seen = append(seen, flat(r.Model))
				return train.Validation{Score: float64(len(seen))}, nil
			}
		}
		if _, err := r.Do(t.Context()); err != nil {
			t.Fatal(err)
		}
		return seen, flat(r.Model)
	}
	passed, _ := run(0, true)
	means, kept := run(.75, true)
	_, last := run(.75, false)
	want := slices.Clone(passed[0])
	for step, at := range passed {
		for i := range want {
			want[i] += .25 * (at[i] - want[i])
		}
		if !slices.Equal(means[step], want) {
			t.Fatalf("step %d: what is validated is not the mean of the weights so far", step)
		}
	}
	if !slices.Equal(kept, want) || !slices.Equal(last, want) {
		t.Error("what is kept is not the mean at the end")
	}
	if slices.Equal(want, passed[len(passed)-1]) {
		t.Error("the mean is the last policy: this test sees nothing")
	}
}

func flat(m *lm.Model) (all []float32) {
	for _, t := range m.Tensors() {
		all = append(all, t.Data...)
	}
	return all
}

// TestDynamicSampling: flat groups are replaced, within the bound, and a step
// that finds none changes nothing.
func TestDynamicSampling(t *testing.T) {
	w := newWorld(t)
	o := options()
	o.Steps, o.Prompts, o.Group, o.Attempts = 1, 8, 2, 4
	r := w.run(t, t.TempDir(), o)
	r.Cases = cases(200, 2) // two answers, two candidates: half of the groups are flat
	if _, err := r.Do(t.Context()); err != nil {
		t.Fatal(err)
	}
	g := rows(t, r.Dir)[0].Groups
	if g.Kept+g.Short != o.Prompts || g.Drawn-g.Flat != g.Kept || g.Drawn <= o.Prompts || g.Drawn > 4*o.Prompts {
		t.Errorf("%+v of %d wanted", g, o.Prompts)
	}

	flat := options()
	flat.Steps, flat.Free = 2, true // all answers of a new model are invalid
	r = w.run(t, t.TempDir(), flat)
	res, err := r.Do(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m := rows(t, r.Dir)[1]
	if m.Groups != (Groups{Drawn: 12, Flat: 12, Short: 4}) || m.Valid != 0 || m.Draws != 24 || !bytes.Equal(bits(r.Model), bits(w.model(t))) {
		t.Errorf("%+v: nothing could be learnt", m)
	}
	if m.Ranking != nil || m.Updates != nil || res.Short != 8 {
		t.Errorf("no ranking and no update, and the row has %+v and %+v; %d groups were not found, want 8", m.Ranking, m.Updates, res.Short)
	}
}

// TestSeveralUpdatesMeetTheClip: later updates of a step see a ratio that has
// moved; the first one does not.
func TestSeveralUpdatesMeetTheClip(t *testing.T) {
	w := newWorld(t)
	clips := func(epochs int) Policy {
		o := options()
		o.Steps, o.Updates, o.Epochs, o.Schedule.LR = 1, 1, epochs, 3e-3
		r := w.run(t, t.TempDir(), o)
		if _, err := r.Do(t.Context()); err != nil {
			t.Fatal(err)
		}
		return rows(t, r.Dir)[0].Policy
	}
	if one := clips(1); one.Drift > 1e-7 || one.ClipHigh+one.ClipLow > 0 || one.Entropy <= 0 {
		t.Errorf("one update: %+v", one)
	}
	if many := clips(6); many.Drift < 1e-3 || many.ClipHigh == 0 || many.ClipLow == 0 {
		t.Errorf("six passes: %+v", many)
	}
}

// TestReferenceHolds: the divergence from the reference is measured, and smaller
// where it costs.
func TestReferenceHolds(t *testing.T) {
	w := newWorld(t)
	kl := func(weight float64) float64 {
		o := options()
		o.Steps, o.KL, o.Schedule.LR, o.Shuffle = 12, weight, 4e-3, 0
		r := w.run(t, t.TempDir(), o)
		r.Reference, r.Cases = w.model(t), lastIsRight(12, 4)
		if _, err := r.Do(t.Context()); err != nil {
			t.Fatal(err)
		}
		all := rows(t, r.Dir)
		return all[len(all)-1].Policy.KL
	}
	if free, held := kl(1e-6), kl(1); free < .02 || held > free/2 {
		t.Errorf("the policy is %g from the reference, and %g where that costs", free, held)
	}
}

func TestSettingsAreChecked(t *testing.T) {
	w := newWorld(t)
	for name, spoil := range map[string]func(*Run){
		"group":      func(r *Run) { r.Options.Group = 1 },
		"normalizer": func(r *Run) { r.Options.Normalizer = "batch" },
		"reward":     func(r *Run) { r.Options.Reward.Variant = "x" },
		"reference":  func(r *Run) { r.Options.KL = .1 },
		"cases":      func(r *Run) { r.Cases = nil },
		"judgements": func(r *Run) { r.Options.LambdaJudge = 1 },
		"average":    func(r *Run) { r.Options.Average = 1 },
	} {
		r := w.run(t, t.TempDir(), options())
		spoil(r)
		if _, err := r.Do(t.Context()); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestUsable(t *testing.T) {
	all := cases(4, 3)
	clear(all[1].Slate.Grades)
	for i := range all[2].Slate.Grades {
		all[2].Slate.Grades[i] = 1
	}
	if have := Usable(all); len(have) != 2 || have[0].Slate != all[0].Slate || have[1].Slate != all[3].Slate {
		t.Errorf("%d usable cases of four, of which one has no positive and one no negative", len(have))
	}
}
