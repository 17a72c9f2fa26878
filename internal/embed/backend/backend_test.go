package backend

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/token"
)

var texts = []string{"red lipstick", "nail polish red", "shampoo for dry hair", "hair conditioner", "", "lipstick pencil", "dry shampoo"}

// letters serves embeddings by the counts of letters, and counts the texts.
func letters(t *testing.T, asked *atomic.Int64) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			http.Error(w, `{"error": {"message": "no key"}}`, http.StatusUnauthorized)
			return
		}
		var req struct{ Input []string }
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			t.Error(err)
		}
		asked.Add(int64(len(req.Input)))
		var data []map[string]any
		for i, s := range req.Input {
			v := make([]float64, 4)
			for j := range s {
				v[s[j]%4]++
			}
			data = append(data, map[string]any{"index": i, "embedding": v})
		}
		json.NewEncoder(w).Encode(map[string]any{"data": data})
	}))
	t.Cleanup(server.Close)
	return server.URL + "/v1"
}

// encoderDir is a directory with a tiny decoder and a tokenizer of its own.
func encoderDir(t *testing.T, seed uint64) string {
	t.Helper()
	dir := t.TempDir()
	tok, err := token.Train(slices.Values(texts), token.Options{VocabSize: 300})
	if err != nil {
		t.Fatal(err)
	}
	m, err := lm.New(lm.Config{Architecture: lm.Llama, VocabSize: tok.Size(), Hidden: 16, Layers: 2, Heads: 2, KVHeads: 1, HeadDim: 8,
		Intermediate: 24, MaxPositions: 32, RopeTheta: 1e4, NormEps: 1e-5, BOS: lm.NoToken, EOS: lm.NoToken, PAD: lm.NoToken}, seed)
	if err != nil {
		t.Fatal(err)
	}
	create := func(name string, fill func(io.Writer) error) error {
		return durable.Write(filepath.Join(dir, name), fill)
	}
	if err := m.Save(create); err != nil {
		t.Fatal(err)
	}
	if err := create("tokenizer.json", tok.Write); err != nil {
		t.Fatal(err)
	}
	return dir
}

func vectors(t *testing.T, e embed.Embedder) []float32 {
	t.Helper()
	m, err := e.Embed(t.Context(), texts)
	if err != nil {
		t.Fatal(err)
	}
	return m.Data
}

// An embedder of any kind comes back from its folder as it was.
func TestSaveAndLoad(t *testing.T) {
	t.Setenv("TEST_KEY", "secret")
	var asked atomic.Int64
	for _, o := range []Options{
		{},
		{Kind: LSA, Dim: 2},
		{Kind: HF, Path: encoderDir(t, 1), Pooling: "mean", Dim: 12, MaxTokens: 9, Prefix: "item: "},
		{Kind: OpenAI, URL: letters(t, &asked), Model: "letters", KeyEnv: "TEST_KEY", Prefix: "item: ", Batch: 2},
	} {
		t.Run(o.Kind, func(t *testing.T) {
			o.Cache = t.TempDir()
			m, err := Open(t.Context(), o, slices.Values(texts), 7)
			if err != nil {
				t.Fatal(err)
			}
			want, dir := vectors(t, m), t.TempDir()
			if len(want) != len(texts)*m.Dim() {
				t.Fatalf("%d numbers for %d texts of length %d", len(want), len(texts), m.Dim())
			}
			if err := m.Save(dir); err != nil {
				t.Fatal(err)
			}
			m.Close()
			before := asked.Load()
			back, err := Load(dir, o.Cache)
			if err != nil {
				t.Fatal(err)
			}
			defer back.Close()
			if back.Name() != m.Name() || back.Dim() != m.Dim() || !slices.Equal(vectors(t, back), want) {
				t.Errorf("%s came back as %s with other vectors", m.Name(), back.Name())
			}
			if asked.Load() != before {
				t.Error("the endpoint was asked for what the cache holds")
			}
			if hits, misses := back.Cached(); o.Kind != LSA && o.Kind != "" && (hits != int64(len(texts)) || misses != 0) {
				t.Errorf("%d hits and %d misses after the way over the disk", hits, misses)
			}
		})
	}
}

func TestKeyIsNotStored(t *testing.T) {
	t.Setenv("TEST_KEY", "secret")
	var asked atomic.Int64
	o := Options{Kind: OpenAI, URL: letters(t, &asked), Model: "letters", KeyEnv: "TEST_KEY"}
	m, err := Open(t.Context(), o, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := m.Save(dir); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, cardFile))
	if err != nil || strings.Contains(string(b), "secret") || !strings.Contains(string(b), "TEST_KEY") {
		t.Errorf("%v: %s", err, b)
	}
	t.Setenv("TEST_KEY", "")
	if _, err := Load(dir, ""); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "TEST_KEY") {
		t.Errorf("without the key: %v", err)
	}
	t.Setenv("TEST_KEY", "wrong")
	_, err = Open(t.Context(), o, nil, 0)
	if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "no key") || strings.Contains(err.Error(), "wrong") {
		t.Errorf("with a wrong key: %v", err)
	}
}

// A model that is another one by now is refused, and so is a damaged folder.
func TestChangedModelIsRefused(t *testing.T) {
	o := Options{Kind: HF, Path: encoderDir(t, 1), Pooling: "last"}
	m, err := Open(t.Context(), o, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := m.Save(dir); err != nil {
		t.Fatal(err)
	}
	other := encoderDir(t, 2)
	b, err := os.ReadFile(filepath.Join(other, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.Path, "model.safetensors"), b, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir, ""); fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), dir) {
		t.Errorf("other weights: %v", err)
	}
	card := filepath.Join(dir, cardFile)
	good, err := os.ReadFile(card)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "{", strings.Replace(string(good), format, "other", 1),
		strings.Replace(string(good), `"hf"`, `"xx"`, 1), strings.Replace(string(good), `"dim"`, `"dam"`, 1)} {
		if err := os.WriteFile(card, []byte(bad), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir, ""); fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), card) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestWrongOptionsAreNamed(t *testing.T) {
	for want, o := range map[string]Options{
		`embed.kind is "bert"`:                       {Kind: "bert"},
		"embed.dim is 5000; use 0 to 4096":           {Dim: 5000},
		"embed.dim is -1":                            {Kind: HF, Path: "x", Dim: -1},
		"embed.path is empty":                        {Kind: HF},
		`embed.path is "x" and embed.kind is lsa`:    {Path: "x"},
		`embed.url is "http://h" and embed.kind is `: {Kind: HF, Path: "x", URL: "http://h"},
		"embed.url is empty":                         {Kind: OpenAI, Model: "m"},
		"embed.model is empty":                       {Kind: OpenAI, URL: "http://h"},
		"embed.pooling is":                           {Kind: HF, Path: "x", Pooling: "cls"},
		"embed.max_tokens is -1":                     {Kind: HF, Path: "x", MaxTokens: -1},
		"embed.prefix is":                            {Prefix: "x"},
		"url is no http or https URL":                {Kind: OpenAI, URL: "localhost:8000", Model: "m"},
		"carries a user":                             {Kind: OpenAI, URL: "http://me:secret@h/v1", Model: "m"},
		"batch -1":                                   {Kind: OpenAI, URL: "http://h", Model: "m", Batch: -1},
		"timeout -1s":                                {Kind: OpenAI, URL: "http://h", Model: "m", Timeout: -1},
	} {
		err := o.Validate()
		if fault.KindOf(err) != fault.Usage || !strings.Contains(fmt.Sprint(err), want) || strings.Contains(fmt.Sprint(err), "secret") {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
		if _, err := Open(context.Background(), o, nil, 0); err == nil {
			t.Errorf("%+v was opened", o)
		}
	}
}

// The mark follows what changes vectors and nothing else: not where a directory
// stands, how an endpoint is asked, or where vectors are cached.
func TestMark(t *testing.T) {
	mark := func(o Options) string {
		t.Helper()
		m, err := o.Mark()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	o := Options{Kind: OpenAI, URL: "http://h", Model: "m", Dim: 3, Prefix: "p"}
	same := o
	same.KeyEnv, same.Batch, same.Concurrency, same.Timeout, same.Retries, same.Cache = "K", 3, 9, 1, 2, "folder"
	if mark(o) != mark(same) {
		t.Errorf("%+v and %+v differ", o, same)
	}
	here, there := encoderDir(t, 1), encoderDir(t, 1)
	hf := Options{Kind: HF, Path: here, Pooling: "mean"}
	if mark(hf) != mark(Options{Kind: HF, Path: there, Pooling: "mean", Cache: "x"}) {
		t.Error("the place of a directory is part of the mark")
	}
	if mark(Options{}) != mark(Options{Kind: LSA}) {
		t.Error("the default has another mark than nothing")
	}
	seen := map[string]Options{}
	for _, other := range []Options{
		{}, {Dim: 2}, o, hf,
		{Kind: OpenAI, URL: "http://i", Model: "m", Dim: 3, Prefix: "p"}, {Kind: OpenAI, URL: "http://h", Model: "n", Dim: 3, Prefix: "p"},
		{Kind: OpenAI, URL: "http://h", Model: "m", Dim: 4, Prefix: "p"}, {Kind: OpenAI, URL: "http://h", Model: "m", Dim: 3, Prefix: "q"},
		{Kind: HF, Path: here, Pooling: "last"}, {Kind: HF, Path: here, Pooling: "mean", MaxTokens: 5},
		{Kind: HF, Path: here, Pooling: "mean", Prefix: "p"}, {Kind: HF, Path: encoderDir(t, 2), Pooling: "mean"},
	} {
		if twin, ok := seen[mark(other)]; ok {
			t.Errorf("%+v and %+v have one mark", other, twin)
		}
		seen[mark(other)] = other
	}
	for _, path := range []string{t.TempDir(), here + "/missing", here} { // the last has no pooling
		_, err := Options{Kind: HF, Path: path}.Mark()
		if k := fault.KindOf(err); k != fault.Input && k != fault.Usage || !strings.Contains(fmt.Sprint(err), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
