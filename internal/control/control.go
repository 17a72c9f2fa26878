package control

import (
	"cmp"
	"math"
	"slices"

	"github.com/gr2/gr2/internal/evidence"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
)

// Case is one slate and what evidence.Stats.Raw says about its candidates.
type Case struct {
	Slate    *market.Slate
	Evidence [][]float32 // K x len(evidence.Names())
	// Ranker numbers the legacy ranker that made the incoming order. Where the cases of
	// one fit come from several, Trees ask for it: it decides what ranks and scores mean.
	Ranker int
}

// Ranker orders a slate: Rank is a permutation of 0..K-1, best first.
type Ranker interface {
	Name() string // the policy's name in a report
	Rank(c Case) []int
}

// validate says what makes a case unusable for a fit.
func (c Case) validate() error {
	if len(c.Evidence) != len(c.Slate.Candidates) {
		return fault.Inputf("control: slate %q has %d candidates and evidence for %d", c.Slate.ID, len(c.Slate.Candidates), len(c.Evidence))
	}
	if g := len(c.Slate.Grades); g != 0 && g != len(c.Slate.Candidates) {
		return fault.Inputf("control: slate %q has %d candidates and %d grades", c.Slate.ID, len(c.Slate.Candidates), g)
	}
	width := len(evidence.Names())
	for k, row := range c.Evidence {
		if len(row) != width {
			return fault.Inputf("control: slate %q: candidate %d has %d values of evidence, not %d", c.Slate.ID, k, len(row), width)
		}
		if score := float64(c.Slate.Candidates[k].Score); math.IsNaN(score) || math.IsInf(score, 0) {
			return fault.Inputf("control: slate %q: candidate %d has score %v", c.Slate.ID, k, score)
		}
	}
	return nil
}

// byScore is the permutation that sorts scores, largest first; equal scores
// keep the incoming order.
func byScore(scores []float64) []int {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	return order
}

// columns finds features by name among those of evidence.
func columns(names ...string) []int {
	all := evidence.Names()
	out := make([]int, len(names))
	for i, n := range names {
		out[i] = slices.Index(all, n)
	}
	return out
}
