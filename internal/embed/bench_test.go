package embed

import (
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/rng"
)

// shopTexts makes n texts of 12 to 40 words, most from one of 2,000 topics of 60
// words and the rest from a vocabulary of 200,000, both by Zipf's law: the sizes
// of item texts with title, brand, category path and a short description.
func shopTexts(n int) []string {
	texts := make([]string, n)
	var b strings.Builder
	for i := range texts {
		r := rng.New(1, uint64(i))
		topicWord, anyWord := rand.NewZipf(r, 1.1, 5, 59), rand.NewZipf(r, 1.05, 20, 199_999)
		topic := r.Uint64N(2000)
		b.Reset()
		for range 12 + r.IntN(29) {
			if r.IntN(3) > 0 {
				writeWord(&b, rng.Hash(topic, topicWord.Uint64())%200_000)
			} else {
				writeWord(&b, anyWord.Uint64())
			}
		}
		texts[i] = b.String()
	}
	return texts
}

// writeWord spells number n in syllables.
func writeWord(b *strings.Builder, n uint64) {
	const syllables = "balikomenoparusetivo"
	for n += 10; n > 0; n /= 10 {
		b.WriteString(syllables[n%10*2 : n%10*2+2])
	}
	b.WriteByte(' ')
}

func BenchmarkLSAFit(b *testing.B) {
	texts := shopTexts(50_000)
	for b.Loop() {
		fitted(b, texts, LSAOptions{})
	}
	b.ReportMetric(float64(len(texts)*b.N)/b.Elapsed().Seconds(), "texts/s")
}

func BenchmarkLSAEmbed(b *testing.B) {
	texts := shopTexts(50_000)
	m := fitted(b, texts[:20_000], LSAOptions{})
	runtime.GC()
	for b.Loop() {
		embedded(b, m, texts...)
	}
	b.ReportMetric(float64(len(texts)*b.N)/b.Elapsed().Seconds(), "texts/s")
	b.ReportMetric(float64(m.Terms()), "terms")
}
