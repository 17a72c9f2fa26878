package text

import (
	"math"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/market"
	"pgregory.net/rapid"
)

func TestWords(t *testing.T) {
	for in, want := range map[string][]string{
		"":                                  nil,
		" -- & ":                            nil,
		"L'Oréal PARIS 50ml":                {"l", "oréal", "paris", "50ml"},
		"Shampoo,2-in-1/Conditioner":        {"shampoo", "2", "in", "1", "conditioner"},
		"cafe\u0301 ШАМПУНЬ":                {"cafe\u0301", "шампунь"},
		"bad\xffbyte":                       {"bad", "byte"},
		"<|sid_begin|><s_a_1>":              {"sid", "begin", "s", "a", "1"},
		"a\u00a0non\u2028breaking\tspace\n": {"a", "non", "breaking", "space"},
	} {
		if got := Words(in); !slices.Equal(got, want) {
			t.Errorf("Words(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestItemText(t *testing.T) {
	it := market.Item{ID: "x", Title: "Soap", Brand: "Dove", Categories: []string{"Beauty", "Bath"}, Description: "Mild."}
	if got := ItemText(&it); got != "Soap\nDove\nBeauty > Bath\nMild." {
		t.Errorf("%q", got)
	}
	if got := ItemText(&market.Item{ID: "x", Brand: "Dove"}); got != "Dove" {
		t.Errorf("%q", got)
	}
	if got := ItemText(&market.Item{ID: "x"}); got != "" {
		t.Errorf("%q", got)
	}
}

// The weights of a worked example, by the formula of the comment on TFIDF.
func TestTFIDFWeights(t *testing.T) {
	m := FitTFIDF([]string{"a b", "a c", "a"}, Options{})
	v := m.Vector("a b b unknown")
	a := 1 + math.Log(4.0/4)
	b := (1 + math.Log(2)) * (1 + math.Log(4.0/2))
	norm := math.Hypot(a, b)
	if !slices.Equal(v.Index, []int32{0, 1}) || !near(v.Value[0], a/norm) || !near(v.Value[1], b/norm) {
		t.Errorf("%+v, want a %.4f, b %.4f", v, a/norm, b/norm)
	}
}

func near(got float32, want float64) bool { return math.Abs(float64(got)-want) < 1e-6 }

func TestMinDF(t *testing.T) {
	m := FitTFIDF([]string{"a a b", "a c", "c d"}, Options{MinDF: 2})
	if m.Terms() != 2 {
		t.Errorf("%d terms, want a and c", m.Terms())
	}
	if v := m.Vector("b d"); len(v.Index) != 0 || Cosine(v, v) != 0 {
		t.Errorf("a document of rare words has vector %+v", v)
	}
}

func TestMaxTerms(t *testing.T) {
	m := FitTFIDF([]string{"c b a", "c b", "c d"}, Options{MaxTerms: 3})
	terms, idf := m.Vocabulary()
	if !slices.Equal(terms, []string{"a", "b", "c"}) {
		t.Errorf("kept %q, want the most frequent and of equals the first", terms)
	}
	again := NewTFIDF(terms, idf)
	if got, want := again.Vector("a a c d"), m.Vector("a a c d"); !slices.Equal(got.Index, want.Index) || !slices.Equal(got.Value, want.Value) {
		t.Errorf("restored model says %+v, want %+v", got, want)
	}
}

// The model does not depend on the order of documents; vectors have unit length
// and ascending indices; the cosine agrees with the dense inner product.
func TestTFIDFProperties(t *testing.T) {
	words := rapid.SampledFrom([]string{"hair", "oil", "red", "nail", "x9", "été"})
	rapid.Check(t, func(t *rapid.T) {
		docs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
			doc := ""
			for _, w := range rapid.SliceOfN(words, 0, 8).Draw(t, "words") {
				doc += w + ", "
			}
			return doc
		}), 2, 12).Draw(t, "docs")
		m := FitTFIDF(docs, Options{})
		again := FitTFIDF(rapid.Permutation(docs).Draw(t, "shuffled"), Options{})
		a, b := m.Vector(docs[0]), m.Vector(docs[1])
		if other := again.Vector(docs[0]); !slices.Equal(a.Index, other.Index) || !slices.Equal(a.Value, other.Value) {
			t.Fatalf("%+v and %+v from another order of documents", a, other)
		}
		if !slices.IsSorted(a.Index) {
			t.Fatalf("indices %v", a.Index)
		}
		if len(a.Index) > 0 && !near(Cosine(a, a), 1) {
			t.Fatalf("length %v", Cosine(a, a))
		}
		dense := make([]float64, m.Terms())
		for i, id := range a.Index {
			dense[id] = float64(a.Value[i])
		}
		want := 0.0
		for i, id := range b.Index {
			want += dense[id] * float64(b.Value[i])
		}
		if got := Cosine(a, b); !near(got, want) || got != Cosine(b, a) || got < 0 || got > 1.00001 {
			t.Fatalf("cosine %v, want %v", got, want)
		}
	})
}
