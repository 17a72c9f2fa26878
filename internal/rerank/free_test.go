package rerank

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/prompt"
)

// A policy of random weights writes no ranking by itself; the error says why,
// and asking leaves no trace in the sessions that answer.
func TestFreeSaysWhyAnAnswerIsInvalid(t *testing.T) {
	w := newWorld(t, 1, judging)
	r := w.reranker(t, Judge)
	s := w.slate(3, 8, 2)
	before := mustRerank(t, r, s)
	for i := range 5 {
		text, err := r.Free(t.Context(), w.slate(uint64(i), 8, 2))
		if err != nil {
			t.Fatal(err)
		}
		_, err = prompt.Parse(text, 8)
		var invalid *prompt.Invalid
		if !errors.As(err, &invalid) || !slices.Contains(prompt.Reasons(), invalid.Reason) {
			t.Fatalf("slate %d: %v, want an *prompt.Invalid with a known reason", i, err)
		}
	}
	if after := mustRerank(t, r, s); !slices.Equal(before.Order, after.Order) {
		t.Errorf("%v before and %v after free decoding", before.Order, after.Order)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Free(ctx, s); !errors.Is(err, context.Canceled) {
		t.Errorf("on a cancelled context: %v", err)
	}
}

// A policy that has an answer by heart is understood without the grammar.
func TestFreeReadsAValidAnswer(t *testing.T) {
	w := newWorld(t, 1, func(_ *prompt.Options, c *lm.Config) { c.TieEmbeddings = false })
	r := w.reranker(t, Generate)
	s := w.slate(1, 2, 2)
	prompted, err := r.prompt(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, _, _ := w.parts.Builder.Answer([]int{1, 0}, "")
	recite(t, w.parts.Model, append(prompted.Tokens[len(prompted.Tokens)-1:], answer...))
	text, err := r.Free(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	out, err := prompt.Parse(text, 2)
	if err != nil || !slices.Equal(out.Ranking, []int{1, 0}) {
		t.Errorf("%v, %v; want [1 0]", out.Ranking, err)
	}
}

// recite makes each token of the chain call the next one: layers that add
// nothing, embeddings that are unit vectors, and a head that maps the unit
// vector of a token to its successor.
func recite(t *testing.T, m *lm.Model, chain []int32) {
	t.Helper()
	for i := range m.Layers {
		clear(m.Layers[i].O.Data)
		clear(m.Layers[i].Down.Data)
	}
	clear(m.Embed.Data)
	clear(m.Head.Data)
	d := m.Config.Hidden
	for i, tok := range chain[:len(chain)-1] {
		if slices.Contains(chain[:i], tok) || i >= d {
			t.Fatalf("token %d of the chain %v is repeated or past %d units", i, chain, d)
		}
		m.Embed.Data[int(tok)*d+i] = 1
		m.Head.Data[int(chain[i+1])*d+i] = 1
	}
}
