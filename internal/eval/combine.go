package eval

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gr2/gr2/internal/fault"
)

// Run is an evaluated run: its report and the rankings behind it.
type Run struct {
	Name   string // its folder, for errors
	Report *Report
	Slates []Ranked
}

// Combine puts together runs of one configuration that differ in their seeds.
// Rows are matched by order, policy, slice and split, which every report must
// have. Metrics and lifts are means over the runs. Intervals are those of the mean
// over resamples of the users, who are drawn for all runs and orders at once, with
// all their slates: runs of other seeds have the same users, so more of them do not
// take away the noise of having only these users. The trained policies are held
// fixed: how much a lift varies from one training to the next is in Spread alone.
// Where there are several orders, rows of AllOrders have the means over them. Probes
// stand by seed.
//
// rival is the policy that OverRival compares with; "" is that of the reports.
//
// others are runs of another configuration, with the same seeds and test slates
// (none: nil); OverOther is what a policy adds to itself in these, or to the one it
// was trained from where none of them has it.
func Combine(runs, others []Run, rival string) (*Report, error) {
	runs = slices.SortedFunc(slices.Values(runs), func(a, b Run) int { return cmp.Compare(a.Report.Seed, b.Report.Seed) })
	others, err := matched(runs, others)
	if err != nil {
		return nil, err
	}
	for _, run := range slices.Concat(runs, others) {
		if err := run.check(); err != nil {
			return nil, err
		}
	}
	first := runs[0].Report
	if rival != "" && !slices.Contains(policiesOf(first.Rows), rival) {
		return nil, fault.Usagef("%s has no policy %q to compare with; use one of %s", runs[0].Name, rival, strings.Join(policiesOf(first.Rows), ", "))
	}
	all := &Report{Schema: Schema, Probes: map[string]any{}, Seed: first.Seed, Rival: cmp.Or(rival, first.Rival)}
	for _, run := range runs {
		r := run.Report
		switch {
		case len(r.Rows) != len(first.Rows):
			return nil, fault.Inputf("%s has %d rows and %s %d: only runs of one configuration, evaluated by one version, can be put together (to evaluate a run again remove its eval folder and repeat gr2 run)", runs[0].Name, len(first.Rows), run.Name, len(r.Rows))
		case r.Rival != first.Rival:
			return nil, fault.Inputf("%s compares with %q and %s with %q: they are of different versions", runs[0].Name, first.Rival, run.Name, r.Rival)
		}
		name := fmt.Sprintf("seed %d", r.Seed)
		if _, twice := all.Probes[name]; twice {
			return nil, fault.Inputf("%s is not the only one of the runs with seed %d: only runs of different seeds can be put together", run.Name, r.Seed)
		}
		all.Seeds, all.Probes[name] = append(all.Seeds, r.Seed), r.Probes
	}
	for _, run := range slices.Concat(runs, others) {
		for _, warning := range run.Report.Warnings {
			all.Warnings = append(all.Warnings, run.Name+": "+warning)
		}
	}
	for _, row := range first.Rows {
		mean, err := meanRow(runs, row)
		if err != nil {
			return nil, err
		}
		all.Rows = append(all.Rows, mean)
	}
	orders := ordersOf(all.Rows)
	if len(orders) > 1 {
		all.Rows = append(all.Rows, overOrders(all.Rows, orders)...)
	}
	for _, slice := range []string{Conditional, EndToEnd} {
		j := newJoint(slices.Concat(runs, others), len(runs), slice)
		for i := range all.Rows {
			if row := &all.Rows[i]; row.Slice == slice {
				row.compare(j, orders, all.Rival)
			}
		}
	}
	return all, nil
}

// matched sorts the runs to compare with as the others are sorted.
func matched(runs, others []Run) ([]Run, error) {
	if len(others) == 0 {
		return nil, nil
	}
	if len(others) != len(runs) {
		return nil, fault.Inputf("%d runs against %d: each needs one of its seed", len(runs), len(others))
	}
	sorted := make([]Run, len(runs))
	for i, r := range runs {
		at := slices.IndexFunc(others, func(o Run) bool { return o.Report.Seed == r.Report.Seed })
		if at < 0 {
			return nil, fault.Inputf("%s has seed %d, which none of the runs to compare with has", r.Name, r.Report.Seed)
		}
		sorted[i] = others[at]
		if err := sameSlates(r, sorted[i]); err != nil {
			return nil, err
		}
	}
	return sorted, nil
}

// compare fills in the lifts of a row.
func (r *Row) compare(j *joint, orders []string, rival string) {
	if r.Policy == Incoming {
		return
	}
	if r.Order != AllOrders {
		orders = []string{r.Order}
	}
	over := func(base side) (map[string]Lift, map[string]float64) {
		return j.lifts(orders, base, side{policy: r.Policy})
	}
	r.Lift, r.Spread = over(side{policy: Incoming})
	if r.Policy == Oracle {
		return
	}
	other := r.Policy
	if r.Before != "" && !j.othersHave(other) {
		other = r.Before
	}
	if r.OverOther, r.OtherSpread = over(side{other, true}); r.OverOther != nil && other != r.Policy {
		r.Other = other
	}
	if r.Policy != rival {
		r.OverRival, r.RivalSpread = over(side{policy: rival})
	}
	if r.Before != "" {
		r.OverBefore, r.BeforeSpread = over(side{policy: r.Before})
	}
}

// meanRow averages the rows of this name; N is the mean number of slates.
func meanRow(runs []Run, like Row) (Row, error) {
	mean := Row{Order: like.Order, Policy: like.Policy, Before: like.Before, Slice: like.Slice, Split: like.Split, Metrics: map[string]float64{}}
	total, values := 0, map[string][]float64{}
	for _, run := range runs {
		r := run.Report.Find(like.Order, like.Policy, like.Slice, like.Split)
		if r == nil {
			return mean, fault.Inputf("%s has no row for policy %q on the %s order (%s, %s)", run.Name, like.Policy, like.Order, like.Slice, like.Split)
		}
		total += r.N
		for name, v := range r.Metrics {
			values[name] = append(values[name], v)
		}
	}
	for name, all := range values {
		mean.Metrics[name] = meanOf(all)
	}
	mean.N = int(math.Round(float64(total) / float64(len(runs))))
	return mean, nil
}

func ordersOf(rows []Row) []string {
	var all []string
	for _, row := range rows {
		if !slices.Contains(all, row.Order) {
			all = append(all, row.Order)
		}
	}
	return all
}

func policiesOf(rows []Row) []string {
	var all []string
	for _, row := range rows {
		if row.Policy != Oracle && !slices.Contains(all, row.Policy) {
			all = append(all, row.Policy)
		}
	}
	return all
}

// overOrders are rows of the policies that every order has: means over the orders
// of the metrics that all of them have, and N of all.
func overOrders(rows []Row, orders []string) []Row {
	var all []Row
	for _, row := range rows {
		if row.Order != orders[0] {
			continue
		}
		mean := Row{Order: AllOrders, Policy: row.Policy, Before: row.Before, Slice: row.Slice, Split: row.Split, Metrics: map[string]float64{}}
		values, found := map[string][]float64{}, 0
		for _, r := range rows {
			if r.Policy == row.Policy && r.Slice == row.Slice && r.Split == row.Split {
				found++
				mean.N += r.N
				for name, v := range r.Metrics {
					values[name] = append(values[name], v)
				}
			}
		}
		for name, v := range values {
			if len(v) == len(orders) {
				mean.Metrics[name] = meanOf(v)
			}
		}
		if found == len(orders) {
			all = append(all, mean)
		}
	}
	return all
}

func meanOf(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

// deviationOf is the standard deviation of a sample, 0 of fewer than two.
func deviationOf(x []float64) float64 {
	if len(x) < 2 {
		return 0
	}
	mean, squares := meanOf(x), 0.0
	for _, v := range x {
		squares += (v - mean) * (v - mean)
	}
	return math.Sqrt(squares / float64(len(x)-1))
}
