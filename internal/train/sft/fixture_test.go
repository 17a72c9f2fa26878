package sft

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/prompt"
	"github.com/gr2/gr2/internal/token"
)

const items = 60

// everyPart shows all that belongs to a candidate.
func everyPart() prompt.Options {
	return prompt.Options{Title: true, TitleMax: 8, Rank: true, Judge: true,
		Evidence: true, EvidenceNames: []string{"co", "pop"}, EvidenceBuckets: 5}
}

var fixture = sync.OnceValues(func() (*market.Catalog, error) {
	list := make([]market.Item, items)
	for i := range list {
		list[i] = market.Item{ID: fmt.Sprint("i", i), Title: fmt.Sprintf("Soft brush %c%c", 'a'+i/26, 'a'+i%26)}
	}
	return market.NewCatalog(list)
})

// world is a tokenizer and a builder.
type world struct {
	tok     *token.Tokenizer
	builder *prompt.Builder
}

func newWorld(t testing.TB, opt prompt.Options) world {
	t.Helper()
	catalog, err := fixture()
	if err != nil {
		t.Fatal(err)
	}
	corpus, err := prompt.Corpus(catalog, opt)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := token.Train(corpus, token.Options{VocabSize: 400, Required: prompt.RequiredTokens(),
		Added: prompt.SpecialTokens(opt), Control: prompt.ControlTokens()})
	if err != nil {
		t.Fatal(err)
	}
	b, err := prompt.New(tok, catalog, nil, opt)
	if err != nil {
		t.Fatal(err)
	}
	return world{tok, b}
}

// caseOf is a slate with these grades; candidate i shows item i and has
// evidence that tells it apart for i < 25.
func caseOf(grades ...uint8) Case {
	c := Case{Slate: &market.Slate{ID: "s", User: -1, Time: 1e9, Grades: grades}}
	for i := range grades {
		c.Slate.Candidates = append(c.Slate.Candidates, market.Candidate{Item: int32(i)})
		c.Evidence = append(c.Evidence, []uint8{uint8(i % 5), uint8(i / 5 % 5)})
	}
	return c
}

func (w world) source(t testing.TB, opt Options, cases ...Case) *Source {
	t.Helper()
	s, err := New(w.builder, cases, opt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func example(t testing.TB, s *Source, epoch, i int) prompt.Example {
	t.Helper()
	e, err := s.Example(epoch, i)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// shown reads the candidates off an example, in the order shown, and the
// places of the target ranking.
func (w world) shown(t testing.TB, e prompt.Example) (candidates []int, lines []string, ranking []int) {
	t.Helper()
	before, answer, ok := strings.Cut(w.tok.Decode(e.Tokens), "<|im_start|>assistant\n")
	if !ok {
		t.Fatalf("no answer in %q", before)
	}
	for line := range strings.Lines(before) {
		if _, title, ok := strings.Cut(line, " Soft brush "); ok {
			candidates, lines = append(candidates, int(title[0]-'a')*26+int(title[1]-'a')), append(lines, line)
		}
	}
	out, err := prompt.Parse(answer, len(lines))
	if err != nil {
		t.Fatalf("%q: %v", answer, err)
	}
	return candidates, lines, out.Ranking
}

// chosen are the candidates that the ranking names, best first.
func (w world) chosen(t testing.TB, e prompt.Example) []int {
	candidates, _, ranking := w.shown(t, e)
	out := make([]int, len(ranking))
	for i, place := range ranking {
		out[i] = candidates[place]
	}
	return out
}

func identity(k int) []int {
	return slices.Collect(func(yield func(int) bool) {
		for i := range k {
			if !yield(i) {
				return
			}
		}
	})
}
