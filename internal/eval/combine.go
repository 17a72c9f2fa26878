package eval

import (
	"fmt"
	"math"

	"github.com/gr2/gr2/internal/fault"
)

// Combine puts together the reports of runs that differ in their seeds. Rows
// are matched by order, policy, slice and split, which every report must have.
// Means and lifts are averaged, and so are the bounds of intervals: the runs
// share their users, so that averaging removes the noise of training and of
// the shuffle within days, not that of having only these users. Spread says
// how much the lift varies between runs. Probes stand by seed.
func Combine(reports []*Report) (*Report, error) {
	first := reports[0]
	all := &Report{Schema: Schema, Probes: map[string]any{}, Seed: first.Seed, Rival: first.Rival}
	for _, r := range reports {
		switch {
		case len(r.Rows) != len(first.Rows):
			return nil, fault.Inputf("the runs have %d and %d rows: only runs of one configuration can be put together", len(first.Rows), len(r.Rows))
		case r.Rival != first.Rival:
			return nil, fault.Inputf("the runs compare with %q and %q: they are of different versions", first.Rival, r.Rival)
		}
		name := fmt.Sprintf("seed %d", r.Seed)
		if _, twice := all.Probes[name]; twice {
			return nil, fault.Inputf("two of the runs have seed %d: only runs of different seeds can be put together", r.Seed)
		}
		all.Seeds, all.Probes[name] = append(all.Seeds, r.Seed), r.Probes
	}
	for _, row := range first.Rows {
		same := make([]*Row, len(reports))
		for i, r := range reports {
			if same[i] = r.Find(row.Order, row.Policy, row.Slice, row.Split); same[i] == nil {
				return nil, fault.Inputf("the run of seed %d has no row for policy %q on the %s order (%s, %s)", r.Seed, row.Policy, row.Order, row.Slice, row.Split)
			}
		}
		all.Rows = append(all.Rows, meanRow(same))
	}
	return all, nil
}

// meanRow averages rows of the same names; N is the mean number of slates.
func meanRow(rows []*Row) Row {
	mean := Row{Order: rows[0].Order, Policy: rows[0].Policy, Before: rows[0].Before, Slice: rows[0].Slice, Split: rows[0].Split, Metrics: map[string]float64{}}
	total := 0
	for _, r := range rows {
		total += r.N
	}
	mean.N = int(math.Round(float64(total) / float64(len(rows))))
	for name := range rows[0].Metrics {
		values := make([]float64, 0, len(rows))
		for _, r := range rows {
			if v, has := r.Metrics[name]; has {
				values = append(values, v)
			}
		}
		mean.Metrics[name] = meanOf(values)
	}
	mean.Lift, mean.Spread = meanLifts(rows, func(r *Row) map[string]Lift { return r.Lift })
	mean.OverRival, mean.RivalSpread = meanLifts(rows, func(r *Row) map[string]Lift { return r.OverRival })
	mean.OverBefore, mean.BeforeSpread = meanLifts(rows, func(r *Row) map[string]Lift { return r.OverBefore })
	return mean
}

// meanLifts averages the lifts that every row has.
func meanLifts(rows []*Row, of func(*Row) map[string]Lift) (mean map[string]Lift, spread map[string]float64) {
	for name := range of(rows[0]) {
		var value, low, high []float64
		for _, r := range rows {
			if l, has := of(r)[name]; has {
				value, low, high = append(value, l.Value), append(low, l.Low), append(high, l.High)
			}
		}
		if len(value) < len(rows) {
			continue
		}
		if mean == nil {
			mean, spread = map[string]Lift{}, map[string]float64{}
		}
		mean[name] = Lift{Value: meanOf(value), Low: meanOf(low), High: meanOf(high)}
		spread[name] = deviationOf(value)
	}
	return mean, spread
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
