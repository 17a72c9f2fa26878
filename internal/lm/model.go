package lm

import (
	"fmt"
	"math"

	"github.com/gr2/gr2/internal/rng"
)

// Tensor is a named parameter. Data is row-major and has the product of Shape
// elements. A weight has shape (out, in), a norm or bias has one dimension.
type Tensor struct {
	Name  string
	Shape []int
	Data  []float32
}

// Layer is one decoder block. QBias, KBias and VBias are nil except in Qwen2,
// QNorm and KNorm (HeadDim wide, shared by all heads) except in Qwen3.
type Layer struct {
	AttnNorm            *Tensor // (Hidden)
	Q, K, V, O          *Tensor // (Heads*HeadDim, Hidden), (KVHeads*HeadDim, Hidden) twice, (Hidden, Heads*HeadDim)
	QBias, KBias, VBias *Tensor
	QNorm, KNorm        *Tensor
	MLPNorm             *Tensor // (Hidden)
	Gate, Up, Down      *Tensor // (Intermediate, Hidden) twice, (Hidden, Intermediate)
}

// Model is a configuration with its parameters. Whoever holds a Model owns its
// tensors; infer only reads them, nn trains them in place.
type Model struct {
	Config Config
	Embed  *Tensor // (VocabSize, Hidden)
	Layers []Layer
	Norm   *Tensor // (Hidden)
	Head   *Tensor // (VocabSize, Hidden); the same pointer as Embed when tied
}

// initStd is the standard deviation of fresh weights, as in GPT-2 and Llama.
const initStd = 0.02

// New makes a model with fresh weights: N(0, initStd), the two projections
// that write to the residual stream scaled by 1/sqrt(2*Layers) (GPT-2), norms
// 1, biases 0. Each tensor draws from a stream keyed by the seed and its name.
func New(cfg Config, seed uint64) (*Model, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m := layout(cfg)
	for _, t := range m.Tensors() {
		t.Data = make([]float32, t.size())
		if len(t.Shape) == 2 {
			fillNormal(t, initStd, seed)
		}
	}
	fill(m.Norm.Data, 1)
	residual := initStd / math.Sqrt(2*float64(cfg.Layers))
	for i := range m.Layers {
		l := &m.Layers[i]
		for _, norm := range []*Tensor{l.AttnNorm, l.MLPNorm, l.QNorm, l.KNorm} {
			if norm != nil {
				fill(norm.Data, 1)
			}
		}
		fillNormal(l.O, residual, seed)
		fillNormal(l.Down, residual, seed)
	}
	return m, nil
}

// layout makes the tensors of a model without their data.
func layout(cfg Config) *Model {
	m := &Model{Config: cfg, Layers: make([]Layer, cfg.Layers)}
	m.Embed = tensor("model.embed_tokens.weight", cfg.VocabSize, cfg.Hidden)
	for i := range m.Layers {
		m.Layers[i] = layoutLayer(cfg, fmt.Sprintf("model.layers.%d.", i))
	}
	m.Norm = tensor("model.norm.weight", cfg.Hidden)
	m.Head = m.Embed
	if !cfg.TieEmbeddings {
		m.Head = tensor("lm_head.weight", cfg.VocabSize, cfg.Hidden)
	}
	return m
}

func layoutLayer(cfg Config, prefix string) Layer {
	q, kv := cfg.Heads*cfg.HeadDim, cfg.KVHeads*cfg.HeadDim
	l := Layer{
		AttnNorm: tensor(prefix+"input_layernorm.weight", cfg.Hidden),
		Q:        tensor(prefix+"self_attn.q_proj.weight", q, cfg.Hidden),
		K:        tensor(prefix+"self_attn.k_proj.weight", kv, cfg.Hidden),
		V:        tensor(prefix+"self_attn.v_proj.weight", kv, cfg.Hidden),
		O:        tensor(prefix+"self_attn.o_proj.weight", cfg.Hidden, q),
		MLPNorm:  tensor(prefix+"post_attention_layernorm.weight", cfg.Hidden),
		Gate:     tensor(prefix+"mlp.gate_proj.weight", cfg.Intermediate, cfg.Hidden),
		Up:       tensor(prefix+"mlp.up_proj.weight", cfg.Intermediate, cfg.Hidden),
		Down:     tensor(prefix+"mlp.down_proj.weight", cfg.Hidden, cfg.Intermediate),
	}
	if cfg.QKVBias {
		l.QBias = tensor(prefix+"self_attn.q_proj.bias", q)
		l.KBias = tensor(prefix+"self_attn.k_proj.bias", kv)
		l.VBias = tensor(prefix+"self_attn.v_proj.bias", kv)
	}
	if cfg.QKNorm {
		l.QNorm = tensor(prefix+"self_attn.q_norm.weight", cfg.HeadDim)
		l.KNorm = tensor(prefix+"self_attn.k_norm.weight", cfg.HeadDim)
	}
	return l
}

// Tensors returns every distinct tensor in a fixed order: embedding, layers
// from the first to the last, final norm, and the head when it is not tied.
func (m *Model) Tensors() []*Tensor {
	all := []*Tensor{m.Embed}
	for i := range m.Layers {
		l := &m.Layers[i]
		for _, t := range []*Tensor{
			l.AttnNorm, l.Q, l.QBias, l.K, l.KBias, l.V, l.VBias, l.QNorm, l.KNorm, l.O,
			l.MLPNorm, l.Gate, l.Up, l.Down,
		} {
			if t != nil {
				all = append(all, t)
			}
		}
	}
	all = append(all, m.Norm)
	if m.Head != m.Embed {
		all = append(all, m.Head)
	}
	return all
}

// Parameters is the number of distinct weights.
func (m *Model) Parameters() int {
	n := 0
	for _, t := range m.Tensors() {
		n += t.size()
	}
	return n
}

func tensor(name string, shape ...int) *Tensor { return &Tensor{Name: name, Shape: shape} }

// size is the number of elements that Shape asks for.
func (t *Tensor) size() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

func fill(x []float32, v float32) {
	for i := range x {
		x[i] = v
	}
}

func fillNormal(t *Tensor, std float64, seed uint64) {
	r := rng.New(seed, rng.Key(t.Name))
	for i := range t.Data {
		t.Data[i] = float32(r.NormFloat64() * std)
	}
}
