package eval

import (
	"math"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/fault"
)

// runOf is a report with one policy whose R@1 lift over incoming is value.
func runOf(seed uint64, n int, value float64) *Report {
	r := NewReport(seed)
	r.Rival = "control/linear"
	r.Probes["logged"] = seed
	row := func(policy string, metric float64) Row {
		return Row{Order: "logged", Policy: policy, Slice: Conditional, Split: "test", N: n, Metrics: map[string]float64{"R@1": metric}}
	}
	policy := row("sft", .2*(1+value))
	policy.Lift = map[string]Lift{"R@1": {Value: value, Low: value - .1, High: value + .2}}
	policy.OverRival = map[string]Lift{"R@1": {Value: -value, Low: -value - .1, High: -value + .1}}
	policy.Before, policy.OverBefore = "midtrain", map[string]Lift{"R@1": {Value: value + 1, Low: value, High: value + 3}}
	r.Rows = []Row{row(Incoming, .2), policy}
	return r
}

func TestCombineAveragesRuns(t *testing.T) {
	all, err := Combine([]*Report{runOf(1, 100, .1), runOf(2, 110, .2), runOf(3, 121, .6)})
	if err != nil {
		t.Fatal(err)
	}
	row := all.Find("logged", "sft", Conditional, "test")
	lift := row.Lift["R@1"]
	if row.N != 110 || !near(row.Metrics["R@1"], .26) || !near(lift.Value, .3) || !near(lift.Low, .2) || !near(lift.High, .5) {
		t.Errorf("combined row %+v", row)
	}
	if want := math.Sqrt(.07); !near(row.Spread["R@1"], want) || !near(row.RivalSpread["R@1"], want) { // (.04+.01+.09)/2
		t.Errorf("spreads %v and %v, want %g", row.Spread, row.RivalSpread, want)
	}
	if incoming := all.Find("logged", Incoming, Conditional, "test"); incoming.Lift != nil || incoming.Spread != nil {
		t.Errorf("the incoming row has a lift: %+v", incoming)
	}
	if len(all.Seeds) != 3 || all.Probes["seed 2"].(map[string]any)["logged"] != uint64(2) {
		t.Errorf("seeds %v, probes %v", all.Seeds, all.Probes)
	}
	var out strings.Builder
	if err := WriteTable(&out, all); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"3 runs, seeds [1 2 3]", "+30.0% [+20.0, +50.0] ±26.5", "lift over control/linear", "-30.0% [-40.0, -20.0] ±26.5", "lift over the stage before", "+130.0% [+30.0, +330.0] ±26.5"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}

func TestCombineRefusesRunsThatDiffer(t *testing.T) {
	other := runOf(2, 100, .1)
	other.Rows[1].Policy = "rl"
	more := runOf(2, 100, .1)
	more.Rows = append(more.Rows, Row{})
	rival := runOf(2, 100, .1)
	rival.Rival = ""
	for want, r := range map[string]*Report{
		`no row for policy "sft"`: other, "2 and 3 rows": more, "different versions": rival, "have seed 1": runOf(1, 100, .1),
	} {
		if _, err := Combine([]*Report{runOf(1, 100, .1), r}); fault.KindOf(err) != fault.Input || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
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
