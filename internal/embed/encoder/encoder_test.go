package encoder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/kernel"
)

const goldenDir = "../../golden/encoder"

type golden struct {
	Texts   []string               `json:"texts"`
	Vectors map[string][][]float64 `json:"vectors"`
}

func readGolden(t testing.TB) (g golden) {
	t.Helper()
	b, err := os.ReadFile(goldenDir + "/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func opened(t testing.TB, name string, opt Options) *Encoder {
	t.Helper()
	e, err := Open(goldenDir+"/"+name, opt)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func embedded(t testing.TB, e *Encoder, texts ...string) embed.Matrix {
	t.Helper()
	m, err := e.Embed(t.Context(), texts)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The vectors are those of transformers: pooling, special tokens, default prompt,
// limit of tokens, weights named with and without a prefix, texts of one to
// hundreds of tokens.
func TestGolden(t *testing.T) {
	g := readGolden(t)
	for name, want := range g.Vectors {
		e := opened(t, name, Options{})
		got := embedded(t, e, g.Texts...)
		for i, row := range want {
			for j, x := range row {
				if d := math.Abs(float64(got.Row(i)[j]) - x); !(d < 2e-5) {
					t.Fatalf("%s, %.30q: column %d is %v, want %v", name, g.Texts[i], j, got.Row(i)[j], x)
				}
			}
		}
		if e.Cut() == 0 {
			t.Errorf("%s: no text was as long as the limit of %d tokens", name, e.MaxTokens())
		}
	}
}

// A text has one vector to the bit: alone or in company, on any number of threads.
func TestATextHasOneVector(t *testing.T) {
	texts := slices.Concat(readGolden(t).Texts, []string{"", "soap", "soap dish", strings.Repeat("brush and comb ", 9)})
	for i := range 60 {
		texts = append(texts, strings.Repeat(fmt.Sprint("comb ", i, " "), i))
	}
	for _, name := range []string{"qwen3", "llama"} {
		e := opened(t, name, Options{})
		all := embedded(t, e, texts...)
		for i, text := range texts {
			if alone := embedded(t, e, text); !slices.Equal(alone.Data, all.Row(i)) {
				t.Fatalf("%s, text %d alone has another vector", name, i)
			}
			if norm := kernel.Dot(all.Row(i), all.Row(i)); strings.TrimSpace(text) == "" && norm != 0 || strings.TrimSpace(text) != "" && math.Abs(float64(norm)-1) > 1e-5 {
				t.Errorf("%s, text %d has squared length %v", name, i, norm)
			}
		}
		defer kernel.SetThreads(kernel.Threads())
		kernel.SetThreads(1)
		if got := embedded(t, e, texts...); !slices.Equal(got.Data, all.Data) {
			t.Errorf("%s: the vectors depend on the number of threads", name)
		}
		kernel.SetThreads(0)
	}
}

func TestOptionsChangeVectorsAndName(t *testing.T) {
	text := strings.Repeat("red nail polish ", 30)
	names := map[string]Options{}
	var plain embed.Matrix
	for _, o := range []Options{{}, {Pooling: Mean}, {Prefix: "item: "}, {MaxTokens: 9}, {Dim: 5}} {
		e := opened(t, "qwen3", o)
		if other, ok := names[e.Name()]; ok {
			t.Errorf("%+v and %+v are both %s", o, other, e.Name())
		}
		names[e.Name()] = o
		got := embedded(t, e, text)
		if plain.Data == nil {
			plain = got
		} else if got.Cols != e.Dim() || slices.Equal(got.Data, plain.Data[:got.Cols]) {
			t.Errorf("%+v changes no vector", o)
		}
	}
	// The leading columns, scaled anew.
	short := embedded(t, opened(t, "qwen3", Options{Dim: 5}), text)
	scale := short.Data[0] / plain.Data[0]
	for j, x := range short.Data {
		if math.Abs(float64(x-scale*plain.Data[j])) > 1e-6 {
			t.Errorf("column %d is %v, want %v times %v", j, x, scale, plain.Data[j])
		}
	}
	if same := opened(t, "qwen3", Options{Pooling: Last}); names[same.Name()] != (Options{}) {
		t.Error("the directory's own pooling, given, has another name")
	}
}

// What looks like a special token in a text is text.
func TestTextsCannotForgeTokens(t *testing.T) {
	e := opened(t, "llama", Options{})
	ids := e.tokens("<|endoftext|>")
	if len(ids) < 5 || ids[0] != e.before[0] || slices.Contains(ids[1:len(ids)-2], e.after[1]) {
		t.Errorf("tokens %v between %v and %v", ids, e.before, e.after)
	}
}

func TestEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := opened(t, "qwen3", Options{}).Embed(ctx, []string{"soap"}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// Directories and options that cannot be served are refused, each by the file or
// field at fault.
func TestWhatIsNotSupportedIsRefused(t *testing.T) {
	pooling := func(mode string) map[string]string {
		return map[string]string{"1_Pooling/config.json": `{"pooling_mode_` + mode + `": true}`}
	}
	for want, c := range map[string]struct {
		files map[string]string // that replace those of qwen3; empty removes one
		opt   Options
	}{
		`1_Pooling/config.json: pooling ["cls_token"]`: {files: pooling("cls_token")},
		`pooling ["lasttoken" "mean_tokens"]`: {files: map[string]string{
			"1_Pooling/config.json": `{"pooling_mode_mean_tokens": true, "pooling_mode_lasttoken": true}`}},
		"there is no 1_Pooling/config.json":          {files: map[string]string{"1_Pooling/config.json": ""}},
		"1_Pooling/config.json: unexpected end":      {files: map[string]string{"1_Pooling/config.json": "{"}},
		`modules.json: module 1 of type "x.y.Dense"`: {files: map[string]string{"modules.json": `[{"type": "Transformer"}, {"type": "x.y.Dense"}]`}},
		`leads out of the directory`:                 {files: map[string]string{"modules.json": `[{"type": "Transformer", "path": "../.."}]`}},
		"do_lower_case":                              {files: map[string]string{"sentence_bert_config.json": `{"do_lower_case": true}`}},
		`default_prompt_name is "query"`:             {files: map[string]string{"config_sentence_transformers.json": `{"default_prompt_name": "query"}`}},
		"include_prompt is false": {files: map[string]string{
			"1_Pooling/config.json": `{"pooling_mode_mean_tokens": true, "include_prompt": false}`}},
		"tokenizer.json": {files: map[string]string{"tokenizer.json": ""}},
		"is_causal":      {files: map[string]string{"config.json": `{"architectures": ["Qwen3Model"], "hidden_act": "silu", "is_causal": false}`}},
		`"BertForCausalLM" is not supported`: {files: map[string]string{
			"config.json": `{"architectures": ["BertModel"], "hidden_act": "silu", "vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 4, "max_position_embeddings": 9}`}},
		"model.safetensors":                   {files: map[string]string{"model.safetensors": ""}},
		"dim is 17; the model's vectors have": {opt: Options{Dim: 17}},
		"max_tokens is 701":                   {opt: Options{MaxTokens: 701}},
		"max_tokens is 1; with the special":   {opt: Options{MaxTokens: 1}},
		`pooling is "cls"`:                    {opt: Options{Pooling: "cls"}},
	} {
		dir := fstest.MapFS{}
		err := fs.WalkDir(os.DirFS(goldenDir+"/qwen3"), ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(goldenDir + "/qwen3/" + path)
			dir[path] = &fstest.MapFile{Data: b}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for name, content := range c.files {
			if delete(dir, name); content != "" {
				dir[name] = &fstest.MapFile{Data: []byte(content)}
			}
		}
		_, err = open(dir, c.opt)
		if k := fault.KindOf(err); !strings.Contains(fmt.Sprint(err), want) || k != fault.Input && k != fault.Usage {
			t.Errorf("error %v of kind %d, want %q", err, k, want)
		}
	}
}

// A damaged tokenizer or other weights change the name, a file that nobody reads
// does not.
func TestNameFollowsTheFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(goldenDir+"/qwen3")); err != nil {
		t.Fatal(err)
	}
	name := func() string {
		t.Helper()
		e, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return e.Name()
	}
	before := name()
	if before != opened(t, "qwen3", Options{}).Name() {
		t.Error("the place of the directory is part of the name")
	}
	if err := os.WriteFile(dir+"/README.md", []byte("read me"), 0o644); err != nil {
		t.Fatal(err)
	}
	if name() != before {
		t.Error("a file that is not read is part of the name")
	}
	weights, err := os.ReadFile(dir + "/model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	weights[len(weights)-2] ^= 1
	if err := os.WriteFile(dir+"/model.safetensors", weights, 0o644); err != nil {
		t.Fatal(err)
	}
	if name() == before {
		t.Error("other weights have the same name")
	}
}
