package fit

import (
	"fmt"
	"testing"

	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/rng"
)

// bazaar is n items around 5,000 centres.
func bazaar(n, dim int) small {
	s := small{latent: embed.NewMatrix(n, dim), ids: make([]string, n)}
	centres := embed.NewMatrix(5000, dim)
	r := rng.New(1)
	for i := range centres.Data {
		centres.Data[i] = float32(r.NormFloat64())
	}
	for i := range n {
		c := centres.Row(r.IntN(centres.Rows))
		for j := range s.latent.Row(i) {
			s.latent.Row(i)[j] = c[j] + float32(r.NormFloat64()*0.3)
		}
		s.ids[i] = fmt.Sprint("item-", i)
	}
	return s
}

// Each iteration assigns 100,000 items to 4 levels of 256 codes.
func BenchmarkAssign(b *testing.B) {
	s := bazaar(100_000, 64)
	q, err := RQKMeans(s.latent, Options{Sample: 10_000, Iterations: 5, Seed: 1})
	if err != nil {
		b.Fatal(err)
	}
	for _, rule := range Rules {
		b.Run(string(rule), func(b *testing.B) {
			for b.Loop() {
				if _, err := Assign(q, s.latent, s.ids, AssignOptions{Rule: rule, Seed: 1}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*len(s.ids))/b.Elapsed().Seconds(), "items/s")
		})
	}
}

// Each iteration fits 4 levels of 256 codes to 20,000 rows of 128.
func BenchmarkRQKMeans(b *testing.B) {
	s := bazaar(20_000, 128)
	for _, balanced := range []bool{false, true} {
		b.Run(fmt.Sprintf("balanced=%v", balanced), func(b *testing.B) {
			for b.Loop() {
				if _, err := RQKMeans(s.latent, Options{Seed: 1, Balanced: balanced}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
