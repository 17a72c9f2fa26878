package eval

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
)

func TestCopyAndValidRate(t *testing.T) {
	if got := CopyRate([][]int{{0, 1, 2}, {0, 2, 1}, {0}, {1, 0}, {0, 1}}); got != .5 {
		t.Errorf("copy rate %v, want .5 (slates of one do not count)", got)
	}
	slates := []market.Slate{slate("a", 1, 0), slate("b", 1, 0), slate("c", 1, 0), slate("d", 1, 0)}
	if got := ValidRate(slates, [][]int{{1, 0}, {1, 1}, nil, {0}}); got != .25 {
		t.Errorf("valid rate %v, want .25", got)
	}
	if got := ValidRate(slates, [][]int{{1, 0}}); got != .25 {
		t.Errorf("valid rate with outputs left out %v, want .25", got)
	}
	graded := []market.Slate{slate("a", 0, 1, 0, 0), slate("b", 0, 1, 0, 0), slate("c", 0, 1, 0, 0), slate("perfect", 1, 0, 0, 0), slate("no positive", 0, 0, 0, 0)}
	if got := IdleRate(graded, [][]int{{0, 1, 2, 3}, {0, 1, 3, 2}, {1, 0, 2, 3}, {0, 1, 2, 3}, {0, 1, 2, 3}}); got != 2./3 {
		t.Errorf("idle rate %g, want that of the copy and of the exchanged negatives among three", got)
	}
	if ValidRate(nil, nil) != 1 || CopyRate(nil) != 0 {
		t.Error("rates of nothing are not 1 and 0")
	}
}

func TestPositionCorrelation(t *testing.T) {
	for _, c := range []struct {
		ranking []int
		want    float64
	}{{[]int{0, 1, 2, 3}, 1}, {[]int{3, 2, 1, 0}, -1}, {[]int{0, 2, 1}, .5}, {[]int{0}, 0}} {
		if got := PositionCorrelation([][]int{c.ranking}); !near(got, c.want) {
			t.Errorf("%v: %v, want %v", c.ranking, got, c.want)
		}
	}
}

func TestShuffle(t *testing.T) {
	slates := randomSlates(200, 6, 3)
	shuffled, from := Shuffle(slates, 1)
	again, _ := Shuffle(slates, 1)
	moved := 0
	for i := range slates {
		if !slices.Equal(shuffled[i].Candidates, again[i].Candidates) {
			t.Fatal("equal seeds shuffle differently")
		}
		for j, old := range from[i] {
			if shuffled[i].Candidates[j] != slates[i].Candidates[old] || shuffled[i].Grades[j] != slates[i].Grades[old] {
				t.Fatalf("slate %d: candidate %d does not come from %d", i, j, old)
			}
		}
		if !isIdentity(from[i]) {
			moved++
		}
	}
	if moved < 190 {
		t.Errorf("only %d of 200 slates moved", moved)
	}
}

// A policy that copies is all position; one that looks at items has none.
func TestProbePosition(t *testing.T) {
	slates := randomSlates(300, 6, 4)
	shuffled, from := Shuffle(slates, 2)
	byItem := func(slates []market.Slate) [][]int {
		rankings := identities(slates)
		for i, r := range rankings {
			slices.SortFunc(r, func(a, b int) int {
				return int(slates[i].Candidates[a].Item) - int(slates[i].Candidates[b].Item)
			})
		}
		return rankings
	}
	honest, err := ProbePosition(slates, byItem(slates), from, byItem(shuffled), 100, 1)
	if err != nil {
		t.Fatal(err)
	}
	if honest.SameFirst != 1 || honest.Change["R@1"] != (Lift{}) || math.Abs(honest.Correlation) > .1 {
		t.Errorf("order-free policy: %+v", honest)
	}
	lazy, err := ProbePosition(slates, identities(slates), from, identities(shuffled), 100, 1)
	if err != nil {
		t.Fatal(err)
	}
	if lazy.CopyRate != 1 || lazy.MovedCopy != 1 || lazy.Correlation != 1 || lazy.SameFirst > .3 || lazy.Change["R@1"].High >= 0 {
		t.Errorf("copying policy: %+v", lazy)
	}
	if honest.MovedOne > .05 || lazy.MovedOne != 0 {
		t.Errorf("one order in %g of the answers of an order-free policy, in %g of one that copies", honest.MovedOne, lazy.MovedOne)
	}
	blind := identities(slates)
	for _, r := range blind { // whatever it is shown
		copy(r, []int{2, 5, 1, 4, 0, 3})
	}
	if b, err := ProbePosition(slates, blind, from, blind, 100, 1); err != nil || b.MovedOne != 1 || b.MovedCopy != 0 || math.Abs(b.Correlation) > .5 {
		t.Errorf("policy that reads no slate: %+v, %v", b, err)
	}
	for _, c := range []struct {
		rankings [][]int
		want     float64
	}{
		{nil, 0}, {slices.Repeat([][]int{{1, 0, 2, 3}}, 19), 0}, {slices.Repeat([][]int{{1, 0, 2, 3}}, 20), 1},
		{slices.Repeat([][]int{{1, 0}}, 50), 0}, {slices.Repeat([][]int{{3, 2, 1, 0}}, 50), 0}, {slices.Repeat([][]int{{0, 1, 2, 3}}, 50), 0},
		{slices.Repeat([][]int{{1, 0, 2, 3}, {0, 1, 2, 3}, {1, 2, 0, 3}, {1, 0, 2, 3}}, 9), .5},
	} {
		if have := OneOrderRate(c.rankings); have != c.want {
			t.Errorf("%v...: one order in %g, want %g", c.rankings[:min(4, len(c.rankings))], have, c.want)
		}
	}
	reversed, back := Reverse(slates)
	if r, err := ProbePosition(slates, byItem(slates), back, byItem(reversed), 100, 1); err != nil || r.SameFirst != 1 || r.Change["R@1"] != (Lift{}) {
		t.Errorf("order-free policy on reversed slates: %+v, %v", r, err)
	}
	if r, err := ProbePosition(slates, identities(slates), back, identities(reversed), 100, 1); err != nil || r.MovedCopy != 1 || r.SameFirst != 0 {
		t.Errorf("copying policy on reversed slates: %+v, %v", r, err)
	}
	if _, err := ProbePosition(slates, identities(slates)[1:], from, identities(slates), 10, 1); fault.KindOf(err) != fault.Input {
		t.Errorf("rankings missing: %v", err)
	}
	broken := identities(slates)
	broken[5] = []int{0, 0, 1, 2, 3, 4}
	if _, err := ProbePosition(slates, broken, from, identities(slates), 10, 1); err == nil || !strings.Contains(err.Error(), `"s5"`) {
		t.Errorf("broken ranking: %v", err)
	}
}

// numbered is a catalog of n items whose ids rise with the number, or fall.
func numbered(t *testing.T, n int, rising bool) *market.Catalog {
	items := make([]market.Item, n)
	for i := range items {
		items[i].ID = fmt.Sprint(i)
		if !rising {
			items[i].ID = fmt.Sprintf("B%06d", n-i)
		}
	}
	catalog, err := market.NewCatalog(items)
	if err != nil {
		t.Fatal(err)
	}
	return catalog
}

func TestIDOrderFindsNothingOnHonestSlates(t *testing.T) {
	found := 0
	for seed := range uint64(12) {
		probe := ProbeIDOrder(randomSlates(400, 8, 50+seed), numbered(t, 800, true), 300, seed)
		if probe.Leak {
			found++
		}
		for _, r := range probe.Rules {
			if math.Abs(r.Advantage.Value) > .08 {
				t.Errorf("seed %d, %s: advantage %+v", seed, r.Rule, r.Advantage)
			}
		}
	}
	if found > 1 { // 12 probes at a joint level of 1%: more than 1 has a probability of .006
		t.Errorf("%d of 12 honest sets were accused", found)
	}
}

// One popular item is the answer of many slates; its number is high by chance.
func TestIDOrderForgivesAPopularItem(t *testing.T) {
	found := 0
	for seed := range uint64(12) {
		slates := randomSlates(400, 8, 80+seed)
		for i := range slates {
			s := &slates[i]
			random := rng.New(4, seed, uint64(i))
			p := slices.Index(s.Grades, 1)
			hit := int32(rng.New(5, seed, uint64(random.IntN(8))).IntN(800)) // one of eight hits
			if !slices.ContainsFunc(s.Candidates, func(c market.Candidate) bool { return c.Item == hit }) {
				s.Candidates[p].Item = hit
			}
		}
		for _, r := range ProbeIDOrder(slates, numbered(t, 800, true), 200, seed).Rules {
			if strings.HasPrefix(r.Rule, "number") && r.Leak {
				found++
			}
		}
	}
	if found > 1 {
		t.Errorf("%d of 24 honest rules were accused", found)
	}
}

// Leaks planted in the numbers or in the ids are found, by the right rules.
func TestIDOrderFindsPlantedLeaks(t *testing.T) {
	for _, rising := range []bool{true, false} { // do ids rise or fall with numbers
		slates := randomSlates(2500, 8, 6)
		for i := range slates { // the last item lies below the positive for half of the users
			s := &slates[i]
			if rng.New(1, uint64(i)).Float64() < .5 {
				p := slices.Index(s.Grades, 1)
				s.History[0].Item = int32(rng.New(2, uint64(i)).IntN(int(s.Candidates[p].Item) + 1))
			}
		}
		probe := ProbeIDOrder(slates, numbered(t, 800, rising), 500, 1)
		if !probe.Leak {
			t.Errorf("rising %v: no leak found", rising)
		}
		for _, r := range probe.Rules {
			if strings.HasSuffix(r.Rule, "_above_last") && (!r.Leak || r.Lift.Low <= 0) {
				t.Errorf("rising %v: %s is not found: %+v", rising, r.Rule, r)
			}
		}
	}
}

// A weak leak drowns in a good incoming order but not in the advantage.
func TestIDOrderFindsWeakLeakInNumbers(t *testing.T) {
	slates := randomSlates(3000, 8, 8)
	for i := range slates {
		s := &slates[i]
		p := slices.Index(s.Grades, 1)
		if random := rng.New(3, uint64(i)); random.Float64() < .15 {
			s.Candidates[p].Item = int32(700 + random.IntN(100))
		}
	}
	probe := ProbeIDOrder(slates, numbered(t, 800, true), 300, 1)
	for _, r := range probe.Rules {
		if r.Rule == "number_order" && (!r.Leak || r.Deviation < 3) {
			t.Errorf("not found: %+v", r)
		}
	}
}

// Ids that grow with the release date know a little about an honest slate;
// when the incoming order knows more, that is no leak.
func TestIDOrderForgivesReleaseDates(t *testing.T) {
	const n = 800
	number := rng.New(11).Perm(n) // of the item with the i-th id
	items := make([]market.Item, n)
	for i, at := range number {
		items[at].ID = fmt.Sprintf("B%06d", i)
	}
	catalog, err := market.NewCatalog(items)
	if err != nil {
		t.Fatal(err)
	}
	slates := randomSlates(1500, 8, 12)
	for i := range slates {
		s := &slates[i]
		random := rng.New(13, uint64(i))
		perm := random.Perm(n)
		for c := range s.Candidates {
			s.Candidates[c].Item = int32(perm[c])
		}
		if random.Float64() < .2 {
			s.Candidates[slices.Index(s.Grades, 1)].Item = int32(number[n-1-random.IntN(100)])
		}
		if random.Float64() < .9 { // a good incoming order
			p := slices.Index(s.Grades, 1)
			s.Grades[0], s.Grades[p] = s.Grades[p], s.Grades[0]
			s.Candidates[0], s.Candidates[p] = s.Candidates[p], s.Candidates[0]
		}
	}
	probe := ProbeIDOrder(slates, catalog, 300, 1)
	if order := probe.Rules[3]; order.Rule != "id_order" || order.Advantage.Low <= 0 {
		t.Errorf("the ids know nothing: %+v", order)
	}
	if probe.Leak {
		t.Errorf("accused: %+v", probe.Rules)
	}
}

func TestCompareIDs(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"9", "10", -1}, {"010", "9", 1}, {"B9", "B10", 1}, {"a", "a", 0}, {"7", "007", 0}} {
		if got := compareIDs(c.a, c.b); got != c.want {
			t.Errorf("compare %q %q = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestCheckTime(t *testing.T) {
	ds := &market.Dataset{Catalog: numbered(t, 10, true), Users: []string{"ann", "bob"}}
	test := func(history ...int64) []market.Slate {
		s := slate("q", 0, 1, 0)
		for _, at := range history {
			s.History = append(s.History, market.Visit{Item: 7, Time: at})
		}
		return []market.Slate{s}
	}
	event := func(user, item int32, at int64) []market.Event {
		return []market.Event{{User: user, Item: item, Time: at}}
	}
	for _, c := range []struct {
		name   string
		slates []market.Slate
		train  []market.Event
		rule   TimeRule
		want   string // "" = passes
	}{
		{"honest", test(1, 50, 99), event(0, 1, 40), TimeRule{Cut: 100}, ""},
		{"history at the request", test(99, 100), nil, TimeRule{}, `slate "q": history event 1 (item 7) at 100`},
		{"history after the request", test(101), nil, TimeRule{Ties: true}, "history event 0"},
		{"a tie that the protocol allows", test(100), nil, TimeRule{Ties: true}, ""},
		{"train event at the cut", test(1), event(1, 3, 100), TimeRule{Cut: 100}, "(user bob, item 3) at 100 is not before the cut"},
		{"slate before the cut", test(1), nil, TimeRule{Cut: 101}, "before the cut"},
		{"the answer in training", test(1), event(0, 1, 100), TimeRule{Ties: true}, `answer of test slate "q"`},
		{"another user's purchase", test(1), event(1, 1, 100), TimeRule{Ties: true}, ""},
		{"a shown item that was not the answer", test(1), event(0, 2, 100), TimeRule{Ties: true}, ""},
		{"a repeat known from before", test(1), event(0, 1, 99), TimeRule{}, ""},
	} {
		err := CheckTime(c.slates, c.train, ds, c.rule)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || fault.KindOf(err) != fault.Input):
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}

// Under ties the same item may stand in the history at the request's time: a
// repeat that the frozen shuffle put first.
func TestCheckTimeRepeatWithinATie(t *testing.T) {
	ds := &market.Dataset{Catalog: numbered(t, 10, true), Users: []string{"ann"}}
	s := slate("q", 1, 0)
	s.History = []market.Visit{{Item: 0, Time: 100}}
	if err := CheckTime([]market.Slate{s}, []market.Event{{Item: 0, Time: 100}}, ds, TimeRule{Ties: true}); err != nil {
		t.Error(err)
	}
}
