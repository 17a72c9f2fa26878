package rl

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"time"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/infer"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/nn"
	"github.com/gr2/gr2/internal/prompt"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/token"
	"github.com/gr2/gr2/internal/train"
)

// SpeedLog is the file beside metrics.jsonl that says how fast a run was. It
// alone differs between equal runs.
const SpeedLog = "speed.jsonl"

// Run is one training of one policy.
type Run struct {
	// Dir holds the state for resuming, metrics.jsonl and speed.jsonl.
	Dir string
	// Model is trained in place and ends with the weights of the best validation,
	// or the last where there is no Validate; with Options.Average with their mean.
	Model *lm.Model
	// Reference is the policy that Options.KL keeps near to; nil where that is 0.
	Reference *lm.Model
	Builder   *prompt.Builder
	Tokenizer *token.Tokenizer
	Cases     []Case // usable ones
	Options   Options
	// Validate measures the model on validation data; nil for none.
	Validate func(ctx context.Context) (train.Validation, error)
	// Progress is told about every step, validation and alarm; may be nil.
	Progress func(Status)
}

// Status is the state of a run under way.
type Status struct {
	Step       int
	Resumed    bool              // there are steps of an earlier process, and nothing else to tell
	Metrics    Metrics           // of the last step
	Speed      Speed             // of the last step
	Validation *train.Validation // when there was one just now
	Alarm      *Alarm            // reward and metric part; nil as a rule
}

// Result is a finished run.
type Result struct {
	Steps     int     `json:"steps"`
	BestStep  int     `json:"best_step"` // whose weights are kept; the last where nothing is validated
	BestScore float64 `json:"best_score"`
	Stopped   bool    `json:"stopped"` // early, by Patience
	Alarms    []Alarm `json:"alarms,omitempty"`
	Short     int     `json:"short,omitempty"` // groups that were wanted and not found
	Rankings  int     `json:"rankings"`        // answers sampled that were valid
}

// state is all that a run needs to go on to the same bits.
type state struct {
	Result
	Draws      int       `json:"draws"`     // prompts drawn
	Validated  int       `json:"validated"` // step of the last validation, plus one; 0 for none
	Waited     int       `json:"waited"`    // validations since the best one
	Marks      []mark    `json:"marks"`
	BestParts  []float64 `json:"best_parts"` // of the best validation
	Window     window    `json:"window"`     // since the last validation
	SpeedBytes int64     `json:"speed_bytes"`
	train.Saved
}

// loop is a Run with its moving parts.
type loop struct {
	*Run
	sampler   sampler
	decoder   *nn.Decoder
	reference *nn.Decoder
	tape      *nn.Tape
	silent    *nn.Tape
	adam      *nn.AdamW
	average   *average
	store     *train.Store
	speed     *durable.Log
	state     state
}

// Do trains to the end, going on from the last checkpoint if there is one. On a
// cancelled context it writes a checkpoint and returns the context's error.
func (r *Run) Do(ctx context.Context) (Result, error) {
	l, err := r.start()
	if err != nil {
		return Result{}, err
	}
	if err := l.store.Resume(); err != nil {
		return Result{}, err
	}
	defer l.store.Log.Close()
	if l.state.Finished {
		return l.state.Result, nil
	}
	if l.speed, err = durable.OpenLog(filepath.Join(r.Dir, SpeedLog), l.state.SpeedBytes); err != nil {
		return Result{}, err
	}
	defer l.speed.Close()
	if l.state.Steps > 0 {
		l.tell(Status{Step: l.state.Steps, Resumed: true})
	}
	if err := l.train(ctx); err != nil {
		return Result{}, err
	}
	if l.Validate == nil {
		l.state.BestStep = l.state.Steps
	}
	l.average.swap() // where no validation has kept weights, the model's are the result
	return l.state.Result, l.store.Finish()
}

func (r *Run) start() (*loop, error) {
	if err := r.Options.validate(); err != nil {
		return nil, err
	}
	if len(r.Cases) == 0 {
		return nil, fault.Inputf("rl: no training slate holds both a positive and a negative, so there is nothing to reward: look at gr2 data stats, and at sft.user_share, which leaves users to this stage")
	}
	engine, err := infer.New(r.Model)
	if err != nil {
		return nil, err
	}
	o := &r.Options
	l := &loop{Run: r, decoder: nn.NewDecoder(r.Model), tape: nn.NewTape(), silent: nn.NewForwardTape()}
	l.sampler = sampler{engine: engine, build: r.Builder, tok: r.Tokenizer, cases: r.Cases, opt: o}
	if o.LambdaJudge > 0 {
		if err := l.decoder.ReadEarly(o.JudgeLayers); err != nil {
			return nil, err
		}
	}
	if o.KL > 0 {
		if r.Reference == nil {
			return nil, fault.Usagef("rl: kl is %g and there is no reference", o.KL)
		}
		l.reference = nn.NewDecoder(r.Reference)
	}
	l.adam = nn.NewAdamW(l.decoder.Params(), nn.AdamWOptions{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: o.Decay})
	l.average = newAverage(r.Model, o.Average)
	l.store = &train.Store{
		Dir: r.Dir, Model: r.Model, Adam: l.adam, Params: l.decoder.Params(), More: l.average.tensors(), State: &l.state, Saved: &l.state.Saved,
	}
	return l, nil
}

func (l *loop) train(ctx context.Context) error {
	for {
		// Before the next step, so that a run stopped during a validation makes it
		// again with the same weights.
		err := l.validate(ctx)
		if err == nil && !l.done() {
			err = l.step(ctx)
		}
		switch {
		case err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()):
			// The weights are those of the last whole step.
			return errors.Join(ctx.Err(), l.checkpoint())
		case err != nil:
			return err
		case l.done() && l.state.Validated > l.state.Steps, l.state.Stopped, l.done() && l.Validate == nil:
			return nil
		}
		if l.state.Steps%l.Options.Checkpoint == 0 {
			if err := l.checkpoint(); err != nil {
				return err
			}
		}
	}
}

func (l *loop) done() bool { return l.state.Stopped || l.state.Steps >= l.Options.Steps }

// checkpoint makes the training one that can go on from here.
func (l *loop) checkpoint() error {
	if err := l.speed.Sync(); err != nil {
		return err
	}
	l.state.SpeedBytes = l.speed.Size()
	return l.store.Checkpoint(l.state.Steps)
}

// step samples, learns and writes what came of it. It changes nothing before all
// answers are there.
func (l *loop) step(ctx context.Context) error {
	began := time.Now()
	kept, drawn, err := l.collect(ctx)
	if err != nil {
		return err
	}
	sampled := time.Now()
	m := measure(drawn)
	m.Groups.Kept = len(kept)
	m.Groups.Short = l.Options.Prompts - len(kept)
	m.LR = l.Options.Schedule.Rate(float64(l.state.Steps+1) / float64(l.Options.Steps)) // not that of 0, which is none
	learned, err := l.update(kept, m.LR)
	if err != nil {
		return err
	}
	m.Updates = learned.means()
	l.average.note()
	l.state.Draws += len(drawn)
	l.state.Steps++
	l.state.Short += m.Groups.Short
	l.state.Rankings += m.rankings
	m.Step, m.Draws = l.state.Steps, l.state.Draws
	l.state.note(&m)
	speed := Speed{Step: m.Step, RolloutSeconds: sampled.Sub(began).Seconds(), UpdateSeconds: time.Since(sampled).Seconds()}
	speed.rates(drawn, learned.tokens)
	if err := l.store.Log.Append(&m); err != nil {
		return err
	}
	if err := l.speed.Append(&speed); err != nil {
		return err
	}
	l.tell(Status{Step: m.Step, Metrics: m, Speed: speed})
	return nil
}

// collect draws groups until enough of them have spread, within the bound.
func (l *loop) collect(ctx context.Context) (kept, drawn []group, err error) {
	o := &l.Options
	for attempt := 0; attempt < max(1, o.Attempts) && len(kept) < o.Prompts; attempt++ {
		more, err := l.sampler.draw(ctx, l.state.Draws+len(drawn), o.Prompts-len(kept))
		if err != nil {
			return nil, nil, err
		}
		drawn = append(drawn, more...)
		for _, g := range more {
			if o.Attempts == 0 || g.spread() {
				kept = append(kept, g)
			}
		}
	}
	return kept, drawn, nil
}

// update learns from the groups in some optimiser steps.
func (l *loop) update(groups []group, lr float64) (updateSums, error) {
	o := &l.Options
	var sums updateSums
	for epoch := range o.Epochs {
		order := rng.New(o.Seed, rng.Key("update"), uint64(l.state.Steps), uint64(epoch)).Perm(len(groups))
		for part := range o.Updates {
			var some []group
			for _, i := range order[part*len(order)/o.Updates : (part+1)*len(order)/o.Updates] {
				some = append(some, groups[i])
			}
			if len(some) == 0 {
				continue
			}
			if err := l.learn(some, lr, &sums); err != nil {
				return sums, err
			}
		}
	}
	return sums, nil
}

// learn makes one optimiser step on groups.
func (l *loop) learn(groups []group, lr float64, sums *updateSums) error {
	o := &l.Options
	w := o.weigh(groups, l.sampler.limit)
	loss := 0.0
	for _, lot := range o.pack(groups, w) {
		if err := l.decoder.Check(&lot.batch); err != nil {
			return err
		}
		if l.reference != nil {
			l.silent.Reset()
			lot.surrogate.Reference = l.reference.LogProbsAt(l.silent, &lot.batch, float32(o.Temperature))
		}
		l.tape.Reset()
		out, s := l.decoder.PolicyLoss(l.tape, &lot.batch, lot.surrogate, float32(w.norm))
		l.tape.Backward(out)
		loss += float64(out.Value[0])
		sums.policy.Add(s)
		sums.tokens += len(lot.batch.Tokens)
	}
	norm := l.adam.ClippedStep(lr, o.Clip)
	if x := loss + norm; math.IsNaN(x) || math.IsInf(x, 0) {
		// Nothing of this step is kept: the last checkpoint stands.
		return fmt.Errorf("rl: loss %g and gradient %g at step %d are not both numbers: lower rl.lr (rl.steps=0 gives the run back as it was without this stage)", loss, norm, l.state.Steps+1)
	}
	sums.updates++
	sums.loss += loss
	sums.norm += norm
	return nil
}

// validate measures the model when that is due, and keeps a copy of the best
// weights.
func (l *loop) validate(ctx context.Context) error {
	due := l.state.Steps%l.Options.Validate == 0 || l.done()
	if l.Validate == nil || !due || l.state.Validated > l.state.Steps {
		return nil
	}
	l.average.swap()
	defer l.average.swap()
	v, err := l.Validate(ctx)
	if err != nil {
		return err
	}
	row := validationRow{Step: l.state.Steps, Valid: v.Metrics}
	better := l.state.Validated == 0 || v.Score > l.state.BestScore
	alarm := l.state.mark(v)
	if alarm != nil {
		row.Alarm = alarm.Kind
	}
	if err := l.store.Log.Append(&row); err != nil {
		return err
	}
	l.state.Validated = l.state.Steps + 1
	l.tell(Status{Step: l.state.Steps, Validation: &v, Alarm: alarm})
	if !better {
		l.state.Waited++
		l.state.Stopped = l.Options.Patience > 0 && l.state.Waited >= l.Options.Patience
		return nil
	}
	l.state.Waited, l.state.BestScore, l.state.BestStep = 0, v.Score, l.state.Steps
	return l.store.KeepBest(l.state.Steps)
}

func (l *loop) tell(s Status) {
	if l.Progress != nil {
		l.Progress(s)
	}
}
