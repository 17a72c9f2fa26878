package train

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/nn"
	"github.com/gr2/gr2/internal/rng"
)

// Run is one training of one model. Two runs of a stage (token warm-up, then
// all parameters) have different folders.
type Run struct {
	// Dir holds the state for resuming and metrics.jsonl.
	Dir string
	// Model is trained in place and ends with the chosen weights: the best
	// validated ones, or the last where there is no Validate.
	Model   *lm.Model
	Source  Source
	Options Options
	// Validate measures the model on validation data; nil for none.
	Validate func(ctx context.Context) (Validation, error)
	// Progress is told about steps, at most a few times a second; may be nil.
	Progress func(Status)
}

// Validation is one measurement. The run keeps the weights with the highest
// Score, the earliest among equals.
type Validation struct {
	Score   float64
	Metrics map[string]float64
	Parts   []float64 // the examples' own scores, whose mean Score is; nil where unknown
}

// Names of Validation.Metrics: those by which a policy is told that does not read its
// slates, and what they are worth as they came.
const (
	Copied   = "copied"    // share given back as they came
	OneOrder = "one order" // share answered with the most frequent other order of places
	Incoming = "incoming N@3"
)

// Status is the state of a run under way.
type Status struct {
	Step            int
	Resumed         bool    // there are steps of an earlier process, and nothing else to tell
	Done            float64 // share of the stage
	Loss            float64 // of the last step, weighted mean over its tokens
	TokensPerSecond float64 // since the start of this process
	Validation      *Validation
}

// Result is a finished run.
type Result struct {
	Steps     int     `json:"steps"`
	BestStep  int     `json:"best_step"`
	BestScore float64 `json:"best_score"`
}

// line is one row of metrics.jsonl. Rows of steps have Loss; rows of
// validations have Valid.
type line struct {
	Step     int                `json:"step"`
	Done     float64            `json:"done"`
	Loss     *float64           `json:"loss,omitempty"`
	LR       float64            `json:"lr,omitempty"`
	GradNorm float64            `json:"grad_norm,omitempty"`
	Tokens   int                `json:"tokens,omitempty"`
	Valid    map[string]float64 `json:"valid,omitempty"`
}

// Memory is what the training needs, in bytes, when all parameters learn: state
// is weights, gradients and moments, step is the rest of a step of BatchTokens
// tokens that all predict. Fewer predictions need less, a longer example more.
func (r *Run) Memory() (state, step int) {
	for _, t := range r.Model.Tensors() {
		state += 4 * 4 * len(t.Data)
	}
	n := r.Options.BatchTokens
	step = nn.StepBytes(r.Model.Config, r.Options.Recompute, n, n, n)
	if r.Options.Dropout > 0 {
		step += nn.DropoutBytes(r.Model.Config, n)
	}
	return state, step
}

// loop is a Run with its moving parts.
type loop struct {
	*Run
	decoder *nn.Decoder
	tape    *nn.Tape
	adam    *nn.AdamW
	feed    *feed
	state   state
	store   *Store
	began   time.Time
	tokens  int
	told    time.Time
}

// state is all that a run needs to go on to the same bits.
type state struct {
	Result
	Next        int `json:"next"` // examples handed out
	Validations int `json:"validations"`
	Stale       int `json:"stale"` // validations since the best one
	Saved
}

// Do trains to the end, going on from the last checkpoint if there is one. On
// a cancelled context it writes a checkpoint and returns the context's error.
func (r *Run) Do(ctx context.Context) (Result, error) {
	l := &loop{Run: r, decoder: nn.NewDecoder(r.Model), tape: nn.NewTape(), feed: newFeed(r.Source, &r.Options), began: time.Now()}
	l.freeze()
	o := &r.Options
	l.tape.BF16, l.decoder.Recompute = o.BF16, o.Recompute
	if err := l.decoder.ReadEarly(o.JudgeLayers % r.Model.Config.Layers); err != nil {
		return Result{}, err
	}
	l.adam = nn.NewAdamW(l.decoder.Params(), nn.AdamWOptions{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: o.Decay})
	l.store = &Store{Dir: r.Dir, Model: r.Model, Adam: l.adam, Params: l.decoder.Params(), State: &l.state, Saved: &l.state.Saved}
	if err := l.store.Resume(); err != nil {
		return Result{}, err
	}
	defer l.store.Log.Close()
	l.feed.next = l.state.Next
	if l.state.Finished {
		return l.state.Result, nil
	}
	if l.state.Steps > 0 && l.Progress != nil {
		l.Progress(Status{Step: l.state.Steps, Resumed: true})
	}
	if err := l.train(ctx); err != nil {
		return Result{}, err
	}
	l.state.Next = l.feed.next
	return l.state.Result, l.store.Finish()
}

// checkpoint makes the training one that can go on from here.
func (l *loop) checkpoint() error {
	l.state.Next = l.feed.next
	return l.store.Checkpoint(l.state.Steps)
}

// freeze applies the token warm-up: only new rows of the embedding learn.
func (l *loop) freeze() {
	from := l.Options.NewTokensFrom
	for _, p := range l.decoder.Params() {
		p.Frozen, p.TrainFrom = false, 0
		if from == 0 {
			continue
		}
		if p.Rows == l.Model.Config.VocabSize {
			p.TrainFrom = from
		} else {
			p.Frozen = true
		}
	}
}

func (l *loop) train(ctx context.Context) error {
	o := &l.Options
	for {
		// Before the next step, so that a run stopped during a validation makes
		// it again with the same weights.
		if err := l.validate(ctx); err != nil && !errors.Is(err, ctx.Err()) {
			return err
		}
		if ctx.Err() != nil {
			if err := l.checkpoint(); err != nil {
				return err
			}
			return ctx.Err()
		}
		if l.feed.next == l.feed.total || l.state.Stale > 0 && l.state.Stale == o.Patience {
			return nil
		}
		row, err := l.step()
		if err != nil {
			return err
		}
		if row == nil {
			continue
		}
		if err := l.store.Log.Append(row); err != nil {
			return err
		}
		l.tell(*row.Loss, nil)
		if l.state.Steps%l.Options.Checkpoint == 0 {
			if err := l.checkpoint(); err != nil {
				return err
			}
		}
	}
}

// step accumulates the gradient of some micro-batches and applies it. The loss
// is the weighted mean over all their tokens, so a step of one micro-batch of
// eight examples equals a step of eight of one. It returns nil where no token
// carried a weight.
func (l *loop) step() (*line, error) {
	o := &l.Options
	rate := o.schedule().Rate(l.feed.done())
	var batches []*nn.Batch
	norm := 0.0
	for range o.Accumulate {
		b, weight, err := l.feed.batch(o.BatchTokens)
		if err != nil {
			return nil, err
		}
		if b != nil && weight > 0 {
			batches = append(batches, b)
			norm += weight
		}
	}
	if len(batches) == 0 {
		return nil, nil
	}
	loss, tokens := 0.0, 0
	l.decoder.Dropout = o.Dropout
	for i, b := range batches {
		l.decoder.DropoutSeed = rng.Hash(o.Seed, rng.Key("dropout"), uint64(l.state.Steps), uint64(i))
		if err := l.decoder.Check(b); err != nil {
			return nil, err
		}
		l.tape.Reset()
		out := l.decoder.Loss(l.tape, b, float32(norm))
		l.tape.Backward(out)
		loss += float64(out.Value[0])
		tokens += len(b.Tokens)
	}
	if loss != loss {
		return nil, fmt.Errorf("the loss is not a number at step %d: lower the learning rate", l.state.Steps+1)
	}
	grad := l.adam.ClippedStep(rate, o.Clip)
	l.state.Steps++
	l.tokens += tokens
	return &line{Step: l.state.Steps, Done: l.feed.done(), Loss: &loss, LR: rate, GradNorm: grad, Tokens: tokens}, nil
}

// validate measures the model when the next of the evenly spaced points is
// reached, and keeps a copy of the best weights.
func (l *loop) validate(ctx context.Context) error {
	if l.Validate == nil {
		return nil
	}
	due := int(l.feed.done() * float64(max(1, l.Options.Validations)))
	if due <= l.state.Validations {
		return nil
	}
	v, err := l.Validate(ctx)
	if err != nil {
		return err
	}
	first := l.state.Validations == 0
	l.state.Stale++
	l.state.Validations = due
	if err := l.store.Log.Append(&line{Step: l.state.Steps, Done: l.feed.done(), Valid: v.Metrics}); err != nil {
		return err
	}
	l.tell(0, &v)
	if first || v.Score > l.state.BestScore {
		l.state.BestScore, l.state.BestStep, l.state.Stale = v.Score, l.state.Steps, 0
		return l.store.KeepBest(l.state.Steps)
	}
	return nil
}

func (l *loop) tell(loss float64, v *Validation) {
	if l.Progress == nil || (v == nil && time.Since(l.told) < 200*time.Millisecond) {
		return
	}
	l.told = time.Now()
	l.Progress(Status{
		Step: l.state.Steps, Done: l.feed.done(), Loss: loss, Validation: v,
		TokensPerSecond: float64(l.tokens) / time.Since(l.began).Seconds(),
	})
}
