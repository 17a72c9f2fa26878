package nn

import (
	"fmt"
	"testing"

	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/rng"
)

// referenceConfig is the decoder whose speed docs/ quotes.
func referenceConfig() lm.Config {
	return lm.Config{
		Architecture: lm.Llama, VocabSize: 4096, Hidden: 256, Layers: 4, Heads: 4, KVHeads: 4, HeadDim: 64,
		Intermediate: 768, MaxPositions: 1024, RopeTheta: 10000, NormEps: 1e-6, TieEmbeddings: true,
		BOS: lm.NoToken, EOS: lm.NoToken, PAD: lm.NoToken,
	}
}

// packed is a batch of random documents; every token but the last of each
// document has a target, of weight 1 for the share that counts.
func packed(vocab int, lengths []int, share float64) *Batch {
	r := rng.New(1, rng.Key("packed"))
	b := new(Batch)
	for _, n := range lengths {
		b.Docs = append(b.Docs, int32(len(b.Tokens)))
		for i := range n {
			b.Tokens = append(b.Tokens, int32(r.IntN(vocab)))
			b.Pos = append(b.Pos, int32(i))
			b.Targets = append(b.Targets, -1)
			b.Weights = append(b.Weights, 0)
			if at := len(b.Tokens) - 2; i > 0 {
				b.Targets[at] = b.Tokens[at+1]
				if r.Float64() < share {
					b.Weights[at] = 1
				}
			}
		}
	}
	return b
}

func repeat(n, times int) []int {
	out := make([]int, times)
	for i := range out {
		out[i] = n
	}
	return out
}

// BenchmarkAttention is forward and backward of four heads of 64 over documents
// of one length.
func BenchmarkAttention(b *testing.B) {
	const heads, dim = 4, 64
	for _, c := range []struct{ length, docs, kvHeads int }{
		{16, 128, 4}, {64, 32, 4}, {128, 16, 4}, {256, 8, 4}, {256, 8, 1}, {512, 4, 4}, {2048, 1, 4}, {4096, 1, 4},
	} {
		b.Run(fmt.Sprintf("%dx%d-kv%d", c.docs, c.length, c.kvHeads), func(b *testing.B) {
			rows := c.length * c.docs
			q, k, v := NewParam("q", rows, heads*dim), NewParam("k", rows, c.kvHeads*dim), NewParam("v", rows, c.kvHeads*dim)
			r := rng.New(1)
			for _, p := range []*Param{q, k, v} {
				for i := range p.Value {
					p.Value[i] = float32(r.NormFloat64())
				}
			}
			var docs []int32
			for i := range c.docs {
				docs = append(docs, int32(i*c.length))
			}
			tape := NewTape()
			b.ReportAllocs()
			for b.Loop() {
				tape.Reset()
				y := tape.Attention(tape.Leaf(q), tape.Leaf(k), tape.Leaf(v), heads, c.kvHeads, docs)
				fillOnes(y.Grad)
				*y.written = true
				tape.unwind(0)
			}
		})
	}
}

// BenchmarkTrainStep is a whole training step: forward, backward, clipping,
// AdamW.
func BenchmarkTrainStep(b *testing.B) {
	for _, c := range []struct {
		name    string
		config  lm.Config
		lengths []int
		share   float64
	}{
		{"8x256", referenceConfig(), repeat(256, 8), 1},
		{"4x500-answers", referenceConfig(), repeat(500, 4), 0.06},
		{"30M-4x512", middleConfig(), repeat(512, 4), 1},
	} {
		b.Run(c.name, func(b *testing.B) {
			benchmarkStep(b, c.config, packed(c.config.VocabSize, c.lengths, c.share), false)
		})
		b.Run(c.name+"-bf16", func(b *testing.B) {
			benchmarkStep(b, c.config, packed(c.config.VocabSize, c.lengths, c.share), true)
		})
	}
}

// middleConfig has 30 million parameters.
func middleConfig() lm.Config {
	c := referenceConfig()
	c.Hidden, c.Layers, c.Heads, c.KVHeads, c.Intermediate, c.VocabSize = 512, 8, 8, 8, 1536, 8192
	return c
}

// BenchmarkRLStep is a training step on eight rollouts of 48 tokens below one
// prompt of 256, with the prompt once and with a copy for each.
func BenchmarkRLStep(b *testing.B) {
	const prompt, branches, rollout = 256, 8, 48
	c := referenceConfig()
	r := rng.New(1, rng.Key("rollouts"))
	f := forest{parents: []int{-1}, tokens: [][]int32{make([]int32, prompt)}, weights: [][]float32{make([]float32, prompt)}}
	for range branches {
		weights := make([]float32, rollout)
		fillOnes(weights)
		f.parents, f.tokens, f.weights = append(f.parents, 0), append(f.tokens, make([]int32, rollout)), append(f.weights, weights)
	}
	for _, tokens := range f.tokens {
		for i := range tokens {
			tokens[i] = int32(r.IntN(c.VocabSize))
		}
	}
	b.Run("shared", func(b *testing.B) { benchmarkStep(b, c, f.shared(), false) })
	b.Run("unshared", func(b *testing.B) { benchmarkStep(b, c, f.unshared(r), false) })
}

func benchmarkStep(b *testing.B, c lm.Config, batch *Batch, narrow bool) {
	m, err := lm.New(c, 1)
	if err != nil {
		b.Fatal(err)
	}
	d, tape := NewDecoder(m), NewTape()
	tape.BF16 = narrow
	adam := NewAdamW(d.Params(), AdamWOptions{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1})
	step := func() {
		tape.Reset()
		tape.Backward(d.Loss(tape, batch, float32(len(batch.Tokens))))
		adam.ClippedStep(1e-3, 1)
	}
	step() // gathers the memory, which the second step finds in one piece
	step()
	b.ReportAllocs()
	for b.Loop() {
		step()
	}
	b.ReportMetric(float64(len(batch.Tokens)*b.N)/b.Elapsed().Seconds(), "tokens/s")
}

// BenchmarkSASRecStep is a training step of the sequential baseline: 1,024
// tokens of short histories, in-batch positives and 1,024 negatives over a
// catalog of 12,000 items.
func BenchmarkSASRecStep(b *testing.B) {
	const items, dim, heads, tokens = 12000, 64, 2, 1024
	r := rng.New(1, rng.Key("sasrec"))
	random := func(name string, rows, cols int) *Param {
		p := NewParam(name, rows, cols)
		for i := range p.Value {
			p.Value[i] = float32(0.1 * r.NormFloat64())
		}
		return p
	}
	table := random("items", items, dim)
	params := []*Param{table}
	square := func() *Param {
		params = append(params, random("w", dim, dim))
		return params[len(params)-1]
	}
	gain, bias := random("gain", 1, dim), random("bias", 1, dim)
	var w [2][6]*Param
	for i := range w {
		for j := range w[i] {
			w[i][j] = square()
		}
	}
	var ids, targets, negatives, docs []int32
	for i := range tokens {
		if i%9 == 0 {
			docs = append(docs, int32(i))
		}
		ids = append(ids, int32(r.IntN(items)))
		targets = append(targets, int32(r.IntN(items)))
		negatives = append(negatives, int32(r.IntN(items)))
	}
	tape, adam := NewTape(), NewAdamW(params, AdamWOptions{Beta1: 0.9, Beta2: 0.98, Eps: 1e-8})
	b.ReportAllocs()
	for b.Loop() {
		tape.Reset()
		x := tape.Embed(table, ids)
		for _, w := range w {
			h := tape.LayerNorm(x, gain, bias, 1e-6)
			a := tape.Attention(tape.Linear(h, w[0], nil), tape.Linear(h, w[1], nil), tape.Linear(h, w[2], nil), heads, heads, docs)
			x = tape.Add(x, tape.Dropout(tape.Linear(a, w[3], nil), 0.5, r))
			h = tape.ReLU(tape.Linear(tape.LayerNorm(x, gain, bias, 1e-6), w[4], nil))
			x = tape.Add(x, tape.Dropout(tape.Linear(h, w[5], nil), 0.5, r))
		}
		tape.Backward(tape.SampledSoftmax(x, table, nil, targets, negatives, nil))
		adam.Step(1e-3)
	}
	b.ReportMetric(tokens*float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
}
