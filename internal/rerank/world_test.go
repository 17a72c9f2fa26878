package rerank

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/evidence"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/prompt"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/sid"
	"github.com/gr2/gr2/internal/token"
)

// world is a small run whose policy has random weights: it knows nothing, but
// all of its parts are real.
type world struct {
	ds    *market.Dataset
	index *sid.Index
	parts Parts
}

const items = 120

func newWorld(t testing.TB, seed uint64, change func(*prompt.Options, *lm.Config)) *world {
	t.Helper()
	w := &world{ds: dataset(t, seed)}
	opt := prompt.Options{SID: true, Title: true, Brand: true, TitleMax: 8, HistoryMax: 4, SameDay: true, Rank: true,
		Evidence: true, EvidenceNames: []string{"co", "pop", "titleMax"}, EvidenceBuckets: 5}
	cfg := lm.Config{Architecture: lm.Llama, Hidden: 32, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 8, Intermediate: 64,
		MaxPositions: 2048, RopeTheta: 1e4, NormEps: 1e-5, TieEmbeddings: true, BOS: lm.NoToken, EOS: lm.NoToken, PAD: lm.NoToken}
	if change != nil {
		change(&opt, &cfg)
	}
	var err error
	check := func() {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	codes := make([]uint8, items*4)
	for i := range items {
		codes[4*i], codes[4*i+3] = uint8(i%7), uint8(i)
	}
	w.index, err = sid.New(sid.IDs(w.ds.Catalog), 4, 256, codes)
	check()
	p := Parts{Catalog: w.ds.Catalog, Hash: "test"}
	p.Stats, err = evidence.Build(w.ds.Catalog, w.ds.Events, evidence.Options{Users: w.ds.Users})
	check()
	var rows [][]float32
	for i := range 50 {
		rows = append(rows, p.Stats.Raw(w.slate(uint64(i), 10, 5), evidence.None)...)
	}
	p.Buckets, err = evidence.FitBuckets(rows, opt.EvidenceNames, opt.EvidenceBuckets-1)
	check()
	p.Tokenizer, err = token.Train(corpus(w.ds.Catalog), token.Options{VocabSize: 500, Required: prompt.RequiredTokens(),
		Added: append(prompt.SpecialTokens(opt), sid.TokenNames(4, 256)...), Control: prompt.ControlTokens()})
	check()
	p.Builder, err = prompt.New(p.Tokenizer, w.ds.Catalog, w.index, opt)
	check()
	cfg.VocabSize = p.Tokenizer.Size()
	p.Model, err = lm.New(cfg, seed)
	check()
	sharpen(p.Model)
	w.parts = p
	return w
}

// sharpen makes random weights opinionated, so that answers differ by slate.
func sharpen(m *lm.Model) {
	for _, t := range m.Tensors() {
		if len(t.Shape) == 2 {
			for i := range t.Data {
				t.Data[i] *= 8
			}
		}
	}
}

func dataset(t testing.TB, seed uint64) *market.Dataset {
	t.Helper()
	words := []string{"argan", "oil", "shampoo", "red", "nail", "polish", "soft", "brush", "night", "cream", "sun", "screen"}
	r := rng.New(seed, 1)
	ds := &market.Dataset{Name: "tiny"}
	var all []market.Item
	for i := range items {
		all = append(all, market.Item{ID: fmt.Sprintf("i%03d", i), Brand: words[r.IntN(3)],
			Title: fmt.Sprint(words[r.IntN(12)], " ", words[r.IntN(12)], " ", words[r.IntN(12)], " ", i)})
	}
	var err error
	if ds.Catalog, err = market.NewCatalog(all); err != nil {
		t.Fatal(err)
	}
	for u := range 40 {
		ds.Users = append(ds.Users, fmt.Sprint("u", u))
		for e := range 6 {
			ds.Events = append(ds.Events, market.Event{User: int32(u), Item: int32(r.IntN(items)), Time: int64(1e9 + 86400*e)})
		}
	}
	return ds
}

func corpus(c *market.Catalog) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i := range c.Items {
			if !yield(c.Items[i].Title + " | " + c.Items[i].Brand) {
				return
			}
		}
	}
}

// slate draws k distinct candidates and a history.
func (w *world) slate(seed uint64, k, history int) *market.Slate {
	r := rng.New(seed, 2)
	s := &market.Slate{ID: fmt.Sprint("s", seed), User: -1, Time: 1e9 + 86400*10}
	for _, item := range r.Perm(items)[:k] {
		s.Candidates = append(s.Candidates, market.Candidate{Item: int32(item), Score: float32(-len(s.Candidates))})
	}
	for h := range history {
		s.History = append(s.History, market.Visit{Item: int32(r.IntN(items)), Time: int64(1e9 + 86400*(10-history+h+1))})
	}
	return s
}

func (w *world) reranker(t testing.TB, mode Mode) *Reranker {
	t.Helper()
	r, err := New(w.parts, mode)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// save writes the world as a sealed run folder.
func (w *world) save(t testing.TB, dir string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	opt := w.parts.Builder.Options()
	must(market.Save(filepath.Join(dir, CatalogDir), &market.Dataset{Name: "tiny", Catalog: w.ds.Catalog}))
	must(durable.Write(filepath.Join(dir, SIDDir, SIDIndex), w.index.Write))
	must(durable.Write(filepath.Join(dir, EvidenceDir, EvidenceStats), w.parts.Stats.Write))
	must(durable.WriteJSON(filepath.Join(dir, EvidenceDir, EvidenceBuckets), w.parts.Buckets))
	w.saveModel(t, filepath.Join(dir, "sft", ModelDir))
	must(Seal(dir, Card{Stage: "sft", Mode: Generate, Prompt: opt}))
}

func (w *world) saveModel(t testing.TB, dir string) {
	t.Helper()
	err := w.parts.Model.Save(func(name string, fill func(io.Writer) error) error {
		return durable.Write(filepath.Join(dir, name), fill)
	})
	if err == nil {
		err = durable.Write(filepath.Join(dir, TokenizerFile), w.parts.Tokenizer.Write)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func wantPermutation(t testing.TB, order []int, k int) {
	t.Helper()
	if sorted := slices.Sorted(slices.Values(order)); !slices.Equal(sorted, identity(k)) {
		t.Fatalf("%v is no permutation of %d candidates", order, k)
	}
}
