package control

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
	"pgregory.net/rapid"
)

// interacting draws slates whose positive has a title if it is popular, and none if it
// is not: neither says anything by itself.
func interacting(seed uint64, n int) []Case {
	cases := make([]Case, n)
	for i := range cases {
		r := rng.New(seed, uint64(i))
		c := blank(8)
		c.Slate.User = int32(i / 2)
		for _, row := range c.Evidence {
			row[popColumn], row[titleColumn] = float32(r.NormFloat64()), float32(r.NormFloat64())
			row[coColumn] = float32(r.NormFloat64())
		}
		best := 0
		for k, row := range c.Evidence {
			if b := c.Evidence[best]; row[popColumn]*row[titleColumn] > b[popColumn]*b[titleColumn] {
				best = k
			}
		}
		c.Slate.Grades[best] = market.GradeClick
		cases[i] = c
	}
	return cases
}

func firstRight(r Ranker, cases []Case) float64 {
	right := 0
	for _, c := range cases {
		if c.Slate.Grades[r.Rank(c)[0]] > 0 {
			right++
		}
	}
	return float64(right) / float64(len(cases))
}

func mustFitTrees(t *testing.T, cases []Case, opt TreesOptions) *Trees {
	t.Helper()
	m, err := FitTrees(cases, opt)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestTreesFindWhatValuesSayTogether(t *testing.T) {
	fitting, others := interacting(1, 3000), interacting(2, 500)
	linear, err := FitLinear(fitting, LinearOptions{})
	if err != nil {
		t.Fatal(err)
	}
	trees := mustFitTrees(t, fitting, TreesOptions{})
	if chance, right := firstRight(linear, others), firstRight(trees, others); chance > .25 || right < .75 {
		t.Errorf("first place right: linear %.3f, trees %.3f", chance, right)
	}
	if trees.Slates != 3000 || !(trees.Loss < linear.Loss/2) {
		t.Errorf("%d slates, loss %v beside %v of the linear control", trees.Slates, trees.Loss, linear.Loss)
	}
}

// A candidate's distance from the best of its slate is a feature: where a popular
// slate and an unpopular one have the same order, one tree can tell.
func TestTreesCompareWithinASlate(t *testing.T) {
	cases := make([]Case, 2000)
	for i := range cases {
		r := rng.New(3, uint64(i))
		cases[i] = blank(6)
		level, best := 100*r.NormFloat64(), r.IntN(6)
		for k, row := range cases[i].Evidence {
			row[popColumn] = float32(level - float64(1+r.IntN(3)))
			if k == best {
				row[popColumn] = float32(level)
			}
		}
		cases[i].Slate.Grades[best] = market.GradeClick
	}
	if right := firstRight(mustFitTrees(t, cases[:1500], TreesOptions{Trees: 20}), cases[1500:]); right < .99 {
		t.Errorf("first place right in %.3f", right)
	}
}

func TestTreesAreTheSameOnAnyThreads(t *testing.T) {
	cases := interacting(4, 400)
	var fits []*Trees
	for _, threads := range []int{1, 4} {
		before := kernel.Threads()
		kernel.SetThreads(threads)
		fits = append(fits, mustFitTrees(t, cases, TreesOptions{Trees: 10, Seed: 5}))
		kernel.SetThreads(before)
	}
	if !reflect.DeepEqual(fits[0], fits[1]) {
		t.Error("1 and 4 threads fit different trees")
	}
	if other := mustFitTrees(t, cases, TreesOptions{Trees: 10, Seed: 6}); reflect.DeepEqual(fits[0].trees, other.trees) {
		t.Error("the seed changes nothing")
	}
}

func TestTreesIgnoreUnits(t *testing.T) {
	cases, scaled := interacting(7, 300), interacting(7, 300)
	for _, c := range scaled {
		for _, row := range c.Evidence {
			row[popColumn] *= 1024
		}
	}
	opt := TreesOptions{Trees: 15, Features: []string{"order/rank", "pop", "titleDecay"}}
	a, b := mustFitTrees(t, cases, opt), mustFitTrees(t, scaled, opt)
	for i := range cases {
		if want, got := a.Scores(cases[i]), b.Scores(scaled[i]); !slices.Equal(want, got) {
			t.Fatalf("slate %d: scores %v, in other units %v", i, want, got)
		}
	}
}

// The first split of a tree is the best of all, found here by trying each.
func TestFirstSplitIsTheBest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cases := interacting(rapid.Uint64().Draw(t, "seed"), rapid.IntRange(20, 60).Draw(t, "slates"))
		m := &Trees{features: []string{"pop", "titleDecay", "co"}}
		b := m.boosting(cases, 1)
		for range rapid.IntRange(0, 3).Draw(t, "trees before") {
			b.step()
		}
		b.differentiate()
		b.spare = nil // they are of half of the features
		rows, features := make([]int32, len(b.rows)), []int{0, 1, 2, 3, 4, 5}
		for i := range rows {
			rows[i] = int32(i)
		}
		root := b.grow(rows, features)[0]
		best, found := 0.0, -1.0
		for _, f := range features {
			for _, cut := range b.cuts[f] {
				var left, right bin
				for i, row := range b.rows {
					one := bin{float64(b.slopes[i].g), float64(b.slopes[i].h), 1}
					if row[f] <= cut {
						left = left.plus(one)
					} else {
						right = right.plus(one)
					}
				}
				gain := left.worth() + right.worth() - left.plus(right).worth()
				if left.n >= b.least && right.n >= b.least {
					best = max(best, gain)
				}
				if root.left > 0 && root.feature == f && root.cut == cut {
					found = gain
				}
			}
		}
		if best > 1e-9 && math.Abs(found-best) > 1e-6*best {
			t.Fatalf("the first split lowers the loss by %v, the best by %v", found, best)
		}
	})
}

// Every step lowers the loss of what it is fitted on (with all slates and features in
// it), and the scores while boosting are those of the model that comes of it.
func TestBoostingLowersTheLoss(t *testing.T) {
	cases := interacting(8, 200)
	m := &Trees{features: LinearFeatures()}
	b := m.boosting(cases, 1)
	before := b.loss()
	if math.Abs(before-math.Log(8)) > 1e-9 {
		t.Fatalf("without trees the loss is %v, want ln 8", before)
	}
	for range 30 {
		b.step()
	}
	if after := b.loss(); !(after < before-.1) {
		t.Errorf("loss %v, after 30 trees %v", before, after)
	}
	m.trees = b.trees
	fresh := newScored(m, cases)
	for _, tree := range b.trees {
		fresh.add(tree)
	}
	row := 0
	for _, c := range cases {
		for _, score := range m.Scores(c) {
			if score != b.scores[row] || fresh.scores[row] != score {
				t.Fatalf("row %d: %v, while boosting %v, counted again %v", row, score, b.scores[row], fresh.scores[row])
			}
			row++
		}
	}
}

func TestQuantiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		few := rapid.SliceOfN(rapid.Float64Range(-3, 3), 1, 20).Draw(t, "values")
		values := rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom(few), rapid.Float64Range(-5, 5)), 1, 2000).Draw(t, "column")
		cuts := quantiles(slices.Clone(values))
		if len(cuts) > mostBins || !slices.IsSorted(cuts) || len(slices.Compact(slices.Clone(cuts))) != len(cuts) || cuts[len(cuts)-1] != slices.Max(values) {
			t.Fatalf("%d cuts %v", len(cuts), cuts)
		}
		distinct := slices.Compact(slices.Sorted(slices.Values(values)))
		if len(values) <= mostBins && len(cuts) != len(distinct) {
			t.Fatalf("%d values, %d of them distinct, in %d bins", len(values), len(distinct), len(cuts))
		}
	})
}

// Of labels that are noise trees know those they were fitted on, and cross-fitted
// ones none.
func TestCrossFitHasNotSeenItsUsers(t *testing.T) {
	cases := interacting(9, 600)
	for i, c := range cases {
		clear(c.Slate.Grades)
		c.Slate.Grades[rng.New(10, uint64(i)).IntN(8)] = market.GradeClick
	}
	seen := firstRight(mustFitTrees(t, cases, TreesOptions{Trees: 100}), cases)
	scores, err := CrossFit(cases, 3, TreesOptions{Trees: 100})
	if err != nil {
		t.Fatal(err)
	}
	right := 0
	for i, c := range cases {
		if c.Slate.Grades[byScore(scores[i])[0]] > 0 {
			right++
		}
	}
	if unseen := float64(right) / float64(len(cases)); seen < .5 || unseen > .2 { // by chance 1/8
		t.Errorf("first place right: %.3f of slates fitted, %.3f of others", seen, unseen)
	}
}

// With labels that are noise few trees are worth having, and those that chance
// favours do next to no harm.
func TestTreesChooseFewWhereThereIsNothing(t *testing.T) {
	cases := interacting(11, 2000)
	signal := mustFitTrees(t, cases[:1500], TreesOptions{})
	for i, c := range cases {
		clear(c.Slate.Grades)
		c.Slate.Grades[rng.New(12, uint64(i)).IntN(8)] = market.GradeClick
	}
	noise := mustFitTrees(t, cases[:1500], TreesOptions{})
	others := newScored(noise, cases[1500:])
	for _, tree := range noise.trees {
		others.add(tree)
	}
	if harm := others.loss() - math.Log(8); len(noise.trees) > 40 || len(signal.trees) < 100 || harm > .05 {
		t.Errorf("%d trees for noise, which cost others %.3f nats; %d for a signal", len(noise.trees), harm, len(signal.trees))
	}
}

func TestTreesRefuseBadInput(t *testing.T) {
	good := interacting(13, 30)
	for want, try := range map[string]func() error{
		`no feature "colour"`: func() error { _, err := FitTrees(good, TreesOptions{Features: []string{"colour"}}); return err },
		"none of 1 training slates has both": func() error {
			_, err := FitTrees([]Case{blank(3)}, TreesOptions{})
			return err
		},
		"has 2 candidates and evidence for 1": func() error {
			c := blank(2)
			c.Evidence = c.Evidence[:1]
			_, err := CrossFit(append(slices.Clone(good), c), 2, TreesOptions{})
			return err
		},
	} {
		if err := try(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestTreesNeedNoGradesToRank(t *testing.T) {
	m := mustFitTrees(t, interacting(14, 50), TreesOptions{Trees: 3})
	c := blank(4)
	c.Slate.Grades = nil
	if got := m.Rank(c); !slices.Equal(got, identity(4)) {
		t.Errorf("without evidence the order became %v", got)
	}
}
