package eval

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
)

// slate makes a slate of items 0.. with these grades.
func slate(id string, grades ...uint8) market.Slate {
	s := market.Slate{ID: id, Time: 100, Grades: grades}
	for i := range grades {
		s.Candidates = append(s.Candidates, market.Candidate{Item: int32(i)})
	}
	return s
}

// fourSlates: hits at places 1, 2 and 4, and one slate without a positive.
func fourSlates() []market.Slate {
	return []market.Slate{slate("a", 1, 0, 0, 0), slate("b", 0, 2, 0, 0), slate("c", 0, 0, 0, 1), slate("d", 0, 0, 0, 0)}
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-12 }

func find(t *testing.T, rows []Row, policy, slice string) Row {
	t.Helper()
	r := Report{Rows: rows}
	row := r.Find("logged", policy, slice, "test")
	if row == nil {
		t.Fatalf("no row %s/%s in %v", policy, slice, rows)
	}
	return *row
}

func TestRowsByHand(t *testing.T) {
	backwards := Policy{Name: "backwards", Rankings: [][]int{{3, 2, 1, 0}, {3, 2, 1, 0}, {3, 2, 1, 0}, {3, 2, 1, 0}}}
	test := Test{Order: "logged", Split: "test", Slates: fourSlates(), Events: 6, Samples: 200, Seed: 1}
	rows, err := Rows(test, []Policy{backwards})
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, r := range rows {
		order = append(order, r.Policy+"/"+r.Slice)
	}
	if got := strings.Join(order, " "); got != "incoming/conditional backwards/conditional oracle/conditional incoming/end_to_end backwards/end_to_end oracle/end_to_end" {
		t.Errorf("rows are %s", got)
	}
	log3 := math.Log2(3)
	for _, c := range []struct {
		policy, slice, metric string
		want                  float64
	}{
		{Incoming, Conditional, "R@1", 1. / 3},
		{Incoming, Conditional, "R@3", 2. / 3},
		{Incoming, Conditional, "N@3", (1 + 1/log3) / 3},
		{Incoming, Conditional, "MRR", (1 + .5 + .25) / 3},
		{Incoming, Conditional, "AUC", (1 + 2./3 + 0) / 3},
		{Incoming, EndToEnd, "R@1", 1. / 6},
		{Incoming, EndToEnd, "R@3", 2. / 6},
		{"backwards", Conditional, "R@1", 1. / 3},
		{"backwards", Conditional, "R@5", 1},
		{Oracle, Conditional, "R@1", 1},
		{Oracle, Conditional, "N@5", 1},
		{Oracle, EndToEnd, "MAP", 3. / 6},
	} {
		row := find(t, rows, c.policy, c.slice)
		if got := row.Metrics[c.metric]; !near(got, c.want) {
			t.Errorf("%s %s %s = %v, want %v", c.policy, c.slice, c.metric, got, c.want)
		}
	}
	if n := find(t, rows, Incoming, Conditional).N; n != 3 {
		t.Errorf("conditional n = %d, want 3", n)
	}
	if n := find(t, rows, Incoming, EndToEnd).N; n != 6 {
		t.Errorf("end-to-end n = %d, want 6", n)
	}
	if lift := find(t, rows, Oracle, Conditional).Lift["R@5"]; lift != (Lift{}) {
		t.Errorf("oracle lift of R@5 is %v, want none over an incoming 1", lift)
	}
	if lift := find(t, rows, Oracle, Conditional).Lift["MRR"]; !near(lift.Value, 3/1.75-1) || lift.Low < 0 {
		t.Errorf("oracle lift of MRR is %v, want %v", lift, 3/1.75-1)
	}
	if lift := find(t, rows, Incoming, Conditional).Lift; lift != nil {
		t.Errorf("incoming has a lift: %v", lift)
	}
	if _, has := find(t, rows, Oracle, EndToEnd).Metrics["AUC"]; has {
		t.Error("an end-to-end row has AUC")
	}
}

// A positive that the slate lacks lowers end-to-end recall only.
func TestMissingPositives(t *testing.T) {
	test := Test{Order: "logged", Split: "test", Slates: []market.Slate{slate("a", 1, 0, 0)}, Missing: [][]uint8{{1}}, Samples: 10}
	rows, err := Rows(test, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := find(t, rows, Incoming, Conditional).Metrics["R@3"]; got != 1 {
		t.Errorf("conditional R@3 = %v, want 1", got)
	}
	if got := find(t, rows, Incoming, EndToEnd).Metrics["R@3"]; got != .5 {
		t.Errorf("end-to-end R@3 = %v, want .5", got)
	}
}

// Slates without a negative have no AUC but count in the other metrics.
func TestUndefinedAUC(t *testing.T) {
	test := Test{Order: "logged", Split: "test", Slates: []market.Slate{slate("a", 0, 1), slate("b", 1, 1)}, Samples: 10}
	rows, err := Rows(test, nil)
	if err != nil {
		t.Fatal(err)
	}
	row := find(t, rows, Incoming, Conditional)
	if row.Metrics["AUC"] != 0 || row.Metrics["R@1"] != .5 || row.N != 2 {
		t.Errorf("row %+v, want AUC 0 over one slate, R@1 .5 over two", row)
	}
	if _, has := find(t, rows, Oracle, Conditional).Lift["AUC"]; has {
		t.Error("a lift over an AUC of 0 was reported")
	}
}

func TestNoSlates(t *testing.T) {
	rows, err := Rows(Test{Order: "logged", Split: "test", Samples: 10}, nil)
	if err != nil || len(rows) != 4 || rows[0].N != 0 || len(rows[0].Metrics) != 0 {
		t.Errorf("rows %v, error %v", rows, err)
	}
}

func TestRowsRefuse(t *testing.T) {
	ungraded := slate("u", 0, 1)
	ungraded.Grades = nil
	good := [][]int{{0, 1}}
	for _, c := range []struct {
		want     string
		test     Test
		policies []Policy
	}{
		{"0 grades", Test{Slates: []market.Slate{ungraded}}, nil},
		{"only 1 events", Test{Slates: []market.Slate{slate("a", 1), slate("b", 1)}, Events: 1}, nil},
		{"missing grades", Test{Slates: []market.Slate{slate("a", 0, 1)}, Missing: [][]uint8{nil, nil}}, nil},
		{"0 rankings for 1 slates", Test{Slates: []market.Slate{slate("a", 0, 1)}}, []Policy{{Name: "p"}}},
		{"not a permutation", Test{Slates: []market.Slate{slate("a", 0, 1)}}, []Policy{{Name: "p", Rankings: [][]int{{0, 0}}}}},
		{"not a permutation", Test{Slates: []market.Slate{slate("a", 0, 1)}}, []Policy{{Name: "p", Rankings: [][]int{{0, 2}}}}},
		{"not a permutation", Test{Slates: []market.Slate{slate("a", 0, 1)}}, []Policy{{Name: "p", Rankings: [][]int{{1}}}}},
		{`called "p"`, Test{Slates: []market.Slate{slate("a", 0, 1)}}, []Policy{{Name: "p", Rankings: good}, {Name: "p", Rankings: good}}},
		{`called "incoming"`, Test{Slates: []market.Slate{slate("a", 0, 1)}}, []Policy{{Name: "incoming", Rankings: good}}},
	} {
		_, err := Rows(c.test, c.policies)
		if err == nil || !strings.Contains(err.Error(), c.want) || fault.KindOf(err) != fault.Input {
			t.Errorf("error %v, want an input fault with %q", err, c.want)
		}
	}
}

// randomSlates have one positive each, nearer the top than by chance.
func randomSlates(n, k int, seed uint64) []market.Slate {
	slates := make([]market.Slate, n)
	for i := range slates {
		random := rng.New(seed, uint64(i))
		grades := make([]uint8, k)
		grades[min(random.IntN(k), random.IntN(k))] = 1
		slates[i] = slate(fmt.Sprint("s", i), grades...)
		for c := range slates[i].Candidates {
			slates[i].Candidates[c].Item = int32(random.IntN(100)*k + c)
		}
		slates[i].History = []market.Visit{{Item: int32(random.IntN(100 * k)), Time: 50}}
	}
	return slates
}

func TestRowsAreReproducible(t *testing.T) {
	slates := randomSlates(300, 10, 1)
	shuffled := make([][]int, len(slates))
	for i := range shuffled {
		shuffled[i] = rng.New(9, uint64(i)).Perm(10)
	}
	run := func() string {
		rows, err := Rows(Test{Order: "logged", Split: "test", Slates: slates, Seed: 4}, []Policy{{Name: "random", Rankings: shuffled}})
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(rows)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if first, second := run(), run(); first != second {
		t.Errorf("two runs differ:\n%s\n%s", first, second)
	}
}

// The JSON names are a public format.
func TestReportJSON(t *testing.T) {
	r := NewReport(7)
	r.Rows = append(r.Rows, Row{
		Order: "sasrec", Policy: "sft", Slice: Conditional, Split: "test", N: 3,
		Metrics: map[string]float64{"R@1": .5}, Lift: map[string]Lift{"R@1": {Value: .25, Low: .125, High: .5}},
	})
	r.Probes["copy_rate"] = .1
	got, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"schema":1,"rows":[{"order":"sasrec","policy":"sft","slice":"conditional","split":"test","n":3,` +
		`"metrics":{"R@1":0.5},"lift":{"R@1":{"value":0.25,"low":0.125,"high":0.5}}}],"probes":{"copy_rate":0.1},"seed":7}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if empty, _ := json.Marshal(NewReport(0)); string(empty) != `{"schema":1,"rows":[],"probes":{},"seed":0}` {
		t.Errorf("an empty report is %s", empty)
	}
}

func TestWriteTable(t *testing.T) {
	r := NewReport(1)
	r.Rows = []Row{
		{Order: "bpr", Policy: Incoming, Slice: Conditional, Split: "test", N: 20, Metrics: map[string]float64{"R@1": .25, "AUC": .5}},
		{Order: "bpr", Policy: "contrôle", Slice: Conditional, Split: "test", N: 20, Metrics: map[string]float64{"R@1": .5},
			Lift: map[string]Lift{"R@1": {Value: 1, Low: -.05, High: 1.5}}},
		{Order: "bpr", Policy: Incoming, Slice: EndToEnd, Split: "test", N: 99, Metrics: map[string]float64{"R@1": .0125}},
	}
	var out strings.Builder
	if err := WriteTable(&out, r); err != nil {
		t.Fatal(err)
	}
	const want = `bpr order, test, conditional, n=20
  policy       R@1     AUC
  incoming  0.2500  0.5000
  contrôle  0.5000       -
lift over incoming, 95% interval
  policy                       R@1  R@3  N@3
  contrôle  +100.0% [-5.0, +150.0]    -    -

bpr order, test, end to end, n=99
  policy       R@1
  incoming  0.0125
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}
