package control

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
)

// TreesOptions of FitTrees. A zero field takes its default.
type TreesOptions struct {
	// Trees is how many are fitted. By default as many as rank a fifth of the users best
	// (by cross-entropy) when the others' slates are fitted, at most 400.
	Trees int
	// Features limits the model to these; default: all of Features().
	Features []string
	Seed     uint64
}

// What is not an option: usual values of gradient boosting for some ten thousand slates.
const (
	treesMost     = 400
	treesPatience = 40  // trees without a better cross-entropy before the search ends
	treesChosenBy = 5   // one of so many users chooses the number of trees
	treesRate     = 0.1 // what is taken of a tree
	slateShare    = 0.8 // of slates that a tree is fitted on
	featureShare  = 0.5 // of columns that it may ask for
)

// Trees scores a candidate by a sum of regression trees: what the values of a
// candidate, and their distances from the largest of its slate, are worth together.
// Where it is better than Linear, values interact.
type Trees struct {
	features []string
	trees    []tree
}

// FitTrees boosts trees on the objective of FitLinear, the mean cross-entropy between
// the softmax of the scores over a slate and its gains, by Newton steps on the diagonal of
// the curvature (Chen and Guestrin, XGBoost, eqs. 5-7) on histograms of at most 256 bins,
// leaf by leaf. Slates that lack a positive or a negative teach nothing and are left
// out. The same cases in the same order give the same trees, whatever the number of
// threads. Ten thousand slates take some ten seconds of a core; ctx ends it between trees.
func FitTrees(ctx context.Context, cases []Case, opt TreesOptions) (*Trees, error) {
	if err := opt.complete(); err != nil {
		return nil, err
	}
	kept, targets, err := usable(cases)
	if err != nil {
		return nil, err
	}
	if opt.Trees == 0 {
		if opt.Trees, err = chooseTrees(ctx, kept, targets, &opt); err != nil {
			return nil, err
		}
	}
	b := newBoosting(kept, targets, &opt)
	for range opt.Trees {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		b.step()
	}
	return &Trees{features: opt.Features, trees: b.trees}, nil
}

// complete fills in the features and refuses what makes no sense.
func (o *TreesOptions) complete() error {
	if o.Features == nil {
		o.Features = Features()
	}
	if o.Trees < 0 {
		return fault.Usagef("control: %d trees; use a number above 0, or 0 to choose it", o.Trees)
	}
	return checkFeatures(o.Features)
}

// chooseTrees is the number of trees that ranks some of the users best when the others'
// slates are fitted; 1 where there are too few to tell.
func chooseTrees(ctx context.Context, cases []Case, targets [][]float64, opt *TreesOptions) (int, error) {
	var cut [2][]Case
	var says [2][][]float64
	for i, c := range cases {
		held := 0
		if userHash(opt.Seed, c.Slate)%treesChosenBy == 0 {
			held = 1
		}
		cut[held], says[held] = append(cut[held], c), append(says[held], targets[i])
	}
	if len(cut[0]) == 0 || len(cut[1]) == 0 {
		return 1, nil
	}
	b, at := newBoosting(cut[0], says[0], opt), newScored(cut[1], says[1], opt.Features)
	best, lowest := 1, math.Inf(1)
	for n := 1; n <= treesMost && n-best <= treesPatience; n++ {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		at.add(b.step())
		if loss := at.loss(); loss < lowest {
			best, lowest = n, loss
		}
	}
	return best, nil
}

// userHash is of the user, or of the slate where it names none.
func userHash(seed uint64, s *market.Slate) uint64 {
	if s.User < 0 {
		return rng.Hash(seed, rng.Key("trees-slate"), rng.Key(s.ID))
	}
	return rng.Hash(seed, rng.Key("trees-user"), uint64(s.User))
}

// CrossFitTrees are the scores that trees give each case without having seen a slate of
// its user: one fit for each of some parts of the users, at least 2, with the number of
// trees that FitTrees chooses on all.
func CrossFitTrees(ctx context.Context, cases []Case, parts int, opt TreesOptions) ([][]float64, error) {
	if err := opt.complete(); err != nil {
		return nil, err
	}
	if opt.Trees == 0 {
		kept, targets, err := usable(cases)
		if err != nil {
			return nil, err
		}
		if opt.Trees, err = chooseTrees(ctx, kept, targets, &opt); err != nil {
			return nil, err
		}
	}
	part := func(c Case) int { return int(userHash(opt.Seed+1, c.Slate) % uint64(parts)) }
	scores := make([][]float64, len(cases))
	for p := range parts {
		others := slices.DeleteFunc(slices.Clone(cases), func(c Case) bool { return part(c) == p })
		m, err := FitTrees(ctx, others, opt)
		if err != nil {
			return nil, fmt.Errorf("without the users of part %d of %d: %w", p+1, parts, err)
		}
		kernel.Parallel(len(cases), func(i int) {
			if part(cases[i]) == p {
				scores[i] = m.Scores(cases[i])
			}
		})
	}
	return scores, nil
}

// TreesName is the policy name of Trees.
const TreesName = "control/trees"

// Name is TreesName.
func (m *Trees) Name() string { return TreesName }

// Rank orders the candidates by score; equal scores keep the incoming order.
func (m *Trees) Rank(c Case) []int { return byScore(m.Scores(c)) }

// Scores are the candidates' logits: their softmax over the slate is what the fit made
// more likely.
func (m *Trees) Scores(c Case) []float64 {
	scores := make([]float64, len(c.Evidence))
	for k, row := range treeRows(c, m.features) {
		for _, t := range m.trees {
			scores[k] += t.score(row)
		}
	}
	return scores
}

// treeRows are the features of the case's candidates, behind them how far each is below
// the largest of the slate, and the order.
func treeRows(c Case, features []string) [][]float64 {
	rows := rowsOf(c, features, len(features)+1)
	for f := range features {
		top := math.Inf(-1)
		for _, row := range rows {
			top = max(top, row[f])
		}
		for k := range rows {
			rows[k] = append(rows[k], rows[k][f]-top)
		}
	}
	for k := range rows {
		rows[k] = append(rows[k], float64(c.Order))
	}
	return rows
}
