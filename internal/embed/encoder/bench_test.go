package encoder

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/token"
)

// shapes are decoders of the size of small sentence encoders: 6 layers of width
// 384 (MiniLM), and SmolLM2-135M. Their weights are random.
var shapes = map[string]lm.Config{
	"11M": {Architecture: lm.Llama, Hidden: 384, Layers: 6, Heads: 12, KVHeads: 12, HeadDim: 32, Intermediate: 1024},
	"135M": {Architecture: lm.Llama, Hidden: 576, Layers: 30, Heads: 9, KVHeads: 3, HeadDim: 64, Intermediate: 1536,
		VocabSize: 49152},
}

// BenchmarkEmbed embeds texts of 8 to 60 pairs of a word and a number.
func BenchmarkEmbed(b *testing.B) {
	texts := make([]string, 256)
	for i := range texts {
		r := rng.New(3, uint64(i))
		for range 8 + r.IntN(53) {
			texts[i] += fmt.Sprint([]string{"nail", "polish", "cream", "shampoo", "brush", "no", "oz"}[r.IntN(7)], " ", r.IntN(40), " ")
		}
	}
	for _, name := range []string{"11M", "135M"} {
		b.Run(name, func(b *testing.B) {
			dir := b.TempDir()
			writeEncoder(b, dir, shapes[name], texts)
			e, err := Open(dir, Options{Pooling: Mean})
			if err != nil {
				b.Fatal(err)
			}
			some := texts
			if name != "11M" {
				some = texts[:64]
			}
			tokens := 0
			for _, t := range some {
				tokens += len(e.tokens(t))
			}
			for b.Loop() {
				if _, err := e.Embed(b.Context(), some); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(some)*b.N)/b.Elapsed().Seconds(), "texts/s")
			b.ReportMetric(float64(tokens*b.N)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}

// writeEncoder writes a random decoder with a tokenizer trained on texts.
func writeEncoder(b *testing.B, dir string, cfg lm.Config, texts []string) {
	b.Helper()
	tok, err := token.Train(slices.Values(texts), token.Options{VocabSize: 1024})
	if err != nil {
		b.Fatal(err)
	}
	cfg.VocabSize = max(cfg.VocabSize, tok.Size())
	cfg.MaxPositions, cfg.RopeTheta, cfg.NormEps = 512, 1e4, 1e-5
	cfg.BOS, cfg.EOS, cfg.PAD = lm.NoToken, lm.NoToken, lm.NoToken
	m, err := lm.New(cfg, 1)
	if err != nil {
		b.Fatal(err)
	}
	create := func(name string, fill func(io.Writer) error) error {
		return durable.Write(filepath.Join(dir, name), fill)
	}
	if err := m.Save(create); err != nil {
		b.Fatal(err)
	}
	if err := create("tokenizer.json", tok.Write); err != nil {
		b.Fatal(err)
	}
}
