package control

import (
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
	// Features limits the model to these; default: all of LinearFeatures.
	Features []string
	Seed     uint64
}

// What is not an option: the defaults of gradient boosting for some ten thousand
// slates. The rate is small enough that halving it, with twice the trees, gains nothing.
const (
	treesMost     = 400
	treesPatience = 40  // trees without a better cross-entropy before the search ends
	treesChosenBy = 5   // one of so many users chooses the number of trees
	treesRate     = 0.1 // what is taken of a tree
	slateShare    = 0.8 // of slates that a tree is fitted on
	featureShare  = 0.5 // of features that it may ask for
)

// Trees scores a candidate by a sum of regression trees: what the values of a
// candidate, and how far they are from the best of its slate, are worth together. Where
// it is better than Linear, values interact.
type Trees struct {
	features []string
	trees    []tree
	Slates   int     // that it was fitted on
	Loss     float64 // mean cross-entropy there, nats
}

// FitTrees boosts trees on the objective of FitLinear, the mean cross-entropy between
// the softmax of the scores over a slate and its gains, by Newton steps (Chen and Guestrin,
// XGBoost, eqs. 5-7) on histograms of at most 256 bins, leaf by leaf. Slates that lack a
// positive or a negative teach nothing and are left out. The same cases in the same
// order give the same trees, whatever the number of threads.
func FitTrees(cases []Case, opt TreesOptions) (*Trees, error) {
	if opt.Features == nil {
		opt.Features = LinearFeatures()
	}
	probe := &Linear{}
	for _, name := range opt.Features {
		probe.Weights = append(probe.Weights, Weight{Feature: name, Scale: 1})
	}
	if err := probe.Validate(); err != nil {
		return nil, err
	}
	m := &Trees{features: opt.Features}
	var kept []Case
	for _, c := range cases {
		if err := c.validate(); err != nil {
			return nil, err
		}
		if gains(c.Slate.Grades) != nil {
			kept = append(kept, c)
		}
	}
	if len(kept) == 0 {
		return nil, fault.Inputf("control: none of %d training slates has both a positive and a negative candidate", len(cases))
	}
	if opt.Trees == 0 {
		opt.Trees = m.choose(kept, opt.Seed)
	}
	b := m.boosting(kept, opt.Seed)
	for range opt.Trees {
		b.step()
	}
	m.trees, m.Slates, m.Loss = b.trees, len(kept), b.loss()
	return m, nil
}

// choose is the number of trees that ranks some of the users best when the others'
// slates are fitted; 1 where there are too few to tell.
func (m *Trees) choose(cases []Case, seed uint64) int {
	var fitting, held []Case
	for _, c := range cases {
		if userHash(seed, c.Slate)%treesChosenBy == 0 {
			held = append(held, c)
		} else {
			fitting = append(fitting, c)
		}
	}
	if len(fitting) == 0 || len(held) == 0 {
		return 1
	}
	b, at := m.boosting(fitting, seed), newScored(m, held)
	best, lowest := 1, math.Inf(1)
	for n := 1; n <= treesMost && n-best <= treesPatience; n++ {
		t := b.step()
		at.add(t)
		if loss := at.loss(); loss < lowest {
			best, lowest = n, loss
		}
	}
	return best
}

// userHash is of the user, or of the slate where it names none.
func userHash(seed uint64, s *market.Slate) uint64 {
	if s.User < 0 {
		return rng.Hash(seed, rng.Key("trees-slate"), rng.Key(s.ID))
	}
	return rng.Hash(seed, rng.Key("trees-user"), uint64(s.User))
}

// CrossFit are the scores that trees give each case without having seen a slate of its
// user: one fit for each of folds parts of the users, with the number of trees that
// FitTrees chooses on all.
func CrossFit(cases []Case, folds int, opt TreesOptions) ([][]float64, error) {
	if opt.Trees == 0 {
		whole, err := FitTrees(cases, opt)
		if err != nil {
			return nil, err
		}
		opt.Trees = len(whole.trees)
	}
	fold := func(c Case) int { return int(userHash(opt.Seed+1, c.Slate) % uint64(folds)) }
	scores := make([][]float64, len(cases))
	for f := range folds {
		others := slices.DeleteFunc(slices.Clone(cases), func(c Case) bool { return fold(c) == f })
		m, err := FitTrees(others, opt)
		if err != nil {
			return nil, err
		}
		kernel.Parallel(len(cases), func(i int) {
			if fold(cases[i]) == f {
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
	for k, row := range m.rows(c) {
		for i := range m.trees {
			scores[k] += m.trees[i].value(row)
		}
	}
	return scores
}

// rows are the features of the case's candidates, behind them how far each is below the
// largest of the slate, and the ranker.
func (m *Trees) rows(c Case) [][]float64 {
	rows := rowsOf(c, m.features)
	for f := range m.features {
		top := math.Inf(-1)
		for _, row := range rows {
			top = max(top, row[f])
		}
		for k := range rows {
			rows[k] = append(rows[k], rows[k][f]-top)
		}
	}
	for k := range rows {
		rows[k] = append(rows[k], float64(c.Ranker))
	}
	return rows
}
