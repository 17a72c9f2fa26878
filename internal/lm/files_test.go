package lm

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gr2/gr2/internal/fault"
)

// save returns the model's directory.
func save(t *testing.T, m *Model) fstest.MapFS {
	t.Helper()
	dir := fstest.MapFS{}
	err := m.Save(func(name string, fill func(io.Writer) error) error {
		var b bytes.Buffer
		err := fill(&b)
		dir[name] = &fstest.MapFile{Data: b.Bytes()}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestSaveLoad(t *testing.T) {
	for _, a := range architectures {
		c := config(a)
		if a == Llama {
			c.RopeScaling = &RopeScaling{Factor: 8, LowFreq: 1, HighFreq: 4, OriginalPositions: 32}
		}
		m, err := New(c, 5)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Load(save(t, m))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(m, back) {
			t.Errorf("%s: the model that came back differs", a)
		}
		if (back.Head == back.Embed) != c.TieEmbeddings {
			t.Errorf("%s: head tied: %t", a, back.Head == back.Embed)
		}
	}
}

// TestLoadsTransformersDirectories reads what save_pretrained wrote; package
// nn compares what these models compute.
func TestLoadsTransformersDirectories(t *testing.T) {
	want := map[string]Config{
		"llama": {Architecture: Llama, HeadDim: 8, RopeTheta: 500, NormEps: 1e-5, RopeScaling: &RopeScaling{8, 1, 4, 16}},
		"qwen2": {Architecture: Qwen2, HeadDim: 4, RopeTheta: 10000, NormEps: 1e-6, TieEmbeddings: true, QKVBias: true},
		"qwen3": {Architecture: Qwen3, HeadDim: 8, RopeTheta: 1000, NormEps: 1e-6, TieEmbeddings: true, QKNorm: true},
	}
	for name, c := range want {
		c.VocabSize, c.Hidden, c.Layers, c.Heads, c.KVHeads, c.Intermediate, c.MaxPositions = 40, 16, 2, 4, 2, 24, 64
		c.BOS, c.EOS, c.PAD = 1, 2, NoToken
		m, err := Load(os.DirFS(filepath.Join("..", "golden", name)))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(m.Config, c) {
			t.Errorf("%s: config %+v, want %+v", name, m.Config, c)
		}
	}
}

// edit changes one key of a JSON file of the directory; nil removes it.
func edit(t *testing.T, dir fstest.MapFS, file, key string, value any) {
	t.Helper()
	all := map[string]any{}
	if err := json.Unmarshal(dir[file].Data, &all); err != nil {
		t.Fatal(err)
	}
	all[key] = value
	if value == nil {
		delete(all, key)
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	dir[file] = &fstest.MapFile{Data: b}
}

func TestConfigVariants(t *testing.T) {
	type object = map[string]any
	base, _ := New(config(Llama), 1)
	for name, c := range map[string]struct {
		key   string
		value any
		want  func(c *Config)
	}{
		"no key heads":    {"num_key_value_heads", nil, func(c *Config) { c.KVHeads = 4 }},
		"no head_dim":     {"head_dim", nil, func(c *Config) { c.HeadDim = 4 }},
		"no theta":        {"rope_theta", nil, func(c *Config) { c.RopeTheta = 10000 }},
		"several eos":     {"eos_token_id", []int{7, 8}, func(c *Config) { c.EOS = 7 }},
		"no bos":          {"bos_token_id", nil, func(c *Config) { c.BOS = NoToken }},
		"pad of -1":       {"pad_token_id", -1, func(c *Config) { c.PAD = NoToken }},
		"unknown keys":    {"pretraining_tp", 1, func(*Config) {}},
		"rope_parameters": {"rope_parameters", object{"rope_type": "default", "rope_theta": 77.0}, func(c *Config) { c.RopeTheta = 77 }},
		"old type key": {"rope_scaling", object{"type": "llama3", "factor": 2.0, "low_freq_factor": 1.0, "high_freq_factor": 2.0,
			"original_max_position_embeddings": 9}, func(c *Config) { c.RopeScaling = &RopeScaling{2, 1, 2, 9} }},
	} {
		dir := save(t, base)
		edit(t, dir, "config.json", c.key, c.value)
		want := base.Config
		c.want(&want)
		if have, err := ReadConfig(dir); err != nil || !reflect.DeepEqual(have, want) {
			t.Errorf("%s: %+v, %v, want %+v", name, have, err, want)
		}
	}
}

func TestConfigRefusesWhatChangesTheComputation(t *testing.T) {
	base, _ := New(config(Llama), 1)
	for key, value := range map[string]any{
		"hidden_act":            "gelu",
		"attention_bias":        true,
		"mlp_bias":              true,
		"use_sliding_window":    true,
		"partial_rotary_factor": 0.5,
		"quantization_config":   map[string]any{"bits": 4},
		"rope_scaling":          map[string]any{"rope_type": "yarn", "factor": 4},
		"architectures":         []string{"MixtralForCausalLM"},
		"vocab_size":            "many",
		"hidden_size":           1 << 40,
	} {
		dir := save(t, base)
		edit(t, dir, "config.json", key, value)
		if _, err := Load(dir); fault.KindOf(err) != fault.Input {
			t.Errorf("%s = %v gives %v, want an input error", key, value, err)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	base, _ := New(config(Llama), 1)
	rewrite := func(dir fstest.MapFS, change func(all []*Tensor) []*Tensor) {
		m, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := WriteSafetensors(&b, change(m.Tensors()), nil); err != nil {
			t.Fatal(err)
		}
		dir[weightsFile] = &fstest.MapFile{Data: b.Bytes()}
	}
	index := func(dir fstest.MapFS, text string) {
		delete(dir, weightsFile)
		dir[indexFile] = &fstest.MapFile{Data: []byte(text)}
	}
	extra := &Tensor{Name: "model.layers.0.self_attn.q_proj.bias", Shape: []int{16}, Data: make([]float32, 16)}
	for name, c := range map[string]struct {
		spoil func(dir fstest.MapFS)
		want  string
	}{
		"missing tensor": {func(d fstest.MapFS) { rewrite(d, func(all []*Tensor) []*Tensor { return all[1:] }) }, "embed_tokens"},
		"extra tensor":   {func(d fstest.MapFS) { rewrite(d, func(all []*Tensor) []*Tensor { return append(all, extra) }) }, "q_proj.bias"},
		"wrong shape":    {func(d fstest.MapFS) { edit(t, d, "config.json", "vocab_size", 31) }, "asks for [31 16]"},
		"more layers":    {func(d fstest.MapFS) { edit(t, d, "config.json", "num_hidden_layers", 3) }, "layers.2."},
		"fewer layers":   {func(d fstest.MapFS) { edit(t, d, "config.json", "num_hidden_layers", 1) }, "layers.1."},
		"cut weights":    {func(d fstest.MapFS) { d[weightsFile].Data = d[weightsFile].Data[:3000] }, "data"},
		"no weights":     {func(d fstest.MapFS) { delete(d, weightsFile) }, "not a model directory"},
		"shard outside":  {func(d fstest.MapFS) { index(d, `{"weight_map":{"a":"../secret"}}`) }, "plain file name"},
		"absent shard":   {func(d fstest.MapFS) { index(d, `{"weight_map":{"a":"b.safetensors"}}`) }, "b.safetensors"},
		"empty index":    {func(d fstest.MapFS) { index(d, `{}`) }, "missing"},
		"broken index":   {func(d fstest.MapFS) { index(d, `{"weight_map":`) }, indexFile},
	} {
		dir := save(t, base)
		c.spoil(dir)
		if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want a word of %q", name, err, c.want)
		}
	}
	if _, err := Load(fstest.MapFS{}); err == nil {
		t.Error("an empty directory loads")
	}
}

// TestOldTensorsAreIgnored: rotary frequencies, and the head of a tied model.
func TestOldTensorsAreIgnored(t *testing.T) {
	m, _ := New(config(Qwen2), 1)
	dir := save(t, m)
	all := append(m.Tensors(),
		&Tensor{Name: "lm_head.weight", Shape: m.Embed.Shape, Data: m.Embed.Data},
		&Tensor{Name: "model.layers.0.self_attn.rotary_emb.inv_freq", Shape: []int{2}, Data: []float32{1, 2}})
	var b bytes.Buffer
	if err := WriteSafetensors(&b, all, nil); err != nil {
		t.Fatal(err)
	}
	dir[weightsFile] = &fstest.MapFile{Data: b.Bytes()}
	if back, err := Load(dir); err != nil || !slices.Equal(back.Head.Data, m.Embed.Data) {
		t.Errorf("%v", err)
	}
}

// FuzzReadConfig: what is accepted is valid, can be written, and comes back.
func FuzzReadConfig(f *testing.F) {
	for _, a := range architectures {
		b, err := os.ReadFile(filepath.Join("..", "golden", modelTypes[a], "config.json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"architectures":["LlamaForCausalLM"],"vocab_size":9223372036854775807,"eos_token_id":[1,2],"rope_parameters":{"rope_type":"llama3"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ReadConfig(fstest.MapFS{"config.json": {Data: b}})
		if err != nil {
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("accepted, but %v", err)
		}
		var again bytes.Buffer
		if err := writeJSON(c.hf())(&again); err != nil {
			t.Fatal(err)
		}
		back, err := ReadConfig(fstest.MapFS{"config.json": {Data: again.Bytes()}})
		if err != nil || !reflect.DeepEqual(back, c) {
			t.Fatalf("%+v came back as %+v, %v", c, back, err)
		}
	})
}

// TestSavePassesErrorsOn of the function that creates the files.
func TestSavePassesErrorsOn(t *testing.T) {
	m, _ := New(config(Llama), 1)
	full := errors.New("disk full")
	for _, at := range []string{"config.json", "generation_config.json", weightsFile} {
		err := m.Save(func(name string, fill func(io.Writer) error) error {
			if name == at {
				return fill(brokenWriter{full})
			}
			return fill(io.Discard)
		})
		if !errors.Is(err, full) {
			t.Errorf("a full disk at %s gives %v", at, err)
		}
	}
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

// A directory without a head, with names that begin otherwise, and one with a
// head that nobody asks for give the decoder alone; Load refuses the first.
func TestLoadBase(t *testing.T) {
	headless := os.DirFS(filepath.Join("..", "golden", "encoder", "qwen3"))
	if _, err := Load(headless); err == nil {
		t.Error("Load took a model without a head")
	}
	m, err := LoadBase(headless)
	if err != nil {
		t.Fatal(err)
	}
	if m.Config.Architecture != Qwen3 || m.Head != m.Embed || m.Layers[1].Down.Data == nil {
		t.Errorf("%+v", m.Config)
	}
	headed := os.DirFS(filepath.Join("..", "golden", "encoder", "llama"))
	whole, err := Load(headed)
	if err != nil {
		t.Fatal(err)
	}
	if m, err = LoadBase(headed); err != nil {
		t.Fatal(err)
	}
	if whole.Head == whole.Embed || m.Head != m.Embed || !reflect.DeepEqual(m.Layers, whole.Layers) {
		t.Errorf("the decoder of %+v is not that of %+v", m.Config, whole.Config)
	}
}
