// Package reference has the model that the suites measure.
package reference

import (
	"io"
	"path/filepath"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/lm"
)

// Config is the reference decoder, of 4.2 million parameters. llama.cpp wants to
// know an end; nobody heeds it.
var Config = lm.Config{Architecture: lm.Llama, VocabSize: 4096, Hidden: 256, Layers: 4, Heads: 4, KVHeads: 4, HeadDim: 64,
	Intermediate: 768, MaxPositions: 2048, RopeTheta: 1e4, NormEps: 1e-5, TieEmbeddings: true, BOS: 1, EOS: 2, PAD: lm.NoToken}

// Model is the reference decoder with random weights. It panics where Config is
// wrong.
func Model() *lm.Model {
	m, err := lm.New(Config, 1)
	if err != nil {
		panic(err)
	}
	return m
}

// Save writes the files of a Hugging Face directory.
func Save(m *lm.Model, dir string) error {
	return m.Save(func(name string, fill func(io.Writer) error) error {
		return durable.Write(filepath.Join(dir, name), fill)
	})
}
