package pipeline

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/prompt"
	"github.com/gr2/gr2/internal/rerank"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/token"
	"github.com/gr2/gr2/internal/train"
	"github.com/gr2/gr2/internal/train/midtrain"
)

// stateDir is what a training stage needs to go on, in the stage's folder.
const (
	stateDir  = "state"
	warmupDir = "warmup" // in stateDir
)

func (o OptimOptions) train(seed uint64) train.Options {
	return train.Options{
		Epochs: o.Epochs, BatchTokens: o.BatchTokens, Accumulate: o.Accumulate,
		LR: o.LR, Floor: o.Floor, Warmup: o.Warmup, Decay: o.Decay, Clip: o.Clip,
		Seed: seed, Checkpoint: o.Checkpoint, BF16: o.BF16, Recompute: o.Recompute,
	}
}

// midtrainStage makes the language model: token warm-up, then all parameters,
// on the four tasks of GR2 section 2.
func (w *world) midtrainStage(ctx context.Context, dir string) error {
	split, err := w.split()
	if err != nil {
		return err
	}
	builder, err := w.prompts()
	if err != nil {
		return err
	}
	o := &w.job.Options.Midtrain
	model, err := w.newModel()
	if err != nil {
		return err
	}
	w.say("decoder: %.2fM parameters", float64(model.Parameters())/1e6)
	mixture := midtrain.Mixture{Sequence: o.Sequence, Persona: o.Persona, Caption: o.Caption, Text: o.Text}
	phase := func(what, dir string, options train.Options) error {
		// Each phase draws its own examples, so that none is read twice in one epoch.
		source, err := midtrain.New(builder, w.data.Catalog, split.Train, w.sequenceUser, mixture, o.Examples, options.Seed)
		if err != nil {
			return err
		}
		return w.train(ctx, what, &train.Run{Dir: dir, Model: model, Source: source, Options: options})
	}
	seed := func(phase string) uint64 { return rng.Hash(w.job.Options.Seed, rng.Key(phase)) }
	warm := o.OptimOptions.train(seed("midtrain-warmup"))
	warm.Epochs, warm.LR, warm.NewTokensFrom = o.WarmupShare*o.Epochs, o.WarmupLR, w.firstAdded()
	if err := phase("token warm-up", filepath.Join(dir, stateDir, warmupDir), warm); err != nil {
		return err
	}
	full := o.OptimOptions.train(seed("midtrain"))
	full.Epochs = (1 - o.WarmupShare) * o.Epochs
	if err := phase("all parameters", filepath.Join(dir, stateDir), full); err != nil {
		return err
	}
	return w.saveModel(dir, model)
}

// train runs one training and tells how it goes.
func (w *world) train(ctx context.Context, what string, r *train.Run) error {
	r.Progress = func(s train.Status) {
		switch v := s.Validation; {
		case s.Resumed:
			w.say("%s: goes on after step %d", what, s.Step)
		case v != nil:
			w.say("step %d: validation %s", s.Step, formatMetrics(v.Metrics))
		default:
			w.work(s.Done, 1, fmt.Sprintf("%s, step %d, loss %.3f, %.0f tokens/s", what, s.Step, s.Loss, s.TokensPerSecond))
		}
	}
	if r.Options.NewTokensFrom == 0 { // token warm-up needs less
		state, step := r.Memory()
		w.say("%s: up to %.0f MiB of memory: %.0f for weights, gradients and moments, %.0f for a step of %d tokens",
			what, mebi(state+step), mebi(state), mebi(step), r.Options.BatchTokens)
	}
	result, err := r.Do(ctx)
	if err == nil && r.Validate != nil {
		w.say("%s: %d steps, best at step %d with %.4f", what, result.Steps, result.BestStep, result.BestScore)
	}
	return err
}

func mebi(bytes int) float64 { return float64(bytes) / (1 << 20) }

// vocabMultiple rounds the model's vocabulary up, for aligned rows.
const vocabMultiple = 64

// newModel initialises a decoder for the run's tokenizer.
func (w *world) newModel() (*lm.Model, error) {
	tok, err := w.tokenizer()
	if err != nil {
		return nil, err
	}
	o := &w.job.Options.Model
	stop, _ := tok.ID("<|im_end|>")
	pad, _ := tok.ID("<|endoftext|>")
	return lm.New(lm.Config{
		Architecture: o.Architecture,
		VocabSize:    (tok.Size() + vocabMultiple - 1) / vocabMultiple * vocabMultiple,
		Hidden:       o.Hidden, Layers: o.Layers, Heads: o.Heads, KVHeads: o.KVHeads,
		HeadDim: o.Hidden / o.Heads, Intermediate: o.Intermediate, MaxPositions: o.MaxPositions,
		RopeTheta: 10000, NormEps: 1e-6, TieEmbeddings: true,
		QKNorm: o.Architecture == "Qwen3ForCausalLM", QKVBias: o.Architecture == "Qwen2ForCausalLM",
		BOS: -1, EOS: stop, PAD: pad,
	}, rng.Hash(w.job.Options.Seed, rng.Key("init")))
}

// firstAdded is the first token behind the BPE vocabulary.
func (w *world) firstAdded() int {
	for id := range w.tok.Size() {
		if w.tok.Added(int32(id)) {
			return id
		}
	}
	return 0
}

// saveModel leaves a Hugging Face directory: weights, configuration, tokenizer.
func (w *world) saveModel(dir string, model *lm.Model) error {
	at := filepath.Join(dir, rerank.ModelDir)
	create := func(name string, fill func(io.Writer) error) error {
		return durable.Write(filepath.Join(at, name), fill)
	}
	if err := create(rerank.TokenizerFile, w.tok.Write); err != nil {
		return err
	}
	config, err := w.tok.ConfigJSON(token.Config{
		EOS: "<|im_end|>", Pad: "<|endoftext|>", MaxLength: model.Config.MaxPositions, ChatTemplate: prompt.ChatTemplate(),
	})
	if err != nil {
		return err
	}
	if err := durable.WriteBytes(filepath.Join(at, "tokenizer_config.json"), config); err != nil {
		return err
	}
	return model.Save(create)
}

func loadModel(dir string) (*lm.Model, error) {
	model, err := lm.Load(os.DirFS(filepath.Join(dir, rerank.ModelDir)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return model, nil
}
