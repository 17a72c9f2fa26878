package reward

import (
	"slices"

	"github.com/gr2/gr2/internal/fault"
)

// Variant names how rank reward and format reward are put together. R is the
// rank metric of the answer, F (GR2's Omega) is 1 for a valid answer, a full
// permutation in the form that prompt.Parse reads, and 0 for another.
type Variant string

const (
	// Naive is the sum R + alpha F, where R of an invalid answer is that of what
	// can be read of it, completed by the incoming order. Between the bounds of R,
	// and alpha above the upper one. Both hacks pay: a
	// copy of the incoming order earns all that the legacy ranker got right,
	// and so does an answer that names a few candidates, or none, and leaves
	// the rest to the completion. It stands here to be measured against.
	Naive Variant = "naive"
	// A is R + alpha F for a valid answer, alpha F alone for a copy of an
	// incoming order that is not perfect, 0 for an invalid answer (GR2 eq. 7). 0 to
	// 1 + alpha; under Promotion, where an invalid answer has -1, from there to
	// (K-1)/K + alpha.
	A Variant = "a"
	// B is R, and R + alpha F only where the answer beats the incoming order
	// (for Promotion: R > 0) or that was already perfect; 0 for an invalid
	// answer (arXiv:2602.07774). The range is that of A.
	B Variant = "b"
	// C is B, but -1 for an invalid answer, which stays in its group
	// (arXiv:2607.01170, with alpha .2). -1 to what A has at most.
	C Variant = "c"
)

// Variants lists them.
func Variants() []Variant { return []Variant{Naive, A, B, C} }

// Reward is a variant with its settings.
type Reward struct {
	Variant Variant
	Metric  Metric
	Alpha   float64 // worth of a valid answer, 0 or more
}

// Validate says which setting is wrong.
func (r Reward) Validate() error {
	switch {
	case !slices.Contains(Variants(), r.Variant):
		return fault.Usagef("the reward's variant is %q; use one of %v", r.Variant, Variants())
	case !slices.Contains(Metrics(), r.Metric):
		return fault.Usagef("the reward's metric is %q; use one of %v", r.Metric, Metrics())
	case !(r.Alpha >= 0 && r.Alpha <= 100):
		return fault.Usagef("the reward's alpha is %g; use 0 to 100", r.Alpha)
	}
	return nil
}

// Answer is what became of an output.
type Answer struct {
	Valid bool
	// Ranking is the full permutation of a valid answer; else the places that
	// can be read of it, each at most once, if any.
	Ranking []int
}

// Score is a reward with its parts.
type Score struct {
	// Total is what the policy learns from: at most the metric's maximum plus alpha,
	// at least 0, or -1 for C and under Promotion.
	Total  float64
	Rank   float64 // the part of Total that the ranking earned
	Format float64 // the part that the form earned, alpha or 0
	// Raw is the metric of the ranking before any condition, NoRanking where the
	// variant reads none. Dynamic sampling compares these.
	Raw    float64
	Copied bool // the answer is valid and the incoming order
}

// NoRanking is the raw metric of an answer that has none: below all metrics.
const NoRanking = -1

// Score rewards an answer to a usable slate.
func (r Reward) Score(s Slate, a Answer) Score {
	if !a.Valid {
		return r.invalid(s, a)
	}
	raw := r.Metric.Of(s, a.Ranking)
	out := Score{Rank: raw, Format: r.Alpha, Raw: raw, Copied: slices.Equal(a.Ranking, s.Incoming)}
	perfect := s.Perfect()
	switch r.Variant {
	case A:
		if out.Copied && !perfect {
			out.Rank = 0
		}
	case B, C:
		if !perfect && !(raw > r.Metric.Of(s, s.Incoming)) {
			out.Format = 0
		}
	}
	out.Total = out.Rank + out.Format
	return out
}

func (r Reward) invalid(s Slate, a Answer) Score {
	switch r.Variant {
	case Naive:
		v := r.Metric.Of(s, complete(a.Ranking, s.Incoming))
		return Score{Total: v, Rank: v, Raw: v}
	case A, B:
		if r.Metric != Promotion { // where 0 would be more than a ranking that demotes
			return Score{Raw: NoRanking}
		}
	}
	return Score{Total: -1, Raw: NoRanking}
}

// complete puts what the ranking lacks behind it, in the incoming order.
func complete(ranking, incoming []int) []int {
	out := slices.Clone(ranking)
	for _, c := range incoming {
		if !slices.Contains(ranking, c) {
			out = append(out, c)
		}
	}
	return out
}

// Overlong is the soft penalty of long outputs (DAPO eq. 13): 0 up to
// limit-margin tokens, from there falling evenly to -1 at limit, and -1 beyond.
// A margin of 0 leaves the step at limit.
func Overlong(tokens, limit, margin int) float64 {
	switch free := limit - margin; {
	case tokens <= free:
		return 0
	case tokens <= limit:
		return float64(free-tokens) / float64(margin)
	}
	return -1
}
