// Peers prepares the comparison of gr2 with llama.cpp and transformers; see
// run.sh beside it, which needs them, and docs/interop.md. It is no part of the
// product and of no test.
//
//	peers make OUT        writes tiny models of every architecture and tokenizer
//	peers reference DIR   writes DIR/reference.json: what gr2 makes of the model in
//	                      DIR, and of each GGUF file beside it
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/infer"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/prompt"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/token"
)

const goldenTexts = "internal/golden/token/" // the command runs at the root of the tree

func main() {
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "make":
		err = makeAll(os.Args[2])
	case len(os.Args) == 3 && os.Args[1] == "reference":
		err = reference(os.Args[2])
	default:
		err = fmt.Errorf("usage: peers make OUT | peers reference DIR")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func makeAll(out string) error {
	for _, c := range []struct{ name, architecture, tokenizer string }{
		{"llama-ours", lm.Llama, "ours.json"}, {"llama-llama3", lm.Llama, "llama3.json"},
		{"qwen2-qwen2", lm.Qwen2, "qwen2.json"}, {"qwen3-smollm", lm.Qwen3, "smollm.json"}, {"qwen3-gpt2", lm.Qwen3, "gpt2.json"},
	} {
		if err := makeModel(filepath.Join(out, c.name), c.architecture, c.tokenizer); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

// makeModel writes a Hugging Face directory of random weights, large enough
// that every part of the computation shows in the logits.
func makeModel(dir, architecture, tokenizer string) error {
	tok, err := readTokenizer(goldenTexts + tokenizer)
	if err != nil {
		return err
	}
	end, _ := tok.ID("<|im_end|>")
	pad, _ := tok.ID("<|endoftext|>")
	c := lm.Config{
		Architecture: architecture, VocabSize: (tok.Size() + 63) / 64 * 64,
		Hidden: 128, Layers: 3, Heads: 8, KVHeads: 2, HeadDim: 16, Intermediate: 224, MaxPositions: 1024,
		RopeTheta: 10000, NormEps: 1e-6, TieEmbeddings: architecture != lm.Llama,
		QKNorm: architecture == lm.Qwen3, QKVBias: architecture == lm.Qwen2, BOS: lm.NoToken, EOS: end, PAD: pad,
	}
	switch architecture {
	case lm.Llama:
		c.RopeScaling = &lm.RopeScaling{Factor: 8, LowFreq: 1, HighFreq: 4, OriginalPositions: 128}
	case lm.Qwen3:
		c.HeadDim = 32
	}
	m, err := lm.New(c, 1)
	if err != nil {
		return err
	}
	for _, t := range m.Tensors() {
		r := rng.New(2, rng.Key(t.Name))
		for i := range t.Data {
			if len(t.Shape) == 2 {
				t.Data[i] *= 6
			} else {
				t.Data[i] += 0.3 * float32(r.NormFloat64())
			}
		}
	}
	config, err := tok.ConfigJSON(token.Config{EOS: "<|im_end|>", Pad: "<|endoftext|>", MaxLength: c.MaxPositions, ChatTemplate: prompt.ChatTemplate()})
	if err != nil {
		return err
	}
	create := func(name string, fill func(io.Writer) error) error {
		return durable.Write(filepath.Join(dir, name), fill)
	}
	if err := create("tokenizer.json", tok.Write); err != nil {
		return err
	}
	if err := durable.WriteBytes(filepath.Join(dir, "tokenizer_config.json"), config); err != nil {
		return err
	}
	return m.Save(create)
}

func readTokenizer(path string) (*token.Tokenizer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return token.Read(f)
}

// expected is reference.json.
type expected struct {
	Texts []string           `json:"texts"`
	IDs   [][]int32          `json:"ids"`  // of each text
	Read  []int32            `json:"read"` // one sequence
	Files map[string]outcome `json:"files"`
}

// outcome is what one file makes of Read: the logits behind each token, and a
// greedy continuation. The file "" is the directory itself.
type outcome struct {
	Logits [][]float32 `json:"logits"`
	Greedy []int32     `json:"greedy"`
}

func reference(dir string) error {
	tok, err := readTokenizer(filepath.Join(dir, "tokenizer.json"))
	if err != nil {
		return err
	}
	e := expected{Files: map[string]outcome{}}
	if e.Texts, err = readTexts(); err != nil {
		return err
	}
	for _, text := range e.Texts {
		e.IDs = append(e.IDs, tok.Encode(text))
	}
	e.Read = tok.Encode(strings.Join(e.Texts[:18], "\n"))
	e.Read = e.Read[:min(len(e.Read), 320)]
	model, err := lm.Load(os.DirFS(dir))
	if err != nil {
		return err
	}
	if e.Files[""], err = run(model, e.Read); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.gguf"))
	if err != nil {
		return err
	}
	for _, path := range files {
		if model, err = loadGGUF(path); err != nil {
			return err
		}
		if e.Files[filepath.Base(path)], err = run(model, e.Read); err != nil {
			return err
		}
	}
	return durable.WriteJSON(filepath.Join(dir, "reference.json"), e)
}

func readTexts() ([]string, error) {
	data, err := os.ReadFile(goldenTexts + "golden.json")
	if err != nil {
		return nil, err
	}
	var golden struct {
		Texts []string `json:"texts"`
	}
	err = json.Unmarshal(data, &golden)
	return golden.Texts, err
}

func loadGGUF(path string) (*lm.Model, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	m, _, err := lm.LoadGGUF(f, info.Size())
	return m, err
}

func run(m *lm.Model, tokens []int32) (o outcome, err error) {
	engine, err := infer.New(m)
	if err != nil {
		return o, err
	}
	s := engine.NewSession()
	for i := range tokens {
		logits, err := s.Feed(tokens[i : i+1])
		if err != nil {
			return o, err
		}
		o.Logits = append(o.Logits, append([]float32(nil), logits...))
	}
	out, err := s.Generate(nil, infer.Sampler{}, lm.NoToken, 24)
	o.Greedy = out.Tokens
	return o, err
}
