package control

import (
	"context"
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
	m, err := FitTrees(t.Context(), cases, opt)
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
	_, targets, err := usable(others)
	if err != nil {
		t.Fatal(err)
	}
	unseen := newScored(others, targets, trees.features)
	for _, tree := range trees.trees {
		unseen.add(tree)
	}
	if loss := unseen.loss(); !(loss < linear.Loss/2) {
		t.Errorf("loss %v on slates not seen, %v of the linear control where it was fitted", loss, linear.Loss)
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
	cases := interacting(4, 1500) // more rows than one chunk
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

// grown is a state of boosting on slates of several lengths with grades of several
// kinds, and the rows it is about.
func grown(t *rapid.T) (*boosting, [][]float64) {
	r := rng.New(rapid.Uint64().Draw(t, "seed"))
	cases := interacting(r.Uint64(), rapid.IntRange(20, 60).Draw(t, "slates"))
	for i := range cases {
		c := &cases[i]
		keep := 4 + r.IntN(5)
		c.Evidence, c.Slate.Candidates, c.Slate.Grades = c.Evidence[:keep], c.Slate.Candidates[:keep], c.Slate.Grades[:keep]
		c.Slate.Grades[0], c.Slate.Grades[1], c.Slate.Grades[2] = uint8(1+r.IntN(3)), uint8(r.IntN(2)), market.GradeNone
		c.Order = r.IntN(2)
	}
	kept, targets, err := usable(cases)
	if err != nil {
		t.Fatal(err)
	}
	opt := &TreesOptions{Features: []string{"pop", "titleDecay", "co"}}
	b := newBoosting(kept, targets, opt)
	for range rapid.IntRange(0, 3).Draw(t, "trees before") {
		b.step()
	}
	b.spare = nil // they are of half of the columns
	return b, newScored(kept, targets, opt.Features).rows
}

// The first split of a tree is the best of all, found here by trying each.
func TestFirstSplitIsTheBest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, rows := grown(t)
		b.differentiate()
		columns, all := identity(len(rows[0])), make([]int32, len(rows))
		for i := range all {
			all[i] = int32(i)
		}
		root := b.grow(all, columns)[0]
		best, found := 0.0, -1.0
		for _, f := range columns {
			for _, cut := range b.cuts[f] {
				var left, right bin
				for i, row := range rows {
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

// Every leaf holds the value that the rows which come to it ask for, and enough rows.
func TestLeavesAreOfTheirRows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, rows := grown(t)
		b.differentiate()
		all := make([]int32, len(rows))
		for i := range all {
			all[i] = int32(i)
		}
		tree := b.grow(all, identity(len(rows[0])))
		sums := make([]bin, len(tree))
		for i, row := range rows {
			at := 0
			for tree[at].left > 0 {
				if row[tree[at].feature] <= tree[at].cut {
					at = tree[at].left
				} else {
					at = tree[at].right
				}
			}
			sums[at] = sums[at].plus(bin{float64(b.slopes[i].g), float64(b.slopes[i].h), 1})
		}
		for i, n := range tree {
			if n.left > 0 {
				continue
			}
			if want := -treesRate * sums[i].g / (sums[i].h + leafL2); math.Abs(n.value-want) > 1e-9 {
				t.Fatalf("leaf %d has value %v, its rows ask for %v", i, n.value, want)
			}
			if sums[i].n < b.least && len(tree) > 1 {
				t.Fatalf("leaf %d has %d rows, at least %d are wanted", i, sums[i].n, b.least)
			}
		}
	})
}

// The slopes are the derivatives of a slate's cross-entropy by a score, found here by
// finite differences.
func TestSlopesAreDerivatives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, _ := grown(t)
		b.differentiate()
		slates := float64(len(b.starts) - 1) // loss is a mean
		i := rapid.IntRange(0, len(b.scores)-1).Draw(t, "row")
		at := func(step float64) float64 {
			before := b.scores[i]
			defer func() { b.scores[i] = before }()
			b.scores[i] += step
			return slates * b.loss()
		}
		const e = 1e-3
		first, second := (at(e)-at(-e))/(2*e), (at(e)-2*at(0)+at(-e))/(e*e)
		if got := b.slopes[i]; math.Abs(first-float64(got.g)) > 1e-5 || math.Abs(second-float64(got.h)) > 1e-4 {
			t.Fatalf("row %d: slopes %v, by differences %v and %v", i, got, first, second)
		}
	})
}

// Trees lower the loss of what they are fitted on, and the scores while boosting are those
// of the model that comes of it.
func TestBoostingLowersTheLoss(t *testing.T) {
	cases := interacting(8, 200)
	_, targets, err := usable(cases)
	if err != nil {
		t.Fatal(err)
	}
	b := newBoosting(cases, targets, &TreesOptions{Features: Features()})
	before := b.loss()
	if math.Abs(before-math.Log(8)) > 1e-9 {
		t.Fatalf("without trees the loss is %v, want ln 8", before)
	}
	fresh := newScored(cases, targets, Features())
	for range 30 {
		fresh.add(b.step())
	}
	if after := b.loss(); !(after < before-.1) {
		t.Errorf("loss %v, after 30 trees %v", before, after)
	}
	m := &Trees{features: Features(), trees: b.trees}
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
// ones none, though each user has two slates that are the same but for their order.
func TestCrossFitHasNotSeenItsUsers(t *testing.T) {
	cases := interacting(9, 600)
	for i := range cases {
		if i%2 == 1 {
			cases[i], cases[i].Order = cases[i-1], 1
			continue
		}
		clear(cases[i].Slate.Grades)
		cases[i].Slate.Grades[rng.New(10, uint64(i)).IntN(8)] = market.GradeClick
	}
	seen := firstRight(mustFitTrees(t, cases, TreesOptions{Trees: 100}), cases)
	scores, err := CrossFitTrees(t.Context(), cases, 3, TreesOptions{Trees: 100})
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
	_, targets, err := usable(cases[1500:])
	if err != nil {
		t.Fatal(err)
	}
	others := newScored(cases[1500:], targets, noise.features)
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
		`no feature "colour"`: func() error {
			_, err := FitTrees(t.Context(), good, TreesOptions{Features: []string{"colour"}})
			return err
		},
		"none of 1 training slates has both": func() error {
			_, err := FitTrees(t.Context(), []Case{blank(3)}, TreesOptions{})
			return err
		},
		"has 2 candidates and evidence for 1": func() error {
			c := blank(2)
			c.Evidence = c.Evidence[:1]
			_, err := CrossFitTrees(t.Context(), append(slices.Clone(good), c), 2, TreesOptions{})
			return err
		},
		"candidate 1 has the value NaN of pop": func() error {
			c := interacting(15, 1)[0]
			c.Evidence[1][popColumn] = float32(math.NaN())
			_, err := FitTrees(t.Context(), []Case{c}, TreesOptions{})
			return err
		},
		"-1 trees": func() error { _, err := FitTrees(t.Context(), good, TreesOptions{Trees: -1}); return err },
		"without the users of part": func() error {
			_, err := CrossFitTrees(t.Context(), good[:2], 2, TreesOptions{}) // of one user
			return err
		},
		"canceled": func() error {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := FitTrees(ctx, good, TreesOptions{})
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
