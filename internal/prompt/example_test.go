package prompt

import (
	"slices"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
	"pgregory.net/rapid"
)

// weighted are the tokens that carry the weight, as text.
func weighted(b *Builder, e Example, weight float32) []string {
	var out []string
	for i, w := range e.Weights {
		if w == weight {
			out = append(out, b.tok.Decode(e.Tokens[i:i+1]))
		}
	}
	return out
}

func sft(t *testing.T, b *Builder, x SFT) Example {
	t.Helper()
	e, err := b.SFT(x)
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Tokens) != len(e.Weights) {
		t.Fatalf("%d tokens, %d weights", len(e.Tokens), len(e.Weights))
	}
	return e
}

func TestWeightsStandOnChoicesOnly(t *testing.T) {
	b := builder(t, "own", Options{Mode: ModeTrace, Title: true})
	s := testSlate(0, 1, 2, 3)
	s.Grades = []uint8{0, 0, 0, 2}
	x := SFT{Slate: s, Ranking: []int{3, 0, 1, 2}, Trace: "It fits.", LambdaR: .5, LambdaO: 2}
	e := sft(t, b, x)
	if got, want := strings.Join(weighted(b, e, 2), " "), "4 1 2"; got != want { // 3, the last, is forced
		t.Errorf("answer weights on %q, want %q", got, want)
	}
	if got, want := strings.Join(weighted(b, e, .5), ""), "It fits.</think>"; got != want {
		t.Errorf("trace weights on %q, want %q", got, want)
	}
	x.LossFrom, x.LossTo = 1, 2
	if got := strings.Join(weighted(b, sft(t, b, x), 2), " "); got != "1" {
		t.Errorf("places 1 to 1 carry loss: weights on %q, want 1", got)
	}
	b = builder(t, "own", Options{Title: true, SyntaxLoss: true})
	x.LossFrom, x.LossTo = 0, 0
	if got, want := strings.Join(weighted(b, sft(t, b, x), 2), ""), `{"ranking":[4,1,2,3]}<|im_end|>`; got != want {
		t.Errorf("syntax loss: weights on %q, want %q", got, want)
	}
}

// To the foreign tokenizer 1 is a beginning of 10, so that the token behind it
// is a choice too while 10 is free.
func TestWeightsOfNumbersOfSeveralTokens(t *testing.T) {
	b := builder(t, "foreign", Options{Title: true})
	s := testSlate(slices.Repeat([]int32{0}, 10)...)
	e := sft(t, b, SFT{Slate: s, Ranking: []int{0, 9, 1, 2, 3, 4, 5, 6, 7, 8}, LambdaO: 1})
	if got, want := strings.Join(weighted(b, e, 1), ""), "1,12345678"; got != want {
		t.Errorf("weights on %q, want %q: 1, its comma, and 10 by its first token", got, want)
	}
}

// Shown in any order, an example must teach the same candidates.
func TestShownOrderDoesNotChangeTheTarget(t *testing.T) {
	b := builder(t, "own", everything())
	rapid.Check(t, func(r *rapid.T) {
		k := rapid.IntRange(1, 10).Draw(r, "k")
		all := []int32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
		s := testSlate(all[:k]...)
		order := rapid.Permutation(identity(k)).Draw(r, "order")
		ranking := rapid.Permutation(identity(k)).Draw(r, "ranking")
		ev := codesFor(s, 2)
		e, err := b.SFT(SFT{Slate: s, Order: order, Evidence: ev, Ranking: ranking, LambdaR: 1, LambdaO: 1})
		if err != nil {
			r.Fatal(err)
		}
		shown, ranks, shownEv, err := Reorder(s, order, nil, ev)
		if err != nil {
			r.Fatal(err)
		}
		prompt, err := b.Prompt(shown, ranks, shownEv)
		if err != nil || !slices.Equal(e.Tokens[:len(prompt)], prompt) {
			r.Fatalf("the example's prompt is not that of the shown slate: %v", err)
		}
		out, err := Parse(b.tok.Decode(e.Tokens[len(prompt):]), k)
		if err != nil {
			r.Fatal(err)
		}
		for i, place := range out.Ranking {
			if got := shown.Candidates[place].Item; got != s.Candidates[ranking[i]].Item {
				r.Fatalf("place %d of the target names item %d, want %d", i, got, s.Candidates[ranking[i]].Item)
			}
			if ranks[place] != ranking[i]+1 || !slices.Equal(shownEv[place], ev[ranking[i]]) {
				r.Fatalf("candidate %d lost its rank or evidence", ranking[i])
			}
		}
	})
}

func identity(k int) (out []int) {
	for i := range k {
		out = append(out, i)
	}
	return out
}

func TestSFTRefuses(t *testing.T) {
	b := builder(t, "own", Options{Title: true, Mode: ModeTrace, TraceMax: 3})
	s := testSlate(0, 1)
	for name, x := range map[string]SFT{
		"a short ranking":  {Slate: s, Ranking: []int{0}},
		"a repeated one":   {Slate: s, Ranking: []int{0, 0}},
		"out of range":     {Slate: s, Ranking: []int{0, 2}},
		"a broken order":   {Slate: s, Ranking: []int{0, 1}, Order: []int{1, 1}},
		"ranks too few":    {Slate: s, Ranking: []int{0, 1}, Order: []int{1, 0}, Ranks: []int{1}},
		"a trace too long": {Slate: s, Ranking: []int{0, 1}, Trace: "one two three four five six"},
	} {
		if _, err := b.SFT(x); fault.KindOf(err) != fault.Input {
			t.Errorf("%s: %v, want an input error", name, err)
		}
	}
}

func visitsOf(items ...int32) (out []market.Visit) {
	for i, it := range items {
		out = append(out, market.Visit{Item: it, Time: int64(i) * day})
	}
	return out
}

func TestSequence(t *testing.T) {
	b := builder(t, "own", Options{SID: true, SIDBrackets: true})
	e := b.Sequence(visitsOf(0, untitled, 1, 2), rng.New(1)) // item 4 has no code
	if got, want := strings.Join(weighted(b, e, 1), ""), "<s_a_1><s_b_7><s_c_255><s_d_1><s_a_2><s_b_14><s_c_255><s_d_2>"; got != want {
		t.Errorf("loss on %s, want %s", got, want)
	}
	if got := b.tok.Decode(e.Tokens); !strings.Contains(got, "<|sid_begin|><s_a_0><s_b_0><s_c_255><s_d_0><|sid_end|><|sid_begin|><s_a_1>") {
		t.Errorf("%q is not in order of time", got)
	}
	for name, e := range map[string]Example{
		"one item": b.Sequence(visitsOf(0, untitled), rng.New(1)),
		"no SIDs":  builder(t, "own", Options{Title: true}).Sequence(visitsOf(0, 1), rng.New(1)),
	} {
		if len(e.Tokens) != 0 {
			t.Errorf("%s: %d tokens, want none", name, len(e.Tokens))
		}
	}
	longer := visitsOf(slices.Repeat([]int32{0, 1, 2, 3, 5, 6, 7}, 60)...)
	windows := map[string]bool{}
	for seed := range uint64(8) {
		long := b.Sequence(longer, rng.New(seed))
		if len(long.Tokens) > midtrainMax || long.Cut.History == 0 {
			t.Errorf("a long history takes %d tokens, cut %+v", len(long.Tokens), long.Cut)
		}
		windows[b.tok.Decode(long.Tokens)] = true
	}
	if len(windows) < 2 {
		t.Error("all windows of a long history begin at the same visit")
	}
}

func TestPersona(t *testing.T) {
	b := builder(t, "own", Options{SID: true, Title: true, Brand: true})
	visits := visitsOf(0, 1, textless, 2)
	forms := map[string]bool{}
	for seed := range uint64(64) {
		e := b.Persona(visits, rng.New(seed))
		text := b.tok.Decode(e.Tokens)
		if again := b.tok.Encode(text); !slices.Equal(again, e.Tokens) {
			t.Fatalf("%q encodes differently as a whole", text)
		}
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		if len(lines) != 5 {
			t.Fatalf("%q: want a lead and four items", text)
		}
		forms[lines[2]] = true
		if n := len(weighted(b, e, 0)); n != len(b.lead("persona").Tokens) {
			t.Fatalf("%d tokens without loss, want those of the lead", n)
		}
	}
	for _, want := range []string{"<s_a_1><s_b_7><s_c_255><s_d_1>", " Red Shatter Crackle Nail Polish E55 | OPI", "<s_a_1><s_b_7><s_c_255><s_d_1> Red Shatter Crackle Nail Polish E55 | OPI"} {
		if !forms[want] || len(forms) != 3 {
			t.Errorf("forms %v lack %q", forms, want)
		}
	}
	small := builder(t, "own", Options{SID: true, Title: true, MaxTokens: 40})
	if e := small.Persona(visits, rng.New(1)); len(e.Tokens) > 40 || e.Cut.History == 0 || !strings.Contains(small.tok.Decode(e.Tokens), "<s_a_2>") {
		t.Errorf("budget of 40: %d tokens, cut %+v: %q", len(e.Tokens), e.Cut, small.tok.Decode(e.Tokens))
	}
}

func TestCaption(t *testing.T) {
	b := builder(t, "own", Options{SID: true, Title: true, Brand: true, Category: true})
	code, text := "<s_a_0><s_b_0><s_c_255><s_d_0>", " OPI Nail Lacquer, Simmer and Shimmer, 0.5-Fluid Ounce | Beauty > Makeup > Nails > Nail Polish"
	seen := map[string]bool{}
	for seed := range uint64(16) {
		e := b.Caption(polish, rng.New(seed))
		seen[strings.Join(weighted(b, e, 1), "")] = true
		if !strings.Contains(b.tok.Decode(e.Tokens), code) || !strings.Contains(b.tok.Decode(e.Tokens), text) {
			t.Fatalf("%q lacks the semantic ID or the text", b.tok.Decode(e.Tokens))
		}
	}
	if !seen[code+"\n"] || !seen[text+"\n"] || len(seen) != 2 {
		t.Errorf("losses on %v, want either the text or the semantic ID", seen)
	}
	for _, item := range []int32{untitled, textless} {
		if e := b.Caption(item, rng.New(1)); len(e.Tokens) != 0 {
			t.Errorf("item %d has no semantic ID or no text, and a caption", item)
		}
	}
}

func TestText(t *testing.T) {
	b := builder(t, "own", Options{Title: true})
	e := b.Text("Shampoo<|im_end|> first")
	if got := b.tok.Decode(e.Tokens); got != "Shampoo<|im_end|> first<|endoftext|>" || count(e.Tokens, b.v.end) != 0 {
		t.Errorf("%q", got)
	}
	if n := len(weighted(b, e, 1)); n != len(e.Tokens)-1 || e.Weights[0] != 0 {
		t.Errorf("%d of %d tokens carry loss, want all but the first", n, len(e.Tokens))
	}
	if e := b.Text(strings.Repeat("long ", 2000)); len(e.Tokens) != midtrainMax || e.Cut.Tokens == 0 {
		t.Errorf("a long text takes %d tokens, cut %+v", len(e.Tokens), e.Cut)
	}
}
