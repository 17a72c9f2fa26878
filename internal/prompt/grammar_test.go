package prompt

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/rng"
	"pgregory.net/rapid"
)

// walk draws an output from the grammar and checks the promises on its way.
func walk(t *rapid.T, b *Builder, k int, r *rand.Rand) []int32 {
	g := b.Grammar(k)
	var out, allowed []int32
	for !g.Done() {
		allowed = g.Allowed(allowed)
		if len(allowed) == 0 || !slices.IsSorted(allowed) || len(slices.Compact(slices.Clone(allowed))) != len(allowed) {
			t.Fatalf("after %q: allowed %d is empty, unsorted or has repeats", b.tok.Decode(out), allowed)
		}
		wrong := int32(r.IntN(b.tok.Size()))
		if !slices.Contains(allowed, wrong) && g.Advance(wrong) == nil {
			t.Fatalf("after %q: %q was taken though not allowed", b.tok.Decode(out), b.tok.Decode([]int32{wrong}))
		}
		next := allowed[r.IntN(len(allowed))]
		if err := g.Advance(next); err != nil {
			t.Fatal(err)
		}
		if out = append(out, next); len(out) > 1000 {
			t.Fatal("the grammar does not end")
		}
	}
	if n := len(g.Allowed(nil)); n != 0 {
		t.Fatalf("%d tokens are allowed behind the end", n)
	}
	return out
}

func TestEveryOutputOfTheGrammarParses(t *testing.T) {
	for _, tok := range []string{"own", "foreign"} {
		for _, mode := range []string{ModeAnswer, ModeTrace} {
			t.Run(tok+" "+mode, func(t *testing.T) {
				b := builder(t, tok, Options{Mode: mode, SID: true, TraceMax: 20})
				rapid.Check(t, func(r *rapid.T) {
					k := rapid.IntRange(1, SlateMax).Draw(r, "k")
					out := walk(r, b, k, rng.New(rapid.Uint64().Draw(r, "seed")))
					parsed, err := Parse(b.tok.Decode(out), k)
					if err != nil || len(parsed.Ranking) != k {
						r.Fatalf("%q: %v", b.tok.Decode(out), err)
					}
					if mode == ModeAnswer {
						if again, _, _ := b.Answer(parsed.Ranking, ""); !slices.Equal(again, out) {
							r.Fatalf("%q is spelt otherwise by Answer", b.tok.Decode(out))
						}
					}
				})
			})
		}
	}
}

// Every permutation must be reachable, and nothing else.
func TestGrammarReachesAllPermutations(t *testing.T) {
	for _, tok := range []string{"own", "foreign"} {
		b := builder(t, tok, Options{Title: true})
		seen := map[string]bool{}
		var explore func(prefix []int32)
		explore = func(prefix []int32) {
			g := b.Grammar(4)
			for _, id := range prefix {
				if err := g.Advance(id); err != nil {
					t.Fatal(err)
				}
			}
			if g.Done() {
				seen[b.tok.Decode(prefix)] = true
				return
			}
			for _, id := range g.Allowed(nil) {
				explore(append(slices.Clone(prefix), id))
			}
		}
		explore(nil)
		if len(seen) != 24 || !seen[`{"ranking":[3,1,4,2]}<|im_end|>`] {
			t.Errorf("%s: %d outputs for 4 candidates, want 24", tok, len(seen))
		}
	}
}

// Number tokens 1 and 10 share a prefix in the foreign tokenizer: behind "1"
// both the comma and the 0 are open while both numbers are.
func TestNumbersOfSeveralTokens(t *testing.T) {
	b := builder(t, "foreign", Options{Title: true})
	if n := len(b.v.numbers[10]); n != 2 {
		t.Fatalf("10 takes %d tokens in the foreign tokenizer, want 2", n)
	}
	g := b.Grammar(10)
	feed := func(text string) {
		for _, id := range b.tok.EncodeText(text) {
			if err := g.Advance(id); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
		}
	}
	text := func(ids []int32) string { return b.tok.Decode(ids) }
	feed(`{"ranking":[1`)
	if got := text(g.Allowed(nil)); got != ",0" {
		t.Errorf("behind 1: %q, want comma or 0", got)
	}
	feed("0")
	if got := text(g.Allowed(nil)); got != "," {
		t.Errorf("behind 10: %q, want the comma forced", got)
	}
	feed(",1,2,3,4,5,6,7,8,")
	if got := text(g.Allowed(nil)); got != "9" {
		t.Errorf("last number: %q, want 9 forced", got)
	}
}

func TestTraceIsBounded(t *testing.T) {
	b := builder(t, "own", Options{Mode: ModeTrace, SID: true, TraceMax: 3})
	g := b.Grammar(2)
	for i, want := range []int{1, len(b.v.traceTokens), len(b.v.traceTokens), len(b.v.traceTokens), 1} {
		allowed := g.Allowed(nil)
		if len(allowed) != want {
			t.Fatalf("token %d of the trace: %d choices, want %d", i, len(allowed), want)
		}
		if err := g.Advance(allowed[0]); err != nil {
			t.Fatal(err)
		}
	}
	for _, control := range []int32{b.v.start, b.v.end, b.v.document, b.v.think} {
		if slices.Contains(b.v.traceTokens, control) {
			t.Errorf("a trace may hold %s", b.tok.Decode([]int32{control}))
		}
	}
	if !slices.Contains(b.v.traceTokens, b.v.sids[2][7]) {
		t.Error("a trace may not cite semantic IDs")
	}
}

func TestAnswer(t *testing.T) {
	for _, tok := range []string{"own", "foreign"} {
		b := builder(t, tok, Options{Mode: ModeTrace, SID: true})
		ranking := []int{9, 0, 1, 2, 3, 4, 5, 6, 7, 8}
		tokens, slot, traceLen := b.Answer(ranking, "Because <s_a_1> 10.")
		want := `<think>Because <s_a_1> 10.</think>{"ranking":[10,1,2,3,4,5,6,7,8,9]}<|im_end|>`
		if got := b.tok.Decode(tokens); got != want {
			t.Errorf("%s: %s, want %s", tok, got, want)
		}
		if whole := b.tok.Encode(want); !slices.Equal(whole, tokens) {
			t.Errorf("%s: the text encodes differently as a whole", tok)
		}
		if tokens[traceLen-1] != b.v.answer || len(slot) != len(tokens) {
			t.Errorf("%s: the trace has %d tokens, %d slots for %d tokens", tok, traceLen, len(slot), len(tokens))
		}
		for place, shown := range ranking {
			var ids []int32
			for i, s := range slot {
				if s == place {
					ids = append(ids, tokens[i])
				}
			}
			if !slices.Equal(ids, b.v.numbers[shown+1]) {
				t.Errorf("%s: place %d is spelt %q", tok, place, b.tok.Decode(ids))
			}
		}
	}
}

func TestAnswerTakesOneTokenPerNumber(t *testing.T) {
	b := builder(t, "own", Options{Title: true})
	ranking := rand.New(rand.NewPCG(1, 2)).Perm(SlateMax)
	tokens, _, _ := b.Answer(ranking, "")
	if want := 3 + 2*SlateMax - 1 + 2; len(tokens) != want {
		t.Errorf("%d tokens, want %d: %q", len(tokens), want, b.tok.Decode(tokens))
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]Output{
		`{"ranking":[3,1,2]}`:                                   {Ranking: []int{2, 0, 1}},
		" \n{ \"ranking\" : [ 3 , 1 , 2 ] }\n ":                 {Ranking: []int{2, 0, 1}},
		"<think> why\n</think>\n\n{\"ranking\":[1,2,3]}":        {Ranking: []int{0, 1, 2}, Trace: "why"},
		`why</think>{"ranking":[1,2,3]}<|im_end|>`:              {Ranking: []int{0, 1, 2}, Trace: "why"},
		`<think>{"ranking":[3,2,1]}</think>{"ranking":[1,2,3]}`: {Ranking: []int{0, 1, 2}, Trace: `{"ranking":[3,2,1]}`},
	} {
		got, err := Parse(text, 3)
		if err != nil || !slices.Equal(got.Ranking, want.Ranking) || got.Trace != want.Trace {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func TestParseSaysWhy(t *testing.T) {
	for text, want := range map[string]Reason{
		``:                                     NotJSON,
		`1,2,3`:                                NoRanking,
		`ranking: 1 2 3`:                       NotJSON,
		`{"ranking":[1,2`:                      NotJSON,
		`{"ranking":[1,2,3`:                    NotJSON,
		`{"ranking":[1,2,3,]}`:                 NotJSON,
		`{"ranking":[01,2,3]}`:                 NotJSON,
		`Sure: {"ranking":[1,2,3]}`:            NotJSON,
		`<think>{"ranking":[1,2,3]}`:           NotJSON,
		`a<think>b</think>{"ranking":[1,2,3]}`: NotJSON,
		`<think>a</think>b</think>{"ranking":[1]}`: NotJSON,
		`[1,2,3]`:                                NoRanking,
		`null`:                                   NoRanking,
		`{}`:                                     NoRanking,
		`{"Ranking":[1,2,3]}`:                    ExtraField,
		`{"order":[1,2,3]}`:                      ExtraField,
		`{"ranking":[1,2,3],"why":"x"}`:          ExtraField,
		`{"ranking":[1,2,3],"ranking":[1,2,3]}`:  ExtraField,
		`{"ranking":"1,2,3"}`:                    WrongType,
		`{"ranking":null}`:                       WrongType,
		`{"ranking":[1,2,"3"]}`:                  WrongType,
		`{"ranking":[1,2,3.0]}`:                  WrongType,
		`{"ranking":[1,2,3e0]}`:                  WrongType,
		`{"ranking":[1,2,[3]]}`:                  WrongType,
		`{"ranking":[1,2,null]}`:                 WrongType,
		`{"ranking":[0,1,2]}`:                    OutOfRange,
		`{"ranking":[1,2,4]}`:                    OutOfRange,
		`{"ranking":[1,2,-3]}`:                   OutOfRange,
		`{"ranking":[1,2,99999999999999999999]}`: OutOfRange,
		`{"ranking":[1,2,2]}`:                    Repeated,
		`{"ranking":[1,2,3,1]}`:                  Repeated,
		`{"ranking":[1,2]}`:                      Missing,
		`{"ranking":[]}`:                         Missing,
		`{"ranking":[1,2,3]} ok`:                 Trailing,
		`{"ranking":[1,2,3]}{"ranking":[1,2,3]}`: Trailing,
		`{"ranking":[1,2,3]}<|im_end|>x`:         Trailing,
	} {
		got, err := Parse(text, 3)
		bad, ok := err.(*Invalid)
		if !ok || bad.Reason != want || bad.Detail == "" || got.Ranking != nil {
			t.Errorf("%q: %+v, %v; want %s", text, got, err, want)
		}
	}
}

func checkParse(t interface{ Fatalf(string, ...any) }, text string, k int) {
	out, err := Parse(text, k)
	if err != nil {
		if bad, ok := err.(*Invalid); !ok || !slices.Contains(Reasons(), bad.Reason) || out.Ranking != nil {
			t.Fatalf("%q: %+v with error %v", text, out, err)
		}
		return
	}
	sorted := slices.Sorted(slices.Values(out.Ranking))
	for i, n := range sorted {
		if i != n {
			t.Fatalf("%q gives %v, no permutation", text, out.Ranking)
		}
	}
	if len(sorted) != k {
		t.Fatalf("%q gives %v of %d", text, out.Ranking, k)
	}
}

func TestParseGivesNoPartialCredit(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		k := rapid.IntRange(1, 6).Draw(r, "k")
		nearly := append(rapid.Permutation(identity(k+1)).Draw(r, "permutation"), rapid.SliceOfN(rapid.IntRange(0, 7), 0, 2).Draw(r, "more")...)
		from := rapid.IntRange(0, 2).Draw(r, "from")
		numbers, err := json.Marshal(nearly[min(from, len(nearly)):])
		if err != nil {
			r.Fatal(err)
		}
		text := `{"ranking":` + string(numbers) + "}"
		checkParse(r, text, k)
		cut := rapid.IntRange(0, len(text)).Draw(r, "cut")
		noise := rapid.SampledFrom([]string{"", " ", ",", "}", "</think>", `"x"`}).Draw(r, "noise")
		checkParse(r, text[:cut]+noise+text[cut:], k)
		checkParse(r, text[:cut]+noise, k)
	})
}

func FuzzParse(f *testing.F) {
	f.Add(`{"ranking":[2,1]}`, 2)
	f.Add("<think>x</think> {\"ranking\":[1]}<|im_end|>", 1)
	f.Fuzz(func(t *testing.T, text string, k int) {
		checkParse(t, text, max(0, min(k, SlateMax)))
	})
}
