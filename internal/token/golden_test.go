package token

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

var update = flag.Bool("update", false, "rewrite ours.json; then run generate.py beside it")

const goldenDir = "../golden/token"

type golden struct {
	Texts  []string              `json:"texts"`
	IDs    map[string][][]int32  `json:"ids"`
	Chunks map[string][][]string `json:"chunks"` // of the first texts, in the byte alphabet
}

func readGolden(t testing.TB) golden {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(goldenDir, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func open(t testing.TB, name string) *Tokenizer {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(goldenDir, name))
	if err != nil {
		t.Fatal(err)
	}
	tok, err := Read(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return tok
}

// The file we write must not change by itself: models are bound to its ids.
func TestGoldenFile(t *testing.T) {
	var file bytes.Buffer
	tok := trained(t, Options{VocabSize: 400, Required: append(numbers(10, 50), "ranking"), Added: []string{"<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s_a_1>", "<s_a_10>"}, Control: []string{"<|endoftext|>", "<|im_start|>", "<|im_end|>"}})
	if err := tok.Write(&file); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(goldenDir, "ours.json")
	if *update {
		if err := os.WriteFile(path, file.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(file.Bytes(), want) {
		t.Error("training or Write gives another file than ours.json")
	}
}

// Ids must be those of Hugging Face's library, for our files and for theirs.
func TestGoldenIDs(t *testing.T) {
	g := readGolden(t)
	if len(g.IDs) < 5 {
		t.Fatalf("golden.json covers %d files, want 5", len(g.IDs))
	}
	for name, ids := range g.IDs {
		tok := open(t, name)
		for i, text := range g.Texts {
			if got := tok.Encode(text); !slices.Equal(got, ids[i]) {
				t.Errorf("%s, %q:\n got %d\nwant %d", name, text, got, ids[i])
			}
		}
	}
}

// Chunks that happen to give the same ids must be the library's too.
func TestGoldenChunks(t *testing.T) {
	g := readGolden(t)
	for name, texts := range g.Chunks {
		tok := open(t, name)
		for i, want := range texts {
			got := chunks(tok.pattern, g.Texts[i])
			for j := range got {
				got[j] = printable(got[j])
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, %q:\n got %q\nwant %q", name, g.Texts[i], got, want)
			}
		}
	}
}

// Reading and writing any file of the family keeps what it encodes.
func TestGoldenRewrite(t *testing.T) {
	g := readGolden(t)
	for name, ids := range g.IDs {
		var file, again bytes.Buffer
		if err := open(t, name).Write(&file); err != nil {
			t.Fatal(err)
		}
		tok, err := Read(bytes.NewReader(file.Bytes()))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i, text := range g.Texts {
			if got := tok.Encode(text); !slices.Equal(got, ids[i]) {
				t.Errorf("%s rewritten, %q: got %d, want %d", name, text, got, ids[i])
			}
		}
		if err := tok.Write(&again); err != nil || !bytes.Equal(file.Bytes(), again.Bytes()) {
			t.Errorf("%s: writing twice differs (%v)", name, err)
		}
	}
}
