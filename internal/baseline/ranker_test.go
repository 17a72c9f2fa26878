package baseline

import (
	"math"
	"slices"
	"sort"
	"testing"

	"pgregory.net/rapid"

	"github.com/gr2/gr2/internal/market"
)

// scoresWithTies draws few distinct values, so that ties are common.
func scoresWithTies(t *rapid.T, n int) []float32 {
	values := []float32{minusInf, -1, 0, .5, 2}
	row := make([]float32, n)
	for i := range row {
		row[i] = rapid.SampledFrom(values).Draw(t, "score")
	}
	return row
}

func TestTopKIsThePrefixOfAFullSort(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, k := rapid.IntRange(1, 30).Draw(t, "n"), rapid.IntRange(1, 12).Draw(t, "k")
		row := scoresWithTies(t, n)
		ties := make([]uint64, n)
		var want []int32
		for i := range ties {
			ties[i] = uint64(rapid.IntRange(0, 1000).Draw(t, "tie"))*1000 + uint64(i)
			if row[i] != minusInf {
				want = append(want, int32(i))
			}
		}
		sort.Slice(want, func(a, b int) bool {
			x, y := want[a], want[b]
			return row[x] > row[y] || row[x] == row[y] && ties[x] < ties[y]
		})
		want = want[:min(k, len(want))]
		if got := topK(row, k, ties); !slices.Equal(got, want) {
			t.Fatalf("top %d of %v: got %v, want %v", k, row, got, want)
		}
	})
}

func TestExpectedRankIsTheMeanOverTieBreaks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		row := scoresWithTies(t, rapid.IntRange(2, 20).Draw(t, "n"))
		row[0] = .5
		best, worst := 1, 0 // ranks when item 0 wins and loses every tie
		for _, s := range row {
			if s > row[0] {
				best++
			}
			if s >= row[0] {
				worst++
			}
		}
		if got, want := expectedRank(row, 0), float64(best+worst)/2; got != want {
			t.Fatalf("row %v: rank %v, want %v", row, got, want)
		}
	})
}

func TestMeasure(t *testing.T) {
	row := make([]float32, 20) // item i has rank i+1
	for i := range row {
		row[i] = -float32(i)
	}
	masked := slices.Clone(row)
	masked[0] = minusInf
	broken := slices.Clone(row)
	broken[0] = float32(math.NaN())
	dcg := func(ranks ...float64) (sum float64) {
		for _, r := range ranks {
			sum += 1 / math.Log2(1+r)
		}
		return sum
	}
	for _, c := range []struct {
		name      string
		row       []float32
		positives []int32
		want      Measures
	}{
		{"first", row, []int32{0}, Measures{R1: 1, R5: 1, R10: 1, N10: 1}},
		{"sixth", row, []int32{5}, Measures{R10: 1, N10: dcg(6)}},
		{"out of reach", row, []int32{10}, Measures{}},
		{"masked", masked, []int32{0}, Measures{}},
		{"not a number", broken, []int32{0}, Measures{}},
		{"moved up by the mask", masked, []int32{1}, Measures{R1: 1, R5: 1, R10: 1, N10: 1}},
		{"basket", row, []int32{0, 6}, Measures{R1: 1, R5: .5, R10: 1, N10: dcg(1, 7) / dcg(1, 2)}},
	} {
		got := measure(c.row, c.positives)
		if math.Abs(got.N10-c.want.N10) > 1e-12 || got.R1 != c.want.R1 || got.R5 != c.want.R5 || got.R10 != c.want.R10 {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestLogNormaliserMakesProbabilities(t *testing.T) {
	row := []float32{80, minusInf, 79, -90}
	norm, sum := logNormaliser(row), 0.0
	for _, s := range row {
		sum += math.Exp(float64(s) - norm)
	}
	if math.Abs(sum-1) > 1e-9 {
		t.Fatalf("probabilities sum to %v", sum)
	}
}

// Every ranker must score a query the same alone and in company, and fall back
// to popularity when there is no history.
func TestBatchEqualsSingleAndEmptyHistoryIsPopularity(t *testing.T) {
	ds := ring(t, 60, 30, 1)
	s := train(t, ds, leaveOneOut(t, ds), smallConfig(), Options{})
	queries := []Query{{History: visits(3, 4, 5)}, {}, {History: visits(7)}, {History: visits(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)}}
	prior := make([]float32, 30)
	s.full[OrderPopularity].Scores(nil, 0, prior)
	for _, order := range Orders() {
		r, err := s.Ranker(order)
		if err != nil {
			t.Fatal(err)
		}
		single := make([]float32, 30)
		EachScored(r, queries, 30, func(i int, row []float32) {
			one := slices.Clone(single)
			r.Scores(queries[i].History, 0, one)
			for j := range one {
				if math.Abs(float64(one[j]-row[j])) > 1e-4*(1+math.Abs(float64(one[j]))) {
					t.Errorf("%s, query %d, item %d: %v alone, %v in a batch", order, i, j, one[j], row[j])
					return
				}
			}
			if i == 1 && !slices.Equal(topK(row, 30, s.ties), topK(prior, 30, s.ties)) {
				t.Errorf("%s: an empty history does not give the order of popularity", order)
			}
		})
	}
}

func TestUnknownOrder(t *testing.T) {
	ds := ring(t, 20, 10, 1)
	s := train(t, ds, leaveOneOut(t, ds), smallConfig(), Options{Orders: []string{OrderKNN}})
	if _, err := s.Ranker(OrderBPR); err == nil {
		t.Error("an order that was not fitted has a ranker")
	}
	if _, err := s.BuildSlates(t.Context(), OrderBPR); err == nil {
		t.Error("an order that was not fitted has slates")
	}
	if _, err := Train(t.Context(), ds, leaveOneOut(t, ds), smallConfig(), Options{Orders: []string{"svd"}}); err == nil {
		t.Error("an order that does not exist is accepted")
	}
	if _, err := Train(t.Context(), ds, &market.Split{}, smallConfig(), Options{}); err == nil {
		t.Error("a split without training events is accepted")
	}
}
