package prompt

import (
	"slices"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/market"
	"pgregory.net/rapid"
)

// Whatever is shown and cut, Judged points into each candidate's line, in
// order: at its number, or at the line end where the number stands in front.
func TestJudgedEndsEachLine(t *testing.T) {
	for _, name := range []string{"own", "foreign"} { // to the latter 10 is two tokens
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) {
				opt := drawOptions(r)
				opt.MaxTokens = rapid.SampledFrom([]int{0, 0, 250, 400}).Draw(r, "budget")
				b := builder(t, name, opt)
				harmless := rapid.SampledFrom([]int32{0, 1, 2, 3, untitled, textless, unspaced, 8, 9})
				s := testSlate(rapid.SliceOfN(harmless, 1, 12).Draw(r, "items")...)
				p, err := b.Render(s, nil, codesFor(s, 2))
				if err != nil {
					r.Skip("the budget is too small")
				}
				body := len(p.Tokens) - len(b.tail)
				if len(p.Judged) != len(s.Candidates) {
					r.Fatalf("%d judgements of %d candidates", len(p.Judged), len(s.Candidates))
				}
				// The text between two judgements is one candidate's line.
				for i, at := range p.Judged {
					end := body
					if i+1 < len(p.Judged) {
						end = p.Judged[i+1] + 1
					}
					rest := b.tok.Decode(p.Tokens[at+1 : min(end, body)])
					if b.opt.NumberAt == NumberStart {
						if line := b.tok.Decode(p.Tokens[:at+1]); !strings.HasSuffix(line, "\n") {
							r.Fatalf("judgement %d stands behind %q", i, line)
						}
						if i+1 < len(p.Judged) && strings.Count(rest, "\n") != 1 {
							r.Fatalf("between judgements %d and %d stands %q", i, i+1, rest)
						}
						continue
					}
					number := b.number(i + 1)
					if !slices.Equal(p.Tokens[at+1-len(number):at+1], number) || !strings.HasPrefix(rest, "\n") || strings.Count(rest, "\n") != 1 {
						r.Fatalf("judgement %d stands behind %q, %q follows", i, b.tok.Decode(p.Tokens[:at+1]), rest)
					}
				}
				if b.opt.NumberAt == NumberStart && p.Judged[len(p.Judged)-1] != body-1 {
					r.Fatal("the last judgement does not end the candidates")
				}
			})
		})
	}
}

// The judgements' tokens stand in no prompt, answer or trace.
func TestJudgeTokensAreNeverShown(t *testing.T) {
	b := builder(t, "own", everything())
	no, yes := b.JudgeTokens()
	if no < 0 || yes < 0 || no == yes {
		t.Fatalf("tokens %d and %d", no, yes)
	}
	s := testSlate(injection, 1, 2)
	s.Grades = []uint8{0, 1, market.GradeConvert}
	e, err := b.SFT(SFT{Slate: s, Evidence: codesFor(s, 2), Ranking: []int{2, 1, 0}, Trace: "<|yes|> and <|no|>", LambdaO: 1, LambdaR: 1, LambdaJ: 1})
	if err != nil {
		t.Fatal(err)
	}
	if count(e.Tokens, no)+count(e.Tokens, yes) != 0 {
		t.Error("a judgement's token is shown")
	}
	if len(e.Asides) != 3 || e.Asides[0].Token != no || e.Asides[1].Token != yes || e.Asides[2].Token != yes {
		t.Errorf("%+v", e.Asides)
	}
	g := b.Grammar(3)
	for !g.Done() {
		allowed := g.Allowed(nil)
		if slices.Contains(allowed, no) || slices.Contains(allowed, yes) {
			t.Fatal("the grammar allows a judgement's token")
		}
		next := allowed[0]
		if slices.Contains(allowed, b.v.answer) {
			next = b.v.answer
		}
		if err := g.Advance(next); err != nil {
			t.Fatal(err)
		}
	}
	off := everything()
	off.Judge = false
	if no, yes := builder(t, "own", off).JudgeTokens(); no != -1 || yes != -1 {
		t.Errorf("without judge the tokens are %d and %d, want -1", no, yes)
	}
	if without := SpecialTokens(off); slices.Contains(without, yesToken) || len(without)+2 != len(SpecialTokens(everything())) {
		t.Error("the switch does not decide about two tokens")
	}
}

// The mask of a choice is what the ranking has left over at its place; forced
// tokens and places without loss have none.
func TestAllowedStandsOnChoicesWithLoss(t *testing.T) {
	b := builder(t, "own", Options{Title: true})
	s := testSlate(0, 1, 2, 3)
	e := sft(t, b, SFT{Slate: s, Ranking: []int{2, 0, 3, 1}, LossFrom: 1, LossTo: 3, LambdaO: 1})
	var choices []string
	for i, list := range e.Allowed {
		if list == nil {
			continue
		}
		if e.Weights[i] == 0 || !slices.Contains(list, e.Tokens[i]) || !slices.IsSorted(list) {
			t.Errorf("token %d with weight %g may be %v", e.Tokens[i], e.Weights[i], list)
		}
		choices = append(choices, b.tok.Decode(e.Tokens[i:i+1])+" of "+b.tok.Decode(list))
	}
	if want := []string{"1 of 124", "4 of 24"}; !slices.Equal(choices, want) {
		t.Errorf("choices %v, want %v", choices, want)
	}
	// What is learnt for free decoding is chosen among all tokens.
	b = builder(t, "own", Options{Title: true, SyntaxLoss: true})
	e = sft(t, b, SFT{Slate: s, Ranking: []int{2, 0, 3, 1}, LambdaO: 1})
	if slices.ContainsFunc(e.Allowed, func(list []int32) bool { return list != nil }) {
		t.Errorf("under the syntax loss choices are masked: %v", e.Allowed)
	}
}
