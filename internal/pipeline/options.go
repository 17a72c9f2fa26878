package pipeline

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/gr2/gr2/internal/embed/backend"
	"github.com/gr2/gr2/internal/evidence"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/prompt"
	"github.com/gr2/gr2/internal/rerank"
)

// Options is the resolved configuration of a run. It is stored as
// RUN/config.yaml; every key can be set in a file or by --set section.key=value.
type Options struct {
	Seed      uint64           `yaml:"seed" json:"seed"`
	Data      DataOptions      `yaml:"data" json:"data"`
	Slates    SlateOptions     `yaml:"slates" json:"slates"`
	Embed     backend.Options  `yaml:"embed" json:"embed"`
	SID       SIDOptions       `yaml:"sid" json:"sid"`
	Tokenizer TokenizerOptions `yaml:"tokenizer" json:"tokenizer"`
	Prompt    prompt.Options   `yaml:"prompt" json:"prompt"`
	Model     ModelOptions     `yaml:"model" json:"model"`
	Midtrain  MidtrainOptions  `yaml:"midtrain" json:"midtrain"`
	SFT       SFTOptions       `yaml:"sft" json:"sft"`
	RL        RLOptions        `yaml:"rl" json:"rl"`
	Eval      EvalOptions      `yaml:"eval" json:"eval"`
}

// DataOptions choose the part of the data set and its split.
type DataOptions struct {
	// Core keeps users and items with at least so many events, iterated; 0
	// keeps all.
	Core int `yaml:"core" json:"core"`
	// Protocol is auto, leave-one-out, time or logged. auto is logged when the
	// data set has impressions and leave-one-out otherwise.
	Protocol string `yaml:"protocol" json:"protocol"`
	// ValidShare and TestShare of the time span's events (time) or of the
	// impressions (logged).
	ValidShare float64 `yaml:"valid_share" json:"valid_share"`
	TestShare  float64 `yaml:"test_share" json:"test_share"`
	// Steps is the number of equal steps of the test window.
	Steps int `yaml:"steps" json:"steps"`
	// Numbering is the seed of the hash that numbers items and users; 0 draws
	// it from the run's seed. Models may see numbers, through an initialisation
	// or a semantic ID, so no conclusion may hang on one numbering.
	Numbering uint64 `yaml:"numbering" json:"numbering"`
}

// SlateOptions choose the incoming orders and the size of the slates.
type SlateOptions struct {
	// K is the number of candidates of a built slate, 2 to 50.
	K int `yaml:"k" json:"k"`
	// Orders are the legacy rankers whose slates are built and evaluated:
	// sasrec, bpr, blend; for a data set with impressions "logged" stands alone.
	Orders []string `yaml:"orders" json:"orders"`
	// Epochs bounds the training of SASRec; early stopping usually ends it sooner.
	Epochs int `yaml:"epochs" json:"epochs"`
	// Folds is the number of user folds of cross-fitting.
	Folds int `yaml:"folds" json:"folds"`
	// Positions is how many of a user's last training positions become slates.
	Positions int `yaml:"positions" json:"positions"`
}

// TokenizerOptions choose the byte-level BPE.
type TokenizerOptions struct {
	// Vocab is the number of BPE tokens before special and SID tokens.
	Vocab int `yaml:"vocab" json:"vocab"`
}

// ModelOptions are the decoder's shape.
type ModelOptions struct {
	Architecture string `yaml:"architecture" json:"architecture"` // LlamaForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM
	Hidden       int    `yaml:"hidden" json:"hidden"`
	Layers       int    `yaml:"layers" json:"layers"`
	Heads        int    `yaml:"heads" json:"heads"`
	KVHeads      int    `yaml:"kv_heads" json:"kv_heads"`
	Intermediate int    `yaml:"intermediate" json:"intermediate"`
	MaxPositions int    `yaml:"max_positions" json:"max_positions"`
}

// OptimOptions are what the training stages share.
type OptimOptions struct {
	Epochs      float64 `yaml:"epochs" json:"epochs"`
	BatchTokens int     `yaml:"batch_tokens" json:"batch_tokens"` // of one packed micro-batch
	Accumulate  int     `yaml:"accumulate" json:"accumulate"`     // micro-batches a step
	LR          float64 `yaml:"lr" json:"lr"`
	Floor       float64 `yaml:"floor" json:"floor"`   // final learning rate as a share of lr
	Warmup      float64 `yaml:"warmup" json:"warmup"` // share of the stage
	Decay       float64 `yaml:"decay" json:"decay"`
	Clip        float64 `yaml:"clip" json:"clip"`             // global gradient norm
	Checkpoint  int     `yaml:"checkpoint" json:"checkpoint"` // steps
	// BF16 rounds what matrix products read to bfloat16: faster where the CPU has
	// full-rate instructions for it.
	BF16 bool `yaml:"bf16" json:"bf16,omitempty"`
	// Recompute keeps a layer's input alone for the way back and computes the rest
	// again: less memory, about a third more work.
	Recompute bool `yaml:"recompute" json:"recompute,omitempty"`
}

// MidtrainOptions are the tokenised mid-training (GR2 section 2).
type MidtrainOptions struct {
	OptimOptions `yaml:",inline"`
	// Examples in one epoch.
	Examples int `yaml:"examples" json:"examples"`
	// WarmupShare of the examples trains only the new token embeddings, at WarmupLR.
	WarmupShare float64 `yaml:"warmup_share" json:"warmup_share"`
	WarmupLR    float64 `yaml:"warmup_lr" json:"warmup_lr"`
	// UserShare of the users gives sequences; the others' earlier positions
	// give the slates of SFT. A policy that has read a user's sequence has
	// memorised that user's slates.
	UserShare float64 `yaml:"user_share" json:"user_share"`
	// The mixture, by examples.
	Sequence float64 `yaml:"sequence" json:"sequence"`
	Persona  float64 `yaml:"persona" json:"persona"`
	Caption  float64 `yaml:"caption" json:"caption"`
	Text     float64 `yaml:"text" json:"text"`
}

// SFTOptions are supervised fine-tuning (GR2 eq. 3).
type SFTOptions struct {
	OptimOptions `yaml:",inline"`
	// Orders whose slates are trained on; empty takes all of slates.orders.
	Orders []string `yaml:"orders" json:"orders"`
	// Shuffle is the share of examples whose candidates are shown in random order.
	Shuffle float64 `yaml:"shuffle" json:"shuffle"`
	// FirstShare is the share of examples whose positives stand first; in the
	// others random negatives stand before them and carry no loss, so that the
	// policy also learns the next choice after a wrong one.
	FirstShare float64 `yaml:"first_share" json:"first_share"`
	// TeacherEpochs is how many of the epochs, the first, learn rankings drawn from the
	// teacher, a control fitted on the training slates; TeacherShare is the share of examples that do so
	// afterwards. 0 and 0 learn from labels alone.
	TeacherEpochs int     `yaml:"teacher_epochs" json:"teacher_epochs"`
	TeacherShare  float64 `yaml:"teacher_share" json:"teacher_share"`
	// TeacherTrees takes boosted trees for the teacher, cross-fitted by user, and not
	// the linear control of each order.
	TeacherTrees bool `yaml:"teacher_trees" json:"teacher_trees,omitempty"`
	// TeacherJudges has the judgements of these examples learn the teacher's
	// probabilities, not the labels, and their rankings its probabilities at every
	// choice, not the candidate drawn.
	TeacherJudges bool `yaml:"teacher_judges" json:"teacher_judges"`
	// TeacherTemperature divides the teacher's logits before drawing.
	TeacherTemperature float64 `yaml:"teacher_temperature" json:"teacher_temperature"`
	// LambdaReason and LambdaOutput weigh the loss of trace and ranking.
	LambdaReason float64 `yaml:"lambda_reason" json:"lambda_reason"`
	LambdaOutput float64 `yaml:"lambda_output" json:"lambda_output"`
	// LambdaJudge weighs the judgement asked at each candidate's line.
	LambdaJudge float64 `yaml:"lambda_judge" json:"lambda_judge"`
	// JudgeLayers are the layers below the judgements; 0 is all, -1 all but the
	// top one (Resolve makes it a count). The layers above learn to write the
	// ranking from what the judgements know.
	JudgeLayers int `yaml:"judge_layers" json:"judge_layers"`
	// UserShare of the users whose sequences mid-training does not read give their
	// slates to SFT; the others' are left to reinforcement learning, for the
	// reward of a slate that SFT has read is known by heart. At 1 both learn from
	// all of them. Without reinforcement learning the others' slates are not used.
	UserShare float64 `yaml:"user_share" json:"user_share"`
	// Pointer begins with an attention head above the judgements that points at
	// what they favour, so that writing need not be found (lm.Model.Point). It
	// needs judge_layers.
	Pointer bool `yaml:"pointer" json:"pointer"`
	// SubShare is the share of examples that show a random part of a slate.
	SubShare float64 `yaml:"sub_share" json:"sub_share"`
	// ValidShare of the validation slates chooses the checkpoint; the rest trains.
	ValidShare float64 `yaml:"valid_share" json:"valid_share"`
	// Validations is how often the stage is validated.
	Validations int `yaml:"validations" json:"validations"`
	// ValidSlates bounds the slates of one validation.
	ValidSlates int `yaml:"valid_slates" json:"valid_slates"`
}

// judgements checks what is built on them.
func (c *checker) judgements(o *Options) {
	asked := o.Prompt.Judge && o.SFT.LambdaJudge > 0
	taught := o.SFT.TeacherEpochs > 0 || o.SFT.TeacherShare > 0
	if o.SFT.TeacherTrees && !taught {
		c.fail("sft.teacher_trees needs a teacher (sft.teacher_epochs or sft.teacher_share)")
	}
	if o.SFT.TeacherJudges && (!asked || !taught) {
		c.fail("sft.teacher_judges needs a teacher (sft.teacher_epochs or sft.teacher_share) and judgements (prompt.judge and sft.lambda_judge above 0)")
	}
	if o.SFT.Pointer {
		c.pointer(o, asked)
	}
}

// pointer names what a pointing head lacks, and the way without one.
func (c *checker) pointer(o *Options, asked bool) {
	for _, need := range []struct {
		unmet bool
		what  string
	}{
		{o.SFT.JudgeLayers == 0, "sft.judge_layers other than 0"},
		{!asked, "prompt.judge and sft.lambda_judge above 0"},
		{o.Prompt.NumberAt == prompt.NumberStart, "prompt.number_at end or both"},
		{o.Model.Architecture == lm.Qwen3, "a model.architecture other than " + lm.Qwen3},
		{o.Model.Hidden < lm.MinPointing*o.Model.Heads, fmt.Sprintf("heads at least %d wide (model.hidden over model.heads)", lm.MinPointing)},
	} {
		if need.unmet {
			c.fail("sft.pointer needs %s; or set sft.pointer=false, and eval.decode=judge where the written ranking is worse", need.what)
		}
	}
}

// Resolve replaces what counts from the end by what it stands for.
func (o *Options) Resolve() {
	if j := &o.SFT.JudgeLayers; *j < 0 && *j > -o.Model.Layers {
		*j += o.Model.Layers
	}
}

// slateChoice is what decides which slates a stage learns from.
func (o *Options) slateChoice() any {
	return []any{o.SFT.Orders, o.SFT.ValidShare, o.SFT.ValidSlates, o.SFT.UserShare, o.Midtrain.UserShare}
}

// EvalOptions are the protocol on the test set.
type EvalOptions struct {
	// Decode is generate (greedy under the grammar), first (order by the
	// logits of the first choice) or judge (order by the judgement at each
	// candidate's line).
	Decode string `yaml:"decode" json:"decode"`
	// Weights of the policies' linear maps: float32, or int8 as gr2 serve has it.
	Weights string `yaml:"weights" json:"weights"`
	// Bootstrap is the number of resamples.
	Bootstrap int `yaml:"bootstrap" json:"bootstrap"`
	// ProbeSlates bounds the slates of the shuffle and free-decoding probes.
	ProbeSlates int `yaml:"probe_slates" json:"probe_slates"`
	// Samples is the number of slates shown in the report.
	Samples int `yaml:"samples" json:"samples"`
}

// Validate says which field is wrong and what would be right.
func (o *Options) Validate() error {
	c := checker{}
	c.data(&o.Data)
	c.slates(&o.Slates)
	if err := o.Embed.Validate(); err != nil {
		c.wrong = append(c.wrong, err.Error())
	}
	c.sid(&o.SID)
	c.within("tokenizer.vocab", float64(o.Tokenizer.Vocab), 300, 200000)
	c.prompt(o)
	c.model(&o.Model)
	c.room(o)
	c.midtrain(&o.Midtrain)
	c.sft(o)
	c.rl(o)
	c.eval(o)
	return c.err()
}

// checker collects every wrong field, so that a user mends them in one go.
type checker struct{ wrong []string }

func (c *checker) oneOf(field, value string, choices ...string) {
	if !slices.Contains(choices, value) {
		c.wrong = append(c.wrong, fmt.Sprintf("%s is %q; use one of %s", field, value, strings.Join(choices, ", ")))
	}
}

func (c *checker) within(field string, value, low, high float64) {
	if !(value >= low && value <= high) {
		c.fail("%s is %s; use %s to %s", field, plain(value), plain(low), plain(high))
	}
}

// plain writes a number without an exponent where it is whole.
func plain(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

func (c *checker) fail(format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

func (c *checker) data(o *DataOptions) {
	c.oneOf("data.protocol", o.Protocol, "auto", "leave-one-out", "time", "logged")
	c.within("data.core", float64(o.Core), 0, 1000)
	c.within("data.valid_share", o.ValidShare, 0.001, 0.5)
	c.within("data.test_share", o.TestShare, 0.001, 0.5)
	c.within("data.steps", float64(o.Steps), 1, 366)
}

func (c *checker) slates(o *SlateOptions) {
	c.within("slates.k", float64(o.K), 2, 50)
	c.within("slates.epochs", float64(o.Epochs), 1, 1000)
	c.within("slates.folds", float64(o.Folds), 2, 20)
	c.within("slates.positions", float64(o.Positions), 1, 50)
	for i, name := range o.Orders {
		c.oneOf("slates.orders", name, "sasrec", "bpr", "blend", "logged")
		if slices.Contains(o.Orders[:i], name) {
			c.fail("slates.orders names %q twice", name)
		}
	}
}

func (c *checker) prompt(o *Options) {
	c.within("prompt.evidence_buckets", float64(o.Prompt.EvidenceBuckets), 3, 64)
	c.within("prompt.history_max", float64(o.Prompt.HistoryMax), -1, 200)
	c.within("prompt.title_max", float64(o.Prompt.TitleMax), 1, 200)
	c.within("prompt.max_tokens", float64(o.Prompt.MaxTokens), 64, 32768)
	for _, name := range o.Prompt.EvidenceNames {
		c.oneOf("prompt.evidence_names", name, evidence.Names()...)
	}
	if err := o.promptOptions().Validate(); err != nil {
		c.wrong = append(c.wrong, err.Error())
	}
}

// room checks that the longest answer has room behind the longest prompt: some four
// tokens a candidate and what is written around them, 64 at least, a trace, and what
// free decoding may add.
func (c *checker) room(o *Options) {
	c.within("model.max_positions", float64(o.Model.MaxPositions), 1, 65536)
	answer := max(64, 24+4*o.Slates.K)
	if p := o.promptOptions(); p.Mode == prompt.ModeTrace {
		answer += p.TraceMax
	}
	added := ""
	if o.RL.Decode == decodeFree {
		answer += o.RL.Margin
		added = " and rl.margin"
	}
	if need := o.Prompt.MaxTokens + answer; need > o.Model.MaxPositions {
		c.fail("model.max_positions is %d, and prompts of up to %d tokens (prompt.max_tokens) with answers of up to %d (by slates.k%s) take %d: raise it, or lower one of these", o.Model.MaxPositions, o.Prompt.MaxTokens, answer, added, need)
	}
}

// model checks the shape before anything is computed; lm.Config has the rest.
func (c *checker) model(o *ModelOptions) {
	c.oneOf("model.architecture", o.Architecture, lm.Llama, lm.Qwen2, lm.Qwen3)
	c.within("model.hidden", float64(o.Hidden), 2, 1<<16)
	c.within("model.layers", float64(o.Layers), 1, 1024)
	c.within("model.heads", float64(o.Heads), 1, 1024)
	c.within("model.kv_heads", float64(o.KVHeads), 1, 1024)
	c.within("model.intermediate", float64(o.Intermediate), 1, 1<<18)
	if o.Heads < 1 || o.KVHeads < 1 {
		return
	}
	if o.Hidden%(2*o.Heads) != 0 {
		c.fail("model.hidden is %d; use a multiple of twice model.heads, %d", o.Hidden, 2*o.Heads)
	}
	if o.Heads%o.KVHeads != 0 {
		c.fail("model.kv_heads is %d; use a divisor of model.heads, %d", o.KVHeads, o.Heads)
	}
}

func (c *checker) midtrain(o *MidtrainOptions) {
	c.optim("midtrain", o.OptimOptions)
	c.within("midtrain.examples", float64(o.Examples), 0, 1e9)
	c.within("midtrain.warmup_share", o.WarmupShare, 0, 0.9)
	c.within("midtrain.warmup_lr", o.WarmupLR, 0, 1)
	c.within("midtrain.user_share", o.UserShare, 0, 1)
	for name, share := range map[string]float64{
		"sequence": o.Sequence, "persona": o.Persona, "caption": o.Caption, "text": o.Text,
	} {
		c.within("midtrain."+name, share, 0, 1000)
	}
}

func (c *checker) sft(o *Options) {
	for _, name := range o.SFT.Orders {
		c.oneOf("sft.orders", name, o.Slates.Orders...)
	}
	c.optim("sft", o.SFT.OptimOptions)
	c.within("sft.shuffle", o.SFT.Shuffle, 0, 1)
	c.within("sft.first_share", o.SFT.FirstShare, 0, 1)
	c.within("sft.teacher_epochs", float64(o.SFT.TeacherEpochs), 0, 1000)
	c.within("sft.sub_share", o.SFT.SubShare, 0, 1)
	c.within("sft.lambda_judge", o.SFT.LambdaJudge, 0, 100)
	c.within("sft.lambda_output", o.SFT.LambdaOutput, 0, 100)
	c.within("sft.lambda_reason", o.SFT.LambdaReason, 0, 100)
	c.within("sft.user_share", o.SFT.UserShare, 0.01, 1)
	c.judgements(o)
	c.within("sft.judge_layers", float64(o.SFT.JudgeLayers), 0, float64(max(0, o.Model.Layers-1)))
	c.within("sft.teacher_share", o.SFT.TeacherShare, 0, 1)
	c.within("sft.teacher_temperature", o.SFT.TeacherTemperature, 0, 100)
	c.within("sft.valid_share", o.SFT.ValidShare, 0.05, 1)
	c.within("sft.validations", float64(o.SFT.Validations), 1, 100)
	c.within("sft.valid_slates", float64(o.SFT.ValidSlates), 1, 1e6)
}

func (c *checker) eval(o *Options) {
	c.oneOf("eval.decode", o.Eval.Decode, "generate", "first", "judge")
	if o.Eval.Decode == "judge" && !o.Prompt.Judge {
		c.fail("eval.decode is judge and prompt.judge is off; switch it on, or decode by generate")
	}
	c.oneOf("eval.weights", o.Eval.Weights, string(rerank.Float32), string(rerank.Int8))
	c.within("eval.bootstrap", float64(o.Eval.Bootstrap), 100, 1e6)
	c.within("eval.probe_slates", float64(o.Eval.ProbeSlates), 1, 1e6)
	c.within("eval.samples", float64(o.Eval.Samples), 0, 1000)
}

func (c *checker) optim(section string, o OptimOptions) {
	c.within(section+".epochs", o.Epochs, 0, 1000)
	c.within(section+".batch_tokens", float64(o.BatchTokens), 64, 1<<20)
	c.within(section+".accumulate", float64(o.Accumulate), 1, 1024)
	c.within(section+".lr", o.LR, 1e-8, 1)
	c.within(section+".floor", o.Floor, 0, 1)
	c.within(section+".warmup", o.Warmup, 0, 1)
	c.within(section+".decay", o.Decay, 0, 1)
	c.within(section+".clip", o.Clip, 1e-3, 1e6)
	c.within(section+".checkpoint", float64(o.Checkpoint), 1, 1e9)
}

func (c *checker) err() error {
	if len(c.wrong) == 0 {
		return nil
	}
	return fault.Usagef("configuration: %s", strings.Join(c.wrong, "; "))
}
