package eval

import (
	"slices"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/metric"
)

// joint holds what several runs scored on one slice, user by user, under
// resamples of the users that all runs share: runs of other seeds have the same
// users, and the orders of a run do.
type joint struct {
	runs  int
	place map[column]int
	sums  *metric.Sums
}

// column is a metric of a policy on an order in one run: of each user the sum
// over its slates.
type column struct {
	run                   int
	order, policy, metric string
}

// newJoint resamples the users of the runs, and of those they are compared with,
// which follow them.
func newJoint(all []Run, runs int, slice string) *joint {
	j := &joint{runs: runs, place: map[column]int{}}
	users := map[string]int{}
	for _, r := range all {
		for i := range r.Slates {
			if s := &r.Slates[i]; s.positive() {
				if _, known := users[s.User]; !known {
					users[s.User] = len(users)
				}
			}
		}
	}
	var columns [][]float64 // by user
	add := func(c column, user int, v float64) {
		at, known := j.place[c]
		if !known {
			at = len(columns)
			j.place[c], columns = at, append(columns, make([]float64, len(users)))
		}
		columns[at][user] += v
	}
	for n, r := range all {
		for i := range r.Slates {
			s := &r.Slates[i]
			if !s.positive() {
				continue
			}
			for policy, judged := range s.judged(slice) {
				for _, name := range metricsOf(slice) {
					if v, defined := score(name, judged); defined {
						add(column{n, s.Order, policy, name}, users[s.User], v)
					}
				}
			}
		}
	}
	// Users of whom no slate holds a positive add nothing to any sum.
	j.sums = metric.Resample(columns, len(users), 0, all[0].Report.Seed)
	return j
}

// side is a policy in the runs, or in those they are compared with.
type side struct {
	policy string
	other  bool
}

// lifts are those of a policy over another in each metric, as means over the
// runs and these orders, with the standard deviation over the runs; without the
// metrics that one of them lacks.
func (j *joint) lifts(orders []string, base, policy side) (mean map[string]Lift, spread map[string]float64) {
	for _, name := range MetricNames() {
		var from, to []int
		values := make([]float64, j.runs)
		for run := range j.runs {
			for _, order := range orders {
				b, hasBase := j.place[j.column(base, run, order, name)]
				p, has := j.place[j.column(policy, run, order, name)]
				if has && hasBase {
					from, to = append(from, b), append(to, p)
					values[run] += (j.sums.Mean(p)/j.sums.Mean(b) - 1) / float64(len(orders))
				}
			}
		}
		if len(from) < j.runs*len(orders) {
			continue
		}
		lift := j.sums.MeanLift(from, to, metric.Level)
		if !lift.Finite() {
			continue
		}
		put(&mean, name, lift)
		if j.runs > 1 {
			if spread == nil {
				spread = map[string]float64{}
			}
			spread[name] = deviationOf(values)
		}
	}
	return mean, spread
}

// othersHave reports whether one of the runs to compare with has the policy.
func (j *joint) othersHave(policy string) bool {
	for c := range j.place {
		if c.run >= j.runs && c.policy == policy {
			return true
		}
	}
	return false
}

func (j *joint) column(s side, run int, order, name string) column {
	if s.other {
		run += j.runs
	}
	return column{run, order, s.policy, name}
}

// metricsOf are the metrics of a slice. AUC is one of single impressions.
func metricsOf(slice string) []string {
	if slice == EndToEnd {
		return slices.DeleteFunc(MetricNames(), func(name string) bool { return name == "AUC" })
	}
	return MetricNames()
}

// sameSlates refuses runs whose test slates are not the same.
func sameSlates(a, b Run) error {
	if len(a.Slates) != len(b.Slates) {
		return fault.Inputf("%s has %d test slates and %s %d: only runs of one seed, data set and baseline stage can be compared", a.Name, len(a.Slates), b.Name, len(b.Slates))
	}
	for i := range a.Slates {
		s, o := &a.Slates[i], &b.Slates[i]
		if s.Order != o.Order || s.Slate != o.Slate || !slices.Equal(s.Grades, o.Grades) || !slices.Equal(s.Missing, o.Missing) {
			return fault.Inputf("test slate %q of the %s order in %s is another in %s: only runs of one seed, data set and baseline stage can be compared", s.Slate, s.Order, a.Name, b.Name)
		}
	}
	return nil
}

// check refuses rankings that are not those of the report.
func (r *Run) check() error {
	type key struct{ order, split string }
	positive, ranked := map[key]int{}, map[key]map[string]int{}
	for i := range r.Slates {
		s := &r.Slates[i]
		if !s.positive() {
			continue
		}
		k := key{s.Order, s.Split}
		if ranked[k] == nil {
			ranked[k] = map[string]int{}
		}
		positive[k]++
		for policy := range s.Rankings {
			ranked[k][policy]++
		}
	}
	for _, row := range r.Report.Rows {
		k := key{row.Order, row.Split}
		n := ranked[k][row.Policy]
		if row.Policy == Incoming || row.Policy == Oracle {
			n = positive[k]
		}
		if row.Slice == Conditional && n != row.N {
			return fault.Corruptf("%s: the report has %d slates of the %s order ranked by %q, the rankings have %d: let gr2 run evaluate it again", r.Name, row.N, row.Order, row.Policy, n)
		}
	}
	return nil
}
