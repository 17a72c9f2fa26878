package lm

import (
	"math"

	"github.com/gr2/gr2/internal/fault"
)

// The architectures, by the class that loads them in `transformers`.
const (
	Llama = "LlamaForCausalLM"
	Qwen2 = "Qwen2ForCausalLM" // biases on the query, key and value projections
	Qwen3 = "Qwen3ForCausalLM" // RMSNorm of each query and key head before RoPE
)

// NoToken marks an absent BOS, EOS or PAD.
const NoToken int32 = -1

// Config is the shape of a model. All sizes are counts, none has a default.
type Config struct {
	Architecture string // Llama, Qwen2 or Qwen3

	VocabSize    int // rows of the embedding table
	Hidden       int // width of the residual stream
	Layers       int
	Heads        int // query heads
	KVHeads      int // key and value heads; divides Heads
	HeadDim      int // even; Heads*HeadDim may differ from Hidden, except in Qwen2
	Intermediate int // width of the SwiGLU
	MaxPositions int // longest sequence, in tokens

	RopeTheta   float64
	RopeScaling *RopeScaling // nil: none
	NormEps     float64

	TieEmbeddings bool // the output projection is the embedding table
	QKNorm        bool // exactly in Qwen3
	QKVBias       bool // exactly in Qwen2

	BOS, EOS, PAD int32 // NoToken when absent
}

// RopeScaling is Llama 3's frequency scaling: wavelengths longer than
// OriginalPositions/LowFreq are stretched by Factor, those shorter than
// OriginalPositions/HighFreq are kept, and those between are blended.
type RopeScaling struct {
	Factor            float64
	LowFreq, HighFreq float64
	OriginalPositions int
}

// maxDim bounds each size, so that no product of two overflows an int64 and
// a hostile config.json is refused before its shapes are used.
const maxDim = 1 << 26

// Validate reports the first field that makes no sense, and what would.
func (c Config) Validate() error {
	sizes := []struct {
		name  string
		value int
		limit int
	}{
		{"vocab_size", c.VocabSize, maxDim},
		{"hidden_size", c.Hidden, maxDim},
		{"num_hidden_layers", c.Layers, 4096},
		{"num_attention_heads", c.Heads, 1 << 16},
		{"num_key_value_heads", c.KVHeads, 1 << 16},
		{"head_dim", c.HeadDim, 1 << 16},
		{"intermediate_size", c.Intermediate, maxDim},
		{"max_position_embeddings", c.MaxPositions, maxDim},
	}
	for _, s := range sizes {
		if s.value < 1 || s.value > s.limit {
			return fault.Inputf("model config: %s is %d, want 1 to %d", s.name, s.value, s.limit)
		}
	}
	if err := c.validateAttention(); err != nil {
		return err
	}
	if !(c.NormEps > 0 && c.NormEps < 1) {
		return fault.Inputf("model config: rms_norm_eps is %g, want a small positive number such as 1e-6", c.NormEps)
	}
	for _, t := range []struct {
		name string
		id   int32
	}{{"bos_token_id", c.BOS}, {"eos_token_id", c.EOS}, {"pad_token_id", c.PAD}} {
		if t.id < NoToken || int(t.id) >= c.VocabSize {
			return fault.Inputf("model config: %s is %d, want -1 (none) or below vocab_size %d", t.name, t.id, c.VocabSize)
		}
	}
	return nil
}

func (c Config) validateAttention() error {
	switch c.Architecture {
	case Llama, Qwen2, Qwen3:
	default:
		return fault.Inputf("model config: architecture %q is not supported, want %s, %s or %s", c.Architecture, Llama, Qwen2, Qwen3)
	}
	if want := c.Architecture == Qwen3; c.QKNorm != want {
		return fault.Inputf("model config: QKNorm is %t, %s needs %t", c.QKNorm, c.Architecture, want)
	}
	if want := c.Architecture == Qwen2; c.QKVBias != want {
		return fault.Inputf("model config: QKVBias is %t, %s needs %t", c.QKVBias, c.Architecture, want)
	}
	if c.Heads%c.KVHeads != 0 {
		return fault.Inputf("model config: num_key_value_heads %d does not divide num_attention_heads %d", c.KVHeads, c.Heads)
	}
	if c.HeadDim%2 != 0 {
		return fault.Inputf("model config: head_dim %d is odd, rotary embeddings need an even one", c.HeadDim)
	}
	if c.Architecture == Qwen2 && c.Heads*c.HeadDim != c.Hidden {
		return fault.Inputf("model config: %s needs num_attention_heads*head_dim = hidden_size, have %d*%d and %d", Qwen2, c.Heads, c.HeadDim, c.Hidden)
	}
	if !(c.RopeTheta > 0) || math.IsInf(c.RopeTheta, 0) {
		return fault.Inputf("model config: rope_theta is %g, want a positive number such as 10000", c.RopeTheta)
	}
	return c.RopeScaling.validate()
}

func (s *RopeScaling) validate() error {
	if s == nil {
		return nil
	}
	if !(s.Factor >= 1) || !(s.LowFreq > 0) || !(s.HighFreq > s.LowFreq) || s.OriginalPositions < 1 ||
		math.IsInf(s.Factor, 0) || math.IsInf(s.HighFreq, 0) {
		return fault.Inputf("model config: rope_scaling needs factor >= 1, 0 < low_freq_factor < high_freq_factor and original_max_position_embeddings >= 1, have %g, %g, %g, %d",
			s.Factor, s.LowFreq, s.HighFreq, s.OriginalPositions)
	}
	return nil
}
