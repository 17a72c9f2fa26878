package synth_test

import (
	"bytes"
	"encoding/json"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gr2/gr2/internal/eval"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/market/synth"
	"github.com/gr2/gr2/internal/metric"
	"github.com/gr2/gr2/internal/rng"
)

// demo is the default market, made once.
var demo = sync.OnceValues(func() (*market.Dataset, *synth.World) {
	ds, w, err := synth.Generate(synth.DefaultParams(), 1)
	if err != nil {
		panic(err)
	}
	return ds, w
})

// small is a market for tests that need several.
func small() synth.Params {
	p := synth.DefaultParams()
	p.Items, p.Users = 150, 120
	return p
}

func testSlates(ds *market.Dataset, w *synth.World) []market.Slate {
	first := slices.IndexFunc(ds.Slates, func(s market.Slate) bool { return s.Time >= w.ExaminedFrom() })
	return ds.Slates[first:]
}

// The demo's headroom: bayes far above logged, logged far above random, and a
// linear model on what can be observed in between.
func TestHeadroom(t *testing.T) {
	ds, w := demo()
	if n := len(ds.Slates); n < 5000 || n > 8000 {
		t.Errorf("%d slates, want 5000..8000", n)
	}
	test := testSlates(ds, w)
	bayes, random := make([][]int, len(test)), make([][]int, len(test))
	for i := range test {
		var err error
		if bayes[i], err = w.Order(&test[i]); err != nil {
			t.Fatal(err)
		}
		random[i] = rng.New(5, uint64(i)).Perm(len(test[i].Candidates))
	}
	linear := linearRankings(ds, w.ExaminedFrom())
	rows, err := eval.Rows(eval.Test{Order: "logged", Split: "test", Slates: test, Samples: 500},
		[]eval.Policy{{Name: "random", Rankings: random}, {Name: "linear", Rankings: linear}, {Name: "bayes", Rankings: bayes}})
	if err != nil {
		t.Fatal(err)
	}
	r1 := map[string]float64{}
	for _, row := range rows {
		if row.Slice == eval.Conditional {
			r1[row.Policy] = row.Metrics["R@1"]
		}
	}
	for _, c := range []struct {
		policy  string
		low, up float64
	}{{"random", .13, .22}, {eval.Incoming, .24, .31}, {"linear", .48, .62}, {"bayes", .60, .75}} {
		if r1[c.policy] < c.low || r1[c.policy] > c.up {
			t.Errorf("conditional R@1 of %s is %.3f, want %.2f..%.2f", c.policy, r1[c.policy], c.low, c.up)
		}
	}
	if gap := (r1["linear"] - r1[eval.Incoming]) / (r1["bayes"] - r1[eval.Incoming]); gap < .5 {
		t.Errorf("observable features reach %.0f%% of the headroom, want at least half", 100*gap)
	}
	var report strings.Builder
	if err := eval.WriteTable(&report, &eval.Report{Rows: rows}); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", report.String())
}

// The protocol's own probes find nothing in the demo.
func TestHonest(t *testing.T) {
	ds, w := demo()
	test := testSlates(ds, w)
	cut := test[0].Time
	var train []market.Event
	for _, e := range ds.Events {
		if e.Time < cut {
			train = append(train, e)
		}
	}
	if err := eval.CheckTime(test, train, ds, eval.TimeRule{Cut: cut}); err != nil {
		t.Error(err)
	}
	if probe := eval.ProbeIDOrder(test, ds.Catalog, 500, 1); probe.Leak {
		t.Errorf("item order leaks: %+v", probe.Rules)
	}
}

func TestStructure(t *testing.T) {
	ds, _ := demo()
	p := synth.DefaultParams()
	for i, e := range ds.Events {
		if i == 0 {
			continue
		}
		if last := ds.Events[i-1]; e.User < last.User || e.User == last.User && e.Time <= last.Time {
			t.Fatalf("event %d does not follow the one before: %+v, %+v", i, last, e)
		}
	}
	for i := range ds.Slates {
		s := &ds.Slates[i]
		if err := s.Validate(ds.Catalog); err != nil {
			t.Fatalf("slate %s: %v", s.ID, err)
		}
		if len(s.Candidates) != p.K || len(s.Grades) != p.K || len(s.History) == 0 || s.History[len(s.History)-1].Time >= s.Time {
			t.Fatalf("slate %s: %d candidates, %d grades, history %v, time %d", s.ID, len(s.Candidates), len(s.Grades), s.History, s.Time)
		}
		if i > 0 && s.Time < ds.Slates[i-1].Time {
			t.Fatalf("slate %s stands before its time", s.ID)
		}
		if !slices.IsSortedFunc(s.Candidates, func(a, b market.Candidate) int { return -compare(a.Score, b.Score) }) {
			t.Fatalf("slate %s is not in the order of its scores", s.ID)
		}
	}
	for i := range ds.Catalog.Items {
		it := &ds.Catalog.Items[i]
		if !strings.HasPrefix(it.Title, it.Brand+" ") || !strings.Contains(it.Title, it.Categories[2]) || it.Price <= 0 {
			t.Fatalf("item %+v: brand or type is not in the title, or the price is not above 0", it)
		}
	}
}

func compare(a, b float32) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

// Every grade above none is an event of the user just after the slate, and
// slates' histories are the user's events before them.
func TestEventsFollowSlates(t *testing.T) {
	ds, _ := demo()
	of := map[int32][]market.Event{}
	for _, e := range ds.Events {
		of[e.User] = append(of[e.User], e)
	}
	for i := range ds.Slates {
		s := &ds.Slates[i]
		var before []market.Visit
		for _, e := range of[s.User] {
			if e.Time < s.Time {
				before = append(before, market.Visit{Item: e.Item, Time: e.Time})
			}
		}
		if !slices.Equal(before, s.History) { // the demo's histories are shorter than HistoryMax
			t.Fatalf("slate %s: history %v, events before it %v", s.ID, s.History, before)
		}
		for c, g := range s.Grades {
			kind := []market.EventKind{0, market.Click, market.Purchase}[g]
			has := slices.ContainsFunc(of[s.User], func(e market.Event) bool {
				return e.Item == s.Candidates[c].Item && e.Kind == kind && e.Time > s.Time && e.Time <= s.Time+300
			})
			if g > 0 && !has {
				t.Fatalf("slate %s: candidate %d has grade %d but no such event", s.ID, c, g)
			}
		}
	}
}

// What World expects is what happens: clicks by decile of P(click), gains,
// and in the biased part P(click) times p^-Examination at each position.
func TestOutcomesAreTrue(t *testing.T) {
	ds, w := demo()
	var bins [10]struct{ n, expected, seen, spread float64 }
	var places [10]struct{ expected, seen, spread float64 }
	gain, expectedGain, gainSpread := 0.0, 0.0, 0.0
	for i := range ds.Slates {
		s := &ds.Slates[i]
		outcomes, err := w.Outcomes(s)
		if err != nil {
			t.Fatal(err)
		}
		for c, o := range outcomes {
			clicked := min(float64(s.Grades[c]), 1)
			if s.Time >= w.ExaminedFrom() {
				b := &bins[min(int(o.Click*10), 9)]
				b.n, b.expected, b.seen, b.spread = b.n+1, b.expected+o.Click, b.seen+clicked, b.spread+o.Click*(1-o.Click)
				gain += metric.Gain(s.Grades[c])
				expectedGain += o.Gain()
				gainSpread += o.Click*(1+8*o.Convert) - o.Gain()*o.Gain()
				continue
			}
			q := o.Click * math.Pow(float64(c+1), -synth.DefaultParams().Examination)
			p := &places[c]
			p.expected, p.seen, p.spread = p.expected+q, p.seen+clicked, p.spread+q*(1-q)
		}
	}
	for i, b := range bins {
		if b.n > 0 && math.Abs(b.seen-b.expected) > 4*math.Sqrt(b.spread) {
			t.Errorf("P(click) in %.1f..%.1f: %g clicks, expected %.1f", float64(i)/10, float64(i+1)/10, b.seen, b.expected)
		}
	}
	for i, p := range places {
		if math.Abs(p.seen-p.expected) > 4*math.Sqrt(p.spread) {
			t.Errorf("position %d: %g clicks, expected %.1f", i+1, p.seen, p.expected)
		}
	}
	if math.Abs(gain-expectedGain) > 4*math.Sqrt(gainSpread) {
		t.Errorf("gain %g, expected %.1f", gain, expectedGain)
	}
}

// People buy the complement, not the twin; sunscreen sells in summer; and
// brands are bought again.
func TestStructureShowsInEvents(t *testing.T) {
	ds, _ := demo()
	kind := func(item int32) string { return ds.Catalog.Items[item].Categories[2] }
	share := map[string]float64{}
	var shampoo, conditioner, twin, summer, winter, sameBrand, pairs float64
	brands := map[string]float64{}
	for i, e := range ds.Events {
		share[kind(e.Item)] += 1 / float64(len(ds.Events))
		brands[ds.Catalog.Items[e.Item].Brand] += 1 / float64(len(ds.Events))
		if kind(e.Item) == "Sunscreen" {
			switch month := int(float64(e.Time-synth.DefaultParams().Start) / 86400 / 30.5); {
			case month >= 5 && month <= 7:
				summer++
			case month >= 10 || month == 0:
				winter++
			}
		}
		if i+1 == len(ds.Events) || ds.Events[i+1].User != e.User || ds.Events[i+1].Time-e.Time > 20*86400 {
			continue
		}
		next := ds.Events[i+1].Item
		pairs++
		if ds.Catalog.Items[next].Brand == ds.Catalog.Items[e.Item].Brand {
			sameBrand++
		}
		if kind(e.Item) == "Shampoo" {
			shampoo++
			switch kind(next) {
			case "Conditioner":
				conditioner++
			case "Shampoo":
				twin++
			}
		}
	}
	if lift := conditioner / shampoo / share["Conditioner"]; lift < 5 {
		t.Errorf("a conditioner follows a shampoo %.1f times as often as by chance, want 5", lift)
	}
	if twin > conditioner/4 {
		t.Errorf("after %g shampoos %g shampoos and %g conditioners", shampoo, twin, conditioner)
	}
	if summer < 2*winter {
		t.Errorf("%g sunscreens in June to August, %g in November to January", summer, winter)
	}
	chance := 0.0
	for _, b := range brands {
		chance += b * b
	}
	if sameBrand/pairs < 2*chance {
		t.Errorf("the brand stays the same in %.3f of the steps, by chance %.3f", sameBrand/pairs, chance)
	}
}

func TestReproducible(t *testing.T) {
	hash := func(seed uint64) string {
		ds, w, err := synth.Generate(small(), seed)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := w.WriteGains(&out, ds.Slates); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal([]any{ds.Catalog.Items, ds.Users, ds.Events, ds.Slates})
		if err != nil {
			t.Fatal(err)
		}
		return string(text) + out.String()
	}
	first, again := hash(3), hash(3)
	if first != again {
		t.Error("equal seeds, different markets")
	}
	if first == hash(4) {
		t.Error("different seeds, one market")
	}
}

// A saved data set opens again, renumbered or not, and its gains still fit.
func TestFolder(t *testing.T) {
	ds, w, err := synth.Generate(small(), 2)
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if err := w.WriteGains(&file, ds.Slates); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{} // the best item of each slate
	for i := range ds.Slates {
		order, err := w.Order(&ds.Slates[i])
		if err != nil {
			t.Fatal(err)
		}
		want[ds.Slates[i].ID] = ds.Catalog.Items[ds.Slates[i].Candidates[order[0]].Item].ID
	}
	dir := filepath.Join(t.TempDir(), "market")
	if err := market.Save(dir, ds); err != nil {
		t.Fatal(err)
	}
	again, err := market.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	again.Number(77)
	gains, err := synth.ReadGains(&file, synth.GainsFile)
	if err != nil {
		t.Fatal(err)
	}
	for i := range again.Slates {
		s := &again.Slates[i]
		slices.Reverse(s.Candidates) // any order of the candidates will do
		order, err := gains.Order(s, again.Catalog)
		if err != nil {
			t.Fatal(err)
		}
		if got := again.Catalog.Items[s.Candidates[order[0]].Item].ID; got != want[s.ID] {
			t.Fatalf("slate %s: best item %s, want %s", s.ID, got, want[s.ID])
		}
	}
}

func TestBadGains(t *testing.T) {
	for name, text := range map[string]string{
		"truncated": `{"id":"s1","gains":{"B1":0.5}}` + "\n" + `{"id":"s2","ga`,
		"no id":     `{"gains":{"B1":0.5}}`,
		"not JSON":  "hello",
	} {
		_, err := synth.ReadGains(strings.NewReader(text), "gains.jsonl")
		if fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), "gains.jsonl:") {
			t.Errorf("%s: %v", name, err)
		}
	}
	catalog, err := market.NewCatalog([]market.Item{{ID: "B1"}, {ID: "B2"}})
	if err != nil {
		t.Fatal(err)
	}
	gains := synth.Gains{"s1": {"B1": 1}}
	for want, s := range map[string]market.Slate{
		`slate "s9"`: {ID: "s9"},
		`item "B2"`:  {ID: "s1", Candidates: []market.Candidate{{Item: 0}, {Item: 1}}},
	} {
		if _, err := gains.Order(&s, catalog); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

func TestUnknownUserOrItem(t *testing.T) {
	_, w := demo()
	for want, s := range map[string]market.Slate{
		"user -1":          {ID: "q", User: -1},
		"user 99999":       {ID: "q", User: 99999},
		"item number 7777": {ID: "q", Candidates: []market.Candidate{{Item: 7777}}},
	} {
		if _, err := w.Order(&s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// A market of many items costs time in proportion, and shows them.
func TestLargeCatalog(t *testing.T) {
	p := synth.DefaultParams()
	p.Items, p.Users = 50000, 100
	ds, _, err := synth.Generate(p, 1)
	if err != nil {
		t.Fatal(err)
	}
	shown := map[int32]bool{}
	for _, s := range ds.Slates {
		for _, c := range s.Candidates {
			shown[c.Item] = true
		}
	}
	if ds.Catalog.Len() != p.Items || len(shown) < 1000 {
		t.Errorf("%d items, %d of them in %d slates", ds.Catalog.Len(), len(shown), len(ds.Slates))
	}
}

// The smallest market that Validate lets pass has whole slates.
func TestTinyCatalog(t *testing.T) {
	p := small()
	p.Items, p.Users, p.Brands, p.Days = 2*p.K, 30, 1, 10
	ds, _, err := synth.Generate(p, 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(ds.Slates) == 0 {
		t.Fatal("no slates")
	}
	for i := range ds.Slates {
		if err := ds.Slates[i].Validate(ds.Catalog); err != nil || len(ds.Slates[i].Candidates) != p.K {
			t.Errorf("slate %d: %d candidates, %v", i, len(ds.Slates[i].Candidates), err)
		}
	}
}

func BenchmarkGenerate(b *testing.B) {
	for b.Loop() {
		if _, _, err := synth.Generate(synth.DefaultParams(), 1); err != nil {
			b.Fatal(err)
		}
	}
}
