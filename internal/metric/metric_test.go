package metric

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func near(a, b float64) bool { return math.Abs(a-b) < 1e-12 }

// Values worked out by hand.
func TestByHand(t *testing.T) {
	log3 := math.Log2(3)
	for _, c := range []struct {
		name    string
		ranking []int
		grades  []uint8
		// wanted: R@1, R@3, N@3, MRR, AP, AUC
		r1, r3, n3, mrr, ap, auc float64
	}{
		{"first", []int{0, 1, 2, 3}, []uint8{1, 0, 0, 0}, 1, 1, 1, 1, 1, 1},
		{"second", []int{1, 0, 2, 3}, []uint8{1, 0, 0, 0}, 0, 1, 1 / log3, .5, .5, 2. / 3},
		{"third", []int{1, 2, 0, 3}, []uint8{1, 0, 0, 0}, 0, 1, .5, 1. / 3, 1. / 3, 1. / 3},
		{"fourth", []int{1, 2, 3, 0}, []uint8{1, 0, 0, 0}, 0, 0, 0, .25, .25, 0},
		{"two positives, ends", []int{0, 1, 2, 3}, []uint8{1, 0, 0, 1}, 1, .5, 1 / (1 + 1/log3), 1, (1 + .5) / 2, .5},
		{"grades swapped", []int{0, 1, 2}, []uint8{1, 2, 0}, 1, 1, (1 + 3/log3) / (3 + 1/log3), 1, 1, 1},
		{"four positives", []int{4, 0, 1, 2, 3}, []uint8{1, 1, 1, 2, 0}, 0, 2. / 3, (1/log3 + .5) / (3 + 1/log3 + .5), .5, (1./2 + 2./3 + 3./4 + 4./5) / 4, 0},
		{"a positive outside the slate", []int{0, 1}, []uint8{1, 0, 1}, 1, .5, 1 / (1 + 1/log3), 1, .5, 1},
	} {
		j := Judged{c.ranking, c.grades}
		auc, ok := j.AUC()
		if !ok {
			t.Errorf("%s: AUC is undefined", c.name)
		}
		for _, v := range []struct {
			metric    string
			got, want float64
		}{
			{"R@1", j.RecallAt(1), c.r1}, {"R@3", j.RecallAt(3), c.r3}, {"N@3", j.NDCGAt(3), c.n3},
			{"MRR", j.MRR(), c.mrr}, {"AP", j.AP(), c.ap}, {"AUC", auc, c.auc},
		} {
			if !near(v.got, v.want) {
				t.Errorf("%s: %s = %.6f, want %.6f", c.name, v.metric, v.got, v.want)
			}
		}
	}
}

func TestNothingToFind(t *testing.T) {
	for _, j := range []Judged{{nil, nil}, {[]int{0}, []uint8{0}}, {[]int{1, 0}, []uint8{0, 0}}} {
		for _, v := range []float64{j.RecallAt(1), j.NDCGAt(3), j.MRR(), j.AP()} {
			if v != 0 {
				t.Errorf("%v: %v, want 0", j, v)
			}
		}
		if _, ok := j.AUC(); ok {
			t.Errorf("%v: AUC is defined", j)
		}
	}
	if _, ok := (Judged{[]int{0, 1}, []uint8{1, 2}}).AUC(); ok {
		t.Error("AUC is defined without a negative")
	}
	if v := (Judged{[]int{0}, []uint8{1}}).RecallAt(0); v != 0 {
		t.Errorf("R@0 = %v", v)
	}
	if v := (Judged{[]int{0}, []uint8{1}}).NDCGAt(-1); v != 0 {
		t.Errorf("N@-1 = %v", v)
	}
}

// permutations of 0..n-1.
func permutations(n int) [][]int {
	if n == 0 {
		return [][]int{nil}
	}
	var all [][]int
	for _, p := range permutations(n - 1) {
		for at := 0; at <= len(p); at++ {
			all = append(all, slices.Insert(slices.Clone(p), at, n-1))
		}
	}
	return all
}

func drawJudged(t *rapid.T, maxK int) Judged {
	k := rapid.IntRange(1, maxK).Draw(t, "k")
	grades := make([]uint8, k)
	for i := range grades {
		grades[i] = uint8(rapid.IntRange(0, 2).Draw(t, "grade"))
	}
	return Judged{rapid.Permutation(identity(k)).Draw(t, "ranking"), grades}
}

func identity(k int) []int {
	all := make([]int, k)
	for i := range all {
		all[i] = i
	}
	return all
}

// values are all metrics of a ranking; an undefined AUC is left out.
func values(j Judged) []float64 {
	all := []float64{j.RecallAt(1), j.RecallAt(3), j.RecallAt(5), j.NDCGAt(3), j.NDCGAt(5), j.NDCGAt(50), j.MRR(), j.AP()}
	if auc, ok := j.AUC(); ok {
		all = append(all, auc)
	}
	return all
}

// NDCG is DCG over the best DCG of all permutations.
func TestIdealByPermutations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := drawJudged(t, 5)
		k := rapid.IntRange(1, 6).Draw(t, "cut")
		dcg := func(ranking []int) float64 {
			sum := 0.0
			for i, c := range ranking[:min(k, len(ranking))] {
				sum += (math.Pow(2, float64(j.Grades[c])) - 1) / math.Log2(float64(i+2))
			}
			return sum
		}
		best := 0.0
		for _, p := range permutations(len(j.Grades)) {
			best = max(best, dcg(p))
		}
		want := 0.0
		if best > 0 {
			want = dcg(j.Ranking) / best
		}
		if got := j.NDCGAt(k); !near(got, want) {
			t.Fatalf("N@%d of %v is %v, by permutations %v", k, j, got, want)
		}
	})
}

func TestInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := drawJudged(t, 12)
		for i, v := range values(j) {
			if v < 0 || v > 1+1e-12 {
				t.Fatalf("metric %d of %v is %v, outside 0..1", i, j, v)
			}
		}
		perfect := Judged{slices.Clone(j.Ranking), j.Grades}
		slices.SortStableFunc(perfect.Ranking, func(a, b int) int { return int(j.Grades[b]) - int(j.Grades[a]) })
		if slices.Max(j.Grades) > 0 {
			for i, v := range values(perfect) {
				if !near(v, 1) {
					t.Fatalf("metric %d of the perfect %v is %v", i, perfect, v)
				}
			}
		}
		relabelled(t, j)
		swapped(t, j)
	})
}

// relabelled: numbering the candidates anew changes nothing.
func relabelled(t *rapid.T, j Judged) {
	label := rapid.Permutation(identity(len(j.Grades))).Draw(t, "label")
	other := Judged{make([]int, len(j.Ranking)), make([]uint8, len(j.Grades))}
	for place, c := range j.Ranking {
		other.Ranking[place] = label[c]
		other.Grades[label[c]] = j.Grades[c]
	}
	if !slices.Equal(values(j), values(other)) {
		t.Fatalf("%v and %v are the same ranking: %v, %v", j, other, values(j), values(other))
	}
}

// swapped: putting the better of two neighbours first lowers no metric.
func swapped(t *rapid.T, j Judged) {
	if len(j.Ranking) < 2 {
		return
	}
	i := rapid.IntRange(0, len(j.Ranking)-2).Draw(t, "i")
	better := Judged{slices.Clone(j.Ranking), j.Grades}
	if j.Grades[j.Ranking[i+1]] <= j.Grades[j.Ranking[i]] {
		return
	}
	better.Ranking[i], better.Ranking[i+1] = better.Ranking[i+1], better.Ranking[i]
	before, after := values(j), values(better)
	for m := range before {
		if after[m] < before[m]-1e-12 {
			t.Fatalf("metric %d fell from %v to %v when %v became %v", m, before[m], after[m], j.Ranking, better.Ranking)
		}
	}
}

// The reverse of a ranking has the complementary AUC.
func TestReverseAUC(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := drawJudged(t, 12)
		back := Judged{slices.Clone(j.Ranking), j.Grades}
		slices.Reverse(back.Ranking)
		a, ok := j.AUC()
		b, _ := back.AUC()
		if ok && !near(a+b, 1) {
			t.Fatalf("%v: AUC %v, reversed %v", j, a, b)
		}
	})
}
