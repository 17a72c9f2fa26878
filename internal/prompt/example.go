package prompt

import (
	"slices"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
)

// Example is a training document. Weights[i] is the loss weight of predicting
// Tokens[i] from the tokens before it; 0 is context, as Tokens[0] always is.
type Example struct {
	Tokens  []int32
	Weights []float32
	// Allowed, when not nil, has for each token those that the grammar allows
	// in its place, none where there is no grammar. Only weighted tokens need
	// them: the loss is then that of the masked distribution, which is what
	// the policy decodes with.
	Allowed [][]int32
	Asides  []Aside
	Cut     Cut
}

// Aside is a question to the model beside the document: what it would say
// behind token At instead of the token that stands there.
type Aside struct {
	At      int
	Token   int32
	Allowed []int32 // it chooses among these
	Weight  float32
	Late    bool // asked of the whole model, as the document is, not of the layers below judgements
}

// SFT describes a supervised example. Everything about candidates is given in
// the order of Slate.Candidates; Order alone says how they are shown.
type SFT struct {
	Slate    *market.Slate
	Order    []int     // Order[i] is the candidate shown at place i; nil = as they stand
	Ranks    []int     // legacy ranks from 1; nil = as they stand
	Evidence [][]uint8 // see Builder.Render
	Ranking  []int     // the target: candidates, best first
	Trace    string    // shown in trace mode only

	// Yes has the probability that each candidate is engaged with, which its
	// judgement learns instead of the grade; nil = the grades.
	Yes []float64

	// Odds are how likely each candidate is to be put first, up to a factor. Every
	// choice of the answer then learns the odds of all candidates that are left, where
	// the ranking says which ones these are; nil = the candidate that it names, as
	// do choices among all tokens (Options.SyntaxLoss).
	Odds []float64

	LossFrom int     // places of the ranking before this one carry no loss
	LossTo   int     // nor do those from this one on; 0 = no such place
	LambdaR  float32 // weight of trace tokens (GR2 eq. 3)
	LambdaO  float32 // weight of answer tokens
	LambdaJ  float32 // weight of each judgement; needs Options.Judge and grades
}

// SFT builds the prompt and the target turn. Weights stand on the assistant's
// tokens only; those that the grammar forces carry weight only under
// Options.SyntaxLoss, for under the grammar they are never chosen. Choices are
// then learnt among all tokens, without it among those that the grammar allows.
func (b *Builder) SFT(x SFT) (Example, error) {
	shown, ranks, ev, err := Reorder(x.Slate, x.Order, x.Ranks, x.Evidence)
	if err != nil {
		return Example{}, err
	}
	ranking, err := places(x.Ranking, x.Order, len(shown.Candidates))
	if err != nil {
		return Example{}, fault.Inputf("sft: slate %q: ranking %w", x.Slate.ID, err)
	}
	prompt, err := b.Render(shown, ranks, ev)
	if err != nil {
		return Example{}, err
	}
	tokens, slot, traceLen := b.Answer(ranking, x.Trace)
	if n := traceLen - 2; n > b.opt.TraceMax {
		return Example{}, fault.Inputf("sft: slate %q: the trace has %d tokens; trace_max is %d", x.Slate.ID, n, b.opt.TraceMax)
	}
	out := Example{Tokens: append(prompt.Tokens, tokens...), Cut: prompt.Cut}
	out.Weights, out.Allowed = make([]float32, len(out.Tokens)), make([][]int32, len(out.Tokens))
	if x.LambdaJ > 0 && b.opt.Judge {
		out.Asides = b.Judgements(shown, asShown(x.Yes, x.Order), prompt.Judged, x.LambdaJ)
	}
	return out, b.weigh(&out, len(prompt.Tokens), slot, traceLen, x)
}

// Judgements ask at the end of each line whether the candidate was engaged with:
// at is Prompted.Judged of the slate as shown. The answer is that of the grades or,
// where yes has its probability, both in these parts: the loss is then the
// cross-entropy to them. They need Options.Judge.
func (b *Builder) Judgements(shown *market.Slate, yes []float64, at []int, weight float32) []Aside {
	choice := []int32{b.v.no, b.v.yes}
	slices.Sort(choice)
	asides := make([]Aside, 0, len(shown.Grades))
	ask := func(i int, token int32, share float32) {
		if share > 0 {
			asides = append(asides, Aside{At: at[i], Token: token, Allowed: choice, Weight: weight * share})
		}
	}
	for i, g := range shown.Grades {
		p := float32(0)
		switch {
		case yes != nil:
			p = float32(yes[i])
		case g > market.GradeNone:
			p = 1
		}
		ask(i, b.v.yes, p)
		ask(i, b.v.no, 1-p)
	}
	return asides
}

// JudgeTokens are the tokens of "no" and "yes", -1 unless Options.Judge.
func (b *Builder) JudgeTokens() (no, yes int32) { return b.v.no, b.v.yes }

// StopToken ends an answer.
func (b *Builder) StopToken() int32 { return b.v.end }

// weigh sets the weights of the assistant's tokens, which begin at from, and
// what the grammar allows in their place.
func (b *Builder) weigh(e *Example, from int, slot []int, traceLen int, x SFT) error {
	tokens, weights, allowed := e.Tokens[from:], e.Weights[from:], e.Allowed[from:]
	for i := range traceLen {
		if i > 0 || b.opt.SyntaxLoss { // <think> is forced
			weights[i] = x.LambdaR
		}
	}
	odds := asShown(x.Odds, x.Order)
	g, place := b.answerGrammar(len(x.Slate.Candidates)), 0
	var choice []int32
	for i := traceLen; i < len(tokens); i++ {
		if slot[i] >= 0 {
			place = slot[i]
		}
		choice = g.Allowed(choice[:0])
		learnt := place >= x.LossFrom && (x.LossTo == 0 || place < x.LossTo)
		if learnt && (len(choice) > 1 || b.opt.SyntaxLoss) {
			weights[i] = x.LambdaO
			if !b.opt.SyntaxLoss { // free decoding has to know by itself what may come
				allowed[i] = slices.Clone(choice)
			}
			if odds != nil {
				b.spread(e, from+i, odds)
			}
		}
		if err := g.Advance(tokens[i]); err != nil {
			return err
		}
	}
	return nil
}

// spread shares the weight of a choice among all that could be chosen, by the odds of
// the candidates they name. A choice of tokens that name none, as parts of a number,
// keeps it.
func (b *Builder) spread(e *Example, at int, odds []float64) {
	share, sum := make([]float64, len(e.Allowed[at])), 0.0
	for n, token := range e.Allowed[at] {
		candidate, ok := b.Candidate(token)
		if !ok {
			return
		}
		share[n] = odds[candidate]
		sum += odds[candidate]
	}
	if !(sum > 0) {
		return
	}
	whole := e.Weights[at]
	for n, token := range e.Allowed[at] {
		weight := whole * float32(share[n]/sum)
		switch {
		case token == e.Tokens[at]:
			e.Weights[at] = weight
		case weight > 0:
			e.Asides = append(e.Asides, Aside{At: at - 1, Token: token, Allowed: e.Allowed[at], Weight: weight, Late: true})
		}
	}
}

// Reorder shows a slate in another order: place i shows candidate order[i],
// with its own legacy rank, evidence and grade. Nil ranks are 1..K of the
// slate as it stands; a nil order changes nothing. The slate itself is not
// changed.
func Reorder(s *market.Slate, order, ranks []int, ev [][]uint8) (*market.Slate, []int, [][]uint8, error) {
	if order == nil {
		return s, ranks, ev, nil
	}
	k := len(s.Candidates)
	if _, err := places(order, nil, k); err != nil {
		return nil, nil, nil, fault.Inputf("prompt: slate %q: order %w", s.ID, err)
	}
	if ranks != nil && len(ranks) != k || ev != nil && len(ev) != k || s.Grades != nil && len(s.Grades) != k {
		return nil, nil, nil, fault.Inputf("prompt: slate %q: %d candidates, %d ranks, evidence for %d, %d grades", s.ID, k, len(ranks), len(ev), len(s.Grades))
	}
	shown := *s
	shown.Candidates = pick(s.Candidates, order)
	shown.Grades = pick(s.Grades, order)
	if ranks == nil {
		ranks = make([]int, k)
		for i := range ranks {
			ranks[i] = i + 1
		}
	}
	return &shown, pick(ranks, order), pick(ev, order), nil
}

// asShown has the values of candidates in the order that shows them; nil = as they stand.
func asShown(values []float64, order []int) []float64 {
	if order == nil {
		return values
	}
	return pick(values, order)
}

func pick[T any](from []T, order []int) []T {
	if from == nil {
		return nil
	}
	out := make([]T, len(order))
	for i, j := range order {
		out[i] = from[j]
	}
	return out
}

// places turns a ranking of candidates into places as shown under the order.
// It is an error unless the ranking is a permutation of 0..k-1.
func places(ranking, order []int, k int) ([]int, error) {
	at := make([]int, k)
	for i := range at {
		at[i] = -1
	}
	if len(ranking) != k {
		return nil, fault.Inputf("names %d of %d candidates", len(ranking), k)
	}
	for i, c := range ranking {
		if c < 0 || c >= k || at[c] >= 0 {
			return nil, fault.Inputf("%v is not a permutation of 0 to %d", ranking, k-1)
		}
		at[c] = i
	}
	if order == nil {
		return ranking, nil
	}
	for i, c := range order {
		at[c] = i
	}
	return pick(at, ranking), nil
}

// Candidate is the place, as shown, of the candidate that a token of an answer
// names by itself; ok is false for other tokens and for parts of numbers.
func (b *Builder) Candidate(token int32) (place int, ok bool) {
	place, ok = b.v.named[token]
	return place, ok
}

// ChoiceTokens are the tokens behind which an answer names a candidate, and
// those that end the numbers 1 to k.
func (b *Builder) ChoiceTokens(k int) (from, to []int32) {
	from = []int32{b.v.open[len(b.v.open)-1], b.v.comma[len(b.v.comma)-1]}
	for n := 1; n <= k; n++ {
		spelt := b.v.numbers[n]
		to = append(to, spelt[len(spelt)-1])
	}
	return from, to
}
