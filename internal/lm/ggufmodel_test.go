package lm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/fault"
)

func loadGGUF(b []byte) (*Model, map[string]any, error) {
	return LoadGGUF(bytes.NewReader(b), int64(len(b)))
}

// TestLoadsReferenceGGUF: the files that the reference wrote hold the models
// of the Hugging Face directories, rows, factors and all.
func TestLoadsReferenceGGUF(t *testing.T) {
	for _, name := range []string{"llama", "qwen2", "qwen3"} {
		want, err := Load(os.DirFS(filepath.Join("..", "golden", name)))
		if err != nil {
			t.Fatal(err)
		}
		have, meta, err := loadGGUF(goldenGGUF(t, name))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(have, want) {
			t.Errorf("%s: the model differs from the directory's; config %+v, want %+v", name, have.Config, want.Config)
		}
		if meta["general.name"] != name {
			t.Errorf("%s: general.name is %v", name, meta["general.name"])
		}
	}
}

func writeGGUF(t *testing.T, m *Model, kind GGUFType, extra map[string]any) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := m.WriteGGUF(&b, kind, extra); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// wide has rows of whole blocks, but for the MLP's.
func wide(architecture string) Config {
	c := config(architecture)
	c.Hidden, c.HeadDim, c.Intermediate = 64, 16, 40
	if architecture == Llama {
		c.RopeScaling = &RopeScaling{Factor: 8, LowFreq: 1, HighFreq: 4, OriginalPositions: 32}
	}
	return c
}

// TestGGUFRoundTrip: what comes back is the model in the precision of the
// file: norms and biases exact, matrices rounded.
func TestGGUFRoundTrip(t *testing.T) {
	for _, a := range architectures {
		for _, kind := range []GGUFType{F16, Q8_0} {
			m, err := New(wide(a), 5)
			if err != nil {
				t.Fatal(err)
			}
			file := writeGGUF(t, m, kind, map[string]any{"general.name": "round"})
			back, meta, err := loadGGUF(file)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(back.Config, m.Config) || meta["general.name"] != "round" {
				t.Errorf("%s %s: config %+v, want %+v", a, kind, back.Config, m.Config)
			}
			for i, want := range m.Tensors() {
				have := back.Tensors()[i]
				stored := ggufSlot{Tensor: want}.stored(kind)
				if narrow := want.Shape[len(want.Shape)-1] == 40; narrow && stored != F16 {
					t.Errorf("%s: stored as %s", want.Name, stored)
				}
				rounded := make([]float32, len(want.Data))
				b, _ := stored.encode(nil, want.Data)
				ggufFormats[stored].decode(rounded, b)
				if !slices.Equal(have.Data, rounded) {
					t.Errorf("%s %s: %s is not the rounded one", a, kind, want.Name)
				}
				if len(want.Shape) == 1 && !slices.Equal(have.Data, want.Data) {
					t.Errorf("%s %s: %s is rounded", a, kind, want.Name)
				}
			}
			if again := writeGGUF(t, m, kind, map[string]any{"general.name": "round"}); !bytes.Equal(file, again) {
				t.Errorf("%s %s: writing twice differs", a, kind)
			}
		}
	}
}

// TestGGUFTokens: ids of special tokens, absent ones, and those that extra
// gives.
func TestGGUFTokens(t *testing.T) {
	c := config(Qwen3)
	c.BOS, c.EOS, c.PAD = NoToken, 2, 3
	m, _ := New(c, 1)
	_, meta, err := loadGGUF(writeGGUF(t, m, F16, nil))
	if _, bos := meta["tokenizer.ggml.bos_token_id"]; err != nil || bos || meta["tokenizer.ggml.eos_token_id"] != uint32(2) {
		t.Errorf("%v, %v", meta, err)
	}
	back, _, err := loadGGUF(writeGGUF(t, m, F16, map[string]any{"tokenizer.ggml.eos_token_id": uint32(9)}))
	if err != nil || back.Config.EOS != 9 || back.Config.PAD != 3 || back.Config.BOS != NoToken {
		t.Errorf("%+v, %v", back, err)
	}
}

func TestWriteGGUFRefuses(t *testing.T) {
	full := errors.New("disk full")
	for name, c := range map[string]struct {
		kind  GGUFType
		spoil func(m *Model)
		extra map[string]any
		want  string
	}{
		"type":         {ggufQ4_0, func(*Model) {}, nil, "Q4_0"},
		"config":       {F16, func(m *Model) { m.Config.Layers = 0 }, nil, "num_hidden_layers"},
		"rope scaling": {F16, func(m *Model) { m.Config.RopeScaling = &RopeScaling{8, 1, 4, 32} }, nil, "rope scaling"},
		"no end":       {F16, func(m *Model) { m.Config.EOS = NoToken }, nil, "eos_token_id"},
		"infinity":     {F16, func(m *Model) { m.Layers[1].K.Data[3] = 1e9 }, nil, `"blk.1.attn_k.weight"`},
		"not a number": {Q8_0, func(m *Model) { m.Layers[0].Down.Data[3] = float32(math.NaN()) }, nil, `"blk.0.ffn_down.weight"`},
		"value":        {F16, func(*Model) {}, map[string]any{"x": 3}, `key "x": a int`},
	} {
		m, _ := New(config(Qwen2), 1)
		c.spoil(m)
		if err := m.WriteGGUF(new(bytes.Buffer), c.kind, c.extra); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want a word of %q", name, err, c.want)
		}
	}
	m, _ := New(config(Qwen2), 1)
	size := len(writeGGUF(t, m, F16, nil))
	for room := 0; room < size; room += 97 {
		if err := m.WriteGGUF(&shortWriter{room, full}, F16, nil); !errors.Is(err, full) {
			t.Fatalf("a disk that is full after %d of %d bytes gives %v", room, size, err)
		}
	}
}

// shortWriter has room for so many bytes.
type shortWriter struct {
	room int
	err  error
}

func (w *shortWriter) Write(b []byte) (int, error) {
	if len(b) > w.room {
		return 0, w.err
	}
	w.room -= len(b)
	return len(b), nil
}

// respell writes a model's file with other metadata: nil removes a key.
func respell(t *testing.T, m *Model, change map[string]any) []byte {
	t.Helper()
	meta := m.Config.ggufMeta(F16)
	for key, v := range change {
		if meta[key] = v; v == nil {
			delete(meta, key)
		}
	}
	slots := m.ggufSlots()
	b, err := ggufHeader(meta, slots, F16)
	if err != nil {
		t.Fatal(err)
	}
	var data bytes.Buffer
	for _, s := range slots {
		if err := s.write(&data, F16); err != nil {
			t.Fatal(err)
		}
	}
	return append(b, data.Bytes()...)
}

func TestGGUFConfigVariants(t *testing.T) {
	c := config(Llama)
	c.KVHeads = c.Heads
	m, _ := New(c, 1)
	if back, _, err := loadGGUF(respell(t, m, nil)); err != nil || !reflect.DeepEqual(back.Config, c) {
		t.Fatalf("%v, %v", back, err)
	}
	for name, change := range map[string]map[string]any{
		"defaults": {"llama.attention.head_count_kv": nil, "llama.attention.key_length": nil, "llama.attention.value_length": nil,
			"llama.rope.dimension_count": nil, "llama.rope.freq_base": nil, "llama.vocab_size": nil, "general.file_type": nil},
		"no scaling":   {"llama.rope.scaling.type": "none", "llama.rope.scaling.factor": float32(1)},
		"zero scaling": {"llama.rope.scaling.factor": float32(0)},
		"dense":        {"llama.expert_count": uint32(0)},
		"causal":       {"llama.attention.causal": true},
	} {
		if back, _, err := loadGGUF(respell(t, m, change)); err != nil || !reflect.DeepEqual(back.Config, c) {
			t.Errorf("%s: %v, %v", name, back, err)
		}
	}
}

func TestLoadGGUFRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change map[string]any
		want   string
	}{
		"architecture":     {map[string]any{"general.architecture": "mamba"}, `"mamba"`},
		"no architecture":  {map[string]any{"general.architecture": nil}, "general.architecture"},
		"a kind of number": {map[string]any{"general.architecture": uint32(1)}, "general.architecture"},
		"no width":         {map[string]any{"llama.embedding_length": nil}, "hidden_size is 0"},
		"no layers":        {map[string]any{"llama.block_count": nil}, "num_hidden_layers"},
		"many layers":      {map[string]any{"llama.block_count": uint32(4000)}, "4000 layers"},
		"huge layers":      {map[string]any{"llama.block_count": uint32(math.MaxUint32)}, "llama.block_count"},
		"more layers":      {map[string]any{"llama.block_count": uint32(3)}, `"blk.2.attn_norm.weight" is missing`},
		"fewer layers":     {map[string]any{"llama.block_count": uint32(1)}, `"blk.1.`},
		"heads by layer":   {map[string]any{"llama.attention.head_count": []int32{4, 4}}, "llama.attention.head_count"},
		"text for a size":  {map[string]any{"llama.context_length": "long"}, "llama.context_length"},
		"no epsilon":       {map[string]any{"llama.attention.layer_norm_rms_epsilon": nil}, "rms_norm_eps"},
		"text for a real":  {map[string]any{"llama.rope.freq_base": "10000"}, "llama.rope.freq_base"},
		"other width":      {map[string]any{"llama.embedding_length": uint32(32)}, "shape"},
		"other MLP":        {map[string]any{"llama.feed_forward_length": uint32(25)}, "shape"},
		"experts":          {map[string]any{"llama.expert_count": uint32(8)}, "expert_count"},
		"partial rotary":   {map[string]any{"llama.rope.dimension_count": uint32(2)}, "rope.dimension_count"},
		"sliding window":   {map[string]any{"llama.attention.sliding_window": uint32(16)}, "sliding_window"},
		"values' width":    {map[string]any{"llama.attention.value_length": uint32(8)}, "value_length"},
		"linear scaling":   {map[string]any{"llama.rope.scaling.factor": float32(4)}, "rope.scaling.factor"},
		"old scaling":      {map[string]any{"llama.rope.scale_linear": float32(2)}, "rope.scale_linear"},
		"bidirectional":    {map[string]any{"llama.attention.causal": false}, "attention.causal"},
		"part of a model":  {map[string]any{"split.count": uint32(2)}, "split.count"},
		"unknown end":      {map[string]any{"tokenizer.ggml.eos_token_id": uint32(30)}, "eos_token_id"},
	} {
		m, _ := New(config(Llama), 1)
		_, _, err := loadGGUF(respell(t, m, c.change))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "gguf: ") {
			t.Errorf("%s: %v, want a word of %q", name, err, c.want)
			continue
		}
		if k := fault.KindOf(err); k != fault.Input && k != fault.Corrupt {
			t.Errorf("%s: error of kind %d: %v", name, k, err)
		}
	}
}

// TestLoadGGUFRefusesTensors that are missing, foreign or cut.
func TestLoadGGUFRefusesTensors(t *testing.T) {
	qwen2, _ := New(config(Qwen2), 1)
	as := func(arch string) []byte { // Qwen2's tensors under another name
		meta := map[string]any{"general.architecture": arch}
		for key, v := range qwen2.Config.ggufMeta(F16) {
			if rest, ok := strings.CutPrefix(key, "qwen2."); ok {
				meta[arch+"."+rest] = v
			}
		}
		return respell(t, qwen2, meta)
	}
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"biases in a llama": {as("llama"), `"blk.0.attn_q.bias" does not belong`},
		"no norms in qwen3": {as("qwen3"), `"blk.0.attn_q_norm.weight" is missing`},
		"cut":               {slices.Clone(as("qwen2")[:5000]), "needs"},
	} {
		if _, _, err := loadGGUF(c.file); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want a word of %q", name, err, c.want)
		}
	}
	// A reader that has less than it said.
	file := as("qwen2")
	if _, _, err := LoadGGUF(bytes.NewReader(file[:len(file)-300]), int64(len(file))); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("a file that shrinks: %v", err)
	}
}

// TestGGUFRopeScaling finds the scaling by its factors, and refuses others.
func TestGGUFRopeScaling(t *testing.T) {
	c := wide(Llama)
	c.HeadDim, c.RopeTheta = 128, 500000
	for _, want := range []RopeScaling{{8, 1, 4, 8192}, {32, 1, 4, 8192}, {2, 1, 4, 1 << 20}} {
		c.RopeScaling = &want
		m, _ := New(c, 1)
		back, _, err := loadGGUF(writeGGUF(t, m, F16, nil))
		if err != nil || !reflect.DeepEqual(back.Config, c) {
			t.Errorf("%+v came back as %+v, %v", want, back, err)
		}
	}
	c.RopeScaling = &RopeScaling{8, 1, 3, 8192}
	m, _ := New(c, 1)
	if _, _, err := loadGGUF(writeGGUF(t, m, F16, nil)); fault.KindOf(err) != fault.Input || !strings.Contains(err.Error(), ggufRopes) {
		t.Errorf("an unknown scaling gives %v", err)
	}
	for _, v := range []float64{0.5, 1.001, -1, math.NaN(), math.Inf(1)} { // the third factor is 1
		m.Config.RopeScaling = &RopeScaling{8, 1, 4, 8192}
		file := writeGGUF(t, m, F16, nil)
		f, err := parse(file)
		if err != nil {
			t.Fatal(err)
		}
		binary.LittleEndian.PutUint32(file[f.byName[ggufRopes].offset+8:], math.Float32bits(float32(v)))
		if _, _, err := loadGGUF(file); fault.KindOf(err) != fault.Input {
			t.Errorf("a factor of %g gives %v", v, err)
		}
	}
}

// TestGGUFMetadataOrder: keys are sorted, so that a file is reproducible and
// begins with its architecture.
func TestGGUFMetadataOrder(t *testing.T) {
	m, _ := New(config(Llama), 1)
	file := writeGGUF(t, m, F16, map[string]any{"tokenizer.ggml.model": "gpt2"})
	at := -1
	for _, key := range slices.Sorted(maps.Keys(m.Config.ggufMeta(F16))) {
		next := bytes.Index(file, []byte(key))
		if next <= at {
			t.Errorf("key %s stands at %d, after %d", key, next, at)
		}
		at = next
	}
}
