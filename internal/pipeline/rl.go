package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/reward"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/train"
	"github.com/gr2/gr2/internal/train/rl"
)

// RLOptions are reinforcement learning from verifiable rewards (GR2 section 5):
// it raises the reward of the rankings that the policy writes.
type RLOptions struct {
	// Steps is the number of rollout batches; 0 leaves the stage out.
	Steps int `yaml:"steps" json:"steps"`
	// From is the stage whose model it begins with: sft or midtrain.
	From string `yaml:"from" json:"from"`
	// Algorithm is dapo, grpo or dr-grpo: what advantages are divided by, and
	// what the sum of the losses of tokens is. The rest of what tells the three
	// apart are settings of their own: attempts, clip_high, kl.
	Algorithm string `yaml:"algorithm" json:"algorithm"`
	// Credit is answer (each choice has the advantage of its answer), place (of
	// the reward that was still to come when it was made) or choice (the same in
	// expectation over all that could have been chosen).
	Credit string `yaml:"credit" json:"credit"`
	// Prompts is the number of groups a step learns from, Group the answers to
	// each.
	Prompts int `yaml:"prompts" json:"prompts"`
	Group   int `yaml:"group" json:"group"`
	// Attempts bounds the drawings that fill a step with groups whose answers
	// are not all equally good (dynamic sampling); 0 takes groups as they come.
	Attempts int `yaml:"attempts" json:"attempts"`
	// Temperature is that of sampling.
	Temperature float64 `yaml:"temperature" json:"temperature"`
	// Decode is grammar or free.
	Decode string `yaml:"decode" json:"decode"`
	// Shuffle is the share of prompts whose candidates are shown in random order.
	Shuffle float64 `yaml:"shuffle" json:"shuffle"`
	// ScrambleIDs is the share of prompts whose items have random semantic IDs: what is
	// learnt then is why a candidate earns, not which one does.
	ScrambleIDs float64 `yaml:"scramble_ids" json:"scramble_ids,omitempty"`
	// Reward is naive, a, b or c; Metric is auc, ndcg or promotion; Alpha is
	// what a valid answer is worth.
	Reward string  `yaml:"reward" json:"reward"`
	Metric string  `yaml:"metric" json:"metric"`
	Alpha  float64 `yaml:"alpha" json:"alpha"`
	// Margin is the number of tokens over which the penalty of an overlong
	// answer grows, and by which a free answer may be longer than a full one.
	Margin int `yaml:"margin" json:"margin"`
	// ClipLow and ClipHigh bound the ratio to 1-clip_low..1+clip_high.
	ClipLow  float64 `yaml:"clip_low" json:"clip_low"`
	ClipHigh float64 `yaml:"clip_high" json:"clip_high"`
	// KL weighs the divergence from the policy it began with.
	KL float64 `yaml:"kl" json:"kl"`
	// LambdaJudge weighs the loss of the judgements of SFT beside the surrogate: a
	// label learnt from at each candidate's line, besides what the reward says of
	// whole rankings. It needs sft.judge_layers.
	LambdaJudge float64 `yaml:"lambda_judge" json:"lambda_judge"`
	// Epochs are the passes over a step's groups, Updates the optimiser steps of
	// a pass.
	Epochs      int     `yaml:"epochs" json:"epochs"`
	Updates     int     `yaml:"updates" json:"updates"`
	BatchTokens int     `yaml:"batch_tokens" json:"batch_tokens"` // of one micro-batch
	LR          float64 `yaml:"lr" json:"lr"`
	Floor       float64 `yaml:"floor" json:"floor"`   // final learning rate as a share of lr
	Warmup      float64 `yaml:"warmup" json:"warmup"` // share of the steps
	Decay       float64 `yaml:"decay" json:"decay"`
	// Average is what is kept, at each step, of the mean of the weights that is
	// validated and kept as the policy; 0 keeps the last weights.
	Average    float64 `yaml:"average" json:"average,omitempty"`
	Clip       float64 `yaml:"clip" json:"clip"`             // global gradient norm
	Checkpoint int     `yaml:"checkpoint" json:"checkpoint"` // steps
	// Validate is the number of steps between validations, which choose the
	// weights; Patience ends the stage after so many without a better one, 0
	// never does.
	Validate int `yaml:"validate" json:"validate"`
	Patience int `yaml:"patience" json:"patience"`
	// ValidSlates bounds the slates of one validation; they are those of
	// sft.valid_slates at most.
	ValidSlates int `yaml:"valid_slates" json:"valid_slates"`
}

// Names of RLOptions.Algorithm and of its Decode.
const (
	algorithmDAPO   = "dapo"
	algorithmGRPO   = "grpo"
	algorithmDrGRPO = "dr-grpo"

	decodeGrammar = "grammar"
	decodeFree    = "free"
)

// rl checks the section, also where the stage is left out: what is wrong then is
// wrong later.
func (c *checker) rl(o *Options) {
	r := &o.RL
	c.within("rl.steps", float64(r.Steps), 0, 1e6)
	c.oneOf("rl.from", r.From, StageSFT, StageMidtrain)
	c.oneOf("rl.algorithm", r.Algorithm, algorithmDAPO, algorithmGRPO, algorithmDrGRPO)
	c.oneOf("rl.credit", r.Credit, string(rl.ToAnswer), string(rl.ToPlace), string(rl.ToChoice))
	if r.Credit != string(rl.ToAnswer) && r.Decode == decodeFree {
		c.fail("rl.credit is %s and rl.decode is free; of an answer that may be no ranking no place has earned anything: use decode grammar or credit answer", r.Credit)
	}
	c.within("rl.prompts", float64(r.Prompts), 1, 4096)
	c.within("rl.group", float64(r.Group), 2, 1024)
	c.within("rl.attempts", float64(r.Attempts), 0, 100)
	c.within("rl.temperature", r.Temperature, 0.01, 10)
	c.oneOf("rl.decode", r.Decode, decodeGrammar, decodeFree)
	c.within("rl.shuffle", r.Shuffle, 0, 1)
	c.within("rl.scramble_ids", r.ScrambleIDs, 0, 1)
	if r.ScrambleIDs > 0 && !o.Prompt.SID {
		c.fail("rl.scramble_ids is %g and prompt.sid is false: prompts have no semantic IDs to scramble", r.ScrambleIDs)
	}
	c.oneOf("rl.reward", r.Reward, names(reward.Variants())...)
	c.oneOf("rl.metric", r.Metric, names(reward.Metrics())...)
	c.within("rl.alpha", r.Alpha, 0, 100)
	c.within("rl.margin", float64(r.Margin), 0, 1024)
	if r.Decode == decodeFree && r.Margin == 0 {
		c.fail("rl.margin is 0 and rl.decode is free; answers would end at the length of a full one, without the overlong penalty: give them a margin")
	}
	c.within("rl.clip_low", r.ClipLow, 0, 1)
	c.within("rl.clip_high", r.ClipHigh, 0, 100)
	c.within("rl.kl", r.KL, 0, 100)
	c.within("rl.lambda_judge", r.LambdaJudge, 0, 100)
	if r.LambdaJudge > 0 && (!o.Prompt.Judge || o.SFT.JudgeLayers == 0) {
		c.fail("rl.lambda_judge needs prompt.judge and sft.judge_layers above 0: judgements are read below the top")
	}
	c.within("rl.epochs", float64(r.Epochs), 1, 100)
	c.within("rl.updates", float64(r.Updates), 1, 1024)
	if r.Updates > r.Prompts {
		c.fail("rl.updates is %d and rl.prompts %d: each optimiser step of a pass takes a group at least; use as many or fewer", r.Updates, r.Prompts)
	}
	c.within("rl.batch_tokens", float64(r.BatchTokens), 64, 1<<20)
	c.within("rl.lr", r.LR, 1e-9, 1)
	c.within("rl.floor", r.Floor, 0, 1)
	c.within("rl.warmup", r.Warmup, 0, 1)
	c.within("rl.decay", r.Decay, 0, 1)
	c.within("rl.average", r.Average, 0, 0.9999)
	c.within("rl.clip", r.Clip, 1e-3, 1e6)
	c.within("rl.checkpoint", float64(r.Checkpoint), 1, 1e9)
	c.within("rl.validate", float64(r.Validate), 1, 1e9)
	c.within("rl.patience", float64(r.Patience), 0, 1e6)
	c.within("rl.valid_slates", float64(r.ValidSlates), 1, 1e6)
	if r.Steps > 0 && o.Eval.Decode != "generate" {
		c.fail("rl.steps is %d and eval.decode is %s; reinforcement learning trains the written ranking: set eval.decode to generate, or rl.steps to 0", r.Steps, o.Eval.Decode)
	}
}

// names are the texts of a setting's choices.
func names[T ~string](choices []T) []string {
	var out []string
	for _, c := range choices {
		out = append(out, string(c))
	}
	return out
}

func (r *RLOptions) reward() reward.Reward {
	return reward.Reward{Variant: reward.Variant(r.Reward), Metric: reward.Metric(r.Metric), Alpha: r.Alpha}
}

func (r *RLOptions) train(seed uint64) rl.Options {
	o := rl.Options{
		Steps: r.Steps, Prompts: r.Prompts, Group: r.Group, Attempts: r.Attempts,
		Temperature: r.Temperature, Free: r.Decode == decodeFree, Shuffle: r.Shuffle, ScrambleIDs: r.ScrambleIDs,
		Reward: r.reward(), Credit: rl.Credit(r.Credit), Low: r.ClipLow, High: r.ClipHigh, KL: r.KL, LambdaJudge: r.LambdaJudge,
		Epochs: r.Epochs, Updates: r.Updates, BatchTokens: r.BatchTokens,
		Schedule: train.Schedule{LR: r.LR, Floor: r.Floor, Warmup: r.Warmup}, Decay: r.Decay, Clip: r.Clip, Average: r.Average,
		Seed: seed, Checkpoint: r.Checkpoint, Validate: r.Validate, Patience: r.Patience,
	}
	if o.Free { // under the grammar no answer is longer than a full one
		o.Margin = r.Margin
	}
	switch r.Algorithm {
	case algorithmGRPO:
		o.Normalizer, o.Deviation = rl.ByAnswer, true
	case algorithmDrGRPO:
		o.Normalizer = rl.Constant
	default:
		o.Normalizer, o.Deviation = rl.ByToken, true
	}
	return o
}

// rlStage raises the reward of the written rankings and keeps the weights that
// rank the held-out validation slates best.
func (w *world) rlStage(ctx context.Context, dir string) error {
	o := &w.job.Options.RL
	run, slates, err := w.rlRun(dir)
	if err != nil {
		return err
	}
	w.say("RL: %s, reward %s of %s, on %d slates, validated on %d", o.Algorithm, o.Reward, o.Metric, slates.Used, slates.Held)
	run.Progress = w.rlProgress
	result, err := run.Do(ctx)
	if err != nil {
		return err
	}
	if slates.Held > 0 {
		w.say("RL: %d steps, best at step %d with %.4f, the incoming order has %.4f", result.Steps, result.BestStep, result.BestScore, slates.Incoming)
	}
	if result.Stopped {
		w.say("RL: stopped by rl.patience, %d validations in a row without a better one", o.Patience)
	}
	warnings := o.warnings(slates, result)
	for _, warning := range warnings {
		w.say("WARNING: %s", warning)
	}
	training := rlTraining{slates, result, append(w.job.Options.rlAdvice(), warnings...)}
	if err := durable.WriteJSON(filepath.Join(dir, rlTrainingFile), training); err != nil {
		return err
	}
	if err := w.saveModel(dir, run.Model); err != nil {
		return err
	}
	return seal(w.job, StageRL)
}

// warnings are what a finished training is to be doubted for.
func (r *RLOptions) warnings(slates rlSlates, result rl.Result) (list []string) {
	warn := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	switch {
	case slates.Held == 0:
		warn("no slates were held out, so the last weights are kept whatever they are worth; sft.valid_share holds some out")
	case result.BestStep == 0:
		warn("no validation was above that of step 0, so this policy is the one of %s that it began with", r.From)
	}
	if slates.Held > 0 && result.BestScore <= slates.Incoming {
		warn("on validation slates the policy is no better than the incoming order: look at gr2 eval --probe, and whether prompts show anything to better it by (gr2 evidence)")
	}
	switch wanted := result.Steps * r.Prompts; {
	case result.Steps > 0 && result.Rankings == 0:
		warn("no answer that was sampled is a ranking, so that no reward told one from another: use rl.decode=grammar, or begin with an SFT that has learnt the form (prompt.syntax_loss=true)")
	case r.Attempts > 0 && 4*result.Short > wanted:
		warn("%d of %d groups were not found, for answers to a prompt were equally good: more rl.attempts, a larger rl.group or rl.temperature may help", result.Short, wanted)
	}
	return list
}

// rlAdvice names settings that leave rewards little to do.
func (o *Options) rlAdvice() (advice []string) {
	r := &o.RL
	if kept := math.Pow(r.Average, float64(r.Steps)); kept > 0.2 {
		advice = append(advice, fmt.Sprintf("with rl.average %g the policy after %d steps is still %.0f%% the one that it began with; lower it to about %.4g", r.Average, r.Steps, 100*kept, min(1-3/float64(max(r.Steps, 4)), 0.9999)))
	}
	if better := max(1, r.Steps/5); 3*r.Validate > r.Steps && better < r.Validate {
		advice = append(advice, fmt.Sprintf("rl.validate is %d and rl.steps %d, which leaves few policies to choose from and few places for an alarm; lower it to about %d", r.Validate, r.Steps, better))
	}
	if r.From == StageSFT && o.SFT.TeacherTrees {
		advice = append(advice, "SFT learns from boosted trees here, to which rewards added nothing on the data measured; sft.teacher_trees=false lets it learn from linear controls, to which they did (docs/rl.md)")
	}
	if r.Decode == decodeFree && r.From == StageSFT && !o.Prompt.SyntaxLoss {
		advice = append(advice, "rl.decode is free and prompt.syntax_loss false: SFT does not teach the form that answers must have, and without valid ones no reward tells one from another; set prompt.syntax_loss=true, or rl.decode=grammar")
	}
	return advice
}

// rlTrainingFile says what the stage learnt from and what came of it.
const rlTrainingFile = "training.json"

type rlTraining struct {
	Slates   rlSlates  `json:"slates"`
	Result   rl.Result `json:"result"`
	Warnings []string  `json:"warnings,omitempty"`
}

// Warnings are what the training of a run warned of and was warned for, where it is
// finished and the run's configuration does not leave it out: a table of results shows
// none of it.
func Warnings(root string) ([]string, error) {
	if leftOut(root) {
		return nil, nil
	}
	var t rlTraining
	err := readJSON(filepath.Join(root, StageRL, rlTrainingFile), &t)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var list []string
	for _, a := range t.Result.Alarms {
		list = append(list, fmt.Sprintf("ALARM of rl at step %d: %s", a.Step, a.Text))
	}
	for _, warning := range t.Warnings {
		list = append(list, warningOf+warning)
	}
	return list, err
}

// warningOf begins a warning that is no alarm.
const warningOf = "WARNING of rl: "

// rlSlates counts slates.
type rlSlates struct {
	Used    int `json:"used"`     // to learn from
	LeftOut int `json:"left_out"` // of the slates of this stage, without a negative
	// NoPositive is the requests of the split's training part whose slate holds no
	// positive, of all users, in all orders that SFT learns from. The baseline stage keeps
	// no slate of them.
	NoPositive int `json:"no_positive"`
	Held       int `json:"held"` // to validate
	// Incoming is the N@3 of their incoming order.
	Incoming float64 `json:"incoming"`
}

// rlRun prepares the training.
func (w *world) rlRun(dir string) (run *rl.Run, slates rlSlates, err error) {
	o := &w.job.Options.RL
	builder, err := w.prompts()
	if err != nil {
		return nil, slates, err
	}
	training, valid, err := w.slatesFor(StageRL)
	if err != nil {
		return nil, slates, err
	}
	valid = valid[:min(len(valid), o.ValidSlates)]
	noPositive, err := w.withoutPositive()
	if err != nil {
		return nil, slates, err
	}
	cases, leftOut, err := w.rlCases(training)
	if err != nil {
		return nil, slates, err
	}
	run = &rl.Run{
		Dir: filepath.Join(dir, stateDir), Builder: builder, Tokenizer: w.tok, Cases: cases,
		Options: o.train(rng.Hash(w.job.Options.Seed, rng.Key("rl"))),
	}
	run.Options.JudgeLayers = w.job.Options.SFT.JudgeLayers
	if run.Model, err = w.beginning(o.From); err != nil {
		return nil, slates, err
	}
	if o.KL > 0 {
		if run.Reference, err = w.beginning(o.From); err != nil {
			return nil, slates, err
		}
	}
	if len(valid) > 0 {
		run.Validate = func(ctx context.Context) (train.Validation, error) { return w.validate(ctx, run.Model, valid) }
	}
	return run, rlSlates{Used: len(cases), LeftOut: leftOut, NoPositive: noPositive, Held: len(valid), Incoming: incomingN3(valid)}, nil
}

// rlCases are the slates that hold both classes, with evidence codes, and
// the number of those that do not.
func (w *world) rlCases(slates []trainSlate) (usable []rl.Case, leftOut int, err error) {
	raw, err := w.rawCases(slates)
	if err != nil {
		return nil, 0, err
	}
	cases := make([]rl.Case, len(raw))
	for i, c := range raw {
		cases[i] = rl.Case{Slate: c.Slate, Evidence: w.codes(c)}
	}
	usable = rl.Usable(cases)
	if leftOut = len(cases) - len(usable); leftOut > 0 {
		w.say("%d of %d slates have no positive or no negative and are left out", leftOut, len(cases))
	}
	return usable, leftOut, nil
}

func (w *world) rlProgress(s rl.Status) {
	switch v := s.Validation; {
	case s.Resumed:
		w.say("RL: goes on after step %d of %d", s.Step, w.job.Options.RL.Steps)
	case v != nil:
		w.say("step %d: validation %s", s.Step, formatMetrics(v.Metrics))
		if s.Alarm != nil {
			w.say("ALARM at step %d: %s", s.Step, s.Alarm.Text)
		}
	default:
		m, copied := &s.Metrics, ""
		if m.Ranking != nil {
			copied = fmt.Sprintf(", copied %.0f%%", 100*m.Ranking.Copied)
		}
		w.work(float64(s.Step), float64(w.job.Options.RL.Steps), fmt.Sprintf("RL, step %d, reward %.3f, valid %.0f%%%s, %.0f and %.0f tokens/s",
			s.Step, m.Reward.Total, 100*m.Valid, copied, s.Speed.Rollout, s.Speed.Update))
	}
}
