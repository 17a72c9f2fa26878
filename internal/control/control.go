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
	// Order numbers the incoming orders that the cases of one fit come from. Trees may
	// ask for it: it decides what ranks and scores mean.
	Order int
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
		if i := slices.IndexFunc(row, func(x float32) bool { return x-x != 0 }); i >= 0 {
			return fault.Inputf("control: slate %q: candidate %d has the value %v of %s", c.Slate.ID, k, row[i], evidence.Names()[i])
		}
		if score := float64(c.Slate.Candidates[k].Score); math.IsNaN(score) || math.IsInf(score, 0) {
			return fault.Inputf("control: slate %q: candidate %d has score %v", c.Slate.ID, k, score)
		}
	}
	return nil
}

// usable are the cases that can teach, and their gains.
func usable(cases []Case) (kept []Case, targets [][]float64, err error) {
	for _, c := range cases {
		if err := c.validate(); err != nil {
			return nil, nil, err
		}
		if target := gains(c.Slate.Grades); target != nil {
			kept, targets = append(kept, c), append(targets, target)
		}
	}
	if len(kept) == 0 {
		return nil, nil, fault.Inputf("control: none of %d training slates has both a positive and a negative candidate", len(cases))
	}
	return kept, targets, nil
}

// gains turns grades into a distribution over candidates; nil when there is no
// positive or no negative.
func gains(grades []uint8) []float64 {
	out := make([]float64, len(grades))
	sum, positives := 0.0, 0
	for i, g := range grades {
		out[i] = math.Exp2(float64(g)) - 1
		sum += out[i]
		if g > 0 {
			positives++
		}
	}
	if positives == 0 || positives == len(grades) {
		return nil
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}

// Features are what the fitted controls can use: two features of the incoming order,
// then those of evidence.Names.
//
//	order/rank  1 / rank in the incoming order
//	order/log   -log(rank)
func Features() []string {
	return append([]string{"order/rank", "order/log"}, evidence.Names()...)
}

// ShownFeatures are those that a prompt with these names of evidence has: the rank
// in the incoming order, and their values, which it shows in buckets.
func ShownFeatures(names []string) []string {
	return append([]string{"order/rank", "order/log"}, names...)
}

func checkFeatures(names []string) error {
	known := Features()
	for _, name := range names {
		if !slices.Contains(known, name) {
			return fault.Usagef("control: no feature %q; there are %v", name, known)
		}
	}
	return nil
}

// rowsOf are the named features of the case's candidates (K x features), in rows that
// have room for spare more.
func rowsOf(c Case, names []string, spare int) [][]float64 {
	width := len(names) + spare
	flat := make([]float64, len(c.Evidence)*width)
	rows := make([][]float64, len(c.Evidence))
	at := columns(names...)
	for k, ev := range c.Evidence {
		rows[k] = flat[k*width : k*width+len(names) : (k+1)*width]
		for f, column := range at {
			switch rank := float64(k + 1); {
			case column >= 0:
				rows[k][f] = float64(ev[column])
			case names[f] == "order/rank":
				rows[k][f] = 1 / rank
			case names[f] == "order/log":
				rows[k][f] = -math.Log(rank)
			}
		}
	}
	return rows
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
