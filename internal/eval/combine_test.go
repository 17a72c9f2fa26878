package eval

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
)

const rivalName = "control/linear"

// ranked makes a slate of four candidates whose positive is the one at a place of
// the incoming order; sft puts it at sftPlace, rl at rlPlace, the rival where it was.
func ranked(order, user string, n, place, sftPlace, rlPlace int) Ranked {
	s := Ranked{Order: order, Split: "test", Slate: fmt.Sprintf("%s-%d", user, n), User: user, Grades: make([]int, 4), Rankings: map[string][]int{}}
	s.Grades[place] = 1
	for policy, at := range map[string]int{rivalName: place, "sft": sftPlace, "rl": rlPlace} {
		var ranking []int
		for c := range 4 {
			if c != place {
				ranking = append(ranking, c)
			}
		}
		s.Rankings[policy] = append(ranking[:at:at], append([]int{place}, ranking[at:]...)...)
	}
	return s
}

// measured makes a run of the slates, as the eval stage does.
func measured(t *testing.T, seed uint64, slates []Ranked) Run {
	t.Helper()
	r := NewReport(seed)
	r.Rival, r.Probes["logged"] = rivalName, seed
	byOrder := map[string]*Test{}
	policies := map[string][]Policy{}
	var orders []string
	for _, s := range slates {
		test := byOrder[s.Order]
		if test == nil {
			test = &Test{Order: s.Order, Split: s.Split, Rival: rivalName, Samples: 500, Seed: seed}
			byOrder[s.Order], orders = test, append(orders, s.Order)
			policies[s.Order] = []Policy{{Name: rivalName}, {Name: "sft"}}
			for _, last := range []Policy{{Name: "rl", Before: "sft"}, {Name: Bayes}} {
				if s.Rankings[last.Name] != nil {
					policies[s.Order] = append(policies[s.Order], last)
				}
			}
		}
		test.Slates = append(test.Slates, slate(s.Slate, convert[uint8](s.Grades)...))
		test.Missing = append(test.Missing, convert[uint8](s.Missing))
		for i := range policies[s.Order] {
			p := &policies[s.Order][i]
			p.Rankings = append(p.Rankings, s.Rankings[p.Name])
		}
	}
	for _, order := range orders {
		rows, err := Rows(*byOrder[order], policies[order])
		if err != nil {
			t.Fatal(err)
		}
		r.Rows = append(r.Rows, rows...)
	}
	return Run{Name: fmt.Sprintf("run-%d", seed), Report: r, Slates: slates}
}

// drawn are slates of users with random places, each user with so many of them.
func drawn(order, prefix string, users, each int, seed uint64) []Ranked {
	random := rng.New(seed)
	var all []Ranked
	for u := range users {
		place, sft, rl := random.IntN(4), random.IntN(4), random.IntN(4)
		for n := range each {
			all = append(all, ranked(order, fmt.Sprintf("%s%d", prefix, u), n, place, sft, rl))
		}
	}
	return all
}

func combined(t *testing.T, runs, others []Run) *Report {
	t.Helper()
	all, err := Combine(runs, others, "")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestCombineAveragesRuns(t *testing.T) {
	// R@1 of incoming, sft and rl: 1 of 4, 2 of 4, 4 of 4; 2 of 4, 3 of 4, 3 of 4.
	var one, two []Ranked
	for n := range 25 {
		add := func(to *[]Ranked, user string, place, sft, rl int) {
			*to = append(*to, ranked("logged", fmt.Sprint(user, n), 0, place, sft, rl))
		}
		add(&one, "a", 0, 0, 0)
		add(&one, "b", 1, 0, 0)
		add(&one, "c", 2, 1, 0)
		add(&one, "d", 3, 1, 0)
		add(&two, "a", 0, 0, 0)
		add(&two, "b", 0, 0, 0)
		add(&two, "c", 2, 0, 1)
		add(&two, "e", 3, 1, 0)
	}
	all := combined(t, []Run{measured(t, 1, one), measured(t, 2, two)}, nil)
	row := all.Find("logged", "rl", Conditional, "test")
	for name, c := range map[string]struct {
		lift   Lift
		spread float64
		of     [2]float64
	}{
		"lift":            {row.Lift["R@1"], row.Spread["R@1"], [2]float64{3, .5}},
		"over the rival":  {row.OverRival["R@1"], row.RivalSpread["R@1"], [2]float64{3, .5}},
		"over the before": {row.OverBefore["R@1"], row.BeforeSpread["R@1"], [2]float64{1, 0}},
	} {
		mean := (c.of[0] + c.of[1]) / 2
		if !near(c.lift.Value, mean) || !near(c.spread, math.Abs(c.of[0]-c.of[1])/math.Sqrt2) || c.lift.Low > mean || c.lift.High < mean {
			t.Errorf("%s %+v ±%g, want the mean of %v", name, c.lift, c.spread, c.of)
		}
	}
	if !near(row.Metrics["R@1"], .875) || row.N != 100 || row.OverOther != nil {
		t.Errorf("combined row %+v", row)
	}
	if incoming := all.Find("logged", Incoming, Conditional, "test"); incoming.Lift != nil || incoming.Spread != nil {
		t.Errorf("the incoming row has a lift: %+v", incoming)
	}
	if len(all.Seeds) != 2 || all.Probes["seed 2"].(map[string]any)["logged"] != uint64(2) {
		t.Errorf("seeds %v, probes %v", all.Seeds, all.Probes)
	}
	var out strings.Builder
	if err := WriteTable(&out, all); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2 runs, seeds [1 2]", "+175.0% [", "] ±176.8", "lift over control/linear", "lift over the stage before", "] ±70.7"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}

func width(l Lift) float64 { return l.High - l.Low }

// A second run of the same users that says the same again makes no interval
// narrower; one of other users does, by the root of two. Slates of one user are
// one observation, however many they are.
func TestIntervalsAreOverUsers(t *testing.T) {
	lift := func(runs ...Run) Lift {
		return combined(t, runs, nil).Find("logged", "rl", Conditional, "test").OverBefore["N@3"]
	}
	slates := drawn("logged", "u", 300, 1, 1)
	single := measured(t, 1, slates)
	alone := single.Report.Find("logged", "rl", Conditional, "test").OverBefore["N@3"]
	same := lift(single, measured(t, 2, slates))
	others := lift(single, measured(t, 2, drawn("logged", "v", 300, 1, 2)))
	repeated := lift(measured(t, 1, drawn("logged", "u", 300, 5, 1)), measured(t, 2, drawn("logged", "u", 300, 5, 1)))
	for name, c := range map[string]struct{ got, want float64 }{
		"the same run twice": {width(same), width(alone)}, "other users": {width(others), width(alone) / math.Sqrt2}, "five slates a user": {width(repeated), width(alone)},
	} {
		if math.Abs(c.got/c.want-1) > .12 {
			t.Errorf("%s: width %.4f, want %.4f", name, c.got, c.want)
		}
	}
}

// Rows of all orders hold means over them, of the policies that each has; the orders
// of a user are drawn together.
func TestCombineAveragesOrders(t *testing.T) {
	both := func(seed, other uint64) []Ranked {
		return append(drawn("sasrec", "u", 200, 1, seed), drawn("bpr", "u", 200, 1, other)...)
	}
	// Both orders say the same of each user, so that their mean is as sure as either.
	all := combined(t, []Run{measured(t, 1, both(1, 1)), measured(t, 2, both(2, 2))}, nil)
	sasrec, mean := all.Find("sasrec", "rl", Conditional, "test"), all.Find(AllOrders, "rl", Conditional, "test")
	if mean == nil || mean.N != 400 || mean.Before != "sft" || !near(mean.Metrics["N@3"], sasrec.Metrics["N@3"]) {
		t.Fatalf("row of all orders: %+v", mean)
	}
	for metric, want := range sasrec.OverBefore {
		if got := mean.OverBefore[metric]; !near(got.Value, want.Value) || !near(got.Low, want.Low) || !near(got.High, want.High) {
			t.Errorf("%s over SFT: %+v, want %+v", metric, got, want)
		}
	}
	if len(all.Rows) != 2*3*5 {
		t.Errorf("%d rows", len(all.Rows))
	}

	one, two := both(1, 3), both(2, 4)
	for _, slates := range [][]Ranked{one, two} {
		for i := range slates {
			if slates[i].Order == "bpr" {
				slates[i].Rankings[Bayes] = slates[i].Rankings["rl"]
			}
		}
	}
	all = combined(t, []Run{measured(t, 1, one), measured(t, 2, two)}, nil)
	mean = all.Find(AllOrders, "rl", EndToEnd, "test")
	sasrec, bpr := all.Find("sasrec", "rl", EndToEnd, "test"), all.Find("bpr", "rl", EndToEnd, "test")
	if a, b := sasrec.OverRival["N@3"].Value, bpr.OverRival["N@3"].Value; a == b || !near(mean.OverRival["N@3"].Value, (a+b)/2) {
		t.Errorf("mean of %g and %g: %+v", a, b, mean.OverRival["N@3"])
	}
	if a, b := sasrec.Metrics["MRR"], bpr.Metrics["MRR"]; a == b || !near(mean.Metrics["MRR"], (a+b)/2) {
		t.Errorf("mean of %g and %g: %g", a, b, mean.Metrics["MRR"])
	}
	if spread := mean.RivalSpread["N@3"]; spread <= 0 || spread >= max(sasrec.RivalSpread["N@3"]+bpr.RivalSpread["N@3"], .01) {
		t.Errorf("spread of the mean %g, of the orders %g and %g", spread, sasrec.RivalSpread["N@3"], bpr.RivalSpread["N@3"])
	}
	if row := all.Find(AllOrders, Bayes, Conditional, "test"); row != nil || all.Find("bpr", Bayes, Conditional, "test").Lift == nil {
		t.Errorf("a policy of one order has a row of all: %+v", row)
	}
}

// End-to-end lifts are those of Rows, positives that a slate lacks included, and a
// policy that is level with a base of nothing has none.
func TestCombineCountsWhatSlatesLack(t *testing.T) {
	slates := drawn("logged", "u", 40, 1, 1)
	for i := range slates {
		if i%3 == 0 {
			slates[i].Missing = []int{2}
		}
		place := slices.Index(slates[i].Grades, 1)
		others := slices.DeleteFunc([]int{0, 1, 2, 3}, func(c int) bool { return c == place })
		slates[i].Rankings[rivalName] = append(others, place) // last: R@1 of the rival is 0
	}
	run := measured(t, 1, slates)
	all := combined(t, []Run{run, measured(t, 2, slates)}, nil)
	for _, metric := range []string{"N@3", "MAP", "R@3"} {
		want := run.Report.Find("logged", "rl", EndToEnd, "test").Lift[metric].Value
		inside := run.Report.Find("logged", "rl", Conditional, "test").Lift[metric].Value
		if got := all.Find("logged", "rl", EndToEnd, "test").Lift[metric].Value; !near(got, want) || metric != "R@3" && near(want, inside) {
			t.Errorf("%s end to end %g, want %g (conditional %g)", metric, got, want, inside)
		}
	}
	if lift, has := all.Find("logged", "rl", Conditional, "test").OverRival["R@1"]; has {
		t.Errorf("a lift over nothing: %+v", lift)
	}
}

// Runs of another configuration are matched by seed and compared slate by slate.
func TestCombineComparesWithOtherRuns(t *testing.T) {
	changed := func(seed uint64) []Ranked { // rl is perfect, sft as before
		slates := drawn("logged", "u", 50, 1, seed)
		for i := range slates {
			place := slices.Index(slates[i].Grades, 1)
			slates[i].Rankings["rl"] = ranked("logged", slates[i].User, 0, place, 0, 0).Rankings["rl"]
		}
		return slates
	}
	runs := []Run{measured(t, 1, changed(1)), measured(t, 2, changed(2))}
	others := []Run{measured(t, 2, drawn("logged", "u", 50, 1, 2)), measured(t, 1, drawn("logged", "u", 50, 1, 1))}
	all := combined(t, runs, others)
	if sft := all.Find("logged", "sft", Conditional, "test").OverOther["N@3"]; sft != (Lift{}) {
		t.Errorf("sft is the same, and its lift %+v", sft)
	}
	want := 0.0
	for _, o := range others {
		want += (1/o.Report.Find("logged", "rl", Conditional, "test").Metrics["R@1"] - 1) / 2
	}
	rl := all.Find("logged", "rl", Conditional, "test")
	if lift := rl.OverOther["R@1"]; !near(lift.Value, want) || lift.Low <= 0 || rl.OtherSpread["R@1"] == 0 {
		t.Errorf("rl over the other runs: %+v ±%g, want %g", lift, rl.OtherSpread["R@1"], want)
	}
	for _, policy := range []string{Incoming, Oracle} {
		if row := all.Find("logged", policy, Conditional, "test"); row.OverOther != nil {
			t.Errorf("%s is compared with itself: %v", policy, row.OverOther)
		}
	}
	if rl.Other != "" {
		t.Errorf("rl is compared with %s, which is not itself", rl.Other)
	}
}

// A policy that the other runs lack is compared with the one it was trained from.
func TestCombineComparesWithRunsOfFewerStages(t *testing.T) {
	run := measured(t, 1, drawn("logged", "u", 50, 1, 1))
	lacking := drawn("logged", "u", 50, 1, 1)
	for i := range lacking {
		delete(lacking[i].Rankings, "rl")
	}
	all := combined(t, []Run{run}, []Run{measured(t, 1, lacking)})
	rl := all.Find("logged", "rl", Conditional, "test")
	want := rl.Metrics["R@1"]/all.Find("logged", "sft", Conditional, "test").Metrics["R@1"] - 1
	if lift := rl.OverOther["R@1"]; rl.Other != "sft" || want == 0 || !near(lift.Value, want) {
		t.Errorf("rl over %q of the other run: %+v, want %g over sft", rl.Other, lift, want)
	}
	if part := combined(t, []Run{run, measured(t, 2, drawn("logged", "u", 50, 1, 2))}, []Run{measured(t, 1, lacking), measured(t, 2, drawn("logged", "u", 50, 1, 2))}); part.Find("logged", "rl", Conditional, "test").OverOther != nil {
		t.Error("rl is compared with something that is sft in one run and rl in the other")
	}
	var table strings.Builder
	if err := WriteTable(&table, all); err != nil || !strings.Contains(table.String(), "lift over the same policy in the other runs, rl over their sft, 95% interval") {
		t.Errorf("error %v; the table does not say what rl is compared with:\n%s", err, table.String())
	}
}

// Another rival than that of the reports is measured, or refused by name.
func TestCombineComparesWithAnyPolicy(t *testing.T) {
	run := measured(t, 1, drawn("logged", "u", 50, 1, 1))
	all, err := Combine([]Run{run}, nil, "rl")
	if err != nil {
		t.Fatal(err)
	}
	sft, rl := all.Find("logged", "sft", Conditional, "test"), all.Find("logged", "rl", Conditional, "test")
	want := sft.Metrics["R@1"]/rl.Metrics["R@1"] - 1
	if lift := sft.OverRival["R@1"]; all.Rival != "rl" || want == 0 || !near(lift.Value, want) || lift.Low > want || lift.High < want {
		t.Errorf("sft over %s: %+v, want %g", all.Rival, lift, want)
	}
	if rl.OverRival != nil {
		t.Errorf("rl is compared with itself: %v", rl.OverRival)
	}
	if _, err := Combine([]Run{run}, nil, "gone"); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), `no policy "gone" to compare with; use one of incoming, `) {
		t.Errorf("error %v", err)
	}
}

func TestCombineRefusesRunsThatDiffer(t *testing.T) {
	slates := func() []Ranked { return drawn("logged", "u", 5, 1, 1) }
	first := func() Run { return measured(t, 1, slates()) }
	second := func(change func(*Report)) Run {
		r := measured(t, 2, slates())
		change(r.Report)
		return r
	}
	for want, other := range map[string]Run{
		`run-2 has no row for policy "sft"`: second(func(r *Report) { r.Rows[2].Policy = rivalName }),
		"run-1 has 10 rows and run-2 11":    second(func(r *Report) { r.Rows = append(r.Rows, Row{}) }),
		"different versions":                second(func(r *Report) { r.Rival = "" }),
		"only one of the runs with seed 1":  first(),
	} {
		if _, err := Combine([]Run{first(), other}, nil, ""); fault.KindOf(err) != fault.Input || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	otherSlate, lacking := slates(), slates()
	otherSlate[4].Slate, lacking[4].Missing = "other", []int{1}
	for want, others := range map[string][]Run{
		"1 runs against 2":                      {first(), first()},
		"run-1 has seed 1":                      {measured(t, 2, slates())},
		"is another in run-1":                   {measured(t, 1, drawn("logged", "u", 5, 1, 2))},
		`test slate "u4-0" of the logged order`: {measured(t, 1, otherSlate)},
		`test slate "u4-0" of the logged`:       {measured(t, 1, lacking)},
		"run-1 has 5 test slates and run-1 4":   {measured(t, 1, slates()[:4])},
	} {
		if _, err := Combine([]Run{first()}, others, ""); fault.KindOf(err) != fault.Input || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	for want, spoil := range map[string]func(*Run){
		`5 slates of the logged order ranked by "rl", the rankings have 4`: func(r *Run) { delete(r.Slates[2].Rankings, "rl") },
		"run-1: the report has 5 slates":                                   func(r *Run) { r.Slates = nil },
	} {
		run := first()
		spoil(&run)
		if _, err := Combine([]Run{run, second(func(*Report) {})}, nil, ""); fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func TestRankedSlatesComeBack(t *testing.T) {
	slates := []market.Slate{slate("a", 0, 2), slate("b", 1, 0)}
	want := RankedSlates(Test{Order: "logged", Split: "test", Slates: slates, Missing: [][]uint8{nil, {3}}}, []Policy{{Name: "sft", Rankings: [][]int{{1, 0}, {0, 1}}}},
		func(s *market.Slate) string { return "user of " + s.ID })
	var file bytes.Buffer
	if err := WriteRanked(&file, want); err != nil {
		t.Fatal(err)
	}
	whole := file.Bytes()
	got, err := ReadRanked(bytes.NewReader(whole))
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) || got[1].Missing[0] != 3 || got[0].User != "user of a" {
		t.Errorf("%+v, error %v, want %+v", got, err, want)
	}
	if _, err := ReadRanked(bytes.NewReader(whole[:len(whole)-9])); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("a file cut short: %v", err)
	}
	for name, change := range map[string]func(*Ranked){
		"no permutation": func(s *Ranked) { s.Rankings = map[string][]int{"sft": {1, 1}} },
		"grade 300":      func(s *Ranked) { s.Missing = []int{300} },
	} {
		bad := want[1]
		change(&bad)
		file.Reset()
		if err := WriteRanked(&file, []Ranked{want[0], bad}); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadRanked(&file); fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), "slate 2") || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a policy adds to a rival is measured on the same resamples as its lift.
func TestRowsCompareWithARival(t *testing.T) {
	back := Policy{Name: "backwards", Rankings: [][]int{{3, 2, 1, 0}, {3, 2, 1, 0}, {3, 2, 1, 0}, {3, 2, 1, 0}}}
	same := Policy{Name: "control/linear", Rankings: [][]int{{0, 1, 2, 3}, {0, 1, 2, 3}, {3, 0, 1, 2}, {0, 1, 2, 3}}}
	rows, err := Rows(Test{Order: "logged", Split: "test", Slates: fourSlates(), Rival: same.Name, Samples: 200, Seed: 1}, []Policy{same, back})
	if err != nil {
		t.Fatal(err)
	}
	// R@1: incoming 1 of 3, linear 2 of 3, backwards 1 of 3.
	if lift := find(t, rows, "backwards", Conditional).OverRival["R@1"]; !near(lift.Value, -.5) || lift.Low > lift.Value || lift.High < lift.Value {
		t.Errorf("over the rival: %+v", lift)
	}
	for _, policy := range []string{Incoming, same.Name, Oracle} {
		if row := find(t, rows, policy, Conditional); row.OverRival != nil {
			t.Errorf("%s is compared with the rival: %v", policy, row.OverRival)
		}
	}
}

// What a stage adds is measured over the policy it began with, and only there.
func TestRowsCompareWithTheStageBefore(t *testing.T) {
	sft := Policy{Name: "sft", Rankings: [][]int{{0, 1, 2, 3}, {0, 1, 2, 3}, {3, 0, 1, 2}, {0, 1, 2, 3}}}
	rl := Policy{Name: "rl", Rankings: [][]int{{3, 2, 1, 0}, {3, 2, 1, 0}, {3, 2, 1, 0}, {3, 2, 1, 0}}, Before: "sft"}
	other := Policy{Name: "other", Rankings: rl.Rankings, Before: "not measured"}
	rows, err := Rows(Test{Order: "logged", Split: "test", Slates: fourSlates(), Samples: 200, Seed: 1}, []Policy{sft, rl, other})
	if err != nil {
		t.Fatal(err)
	}
	row := find(t, rows, "rl", Conditional) // R@1: sft 2 of 3, rl 1 of 3
	if lift := row.OverBefore["R@1"]; row.Before != "sft" || !near(lift.Value, -.5) || lift.Low > lift.Value || lift.High < lift.Value {
		t.Errorf("over the stage before, %q: %+v", row.Before, lift)
	}
	for _, policy := range []string{Incoming, "sft", "other", Oracle} {
		if row := find(t, rows, policy, Conditional); row.OverBefore != nil {
			t.Errorf("%s is compared with a stage before: %v", policy, row.OverBefore)
		}
	}
}
