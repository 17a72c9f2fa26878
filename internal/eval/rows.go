package eval

import (
	"slices"
	"sort"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/metric"
)

// Test is a frozen test set in one incoming order.
type Test struct {
	Order  string // name of the ranker that made the order: sasrec, bpr, logged, ...
	Split  string // "test" or "valid"
	Slates []market.Slate
	// Missing[i] holds the grades of positives of slate i's event that the slate
	// lacks; nil when every positive is in its slate. End-to-end rows count them.
	Missing [][]uint8
	// Events is the number of events behind the test set, at least len(Slates);
	// those without a slate are misses in end-to-end rows. 0 means len(Slates).
	Events  int
	Rival   string // policy that the others are also compared with; "" is none
	Samples int    // bootstrap resamples; 0 means metric.DefaultSamples
	Seed    uint64
}

// Policy is a named set of rankings, Rankings[i] for Test.Slates[i]: full
// permutations of the candidates' indices. Before names the policy from which
// it was trained, if that is among those measured; "" is none.
type Policy struct {
	Name     string
	Rankings [][]int
	Before   string
}

// Rows measures incoming, then the policies in the order given, then oracle:
// first all conditional rows, then all end-to-end rows.
func Rows(t Test, policies []Policy) ([]Row, error) {
	if t.Events == 0 {
		t.Events = len(t.Slates)
	}
	if err := t.check(); err != nil {
		return nil, err
	}
	all := make([]Policy, 0, len(policies)+2)
	all = append(all, Policy{Name: Incoming, Rankings: identities(t.Slates)})
	all = append(all, policies...)
	all = append(all, Policy{Name: Oracle, Rankings: OracleRankings(t.Slates)})
	named := map[string]bool{}
	for _, p := range all {
		if named[p.Name] {
			return nil, fault.Inputf("eval %s: two policies are called %q; %q and %q are added by eval itself", t.Order, p.Name, Incoming, Oracle)
		}
		named[p.Name] = true
		if err := t.checkPolicy(p); err != nil {
			return nil, err
		}
	}
	return append(t.rows(Conditional, all), t.rows(EndToEnd, all)...), nil
}

func (t *Test) check() error {
	if t.Events < len(t.Slates) {
		return fault.Inputf("eval %s: %d slates but only %d events; count every test event", t.Order, len(t.Slates), t.Events)
	}
	if t.Missing != nil && len(t.Missing) != len(t.Slates) {
		return fault.Inputf("eval %s: %d slates but %d lists of missing grades", t.Order, len(t.Slates), len(t.Missing))
	}
	for i := range t.Slates {
		s := &t.Slates[i]
		if len(s.Grades) != len(s.Candidates) {
			return fault.Inputf("eval %s: slate %q has %d candidates but %d grades; only graded slates can be evaluated", t.Order, s.ID, len(s.Candidates), len(s.Grades))
		}
	}
	return nil
}

func (t *Test) checkPolicy(p Policy) error {
	if len(p.Rankings) != len(t.Slates) {
		return fault.Inputf("eval %s: policy %q has %d rankings for %d slates", t.Order, p.Name, len(p.Rankings), len(t.Slates))
	}
	for i, ranking := range p.Rankings {
		if !IsPermutation(ranking, len(t.Slates[i].Candidates)) {
			return fault.Inputf("eval %s: policy %q: ranking of slate %q is not a permutation of its %d candidates: %v",
				t.Order, p.Name, t.Slates[i].ID, len(t.Slates[i].Candidates), ranking)
		}
	}
	return nil
}

// rows measures every policy on one slice, with policies[0] as the base of all
// lifts.
func (t *Test) rows(slice string, policies []Policy) []Row {
	rows := make([]Row, len(policies))
	for p := range policies {
		rows[p] = Row{Order: t.Order, Policy: policies[p].Name, Before: policies[p].Before, Slice: slice, Split: t.Split, Metrics: map[string]float64{}}
	}
	members, total := t.members(slice)
	var shared table // metrics that are defined on every member
	for _, name := range metricsOf(slice) {
		columns := t.columns(name, policies, members, slice == EndToEnd)
		if len(columns[0]) == len(members) {
			shared.add(name, columns)
			continue
		}
		var own table
		own.add(name, columns)
		t.fill(rows, own, len(columns[0]))
	}
	t.fill(rows, shared, total)
	for p := range rows {
		rows[p].N = total
	}
	return rows
}

// members lists the slates of a slice and the number of its events. An
// end-to-end slate without a positive scores 0 whatever the ranking, so it is
// counted but not listed.
func (t *Test) members(slice string) (slates []int, total int) {
	for i := range t.Slates {
		if t.Slates[i].Positive() {
			slates = append(slates, i)
		}
	}
	if slice == EndToEnd {
		return slates, t.Events
	}
	return slates, len(slates)
}

// columns evaluates one metric for every policy over the members. Slates where
// it is undefined (AUC without a negative) are left out; that depends on
// grades only, so all columns keep the same slates.
func (t *Test) columns(name string, policies []Policy, members []int, endToEnd bool) [][]float64 {
	columns := make([][]float64, len(policies))
	for p := range policies {
		columns[p] = make([]float64, 0, len(members))
		for _, i := range members {
			j := metric.Judged{Ranking: policies[p].Rankings[i], Grades: t.Slates[i].Grades}
			if endToEnd && t.Missing != nil {
				j.Grades = slices.Concat(j.Grades, t.Missing[i])
			}
			if v, ok := score(name, j); ok {
				columns[p] = append(columns[p], v)
			}
		}
	}
	return columns
}

// table holds the columns of metrics over the same slates, policy by policy
// within a metric, so that one set of resamples serves them all.
type table struct {
	names   []string
	columns [][]float64
}

func (b *table) add(name string, columns [][]float64) {
	b.names, b.columns = append(b.names, name), append(b.columns, columns...)
}

// fill writes a table's means and lifts over total events into the rows.
func (t *Test) fill(rows []Row, b table, total int) {
	if total == 0 {
		return
	}
	sums := metric.Resample(b.columns, total, t.Samples, t.Seed)
	place := func(policy string) int { return slices.IndexFunc(rows, func(r Row) bool { return r.Policy == policy }) }
	rival := place(t.Rival)
	for m, name := range b.names {
		base := m * len(rows)
		for p := range rows {
			rows[p].Metrics[name] = sums.Mean(base + p)
			if p == 0 {
				continue
			}
			put(&rows[p].Lift, name, sums.Lift(base, base+p, metric.Level))
			if rival > 0 && p != rival && rows[p].Policy != Oracle {
				put(&rows[p].OverRival, name, sums.Lift(base+rival, base+p, metric.Level))
			}
			if before := place(rows[p].Before); before > 0 {
				put(&rows[p].OverBefore, name, sums.Lift(base+before, base+p, metric.Level))
			}
		}
	}
}

// put stores a lift that is a number.
func put(lifts *map[string]Lift, name string, lift Lift) {
	if !lift.Finite() {
		return
	}
	if *lifts == nil {
		*lifts = map[string]Lift{}
	}
	(*lifts)[name] = lift
}

// identities are the rankings that leave every slate as it came.
func identities(slates []market.Slate) [][]int {
	rankings := make([][]int, len(slates))
	for i := range slates {
		rankings[i] = identity(len(slates[i].Candidates))
	}
	return rankings
}

func identity(k int) []int {
	ranking := make([]int, k)
	for i := range ranking {
		ranking[i] = i
	}
	return ranking
}

// OracleRankings order each slate by its grades, best first, ties in the
// incoming order: the perfect answer with hindsight.
func OracleRankings(slates []market.Slate) [][]int {
	rankings := identities(slates)
	for i, ranking := range rankings {
		grades := slates[i].Grades
		if len(grades) != len(ranking) {
			continue // ungraded: nothing to know
		}
		sort.SliceStable(ranking, func(a, b int) bool { return grades[ranking[a]] > grades[ranking[b]] })
	}
	return rankings
}

// IsPermutation reports whether ranking holds each of 0..k-1 exactly once.
func IsPermutation(ranking []int, k int) bool {
	if len(ranking) != k {
		return false
	}
	seen := make([]bool, k)
	for _, c := range ranking {
		if c < 0 || c >= k || seen[c] {
			return false
		}
		seen[c] = true
	}
	return true
}
