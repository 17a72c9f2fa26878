package lm

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func config(architecture string) Config {
	return Config{
		Architecture: architecture, VocabSize: 30, Hidden: 16, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 4,
		Intermediate: 24, MaxPositions: 64, RopeTheta: 10000, NormEps: 1e-6, TieEmbeddings: architecture != Llama,
		QKNorm: architecture == Qwen3, QKVBias: architecture == Qwen2, BOS: 1, EOS: 2, PAD: NoToken,
	}
}

var architectures = []string{Llama, Qwen2, Qwen3}

func TestValidate(t *testing.T) {
	for _, a := range architectures {
		if err := config(a).Validate(); err != nil {
			t.Error(err)
		}
	}
	for field, spoil := range map[string]func(c *Config){
		"vocab_size":              func(c *Config) { c.VocabSize = 0 },
		"hidden_size":             func(c *Config) { c.Hidden = -1 },
		"num_hidden_layers":       func(c *Config) { c.Layers = 1 << 20 },
		"num_attention_heads":     func(c *Config) { c.Heads = 0 },
		"num_key_value_heads":     func(c *Config) { c.KVHeads = 3 },
		"head_dim":                func(c *Config) { c.HeadDim = 5 },
		"intermediate_size":       func(c *Config) { c.Intermediate = 1 << 40 },
		"max_position_embeddings": func(c *Config) { c.MaxPositions = 0 },
		"architecture":            func(c *Config) { c.Architecture = "GPT2LMHeadModel" },
		"QKNorm":                  func(c *Config) { c.QKNorm = true },
		"QKVBias":                 func(c *Config) { c.QKVBias = true },
		"rope_theta":              func(c *Config) { c.RopeTheta = math.NaN() },
		"rope_scaling": func(c *Config) {
			c.RopeScaling = &RopeScaling{Factor: 8, LowFreq: 4, HighFreq: 1, OriginalPositions: 8}
		},
		"rms_norm_eps": func(c *Config) { c.NormEps = 0 },
		"bos_token_id": func(c *Config) { c.BOS = 30 },
		"eos_token_id": func(c *Config) { c.EOS = -2 },
		"pad_token_id": func(c *Config) { c.PAD = 31 },
	} {
		c := config(Llama)
		spoil(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("a bad %s gives %v", field, err)
		}
		if _, err := New(c, 1); err == nil {
			t.Errorf("New takes a bad %s", field)
		}
	}
}

func TestNewInitialises(t *testing.T) {
	c := config(Qwen3)
	c.Hidden, c.VocabSize = 64, 500
	m, err := New(c, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range m.Tensors() {
		want := initStd
		if strings.Contains(x.Name, "o_proj") || strings.Contains(x.Name, "down_proj") {
			want = initStd / 2 // 2 layers
		}
		sum, square := 0.0, 0.0
		for _, v := range x.Data {
			sum += float64(v)
			square += float64(v) * float64(v)
		}
		n := float64(len(x.Data))
		if len(x.Shape) == 1 {
			if sum != n || square != n {
				t.Errorf("norm %s is not all ones", x.Name)
			}
			continue
		}
		if std := math.Sqrt(square / n); math.Abs(std/want-1) > 0.15 || math.Abs(sum/n) > want*5/math.Sqrt(n) {
			t.Errorf("%s has mean %g and deviation %g, want 0 and %g", x.Name, sum/n, std, want)
		}
	}
}

// TestSeedDecides: equal seeds give equal bits, and a tensor's stream depends
// on its name, not on the others.
func TestSeedDecides(t *testing.T) {
	a, _ := New(config(Llama), 1)
	b, _ := New(config(Llama), 1)
	other, _ := New(config(Llama), 2)
	deeper := config(Llama)
	deeper.Layers = 3
	c, _ := New(deeper, 1)
	if !slices.Equal(a.Head.Data, b.Head.Data) || !slices.Equal(a.Layers[1].Q.Data, c.Layers[1].Q.Data) {
		t.Error("the same seed and name give other weights")
	}
	if slices.Equal(a.Head.Data, other.Head.Data) || slices.Equal(a.Layers[0].K.Data, a.Layers[0].V.Data) {
		t.Error("another seed or name gives the same weights")
	}
}

func TestTensors(t *testing.T) {
	for _, a := range architectures {
		m, _ := New(config(a), 1)
		seen := map[string]bool{}
		for _, x := range m.Tensors() {
			if seen[x.Name] {
				t.Errorf("%s: %s twice", a, x.Name)
			}
			seen[x.Name] = true
		}
		for name, want := range map[string]bool{
			"lm_head.weight":                         a == Llama,
			"model.layers.1.self_attn.q_proj.bias":   a == Qwen2,
			"model.layers.0.self_attn.k_norm.weight": a == Qwen3,
			"model.layers.1.mlp.down_proj.weight":    true,
			"model.norm.weight":                      true,
		} {
			if seen[name] != want {
				t.Errorf("%s: tensor %s: %t, want %t", a, name, seen[name], want)
			}
		}
	}
	m, _ := New(config(Llama), 1)
	// 30*16 embedding and head; 2 layers of q, o 16*16, k, v 8*16, 3*24*16, 2 norms; 1 norm.
	if want := 2*30*16 + 2*(2*256+2*128+3*384+32) + 16; m.Parameters() != want {
		t.Errorf("%d parameters, want %d", m.Parameters(), want)
	}
}

func TestRopeTables(t *testing.T) {
	c := config(Llama)
	cos, sin := RopeTables(c, 5)
	for p := range 5 {
		for i, freq := range []float64{1, 0.01} { // 10000^(-2i/4)
			a := float64(p) * freq
			if math.Abs(float64(cos[2*p+i])-math.Cos(a)) > 1e-7 || math.Abs(float64(sin[2*p+i])-math.Sin(a)) > 1e-7 {
				t.Errorf("position %d, pair %d: (%g, %g), want the angle %g", p, i, cos[2*p+i], sin[2*p+i], a)
			}
		}
	}
}

// TestRopeScaling checks the three bands; package nn compares a whole model
// with transformers.
func TestRopeScaling(t *testing.T) {
	s := RopeScaling{Factor: 8, LowFreq: 1, HighFreq: 4, OriginalPositions: 1000}
	turn := 2 * math.Pi / 1000 // one turn within the original context
	for _, c := range []struct{ turns, want float64 }{{0.5, 0.5 / 8}, {5, 5}, {2.5, 2.5 * (0.5/8 + 0.5)}} {
		if have := s.scale(c.turns*turn) / turn; math.Abs(have-c.want) > 1e-9 {
			t.Errorf("%g turns become %g, want %g", c.turns, have, c.want)
		}
	}
}
