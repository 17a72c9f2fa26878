package infer_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/infer"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/rng"
)

// small is the decoder that the design measures: d=256, 4 layers, 4 heads.
var small = lm.Config{Architecture: lm.Llama, VocabSize: 4096, Hidden: 256, Layers: 4, Heads: 4, KVHeads: 4, HeadDim: 64,
	Intermediate: 768, MaxPositions: 2048, RopeTheta: 1e4, NormEps: 1e-5, TieEmbeddings: true}

func BenchmarkPrefill(b *testing.B) {
	e := newEngine(b, newModel(b, small))
	for _, n := range []int{16, 128, 512, 1024} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, ids := e.NewSession(), tokens(small, n, 1)
			b.ReportAllocs()
			for b.Loop() {
				s.Truncate(0)
				feed(b, s, ids)
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	e := newEngine(b, newModel(b, small))
	for _, context := range []int{1, 512} {
		b.Run(fmt.Sprintf("after%d", context), func(b *testing.B) {
			s := e.NewSession()
			feed(b, s, tokens(small, context, 1))
			one := []int32{7}
			b.ReportAllocs()
			for b.Loop() {
				s.Truncate(context)
				if _, err := s.Feed(one); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}

// BenchmarkGenerate decodes 64 new tokens behind prompts of 256, read before the
// clock runs: prompts of their own, or rollouts of one prompt; at once, or one
// after the other.
func BenchmarkGenerate(b *testing.B) {
	e := newEngine(b, newModel(b, small))
	for _, c := range []struct {
		name              string
		sequences         int
		onePrompt, atOnce bool
	}{
		{"batch1", 1, false, true},
		{"batch32", 32, false, true},
		{"batch32/apart", 32, false, false},
		{"rollouts8", 8, true, true},
		{"rollouts8/apart", 8, true, false},
		{"rollouts32", 32, true, true},
	} {
		b.Run(c.name, func(b *testing.B) {
			var prompts []*infer.Session
			for i := range c.sequences {
				if i > 0 && c.onePrompt {
					prompts = append(prompts, prompts[0])
					continue
				}
				s := e.NewSession()
				feed(b, s, tokens(small, 256, uint64(i)))
				prompts = append(prompts, s)
			}
			const newTokens = 64
			b.ReportAllocs()
			for b.Loop() {
				requests := make([]infer.Request, c.sequences)
				for i := range requests {
					requests[i] = infer.Request{Session: prompts[i].Fork(), Stop: -1, Max: newTokens,
						Sampler: infer.Sampler{Temperature: 1, Rand: rng.New(uint64(i))}}
				}
				generate(b, e, requests, c.atOnce)
			}
			b.ReportMetric(float64(b.N*c.sequences*newTokens)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}

func generate(b *testing.B, e *infer.Engine, requests []infer.Request, atOnce bool) {
	size := 1
	if atOnce {
		size = len(requests)
	}
	for some := range slices.Chunk(requests, size) {
		if _, err := e.GenerateAll(b.Context(), some); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkJudge is a slate of 20 candidates with 24 tokens each behind a
// preamble of 120: what a judging policy reads.
func BenchmarkJudge(b *testing.B) {
	s, ids := newEngine(b, newModel(b, small)).NewSession(), tokens(small, 600, 1)
	var at []int
	for i := range 20 {
		at = append(at, 120+24*i+23)
	}
	b.ReportAllocs()
	for b.Loop() {
		s.Truncate(0)
		if _, err := s.Judge(ids, at, []int32{3, 4}, 0); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()*1e3/float64(b.N), "ms/slate")
}

// BenchmarkFork is a fork with the copy of its last page.
func BenchmarkFork(b *testing.B) {
	s := newEngine(b, newModel(b, small)).NewSession()
	feed(b, s, tokens(small, 500, 1))
	var fork *infer.Session
	for b.Loop() {
		fork = s.Fork()
	}
	_ = fork
}

// BenchmarkBeam finds the best sequences of a catalog of 10,000 behind
// histories of 8 items, for 64 users at a time.
func BenchmarkBeam(b *testing.B) {
	e := newEngine(b, newModel(b, small))
	trie := catalog(10000)
	var requests []infer.BeamRequest
	for i := range 64 {
		requests = append(requests, infer.BeamRequest{Session: session(b, e, tokens(small, 33, uint64(i))), Trie: trie, Width: 32})
	}
	for b.Loop() {
		beamOf(b, e, requests...)
	}
	b.ReportMetric(b.Elapsed().Seconds()*1e3/float64(b.N*len(requests)), "ms/user")
}

// catalog is a trie of n random sequences of 4 tokens of 256.
func catalog(n int) *tree {
	r := rng.New(1)
	t := &tree{tokens: [][]int32{nil}, nodes: [][]int32{nil}, parents: []int32{-1}}
	for range n {
		node := int32(0)
		for range 4 {
			token := int32(r.IntN(256))
			at := slices.Index(t.tokens[node], token)
			if at < 0 {
				at = len(t.nodes[node])
				t.tokens[node], t.nodes[node] = append(t.tokens[node], token), append(t.nodes[node], int32(len(t.parents)))
				t.tokens, t.nodes, t.parents = append(t.tokens, nil), append(t.nodes, nil), append(t.parents, node)
			}
			node = t.nodes[node][at]
		}
	}
	return t
}
