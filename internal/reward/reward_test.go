package reward

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func near(a, b float64) bool { return math.Abs(a-b) < 1e-12 }

func identity(k int) []int {
	all := make([]int, k)
	for i := range all {
		all[i] = i
	}
	return all
}

// drawSlate is a usable slate of 2 to 12 candidates in some incoming order.
func drawSlate(t *rapid.T) Slate {
	k := rapid.IntRange(2, 12).Draw(t, "k")
	s := Slate{Grades: make([]uint8, k), Incoming: drawRanking(t, k, "incoming")}
	for i := range s.Grades {
		s.Grades[i] = uint8(rapid.IntRange(0, 2).Draw(t, "grade"))
	}
	s.Grades[0] = max(s.Grades[0], 1)
	s.Grades[1] = 0
	return s
}

func drawRanking(t *rapid.T, k int, label string) []int {
	return rapid.Permutation(identity(k)).Draw(t, label)
}

// drawReward is any variant; its alpha is above 0.
func drawReward(t *rapid.T) Reward {
	return Reward{
		Variant: rapid.SampledFrom(Variants()).Draw(t, "variant"),
		Metric:  rapid.SampledFrom(Metrics()).Draw(t, "metric"),
		Alpha:   rapid.Float64Range(.01, 2).Draw(t, "alpha"),
	}
}

// drawPartial is an invalid answer that names some places.
func drawPartial(t *rapid.T, k int) Answer {
	return Answer{Ranking: drawRanking(t, k, "partial")[:rapid.IntRange(0, k-1).Draw(t, "named")]}
}

// ideal is a ranking by falling grade, worst its reverse.
func ideal(s Slate) []int {
	best := identity(len(s.Grades))
	slices.SortStableFunc(best, func(a, b int) int { return int(s.Grades[b]) - int(s.Grades[a]) })
	return best
}

// Eq. 5: AUC is the share of right pairs, 0 to 1, 1 exactly when all positives
// stand above all negatives.
func TestAUC(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSlate(t)
		ranking := drawRanking(t, len(s.Grades), "ranking")
		rank := make([]int, len(ranking))
		for i, c := range ranking {
			rank[c] = i
		}
		right, pairs := 0, 0
		for i, gi := range s.Grades {
			for j, gj := range s.Grades {
				if gi > 0 && gj == 0 {
					pairs++
					if rank[i] < rank[j] {
						right++
					}
				}
			}
		}
		if have := AUC.Of(s, ranking); !near(have, float64(right)/float64(pairs)) || have < 0 || have > 1 {
			t.Fatalf("AUC %g of %v, want %d/%d", have, ranking, right, pairs)
		}
		if have := AUC.Of(s, ideal(s)); have != 1 {
			t.Fatalf("AUC %g of the ideal order", have)
		}
	})
}

// Eq. 6: NDCG is above 0 and at most 1, 1 for the ideal order, and graded.
func TestNDCG(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSlate(t)
		ranking := drawRanking(t, len(s.Grades), "ranking")
		gain := func(ranking []int) float64 {
			sum := 0.0
			for i, c := range ranking {
				sum += (math.Pow(2, float64(s.Grades[c])) - 1) / math.Log2(float64(i+2))
			}
			return sum
		}
		have, want := NDCG.Of(s, ranking), gain(ranking)/gain(ideal(s))
		if !near(have, want) || have <= 0 || have > 1+1e-12 {
			t.Fatalf("NDCG %g of %v, want %g", have, ranking, want)
		}
	})
	conversion := Slate{Grades: []uint8{1, 2, 0}, Incoming: identity(3)}
	if click, buy := NDCG.Of(conversion, []int{0, 1, 2}), NDCG.Of(conversion, []int{1, 0, 2}); !(click < buy) {
		t.Errorf("a click first earns %g, a conversion first %g", click, buy)
	}
}

// Promotion is the mean of (rank before - rank after)/K over the positives, 0
// for the incoming order, at most (K-1)/K in size.
func TestPromotion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSlate(t)
		k := len(s.Grades)
		ranking := drawRanking(t, k, "ranking")
		sum, positives := 0.0, 0.0
		for c, g := range s.Grades {
			if g > 0 {
				positives++
				sum += float64(slices.Index(s.Incoming, c)-slices.Index(ranking, c)) / float64(k)
			}
		}
		have := Promotion.Of(s, ranking)
		if !near(have, sum/positives) || math.Abs(have) > float64(k-1)/float64(k)+1e-12 {
			t.Fatalf("promotion %g of %v, want %g", have, ranking, sum/positives)
		}
		if v := Promotion.Of(s, s.Incoming); v != 0 {
			t.Fatalf("the incoming order is promoted by %g", v)
		}
	})
}

// Every metric prefers the better of two neighbours first, but for grades of
// one class in AUC and Promotion.
func TestMetricsFollowTheOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSlate(t)
		ranking := drawRanking(t, len(s.Grades), "ranking")
		i := rapid.IntRange(0, len(ranking)-2).Draw(t, "i")
		if s.Grades[ranking[i]] > 0 || s.Grades[ranking[i+1]] == 0 {
			return
		}
		better := slices.Clone(ranking)
		better[i], better[i+1] = better[i+1], better[i]
		for _, m := range Metrics() {
			if !(m.Of(s, better) > m.Of(s, ranking)) {
				t.Fatalf("%s: %v earns %g, %v %g", m, ranking, m.Of(s, ranking), better, m.Of(s, better))
			}
		}
	})
}

// Numbering the places anew changes no score: nothing hangs on where a
// candidate is shown but through the incoming order.
func TestScoresFollowThePlaces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, s := drawReward(t), drawSlate(t)
		k := len(s.Grades)
		answer := Answer{Valid: true, Ranking: drawRanking(t, k, "ranking")}
		if rapid.Bool().Draw(t, "invalid") {
			answer = drawPartial(t, k)
		}
		label := drawRanking(t, k, "label")
		moved := Slate{Grades: make([]uint8, k)}
		for c, to := range label {
			moved.Grades[to] = s.Grades[c]
		}
		relabel := func(list []int) (out []int) {
			for _, c := range list {
				out = append(out, label[c])
			}
			return out
		}
		moved.Incoming = relabel(s.Incoming)
		if a, b := r.Score(s, answer), r.Score(moved, Answer{answer.Valid, relabel(answer.Ranking)}); a != b {
			t.Fatalf("%+v, and under other places %+v", a, b)
		}
	})
}

// Ranges and parts: Total is Rank + Format, within the bounds that Score states.
func TestRanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, s := drawReward(t), drawSlate(t)
		k := len(s.Grades)
		valid := r.Score(s, Answer{true, drawRanking(t, k, "ranking")})
		low, high := 0.0, 1.0
		if r.Metric == Promotion {
			high = float64(k-1) / float64(k)
			low = -high
		}
		if valid.Total != valid.Rank+valid.Format || valid.Total < low-1e-12 || valid.Total > high+r.Alpha+1e-12 || valid.Raw <= NoRanking {
			t.Fatalf("valid: %+v outside %g to %g", valid, low, high+r.Alpha)
		}
		invalid := r.Score(s, drawPartial(t, k))
		if invalid.Format != 0 || invalid.Copied {
			t.Fatalf("an invalid answer has the form of a valid one: %+v", invalid)
		}
		switch r.Variant {
		case A, B, C:
			want := Score{Raw: NoRanking}
			if r.Variant == C || r.Metric == Promotion {
				want.Total = -1
			}
			if invalid != want || invalid.Total > valid.Total || want.Total == -1 && invalid.Total == valid.Total {
				t.Fatalf("%s: an invalid answer earns %+v, a valid one %+v", r.Variant, invalid, valid)
			}
		}
	})
}

// The hacks pay under the naive sum and under no other variant: a partial parse
// earns the incoming order's metric and more, a copy all of it.
func TestHacks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSlate(t)
		legacy := AUC.Of(s, s.Incoming)
		naive := Reward{Naive, AUC, .2}
		first := slices.IndexFunc(s.Incoming, func(c int) bool { return s.Grades[c] > 0 })
		one := Answer{Ranking: []int{s.Incoming[first]}}
		empty, named, copied := naive.Score(s, Answer{}), naive.Score(s, one), naive.Score(s, Answer{true, s.Incoming})
		if empty.Total != legacy || named.Total < legacy || copied.Total != legacy+.2 || !copied.Copied {
			t.Fatalf("incoming order %g: nothing earns %+v, one name %+v, a copy %+v", legacy, empty, named, copied)
		}
		for _, v := range []Variant{A, B, C} {
			for _, a := range []Answer{{}, one} {
				if (Reward{v, AUC, .2}).Score(s, a).Total > 0 {
					t.Fatalf("%s pays for the invalid %+v", v, a)
				}
			}
		}
	})
}

// A valid answer that is no copy earns R, and alpha: always by Naive and A, by B and
// C where it beats the incoming order or that was perfect (eq. 7, and its relatives).
func TestRankingsEarnTheirMetric(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, s := drawReward(t), drawSlate(t)
		noCopy := func(ranking []int) bool { return !slices.Equal(ranking, s.Incoming) }
		ranking := rapid.Permutation(identity(len(s.Grades))).Filter(noCopy).Draw(t, "ranking")
		want := r.Metric.Of(s, ranking)
		beats := want > r.Metric.Of(s, s.Incoming)
		if r.Variant == Naive || r.Variant == A || beats || AUC.Of(s, s.Incoming) == 1 {
			want += r.Alpha
		}
		if have := r.Score(s, Answer{true, ranking}); !near(have.Total, want) || have.Copied {
			t.Fatalf("%+v of %v over %v: %+v, want a total of %g", r, ranking, s.Incoming, have, want)
		}
	})
}

// A pays alpha for a copy, B and C (by promotion) nothing, unless there was
// nothing to mend: then all pay in full.
func TestCopies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSlate(t)
		alpha := rapid.Float64Range(.01, 2).Draw(t, "alpha")
		copied := Answer{true, s.Incoming}
		perfect := true
		for i, c := range s.Incoming {
			for _, behind := range s.Incoming[i+1:] {
				perfect = perfect && (s.Grades[c] > 0 || s.Grades[behind] == 0)
			}
		}
		if s.Perfect() != perfect {
			t.Fatalf("%+v: perfect is %t", s, !perfect)
		}
		a := Reward{A, AUC, alpha}.Score(s, copied)
		b := Reward{B, Promotion, alpha}.Score(s, copied)
		c := Reward{C, Promotion, alpha}.Score(s, copied)
		want := [3]float64{alpha, 0, 0}
		if perfect {
			want = [3]float64{1 + alpha, alpha, alpha}
		}
		if have := [3]float64{a.Total, b.Total, c.Total}; have != want {
			t.Fatalf("perfect %t: copies earn %v, want %v", perfect, have, want)
		}
	})
}

// B pays for the form exactly where the ranking beats the incoming order or
// that was perfect, whatever the metric.
func TestB(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSlate(t)
		m := rapid.SampledFrom(Metrics()).Draw(t, "metric")
		ranking := drawRanking(t, len(s.Grades), "ranking")
		score := Reward{B, m, .5}.Score(s, Answer{true, ranking})
		pays := m.Of(s, ranking) > m.Of(s, s.Incoming) || AUC.Of(s, s.Incoming) == 1
		if (score.Format == .5) != pays || score.Rank != m.Of(s, ranking) {
			t.Fatalf("%v over %v: %+v", ranking, s.Incoming, score)
		}
	})
}

func TestUsable(t *testing.T) {
	for _, c := range []struct {
		grades []uint8
		want   bool
	}{{nil, false}, {[]uint8{0, 0}, false}, {[]uint8{1, 2}, false}, {[]uint8{0, 2}, true}, {[]uint8{1, 0, 0}, true}} {
		if Usable(c.grades) != c.want {
			t.Errorf("%v: usable is not %t", c.grades, c.want)
		}
	}
}

// Overlong lies in -1..0, never rises with the length, and is continuous where
// there is a margin.
func TestOverlong(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 100).Draw(t, "limit")
		margin := rapid.IntRange(0, limit).Draw(t, "margin")
		for n := range limit + 5 {
			v, next := Overlong(n, limit, margin), Overlong(n+1, limit, margin)
			if v > 0 || v < -1 || next > v {
				t.Fatalf("%d tokens: %g, one more: %g", n, v, next)
			}
			if margin > 0 && v-next > 1/float64(margin)+1e-12 {
				t.Fatalf("%d tokens: a step of %g", n, v-next)
			}
		}
		if Overlong(limit-margin, limit, margin) != 0 || Overlong(limit+1, limit, margin) != -1 {
			t.Fatal("the ends are not 0 and -1")
		}
	})
}

func TestValidate(t *testing.T) {
	if err := (Reward{A, AUC, .1}).Validate(); err != nil {
		t.Error(err)
	}
	for _, r := range []Reward{{"d", AUC, 0}, {A, "mrr", 0}, {A, AUC, -1}, {A, AUC, math.NaN()}} {
		if r.Validate() == nil {
			t.Errorf("%+v is accepted", r)
		}
	}
}

// TestPlacesSumToTheMetric: what the places add is the metric, and what the first
// ones add does not depend on the order of the others.
func TestPlacesSumToTheMetric(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSlate(t)
		k := len(s.Grades)
		ranking, cut := drawRanking(t, k, "ranking"), rapid.IntRange(0, k).Draw(t, "cut")
		other := slices.Concat(ranking[:cut], rapid.Permutation(ranking[cut:]).Draw(t, "rest"))
		for _, m := range Metrics() {
			sum := 0.0
			places, others := m.Places(s, ranking), m.Places(s, other)
			for i, v := range places {
				sum += v
				if i < cut && v != others[i] {
					t.Fatalf("%s: place %d adds %g or %g, by what stands behind place %d", m, i, v, others[i], cut)
				}
				if got := m.Earns(s, ranking[:i], ranking[i]); got != v {
					t.Fatalf("%s: place %d adds %g, its candidate earns %g there", m, i, v, got)
				}
			}
			if want := m.Of(s, ranking); math.Abs(sum-want) > 1e-9 {
				t.Fatalf("%s: the places add %g, the metric is %g", m, sum, want)
			}
		}
	})
}
