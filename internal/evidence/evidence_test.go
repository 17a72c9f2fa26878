package evidence

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
	"pgregory.net/rapid"
)

const day = int64(daySeconds)

func catalogOf(t interface {
	Helper()
	Fatal(...any)
}, items ...market.Item) *market.Catalog {
	t.Helper()
	for i := range items {
		if items[i].ID == "" {
			items[i].ID = fmt.Sprint("item", i)
		}
	}
	c, err := market.NewCatalog(items)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// small is a random market with few items, so that pairs repeat.
type small struct {
	catalog *market.Catalog
	users   []string
	events  []market.Event
}

func drawMarket(t *rapid.T) small {
	words := []string{"red", "hair", "oil", "soap", "nail"}
	items := make([]market.Item, rapid.IntRange(2, 8).Draw(t, "items"))
	for i := range items {
		items[i] = market.Item{
			Title:      rapid.SampledFrom(words).Draw(t, "word") + " " + rapid.SampledFrom(words).Draw(t, "word"),
			Brand:      rapid.SampledFrom([]string{"", "A", "a", "B"}).Draw(t, "brand"),
			Categories: []string{"root", rapid.SampledFrom(words).Draw(t, "leaf")},
		}
	}
	m := small{catalog: catalogOf(t, items...)}
	for u := range rapid.IntRange(1, 12).Draw(t, "users") {
		m.users = append(m.users, fmt.Sprint("user", u))
		for range rapid.IntRange(0, 9).Draw(t, "events") {
			m.events = append(m.events, market.Event{User: int32(u), Item: m.drawItem(t), Time: drawTime(t)})
		}
	}
	return m
}

func (m small) drawItem(t *rapid.T) int32 {
	return int32(rapid.IntRange(0, m.catalog.Len()-1).Draw(t, "item"))
}

func drawTime(t *rapid.T) int64 {
	return rapid.Int64Range(0, 60).Draw(t, "day")*day + rapid.SampledFrom([]int64{0, 0, 3600}).Draw(t, "hour")
}

func (m small) drawSlate(t *rapid.T) *market.Slate {
	s := &market.Slate{User: -1, Time: drawTime(t) + day}
	for range rapid.IntRange(0, 8).Draw(t, "history") {
		s.History = append(s.History, market.Visit{Item: m.drawItem(t), Time: min(drawTime(t), s.Time)})
	}
	for _, i := range rapid.Permutation(seq(m.catalog.Len())).Draw(t, "candidates") {
		s.Candidates = append(s.Candidates, market.Candidate{Item: int32(i), Score: float32(rapid.IntRange(-4, 4).Draw(t, "score"))})
	}
	return s
}

func seq(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func build(t interface{ Fatal(...any) }, c *market.Catalog, events []market.Event, opt Options) *Stats {
	s, err := Build(c, events, opt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustEqual(t interface{ Fatalf(string, ...any) }, what string, a, b [][]float32) {
	for k := range a {
		for f := range a[k] {
			if a[k][f] != b[k][f] {
				t.Fatalf("%s: candidate %d, %s: %v and %v", what, k, names[f], a[k][f], b[k][f])
			}
		}
	}
}

// Leaving a fold out is the same, bit for bit, as never having seen its users.
func TestExcludedFoldEqualsRebuild(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawMarket(t)
		opt := Options{Users: m.users, Folds: rapid.IntRange(1, 4).Draw(t, "folds"), Window: rapid.IntRange(1, 6).Draw(t, "window")}
		fold := rapid.IntRange(0, opt.Folds-1).Draw(t, "fold")
		others := slices.DeleteFunc(slices.Clone(m.events), func(e market.Event) bool {
			return Fold(m.users[e.User], opt.Folds) == fold
		})
		slate := m.drawSlate(t)
		mustEqual(t, "fold left out, rebuilt",
			build(t, m.catalog, m.events, opt).Raw(slate, fold),
			build(t, m.catalog, others, opt).Raw(slate, None))
	})
}

// Raw values are finite and not negative, rows follow their candidates, and the
// order of the log does not matter.
func TestRawProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawMarket(t)
		s, slate := build(t, m.catalog, m.events, Options{Users: m.users}), m.drawSlate(t)
		rows := s.Raw(slate, None)
		for k, row := range rows {
			for f, x := range row {
				if !(x >= 0) || math.IsInf(float64(x), 0) {
					t.Fatalf("candidate %d: %s is %v", k, names[f], x)
				}
			}
		}

		perm := rapid.Permutation(seq(len(rows))).Draw(t, "order")
		moved, movedRows := *slate, make([][]float32, len(rows))
		moved.Candidates = make([]market.Candidate, len(rows))
		for to, from := range perm {
			moved.Candidates[to], movedRows[to] = slate.Candidates[from], rows[from]
		}
		mustEqual(t, "candidates moved", s.Raw(&moved, None), movedRows)

		byUser := slices.Clone(m.events)
		slices.SortStableFunc(byUser, func(a, b market.Event) int { return int(b.User) - int(a.User) })
		mustEqual(t, "users in another order", build(t, m.catalog, byUser, Options{Users: m.users}).Raw(slate, None), rows)
		byTime := slices.Clone(m.events)
		slices.SortStableFunc(byTime, func(a, b market.Event) int { return cmp.Compare(a.Time, b.Time) })
		mustEqual(t, "log by time", build(t, m.catalog, byTime, Options{Users: m.users}).Raw(slate, None), rows)
	})
}

// The gap of scores is that below the best, wherever it stands and whatever is
// added to all of them, and finite where the scores are.
func TestScoreGap(t *testing.T) {
	s := build(t, catalogOf(t, market.Item{}, market.Item{}, market.Item{}), nil, Options{})
	for _, c := range []struct{ scores, want [3]float32 }{
		{[3]float32{}, [3]float32{}},
		{[3]float32{-1, -.5, -3}, [3]float32{.5, 0, 2.5}},
		{[3]float32{7, 7.5, 5}, [3]float32{.5, 0, 2.5}},
		{[3]float32{math.MaxFloat32, 0, -math.MaxFloat32}, [3]float32{0, math.MaxFloat32, math.MaxFloat32}},
	} {
		slate := &market.Slate{Candidates: make([]market.Candidate, 3)}
		for k := range slate.Candidates {
			slate.Candidates[k] = market.Candidate{Item: int32(k), Score: c.scores[k]}
		}
		for k, row := range s.Raw(slate, None) {
			if row[scoreGap] != c.want[k] {
				t.Errorf("scores %v: gap of candidate %d is %v, not %v", c.scores, k, row[scoreGap], c.want[k])
			}
		}
	}
}

// Events at or after the request change no time-aware value.
func TestTimeAwareValuesSeeThePastOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawMarket(t)
		slate := m.drawSlate(t)
		past := slices.DeleteFunc(slices.Clone(m.events), func(e market.Event) bool { return e.Time >= slate.Time })
		all := build(t, m.catalog, m.events, Options{Users: m.users}).Raw(slate, None)
		early := build(t, m.catalog, past, Options{Users: m.users}).Raw(slate, None)
		for k := range all {
			for _, f := range []int{recent30, age, since} {
				if all[k][f] != early[k][f] {
					t.Fatalf("candidate %d: %s is %v with the future and %v without", k, names[f], all[k][f], early[k][f])
				}
			}
		}
	})
}

// Every feature of a worked example, by hand. Log: user 0 takes 0, 1 on day 0
// (same time) and 2 on day 3; user 1 takes 0 on day 1 and 2 on day 40. Request
// on day 41 after history 1 (day 30) and 0 (day 41).
func TestWorkedExample(t *testing.T) {
	c := catalogOf(t,
		market.Item{Title: "red soap", Brand: "Dove", Categories: []string{"Beauty", "Bath", "Soap"}},
		market.Item{Title: "oil", Brand: "Other"},
		market.Item{Title: "soap", Brand: "DOVE", Categories: []string{"Beauty", "Bath"}},
		market.Item{Title: "nothing"},
	)
	events := []market.Event{
		{User: 0, Item: 0, Time: 0}, {User: 0, Item: 1, Time: 0}, {User: 0, Item: 2, Time: 3 * day},
		{User: 1, Item: 0, Time: 1 * day}, {User: 1, Item: 2, Time: 40 * day},
	}
	slate := &market.Slate{
		Time:       41 * day,
		History:    []market.Visit{{Item: 1, Time: 30 * day}, {Item: 0, Time: 41 * day}},
		Candidates: []market.Candidate{{Item: 2}, {Item: 1}, {Item: 3}, {Item: 9}},
	}
	rows := build(t, c, events, Options{}).Raw(slate, None)

	// Pair 0-2: once at distance 2, once at 1; pair 1-2 at distance 1; pair 0-1 at 1, same day.
	near02 := (math.Round(256*0.7) + 256) / 256
	damp := 1 / math.Pow(2, 0.35)
	titles := []string{"red soap", "oil", "soap", "nothing"} // idf from here
	idf := func(df float64) float64 { return 1 + math.Log(float64(1+len(titles))/(1+df)) }
	cosine := idf(2) / math.Hypot(idf(1), idf(2))
	for _, want := range []struct {
		row, feature int
		value        float64
	}{
		{0, co, math.Log1p((near02 + 0.7) * damp)},
		{0, coLast, math.Log1p(near02 * damp)},
		{0, coDay, 0},
		{0, next, math.Log1p((near02 + 0.7) * damp)},
		{0, coRank, 1},
		{0, pop, math.Log(3)},
		{0, recent30, math.Log(2)},
		{0, age, math.Log(39)},
		{0, since, math.Log(2)},
		{0, titleLast, cosine},
		{0, titleMax, cosine},
		{0, titleDecay, cosine / 1.7},
		{0, titleDay, cosine},
		{0, brand, 1 / 1.7},
		{0, catOverlap, 2.0 / 3},
		{1, co, math.Log1p(1)},
		{1, coDay, math.Log1p(1)},
		{1, next, 0},
		{1, coRank, 1.0 / 2},
		{1, recent30, 0},
		{1, age, math.Log(42)},
		{1, titleLast, 0},
		{1, titleMax, 1}, // it is in the history itself
		{1, titleDecay, 0.7 / 1.7},
	} {
		if got := float64(rows[want.row][want.feature]); math.Abs(got-want.value) > 1e-6 {
			t.Errorf("candidate %d: %s is %v, want %v", want.row, names[want.feature], got, want.value)
		}
	}
	for k := 2; k < 4; k++ { // an item without evidence, and one the catalog lacks
		if slices.Max(rows[k]) != 0 {
			t.Errorf("candidate %d: %v", k, rows[k])
		}
	}
}

func TestRecentSpanIncludesItsFirstMoment(t *testing.T) {
	c := catalogOf(t, market.Item{})
	for offset, want := range map[int64]float64{0: math.Log(2), -1: 0} {
		s := build(t, c, []market.Event{{Time: 5*day + offset}}, Options{})
		slate := &market.Slate{Time: 35 * day, Candidates: []market.Candidate{{}}}
		if got := s.Raw(slate, None)[0][recent30]; float64(got) != float64(float32(want)) {
			t.Errorf("an event 30 days before, %+d s: recent30 is %v, want %v", offset, got, want)
		}
	}
}

func TestRankSharesTies(t *testing.T) {
	rows := make([][]float32, 5)
	for i, v := range []float32{3, 5, 3, 0, 1} {
		rows[i] = make([]float32, featureCount)
		rows[i][co] = v
	}
	rankWithin(rows, co, coRank)
	for i, want := range []float32{1 / 2.5, 1, 1 / 2.5, 0, 1.0 / 4} {
		if rows[i][coRank] != want {
			t.Errorf("row %d: %v, want %v", i, rows[i][coRank], want)
		}
	}
}

func TestFold(t *testing.T) {
	counts := make([]int, 20)
	for i := range 20000 {
		counts[Fold(fmt.Sprint("user", i), 20)]++
	}
	for f, n := range counts {
		if n < 850 || n > 1150 {
			t.Errorf("fold %d has %d of 20000 users", f, n)
		}
	}
	// Folds are part of the protocol: training slates on disk rely on them.
	if got := [3]int{Fold("A1YJEY40YUW4SE", 20), Fold("", 20), Fold("user", 7)}; got != [3]int{8, 7, 3} {
		t.Errorf("folds of known users are %v", got)
	}
}

func TestBuildRefuses(t *testing.T) {
	c := catalogOf(t, market.Item{}, market.Item{})
	for name, opt := range map[string]Options{
		"folds": {Folds: 251}, "folds below": {Folds: -1}, "window": {Window: -1}, "decay": {Decay: 1.5},
		"decay nan": {Decay: math.NaN()}, "history": {History: -2}, "pop": {PopPower: 2}, "recent": {RecentDays: -1},
	} {
		if _, err := Build(c, nil, opt); fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, e := range map[string]market.Event{"item": {Item: 2}, "item below": {Item: -1}, "user": {User: 1}, "user below": {User: -1}} {
		if _, err := Build(c, []market.Event{e}, Options{Users: []string{"only"}}); fault.KindOf(err) != fault.Input {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEmptySlatesAndLogs(t *testing.T) {
	c := catalogOf(t, market.Item{}, market.Item{})
	s := build(t, c, nil, Options{})
	if rows := s.Raw(&market.Slate{}, None); len(rows) != 0 {
		t.Errorf("%d rows for no candidates", len(rows))
	}
	slate := &market.Slate{Time: day, History: []market.Visit{{Item: -1}, {Item: 7}}, Candidates: []market.Candidate{{Item: 1}, {Item: -1}}}
	for k, row := range s.Raw(slate, None) {
		if slices.Max(row) != 0 {
			t.Errorf("candidate %d: %v from an empty log", k, row)
		}
	}
}

// market of a size to time: 12,000 items, 150,000 events, 1,000 slates of 10.
func large(b *testing.B) (*market.Catalog, []market.Event, []market.Slate) {
	items := make([]market.Item, 12000)
	for i := range items {
		for w := range 8 {
			items[i].Title += fmt.Sprint("w", rng.Hash(1, uint64(i), uint64(w))%3000, " ")
		}
	}
	c := catalogOf(b, items...)
	pick := func(coords ...uint64) int32 { // popular items more often
		u := float64(rng.Hash(2, coords...)>>11) / (1 << 53)
		return int32(u * u * float64(len(items)))
	}
	var events []market.Event
	for u := range uint64(20000) {
		for e := range uint64(7) {
			events = append(events, market.Event{User: int32(u), Item: pick(u, e), Time: int64(e+u%100) * day})
		}
	}
	slates := make([]market.Slate, 1000)
	for i := range slates {
		s := &slates[i]
		s.Time = 90 * day
		for k := range uint64(10) {
			s.History = append(s.History, market.Visit{Item: pick(uint64(i), k, 1)})
			s.Candidates = append(s.Candidates, market.Candidate{Item: pick(uint64(i), k, 2)})
		}
	}
	return c, events, slates
}

func BenchmarkBuild(b *testing.B) {
	c, events, _ := large(b)
	for b.Loop() {
		build(b, c, events, Options{})
	}
}

func BenchmarkRaw(b *testing.B) {
	c, events, slates := large(b)
	s := build(b, c, events, Options{})
	for i := 0; b.Loop(); i++ {
		s.Raw(&slates[i%len(slates)], i%20)
	}
}
