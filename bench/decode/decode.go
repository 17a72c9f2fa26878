// Package decode compares decoding of the reference decoder with llama.cpp, on
// the GGUF files that gr2 exports, and with Transformers.
package decode

import (
	"context"
	"embed"
	"fmt"
	"io"
	"path/filepath"

	"github.com/gr2/gr2/bench/compare"
	"github.com/gr2/gr2/bench/reference"
	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/infer"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/rng"
)

//go:embed llama.py transformers.py
var source embed.FS

// task is to extend prompts by the most probable tokens. Its fields are what
// peers are told.
type task struct {
	Batch, Prompt, New int
	Shared             bool // all sequences begin with one prompt, which is read once
	Read               bool // reading the prompts counts, else they have been read before
}

func tasks() []task {
	const prompt, fresh = 256, 64
	return []task{
		{1, prompt, fresh, false, false},
		{32, prompt, fresh, false, false},
		{1, prompt, fresh, false, true},
		{32, prompt, fresh, false, true},
		{8, prompt, fresh, true, false},
	}
}

func (t task) name() string {
	name := fmt.Sprintf("batch%d", t.Batch)
	if t.Shared {
		name = fmt.Sprintf("rollouts%d", t.Batch)
	}
	if t.Read {
		name += "+prompt"
	}
	return fmt.Sprintf("%s/%d+%d", name, t.Prompt, t.New)
}

// Suite is what Command bench runs.
func Suite() compare.Suite {
	s := compare.Suite{
		Name: "decode", Unit: "tokens/s",
		Files: writeFiles,
		Peers: []compare.Peer{
			{Name: "llama.cpp-f16", Source: source, Script: "llama.py", Args: []string{"f16"}},
			{Name: "llama.cpp-q8_0", Source: source, Script: "llama.py", Args: []string{"q8_0"}},
			{Name: "transformers-generate", Source: source, Script: "transformers.py", Args: []string{"generate"}},
			{Name: "transformers-loop", Source: source, Script: "transformers.py", Args: []string{"eager"}},
			{Name: "transformers-compile", Source: source, Script: "transformers.py", Args: []string{"compile"}},
		},
	}
	for _, t := range tasks() {
		s.Cases = append(s.Cases, compare.Case{Name: t.name(), Work: float64(t.Batch * t.New), Request: t,
			Prepare: func() func() { return t.prepare(infer.New) },
			Also:    []compare.Way{{Name: "int8", Prepare: func() func() { return t.prepare(infer.NewInt8) }}}})
	}
	return s
}

// writeFiles exports the model for the peers: f16.gguf, q8_0.gguf, and a Hugging
// Face directory's files.
func writeFiles(dir string) error {
	m := reference.Model()
	for name, kind := range map[string]lm.GGUFType{"f16.gguf": lm.F16, "q8_0.gguf": lm.Q8_0} {
		err := durable.Write(filepath.Join(dir, name), func(w io.Writer) error {
			return m.WriteGGUF(w, kind, map[string]any{"tokenizer.ggml.model": "none"})
		})
		if err != nil {
			return err
		}
	}
	return reference.Save(m, dir)
}

// prepare returns a repetition of the task by gr2.
func (t task) prepare(open func(*lm.Model) (*infer.Engine, error)) func() {
	e, err := open(reference.Model())
	must(err)
	prompts := make([][]int32, t.Batch)
	for i := range prompts {
		if t.Shared && i > 0 {
			prompts[i] = prompts[0]
			continue
		}
		r := rng.New(1, rng.Key("bench/decode"), uint64(i))
		for range t.Prompt {
			prompts[i] = append(prompts[i], int32(3+r.IntN(reference.Config.VocabSize-3)))
		}
	}
	read := t.read(e, prompts)
	return func() {
		if t.Read {
			read = t.read(e, prompts)
		}
		requests := make([]infer.Request, t.Batch)
		for i := range requests {
			requests[i] = infer.Request{Session: read[i].Fork(), Stop: -1, Max: t.New}
		}
		_, err := e.GenerateAll(context.Background(), requests)
		must(err)
	}
}

// read is a session for each prompt, which has read it.
func (t task) read(e *infer.Engine, prompts [][]int32) []*infer.Session {
	sessions := make([]*infer.Session, len(prompts))
	for i, p := range prompts {
		if t.Shared && i > 0 {
			sessions[i] = sessions[0]
			continue
		}
		sessions[i] = e.NewSession()
		_, err := sessions[i].Feed(p)
		must(err)
	}
	return sessions
}

// must panics: a constant of this package is wrong.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
