package infer_test

import (
	"fmt"
	"testing"

	"github.com/gr2/gr2/internal/infer"
	"github.com/gr2/gr2/internal/lm"
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
