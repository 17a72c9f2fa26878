package embed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/text"
	"pgregory.net/rapid"
)

// topics makes n titles of words drawn from a few topics.
func topics(n int, seed uint64) []string {
	titles := make([]string, n)
	for i := range titles {
		r := rng.New(seed, uint64(i))
		topic := r.IntN(12)
		for range 5 {
			titles[i] += fmt.Sprintf("w%dx%d ", topic, r.IntN(20))
		}
	}
	return titles
}

func fitted(t testing.TB, texts []string, opt LSAOptions) *LSA {
	t.Helper()
	m, err := FitLSA(t.Context(), slices.Values(texts), opt)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func embedded(t testing.TB, m *LSA, texts ...string) Matrix {
	t.Helper()
	emb, err := m.Embed(t.Context(), texts)
	if err != nil {
		t.Fatal(err)
	}
	return emb
}

// With all directions kept the embedding reproduces every cosine.
func TestEmbeddingKeepsCosines(t *testing.T) {
	titles := topics(60, 8)
	emb := TFIDF(titles, 200, 1)
	model := text.FitTFIDF(titles, text.Options{})
	for i := range titles {
		for j := range titles {
			want := text.Cosine(model.Vector(titles[i]), model.Vector(titles[j]))
			got := kernel.Dot(emb.Row(i), emb.Row(j))
			if math.Abs(float64(want-got)) > 1e-4 {
				t.Fatalf("cosine of %d and %d is %v, in the embedding %v", i, j, want, got)
			}
		}
	}
}

// A text has one vector, to the bit: alone, among others, on any number of
// threads, in the sample or not, and after the way over a file.
func TestATextHasOneVector(t *testing.T) {
	texts := topics(400, 2)
	m := fitted(t, texts, LSAOptions{Dim: 16, Seed: 1})
	all := embedded(t, m, texts...)
	path := filepath.Join(t.TempDir(), "text.lsa")
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	loaded, err := LoadLSA(path)
	if err != nil {
		t.Fatal(err)
	}
	if loaded.Name() != m.Name() || loaded.Options != m.Options || loaded.Texts != m.Texts || loaded.Dim() != 16 {
		t.Errorf("loaded %s %+v, saved %s %+v", loaded.Name(), loaded.Options, m.Name(), m.Options)
	}
	for i := 0; i < len(texts); i += 37 {
		if got := embedded(t, loaded, texts[i]); !slices.Equal(got.Data, all.Row(i)) {
			t.Fatalf("text %d alone has another vector", i)
		}
	}
	defer kernel.SetThreads(kernel.Threads())
	kernel.SetThreads(1)
	if got := embedded(t, fitted(t, texts, LSAOptions{Dim: 16, Seed: 1}), texts...); !slices.Equal(got.Data, all.Data) {
		t.Error("the vectors depend on the number of threads")
	}
}

// Fit on a part of the texts, the model treats the others as it treats those:
// within a topic cosines are high, across topics low.
func TestNewTextsAreProjected(t *testing.T) {
	texts := topics(3000, 5)
	m := fitted(t, texts[:1500], LSAOptions{Dim: 12, Seed: 1})
	seen, unseen := embedded(t, m, texts[:500]...), embedded(t, m, texts[1500:2000]...)
	topic := func(s string) string { return s[:strings.IndexByte(s, 'x')] }
	for i := range 500 {
		for j := range 500 {
			cos := kernel.Dot(seen.Row(i), unseen.Row(j))
			if same := topic(texts[i]) == topic(texts[1500+j]); same && cos < 0.6 || !same && cos > 0.4 {
				t.Fatalf("%q and the new %q have cosine %v", texts[i], texts[1500+j], cos)
			}
		}
	}
}

// The model follows the set of texts, not their order, sampled or not.
func TestFitIgnoresOrder(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		texts := topics(rapid.IntRange(1, 80).Draw(r, "texts"), rapid.Uint64().Draw(r, "seed"))
		texts = append(texts, texts[0]) // one twice
		opt := LSAOptions{Dim: 4, Sample: rapid.IntRange(1, 100).Draw(r, "sample")}
		want := fitted(t, texts, opt)
		got := fitted(t, rapid.Permutation(texts).Draw(r, "order"), opt)
		if got.Name() != want.Name() {
			r.Fatalf("%s and %s", got.Name(), want.Name())
		}
		if n := min(opt.Sample, len(texts)); got.Texts != n {
			r.Fatalf("fitted on %d texts, want %d", got.Texts, n)
		}
	})
}

func TestSeedAndOptionsChangeTheName(t *testing.T) {
	texts := topics(300, 2)
	names := map[string]LSAOptions{}
	for _, opt := range []LSAOptions{{}, {Seed: 1}, {Dim: 8}, {MinDF: 30}, {MaxTerms: 40}, {Sample: 150}} {
		m := fitted(t, texts, opt)
		if other, ok := names[m.Name()]; ok {
			t.Errorf("%+v and %+v are both %s", opt, other, m.Name())
		}
		names[m.Name()] = opt
		if opt.MaxTerms > 0 && m.Terms() != opt.MaxTerms {
			t.Errorf("%d terms, want %d", m.Terms(), opt.MaxTerms)
		}
	}
}

func TestTextsWithoutWords(t *testing.T) {
	for name, texts := range map[string][]string{"none": nil, "empty": {"", ""}, "signs": {"--", "..."}} {
		emb := embedded(t, fitted(t, texts, LSAOptions{}), "soap", "")
		if emb.Rows != 2 || emb.Cols != 1 || slices.ContainsFunc(emb.Data, func(x float32) bool { return x != 0 }) {
			t.Errorf("%s: %+v", name, emb)
		}
	}
}

func TestLSARefusesBadOptionsAndAnEndedContext(t *testing.T) {
	for _, opt := range []LSAOptions{{Dim: -1}, {Dim: 5000}, {MinDF: -1}, {MaxTerms: -1}, {Sample: -1}} {
		if _, err := FitLSA(t.Context(), slices.Values([]string{"soap"}), opt); fault.KindOf(err) != fault.Usage {
			t.Errorf("%+v: %v", opt, err)
		}
	}
	m := fitted(t, topics(50, 1), LSAOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Embed(ctx, []string{"soap"}); !errors.Is(err, context.Canceled) {
		t.Errorf("Embed under an ended context: %v", err)
	}
	if _, err := FitLSA(ctx, slices.Values(topics(50, 1)), LSAOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Fit under an ended context: %v", err)
	}
}

// Every truncation and every flipped byte is refused by name.
func TestDamagedModelIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "text.lsa")
	if err := fitted(t, topics(12, 1), LSAOptions{Dim: 2}).Save(path); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadLSA(path); fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), path) {
			t.Fatalf("%s: %v", what, err)
		}
	}
	for n := 0; n < len(good); n += 7 {
		refused(fmt.Sprint("cut to ", n), good[:n])
		bad := bytes.Clone(good)
		bad[n] ^= 0x10
		refused(fmt.Sprint("flipped at ", n), bad)
	}
	refused("longer", append(good, 0))
	if _, err := LoadLSA(path + ".missing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}
