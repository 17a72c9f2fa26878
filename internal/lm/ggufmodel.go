package lm

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"github.com/gr2/gr2/internal/fault"
)

// LoadGGUF reads a model from a GGUF file of the given size in bytes, its
// weights dequantised to float32, together with the metadata of the file, by
// key; package token reads a tokenizer from those. The architectures are llama,
// qwen2 and qwen3. Every tensor is checked before the first is allocated, so
// the model takes at most about 8 bytes for each byte of the file.
func LoadGGUF(r io.ReaderAt, size int64) (*Model, map[string]any, error) {
	f, err := readGGUF(r, size)
	if err != nil {
		return nil, nil, err
	}
	cfg, err := f.config(r)
	if err != nil {
		return nil, nil, fmt.Errorf("gguf: %w", err)
	}
	m := layout(cfg)
	slots := m.ggufSlots()
	if err := f.match(slots, cfg.Architecture); err != nil {
		return nil, nil, fmt.Errorf("gguf: %w", err)
	}
	for _, s := range slots {
		s.Data = make([]float32, s.size())
		if err := f.byName[s.name].read(r, s.Data, s.row); err != nil {
			return nil, nil, err
		}
	}
	return m, f.meta, nil
}

// ggufSlot is a tensor of a model with its name in GGUF.
type ggufSlot struct {
	name string
	*Tensor
	heads int // of a projection whose rows are interleaved there; else 0
}

// row maps a row of the file to that of the model. For llama the two halves of
// a head, which rotate-half pairs, are interleaved in the file.
func (s ggufSlot) row(r int) int {
	if s.heads == 0 {
		return r
	}
	width := s.Shape[0] / s.heads
	head, at := r/width*width, r%width
	return head + at%2*(width/2) + at/2
}

// ggufSlots lists what Tensors lists.
func (m *Model) ggufSlots() []ggufSlot {
	slots := []ggufSlot{{"token_embd.weight", m.Embed, 0}}
	queries, keys := m.Config.Heads, m.Config.KVHeads
	if m.Config.Architecture != Llama {
		queries, keys = 0, 0
	}
	for i := range m.Layers {
		l := &m.Layers[i]
		for _, s := range []ggufSlot{
			{"attn_norm.weight", l.AttnNorm, 0},
			{"attn_q.weight", l.Q, queries}, {"attn_q.bias", l.QBias, 0},
			{"attn_k.weight", l.K, keys}, {"attn_k.bias", l.KBias, 0},
			{"attn_v.weight", l.V, 0}, {"attn_v.bias", l.VBias, 0},
			{"attn_q_norm.weight", l.QNorm, 0}, {"attn_k_norm.weight", l.KNorm, 0},
			{"attn_output.weight", l.O, 0},
			{"ffn_norm.weight", l.MLPNorm, 0},
			{"ffn_gate.weight", l.Gate, 0}, {"ffn_up.weight", l.Up, 0}, {"ffn_down.weight", l.Down, 0},
		} {
			if s.Tensor != nil {
				s.name = fmt.Sprintf("blk.%d.%s", i, s.name)
				slots = append(slots, s)
			}
		}
	}
	slots = append(slots, ggufSlot{"output_norm.weight", m.Norm, 0})
	if m.Head != m.Embed {
		slots = append(slots, ggufSlot{ggufHead, m.Head, 0})
	}
	return slots
}

const (
	ggufHead  = "output.weight" // absent when tied
	ggufRopes = "rope_freqs.weight"
)

// match demands that the file has the model's tensors in their shapes, and no
// others but the rotary factors of a llama, which config has read.
func (f *ggufFile) match(slots []ggufSlot, architecture string) error {
	wanted := map[string]bool{ggufRopes: architecture == Llama}
	for _, s := range slots {
		wanted[s.name] = true
		t := f.byName[s.name]
		if t == nil {
			return fault.Corruptf("tensor %q is missing", s.name)
		}
		if !slices.Equal(t.shape, s.Shape) {
			return fault.Inputf("tensor %q has shape %v, the metadata ask for %v", t.name, t.shape, s.Shape)
		}
	}
	for _, t := range f.tensors {
		if !wanted[t.name] {
			return fault.Inputf("tensor %q does not belong to a %s of its metadata", t.name, architecture)
		}
	}
	return nil
}

// config gathers the shape of the model from the metadata and, where llama.cpp
// does so too, from the tensors.
func (f *ggufFile) config(r io.ReaderAt) (Config, error) {
	if n, split := f.meta["split.count"]; split && n != uint16(1) {
		return Config{}, fault.Inputf("the file is one part of several (split.count %v); merge them with llama-gguf-split", n)
	}
	arch, _ := f.meta["general.architecture"].(string)
	k := ggufKeys{meta: f.meta, prefix: arch + "."}
	c := Config{
		VocabSize: f.rows("token_embd.weight"),
		BOS:       k.token("bos"), EOS: k.token("eos"), PAD: k.token("padding"),
		TieEmbeddings: f.byName[ggufHead] == nil,
	}
	for hf, name := range modelTypes {
		if name == arch {
			c.Architecture = hf
		}
	}
	if c.Architecture == "" {
		return c, fault.Inputf("general.architecture is %q, want llama, qwen2 or qwen3", arch)
	}
	c.QKNorm = c.Architecture == Qwen3
	c.QKVBias = c.Architecture == Qwen2
	k.shape(&c)
	if k.unsupported(c); k.err != nil {
		return c, k.err
	}
	if c.Layers > len(f.tensors) {
		return c, fault.Corruptf("%d layers in a file of %d tensors", c.Layers, len(f.tensors))
	}
	if err := c.Validate(); err != nil {
		return c, err
	}
	return c, f.ropeScaling(r, &c)
}

// rows is the first dimension of a tensor, 0 when it is missing.
func (f *ggufFile) rows(name string) int {
	if t := f.byName[name]; t != nil {
		return t.shape[0]
	}
	return 0
}

// ggufKeys reads metadata; the first error sticks.
type ggufKeys struct {
	meta   map[string]any
	prefix string // of the keys of the architecture
	err    error
}

func (k *ggufKeys) refuse(err error) {
	if k.err == nil {
		k.err = err
	}
}

// integer is the value of a key, or otherwise when it is absent.
func (k *ggufKeys) integer(key string, otherwise int) int {
	v, ok := k.meta[key]
	if !ok {
		return otherwise
	}
	n := uint64(math.MaxUint64)
	switch v := v.(type) {
	case uint8:
		n = uint64(v)
	case uint16:
		n = uint64(v)
	case uint32:
		n = uint64(v)
	case uint64:
		n = v
	case int32:
		n = uint64(v) // negative ones become huge
	case int64:
		n = uint64(v)
	}
	if n > math.MaxInt32 {
		k.refuse(fault.Inputf("key %q is %.40v, want one integer from 0 to 2^31-1", key, v))
		return otherwise
	}
	return int(n)
}

// real is the shortest number that rounds to the float32 of the file: what its
// author wrote.
func (k *ggufKeys) real(key string, otherwise float64) float64 {
	switch v := k.meta[key].(type) {
	case nil:
		return otherwise
	case float64:
		return v
	case float32:
		if short, err := strconv.ParseFloat(strconv.FormatFloat(float64(v), 'g', -1, 32), 64); err == nil {
			return short
		}
	}
	k.refuse(fault.Inputf("key %q is %.40v, want a number", key, k.meta[key]))
	return otherwise
}

// token is the id of a special token.
func (k *ggufKeys) token(name string) int32 {
	return int32(k.integer(ggufTokenKey(name), int(NoToken)))
}

func ggufTokenKey(name string) string { return "tokenizer.ggml." + name + "_token_id" }

// shape reads the sizes. A missing key is 0, which Validate refuses by name.
func (k *ggufKeys) shape(c *Config) {
	c.Hidden = k.integer(k.prefix+"embedding_length", 0)
	c.Layers = k.integer(k.prefix+"block_count", 0)
	c.Heads = k.integer(k.prefix+"attention.head_count", 0)
	c.KVHeads = k.integer(k.prefix+"attention.head_count_kv", c.Heads)
	c.Intermediate = k.integer(k.prefix+"feed_forward_length", 0)
	c.MaxPositions = k.integer(k.prefix+"context_length", 0)
	c.NormEps = k.real(k.prefix+"attention.layer_norm_rms_epsilon", 0)
	c.RopeTheta = k.real(k.prefix+"rope.freq_base", 10000)
	if c.Heads > 0 {
		c.HeadDim = c.Hidden / c.Heads
	}
	c.HeadDim = k.integer(k.prefix+"attention.key_length", c.HeadDim)
}

// unsupported refuses settings that would change the computation.
func (k *ggufKeys) unsupported(c Config) {
	for _, want := range []struct {
		key   string
		value int
	}{
		{"attention.value_length", c.HeadDim},
		{"rope.dimension_count", c.HeadDim},
		{"expert_count", 0},
		{"attention.sliding_window", 0},
	} {
		if n := k.integer(k.prefix+want.key, want.value); n != want.value {
			k.refuse(fault.Inputf("key %q is %d, only %d is supported here", k.prefix+want.key, n, want.value))
		}
	}
	for _, key := range []string{"rope.scaling.factor", "rope.scale_linear"} {
		if v := k.real(k.prefix+key, 1); v != 1 && v != 0 { // 0 is none in llama.cpp
			k.refuse(fault.Inputf("key %q is %g: of the rope scalings only that of Llama 3 is supported", k.prefix+key, v))
		}
	}
	if causal, given := k.meta[k.prefix+"attention.causal"]; given && causal != true {
		k.refuse(fault.Inputf("key %q is %v, only true is supported", k.prefix+"attention.causal", causal))
	}
}

// ropeScaling finds the scaling of Llama 3 whose factors stand in the file.
// Different original contexts can give the same factors; any of them is the
// same computation.
func (f *ggufFile) ropeScaling(r io.ReaderAt, c *Config) error {
	t := f.byName[ggufRopes]
	if t == nil || c.Architecture != Llama {
		return nil
	}
	if !slices.Equal(t.shape, []int{c.HeadDim / 2}) {
		return fault.Inputf("tensor %q has shape %v, head_dim %d asks for %d", t.name, t.shape, c.HeadDim, c.HeadDim/2)
	}
	factors := make([]float32, c.HeadDim/2)
	if err := t.read(r, factors, func(row int) int { return row }); err != nil {
		return err
	}
	top := slices.Max(factors)
	if slices.Min(factors) == 1 && top == 1 {
		return nil
	}
	plain := *c
	for bits := 4; bits <= 20; bits++ {
		plain.RopeScaling = &RopeScaling{Factor: float64(top), LowFreq: 1, HighFreq: 4, OriginalPositions: 1 << bits}
		if plain.RopeScaling.validate() == nil && closeTo(plain.ropeFactors(), factors) {
			c.RopeScaling = plain.RopeScaling
			return nil
		}
	}
	return fault.Inputf("tensor %q holds factors that are no scaling of Llama 3 with low_freq_factor 1 and high_freq_factor 4", t.name)
}

func closeTo(a, b []float32) bool {
	for i := range a {
		if !(math.Abs(float64(a[i]-b[i])) <= 1e-5*math.Abs(float64(b[i]))) {
			return false
		}
	}
	return true
}

// ropeFactors are by what RopeScaling divides the frequencies.
func (c Config) ropeFactors() []float32 {
	scaled := ropeFrequencies(c)
	c.RopeScaling = nil
	factors := make([]float32, len(scaled))
	for i, f := range ropeFrequencies(c) {
		factors[i] = float32(f / scaled[i])
	}
	return factors
}
