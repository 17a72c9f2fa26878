package lm

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"strings"

	"github.com/gr2/gr2/internal/fault"
)

// modelTypes maps an architecture to the model_type of its config.json.
var modelTypes = map[string]string{Llama: "llama", Qwen2: "qwen2", Qwen3: "qwen3"}

// hfConfig is config.json as `transformers` writes and reads it. Fields that
// are pointers or raw have a default or a list form.
type hfConfig struct {
	Architectures         []string        `json:"architectures"`
	ModelType             string          `json:"model_type"`
	VocabSize             int             `json:"vocab_size"`
	HiddenSize            int             `json:"hidden_size"`
	NumHiddenLayers       int             `json:"num_hidden_layers"`
	NumAttentionHeads     int             `json:"num_attention_heads"`
	NumKeyValueHeads      *int            `json:"num_key_value_heads"`
	HeadDim               *int            `json:"head_dim"`
	IntermediateSize      int             `json:"intermediate_size"`
	MaxPositionEmbeddings int             `json:"max_position_embeddings"`
	HiddenAct             string          `json:"hidden_act"`
	RMSNormEps            *float64        `json:"rms_norm_eps"`
	RopeTheta             *real           `json:"rope_theta"`
	RopeScaling           *hfRope         `json:"rope_scaling"`
	RopeParameters        *hfRope         `json:"rope_parameters,omitempty"` // transformers 5 moved theta and scaling here
	TieWordEmbeddings     *bool           `json:"tie_word_embeddings"`
	AttentionBias         bool            `json:"attention_bias"`
	AttentionDropout      real            `json:"attention_dropout"`
	MLPBias               bool            `json:"mlp_bias"`
	UseSlidingWindow      bool            `json:"use_sliding_window"`
	IsCausal              *bool           `json:"is_causal,omitempty"`
	PartialRotaryFactor   *float64        `json:"partial_rotary_factor,omitempty"`
	QuantizationConfig    json.RawMessage `json:"quantization_config,omitempty"`
	InitializerRange      float64         `json:"initializer_range"`
	TorchDtype            string          `json:"torch_dtype,omitempty"`
	UseCache              bool            `json:"use_cache"`
	BOS                   tokenID         `json:"bos_token_id"`
	EOS                   tokenID         `json:"eos_token_id"`
	PAD                   tokenID         `json:"pad_token_id"`
}

type hfRope struct {
	RopeType          string `json:"rope_type,omitempty"`
	LegacyType        string `json:"type,omitempty"`
	RopeTheta         *real  `json:"rope_theta,omitempty"`
	Factor            real   `json:"factor,omitempty"`
	LowFreqFactor     real   `json:"low_freq_factor,omitempty"`
	HighFreqFactor    real   `json:"high_freq_factor,omitempty"`
	OriginalPositions int    `json:"original_max_position_embeddings,omitempty"`
}

// real is a number that is written with a point or an exponent: transformers
// warns where it expects a float and reads an int.
type real float64

func (r real) MarshalJSON() ([]byte, error) {
	b, err := json.Marshal(float64(r))
	if err == nil && !bytes.ContainsAny(b, ".eE") {
		b = append(b, ".0"...)
	}
	return b, err
}

// tokenID is a token id, null, or a list of ids, of which the first counts.
// Its zero value means none, so it holds the id plus one.
type tokenID struct{ next int32 }

func tokenOf(id int32) tokenID { return tokenID{id + 1} }
func (t tokenID) id() int32    { return t.next - 1 }

func (t tokenID) MarshalJSON() ([]byte, error) {
	if t.next <= 0 {
		return []byte("null"), nil
	}
	return json.Marshal(t.id())
}

func (t *tokenID) UnmarshalJSON(b []byte) error {
	*t = tokenID{}
	if bytes.Equal(b, []byte("null")) {
		return nil
	}
	var ids []int32
	if b[0] == '[' {
		if err := json.Unmarshal(b, &ids); err != nil {
			return err
		}
	} else {
		ids = make([]int32, 1)
		if err := json.Unmarshal(b, &ids[0]); err != nil {
			return err
		}
	}
	if len(ids) > 0 && ids[0] >= 0 && ids[0] < maxDim {
		*t = tokenOf(ids[0])
	}
	return nil
}

// maxJSON bounds config.json and the index of a sharded checkpoint, in bytes.
const maxJSON = 64 << 20

func readJSON(fsys fs.FS, name string, v any) error {
	f, err := fsys.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxJSON+1))
	if err != nil {
		return err
	}
	if len(data) > maxJSON {
		return fault.Inputf("%s is larger than %d bytes: not a model directory", name, maxJSON)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fault.Inputf("%s: %v", name, err)
	}
	return nil
}

// ReadConfig reads config.json of a Hugging Face directory.
func ReadConfig(fsys fs.FS) (Config, error) {
	var h hfConfig
	if err := readJSON(fsys, "config.json", &h); err != nil {
		return Config{}, err
	}
	return h.config()
}

// readBaseConfig is ReadConfig for LoadBase.
func readBaseConfig(fsys fs.FS) (Config, error) {
	var h hfConfig
	if err := readJSON(fsys, "config.json", &h); err != nil {
		return Config{}, err
	}
	for i, class := range h.Architectures {
		if base, ok := strings.CutSuffix(class, "Model"); ok {
			h.Architectures[i] = base + "ForCausalLM"
		}
	}
	tied := true
	h.TieWordEmbeddings = &tied
	return h.config()
}

func (h *hfConfig) config() (Config, error) {
	if err := h.unsupported(); err != nil {
		return Config{}, err
	}
	c := Config{
		Architecture:  h.Architectures[0],
		VocabSize:     h.VocabSize,
		Hidden:        h.HiddenSize,
		Layers:        h.NumHiddenLayers,
		Heads:         h.NumAttentionHeads,
		KVHeads:       or(h.NumKeyValueHeads, h.NumAttentionHeads),
		Intermediate:  h.IntermediateSize,
		MaxPositions:  h.MaxPositionEmbeddings,
		NormEps:       or(h.RMSNormEps, 1e-6),
		RopeTheta:     float64(or(h.RopeTheta, 10000)),
		TieEmbeddings: or(h.TieWordEmbeddings, false),
		BOS:           h.BOS.id(), EOS: h.EOS.id(), PAD: h.PAD.id(),
	}
	c.QKNorm = c.Architecture == Qwen3
	c.QKVBias = c.Architecture == Qwen2
	if c.HeadDim = or(h.HeadDim, 0); h.HeadDim == nil && c.Heads > 0 {
		c.HeadDim = c.Hidden / c.Heads
	}
	if err := h.rope(&c); err != nil {
		return Config{}, err
	}
	return c, c.Validate()
}

// unsupported refuses settings that would change the computation.
func (h *hfConfig) unsupported() error {
	switch {
	case len(h.Architectures) != 1:
		return fault.Inputf("config.json: architectures is %q, want exactly one", h.Architectures)
	case h.HiddenAct != "silu":
		return fault.Inputf("config.json: hidden_act %q is not supported, only silu", h.HiddenAct)
	case h.AttentionBias && h.Architectures[0] != Qwen2:
		return fault.Inputf("config.json: attention_bias is not supported for %s", h.Architectures[0])
	case h.MLPBias:
		return fault.Inputf("config.json: mlp_bias is not supported")
	case h.UseSlidingWindow:
		return fault.Inputf("config.json: use_sliding_window is not supported")
	case !or(h.IsCausal, true):
		return fault.Inputf("config.json: is_causal is false; attention to both sides is not supported")
	case or(h.PartialRotaryFactor, 1) != 1:
		return fault.Inputf("config.json: partial_rotary_factor is not supported")
	case len(h.QuantizationConfig) > 0 && !bytes.Equal(h.QuantizationConfig, []byte("null")):
		return fault.Inputf("config.json: quantised weights are not supported, use the original checkpoint")
	}
	return nil
}

func (h *hfConfig) rope(c *Config) error {
	for _, r := range []*hfRope{h.RopeScaling, h.RopeParameters} {
		if r == nil {
			continue
		}
		c.RopeTheta = float64(or(r.RopeTheta, real(c.RopeTheta)))
		kind := r.RopeType
		if kind == "" {
			kind = r.LegacyType
		}
		switch kind {
		case "", "default":
		case "llama3":
			c.RopeScaling = &RopeScaling{float64(r.Factor), float64(r.LowFreqFactor), float64(r.HighFreqFactor), r.OriginalPositions}
		default:
			return fault.Inputf("config.json: rope scaling %q is not supported, only llama3", kind)
		}
	}
	return nil
}

func (c Config) hf() *hfConfig {
	theta := real(c.RopeTheta)
	h := &hfConfig{
		Architectures:         []string{c.Architecture},
		ModelType:             modelTypes[c.Architecture],
		VocabSize:             c.VocabSize,
		HiddenSize:            c.Hidden,
		NumHiddenLayers:       c.Layers,
		NumAttentionHeads:     c.Heads,
		NumKeyValueHeads:      &c.KVHeads,
		HeadDim:               &c.HeadDim,
		IntermediateSize:      c.Intermediate,
		MaxPositionEmbeddings: c.MaxPositions,
		HiddenAct:             "silu",
		RMSNormEps:            &c.NormEps,
		RopeTheta:             &theta,
		TieWordEmbeddings:     &c.TieEmbeddings,
		InitializerRange:      initStd,
		TorchDtype:            "float32",
		UseCache:              true,
		BOS:                   tokenOf(c.BOS), EOS: tokenOf(c.EOS), PAD: tokenOf(c.PAD),
	}
	if s := c.RopeScaling; s != nil {
		h.RopeScaling = &hfRope{RopeType: "llama3", Factor: real(s.Factor), LowFreqFactor: real(s.LowFreq),
			HighFreqFactor: real(s.HighFreq), OriginalPositions: s.OriginalPositions}
	}
	return h
}

// hfGeneration is generation_config.json.
type hfGeneration struct {
	BOS tokenID `json:"bos_token_id"`
	EOS tokenID `json:"eos_token_id"`
	PAD tokenID `json:"pad_token_id"`
}

// or is *p, or otherwise when p is nil.
func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
