package train_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/nn"
	"github.com/gr2/gr2/internal/prompt"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/train"
)

const vocab = 32

// copying is a source whose documents repeat a random half: learnable.
type copying struct{ n int }

func (c copying) Len() int { return c.n }

func (c copying) Example(epoch, i int) (prompt.Example, error) {
	r := rng.New(3, uint64(epoch), uint64(i))
	half := 2 + r.IntN(4)
	var e prompt.Example
	for range half {
		e.Tokens = append(e.Tokens, int32(r.IntN(vocab)))
		e.Weights = append(e.Weights, 0)
	}
	for _, t := range e.Tokens[:half] {
		e.Tokens = append(e.Tokens, t)
		e.Weights = append(e.Weights, 1)
	}
	return e, nil
}

func model(t *testing.T) *lm.Model {
	t.Helper()
	m, err := lm.New(lm.Config{
		Architecture: lm.Llama, VocabSize: vocab, Hidden: 16, Layers: 2, Heads: 2, KVHeads: 2, HeadDim: 8,
		Intermediate: 32, MaxPositions: 64, RopeTheta: 10000, NormEps: 1e-6, TieEmbeddings: true,
		BOS: lm.NoToken, EOS: lm.NoToken, PAD: lm.NoToken,
	}, 1)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func options() train.Options {
	return train.Options{
		Epochs: 2, BatchTokens: 64, Accumulate: 2, LR: 3e-3, Floor: 0.1, Warmup: 0.1, Decay: 0.1, Clip: 1,
		Seed: 5, Checkpoint: 3, Validations: 4,
	}
}

func bits(m *lm.Model) []byte {
	var b bytes.Buffer
	if err := lm.WriteSafetensors(&b, m.Tensors(), nil); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// falling scores every validation lower than the one before.
func falling() func(context.Context) (train.Validation, error) {
	n := 0.0
	return func(context.Context) (train.Validation, error) {
		n--
		return train.Validation{Score: n, Metrics: map[string]float64{"n": n}}, nil
	}
}

func TestLossFalls(t *testing.T) {
	dir := t.TempDir()
	r := train.Run{Dir: dir, Model: model(t), Source: copying{400}, Options: options()}
	r.Options.Epochs = 6
	res, err := r.Do(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	losses := lossesOf(t, dir)
	if len(losses) != res.Steps || losses[len(losses)-1] >= losses[0]-0.1 {
		t.Errorf("%d losses of %d steps, from %.3f to %.3f", len(losses), res.Steps, losses[0], losses[len(losses)-1])
	}
}

// lossesOf reads the losses of all steps from the log: progress is told only
// now and then.
func lossesOf(t *testing.T, dir string) []float64 {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var losses []float64
	for line := range bytes.Lines(b) {
		var row struct{ Loss *float64 }
		if err := json.Unmarshal(line, &row); err != nil {
			t.Fatal(err)
		}
		if row.Loss != nil {
			losses = append(losses, *row.Loss)
		}
	}
	return losses
}

// stopper cancels the run after n examples, as a crash would end it.
type stopper struct {
	copying
	left   *int
	cancel context.CancelFunc
	fail   bool
}

func (s stopper) Example(epoch, i int) (prompt.Example, error) {
	*s.left--
	if *s.left == 0 {
		if s.fail {
			return prompt.Example{}, errors.New("killed")
		}
		s.cancel()
	}
	return s.copying.Example(epoch, i)
}

func TestResumedRunEqualsUnbroken(t *testing.T) {
	options := options()
	options.Dropout = 0.2
	whole := train.Run{Dir: t.TempDir(), Model: model(t), Source: copying{60}, Options: options}
	want, err := whole.Do(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, fail := range []bool{false, true} {
		dir := t.TempDir()
		var broken *lm.Model
		for _, after := range []int{1, 17, 40, 23} {
			broken = model(t)
			ctx, cancel := context.WithCancel(t.Context())
			left := after
			r := train.Run{Dir: dir, Model: broken, Source: stopper{copying{60}, &left, cancel, fail}, Options: options}
			if _, err := r.Do(ctx); err == nil {
				t.Fatalf("the run did not stop after %d examples", after)
			}
			cancel()
		}
		broken = model(t)
		r := train.Run{Dir: dir, Model: broken, Source: copying{60}, Options: options}
		got, err := r.Do(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got != want || !bytes.Equal(bits(broken), bits(whole.Model)) {
			t.Errorf("fail=%v: resumed %+v differs from unbroken %+v", fail, got, want)
		}
		a, _ := os.ReadFile(filepath.Join(dir, "metrics.jsonl"))
		b, _ := os.ReadFile(filepath.Join(whole.Dir, "metrics.jsonl"))
		if !bytes.Equal(a, b) {
			t.Errorf("fail=%v: metrics.jsonl differs from that of the unbroken run", fail)
		}
	}
}

func TestFinishedRunIsLoadedNotRepeated(t *testing.T) {
	dir := t.TempDir()
	r := train.Run{Dir: dir, Model: model(t), Source: copying{60}, Options: options()}
	want, err := r.Do(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again := train.Run{Dir: dir, Model: model(t), Source: stopper{copying{60}, new(int), nil, true}, Options: options()}
	got, err := again.Do(t.Context())
	if err != nil || got != want || !bytes.Equal(bits(again.Model), bits(r.Model)) {
		t.Errorf("again %+v, %v; want %+v", got, err, want)
	}
}

func TestBestValidatedWeightsAreKept(t *testing.T) {
	run := func(validate func(context.Context) (train.Validation, error), validations int) *lm.Model {
		r := train.Run{Dir: t.TempDir(), Model: model(t), Source: copying{60}, Options: options(), Validate: validate}
		r.Options.Validations = validations
		if _, err := r.Do(t.Context()); err != nil {
			t.Fatal(err)
		}
		return r.Model
	}
	last := run(nil, 1)
	if bytes.Equal(bits(run(falling(), 4)), bits(last)) {
		t.Error("scores fell, yet the last weights were kept")
	}
	if !bytes.Equal(bits(run(falling(), 1)), bits(last)) {
		t.Error("the single validation at the end must keep the last weights")
	}
}

// TestPatience: a run ends with its weights of the last better score, and a
// score that is better again renews its patience.
func TestPatience(t *testing.T) {
	run := func(patience int, scores ...float64) (train.Result, int) {
		calls := 0
		r := train.Run{Dir: t.TempDir(), Model: model(t), Source: copying{60}, Options: options()}
		r.Options.Validations, r.Options.Patience = len(scores), patience
		r.Validate = func(context.Context) (train.Validation, error) {
			calls++
			return train.Validation{Score: scores[calls-1]}, nil
		}
		result, err := r.Do(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return result, calls
	}
	for _, c := range []struct{ patience, calls int }{{0, 6}, {1, 2}, {2, 5}, {3, 6}} {
		result, calls := run(c.patience, 3, 2, 4, 1, 0, 5)
		if calls != c.calls {
			t.Errorf("patience %d: %d validations, want %d", c.patience, calls, c.calls)
		}
		if best := map[int]float64{2: 3, 5: 4, 6: 5}[calls]; result.BestScore != best {
			t.Errorf("patience %d: best score %g, want %g", c.patience, result.BestScore, best)
		}
	}
}

// A run stopped during a validation has its steps in the checkpoint and
// validates again before the next one.
func TestStoppedDuringValidation(t *testing.T) {
	run := func(dir string, validate func(context.Context) (train.Validation, error)) *train.Run {
		r := &train.Run{Dir: dir, Model: model(t), Source: copying{60}, Options: options(), Validate: validate}
		r.Options.Checkpoint = 1000
		return r
	}
	whole := run(t.TempDir(), falling())
	want, err := whole.Do(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	validate := falling()
	for stop := 1; stop <= 4; stop++ { // each time during the next of four
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		stopped := run(dir, func(ctx context.Context) (train.Validation, error) {
			if calls++; calls == 1 && stop > 1 {
				return validate(ctx)
			}
			cancel()
			return train.Validation{}, ctx.Err()
		})
		if _, err := stopped.Do(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("stop %d: %v", stop, err)
		}
	}
	broken, resumed := run(dir, validate), 0
	broken.Progress = func(s train.Status) {
		if s.Resumed {
			resumed = s.Step
		}
	}
	got, err := broken.Do(t.Context())
	if resumed == 0 || resumed > want.Steps {
		t.Errorf("it is said to go on after step %d of %d", resumed, want.Steps)
	}
	if err != nil || got != want || !bytes.Equal(bits(broken.Model), bits(whole.Model)) {
		t.Errorf("resumed %+v, %v; unbroken %+v", got, err, want)
	}
	a, _ := os.ReadFile(filepath.Join(dir, "metrics.jsonl"))
	b, _ := os.ReadFile(filepath.Join(whole.Dir, "metrics.jsonl"))
	if !bytes.Equal(a, b) {
		t.Errorf("metrics.jsonl differs from that of the unbroken run:\n%s\n%s", a, b)
	}
}

func TestAccumulationEqualsOneBatch(t *testing.T) {
	weights := func(tokens, accumulate int) []*lm.Tensor {
		r := train.Run{Dir: t.TempDir(), Model: model(t), Source: fixed{}, Options: options()}
		r.Options.BatchTokens, r.Options.Accumulate, r.Options.Epochs = tokens, accumulate, 1
		if _, err := r.Do(t.Context()); err != nil {
			t.Fatal(err)
		}
		return r.Model.Tensors()
	}
	one, eight := weights(8*8, 1), weights(8, 8)
	for i := range one {
		for j := range one[i].Data {
			// AdamW's first steps move by the rate whatever the gradient's size,
			// so rounding shows at the scale of the rate where a gradient is near 0.
			if d := one[i].Data[j] - eight[i].Data[j]; d > 2e-3 || d < -2e-3 {
				t.Fatalf("%s[%d]: %g and %g", one[i].Name, j, one[i].Data[j], eight[i].Data[j])
			}
		}
	}
}

// fixed gives 16 documents of 8 tokens.
type fixed struct{}

func (fixed) Len() int { return 16 }

func (fixed) Example(_, i int) (prompt.Example, error) {
	var e prompt.Example
	for t := range 8 {
		e.Tokens = append(e.Tokens, int32((i*5+t*t)%vocab))
		e.Weights = append(e.Weights, float32(min(t, 1)))
	}
	return e, nil
}

func TestTokenWarmupMovesOnlyNewRows(t *testing.T) {
	m := model(t)
	before := append([]float32{}, m.Embed.Data...)
	layer := append([]float32{}, m.Layers[0].Q.Data...)
	r := train.Run{Dir: t.TempDir(), Model: m, Source: copying{60}, Options: options()}
	r.Options.NewTokensFrom = 20
	if _, err := r.Do(t.Context()); err != nil {
		t.Fatal(err)
	}
	moved := false
	for i, v := range m.Embed.Data {
		old := i < 20*m.Config.Hidden
		if old && v != before[i] {
			t.Fatalf("row %d of the embedding moved", i/m.Config.Hidden)
		}
		moved = moved || (!old && v != before[i])
	}
	if !moved {
		t.Error("the new rows did not move")
	}
	for i, v := range m.Layers[0].Q.Data {
		if v != layer[i] {
			t.Fatal("a layer moved")
		}
	}
}

func TestTokenOutOfVocabularyIsAnError(t *testing.T) {
	r := train.Run{Dir: t.TempDir(), Model: model(t), Source: foreign{}, Options: options()}
	if _, err := r.Do(t.Context()); err == nil {
		t.Error("a token beyond the vocabulary was accepted")
	}
}

type foreign struct{}

func (foreign) Len() int { return 1 }

func (foreign) Example(_, _ int) (prompt.Example, error) {
	return prompt.Example{Tokens: []int32{1, vocab}, Weights: []float32{0, 1}}, nil
}

// TestMemory counts weights, gradients and two moments, and the step of a full
// batch.
func TestMemory(t *testing.T) {
	r := train.Run{Model: model(t), Options: options()}
	want := 0
	for _, p := range nn.NewDecoder(r.Model).Params() {
		want += 4 * (len(p.Value) + len(p.Grad) + 2*len(p.Value))
	}
	state, step := r.Memory()
	if state != want {
		t.Errorf("state takes %d bytes, want %d", state, want)
	}
	n := r.Options.BatchTokens
	if least := nn.StepBytes(r.Model.Config, false, n, n/2, n/2); step <= least {
		t.Errorf("a step takes %d bytes, want more than one that predicts half as much, %d", step, least)
	}
}
