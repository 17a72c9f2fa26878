package prompt

import (
	"compress/gzip"
	"encoding/json"
	"html"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/sid"
	"github.com/gr2/gr2/internal/token"
)

// beautyCatalog reads the names of Amazon Beauty; the test is skipped without them.
func beautyCatalog(t *testing.T) *market.Catalog {
	t.Helper()
	root := os.Getenv("GR2_DATA")
	if root == "" {
		t.Skip("GR2_DATA is not set")
	}
	f, err := os.Open(filepath.Join(root, "amazon_beauty", "meta_Beauty.json.gz"))
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	zr, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var items []market.Item
	for dec := json.NewDecoder(zr); dec.More(); {
		var row struct {
			Asin, Title, Brand string
			Category           []string
		}
		if err := dec.Decode(&row); err != nil {
			t.Fatal(err)
		}
		items = append(items, market.Item{ID: row.Asin, Title: html.UnescapeString(row.Title), Brand: html.UnescapeString(row.Brand), Categories: row.Category})
	}
	catalog, err := market.NewCatalog(items)
	if err != nil {
		t.Fatal(err)
	}
	return catalog
}

// hashCodes stands in for an index: any four codes cost the same.
type hashCodes struct{}

func (hashCodes) Code(item int32) []uint8 {
	h := rng.Hash(1, uint64(item))
	return []uint8{uint8(h), uint8(h >> 8), uint8(h >> 16), uint8(h >> 24)}
}

// TestBeautyTokenCosts logs what every part of a prompt costs on real items
// (10 candidates, 8 visits), and holds a prompt without codes to a budget.
func TestBeautyTokenCosts(t *testing.T) {
	catalog := beautyCatalog(t)
	all := Options{
		Headers: true, SID: true, Title: true, Brand: true, Category: true, SameDay: true, DaysSince: true, Rank: true,
		Evidence: true, EvidenceNames: []string{"co", "pop", "recent", "since"}, EvidenceBuckets: 9,
	}
	corpus, err := Corpus(catalog, all)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	added := append(SpecialTokens(all), sid.TokenNames(4, 256)...)
	tok, err := token.Train(corpus, token.Options{VocabSize: 4096, Required: RequiredTokens(), Added: added, Control: ControlTokens()})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("vocabulary of %d trained in %v", tok.Size(), time.Since(start).Round(time.Millisecond))
	mean := func(o Options) float64 { return meanTokens(t, tok, catalog, o) }
	whole := mean(all)
	t.Logf("everything: %.1f tokens a prompt", whole)
	for _, part := range []struct {
		name string
		off  func(o *Options)
	}{
		{"headers", func(o *Options) { o.Headers = false }},
		{"semantic IDs", func(o *Options) { o.SID = false }},
		{"titles", func(o *Options) { o.Title = false }},
		{"brands", func(o *Options) { o.Brand = false }},
		{"category leaf", func(o *Options) { o.Category = false }},
		{"day marks", func(o *Options) { o.SameDay, o.DaysSince = false, false }},
		{"legacy rank", func(o *Options) { o.Rank = false }},
		{"evidence of 4", func(o *Options) { o.Evidence = false }},
		{"history of 8", func(o *Options) { o.HistoryMax = -1 }},
		{"(brackets on)", func(o *Options) { o.SIDBrackets = true }},
		{"(category path on)", func(o *Options) { o.CategoryPath = true }},
		{"(number at both ends)", func(o *Options) { o.NumberAt = NumberBoth }},
		{"(full system text)", func(o *Options) { o.System = "full" }},
	} {
		o := all
		part.off(&o)
		t.Logf("%-22s %6.1f", part.name, whole-mean(o))
	}
	slim := Options{Title: true, Brand: true, SameDay: true, Rank: true, HistoryMax: 6, TitleMax: 12}
	if got := mean(slim); got > 300 {
		t.Errorf("a slim prompt takes %.1f tokens, want at most 300", got)
	} else {
		t.Logf("slim (6 visits, titles of 12, brand, rank): %.1f", got)
	}
}

func meanTokens(t *testing.T, tok *token.Tokenizer, catalog *market.Catalog, o Options) float64 {
	t.Helper()
	b, err := New(tok, catalog, hashCodes{}, o)
	if err != nil {
		t.Fatal(err)
	}
	const slates = 200
	total := 0
	for i := range slates {
		r := rng.New(7, uint64(i))
		s := &market.Slate{Time: 2000 * day}
		for n := range 8 {
			s.History = append(s.History, market.Visit{Item: int32(r.IntN(catalog.Len())), Time: 2000*day - int64(8-n)*20*day})
		}
		for range 10 {
			s.Candidates = append(s.Candidates, market.Candidate{Item: int32(r.IntN(catalog.Len()))})
		}
		tokens, err := b.Prompt(s, nil, codesFor(s, len(o.EvidenceNames)))
		if err != nil {
			t.Fatal(err)
		}
		if text := tok.Decode(tokens); i == 0 && !slices.Equal(tok.Encode(text), tokens) {
			t.Errorf("the prompt's text encodes differently:\n%s", text)
		}
		total += len(tokens)
	}
	return float64(total) / slates
}
