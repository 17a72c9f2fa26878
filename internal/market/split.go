package market

import (
	"slices"
	"sort"

	"github.com/gr2/gr2/internal/fault"
)

// Protocols of a Split.
const (
	ProtocolLeaveOneOut = "leave-one-out"
	ProtocolTime        = "time"
	ProtocolLogged      = "logged"
)

// Target is what a user did next, and what was known before.
type Target struct {
	User    int32
	Time    int64
	Items   []int32 // one for LeaveOneOut; the distinct items of one basket, ascending, for TimeSplit
	History []Visit // oldest first, may be empty; memory is shared between targets, do not change it
}

// Split is a data set cut for training, validation and test.
type Split struct {
	Protocol string
	Train    []Event // by user, then time, frozen order inside ties
	Valid    []Target
	Test     []Target

	TrainSlates []Slate // logged impressions, cut at the same times; none for LeaveOneOut
	ValidSlates []Slate
	TestSlates  []Slate

	// Of the time and logged protocols: train < CutValid <= valid < CutTest <= test.
	CutValid int64
	CutTest  int64
	// Steps bound the equal steps of the test window: Steps[0] is CutTest, the
	// last one lies just past the last time. See Step.
	Steps []int64
}

// Step is the number of the equal step of the test window that holds the
// time, -1 when it lies outside.
func (s *Split) Step(time int64) int {
	n := len(s.Steps)
	if n == 0 || time < s.Steps[0] || time >= s.Steps[n-1] {
		return -1
	}
	return sort.Search(n, func(i int) bool { return s.Steps[i] > time }) - 1
}

// LeaveOneOut holds out each user's last event for test and the one before
// for validation; users with fewer than three events only train. Events of
// equal time stand in the frozen order of Sort(seed), so a history may hold
// events of the target's own time that come earlier in that order. The test
// history includes the validation event.
func LeaveOneOut(ds *Dataset, seed uint64) (*Split, error) {
	if len(ds.Events) == 0 {
		return nil, fault.Inputf("data set %q has no events to split", ds.Name)
	}
	events := ds.sorted(seed)
	visits := visitsOf(events)
	split := &Split{Protocol: ProtocolLeaveOneOut, Train: make([]Event, 0, len(events))}
	target := func(from, at int) Target {
		e := events[at]
		return Target{User: e.User, Time: e.Time, Items: []int32{e.Item}, History: visits[from:at:at]}
	}
	byUser(events, func(from, to int) {
		if to-from < 3 {
			split.Train = append(split.Train, events[from:to]...)
			return
		}
		split.Train = append(split.Train, events[from:to-2]...)
		split.Valid = append(split.Valid, target(from, to-2))
		split.Test = append(split.Test, target(from, to-1))
	})
	return split, nil
}

func visitsOf(events []Event) []Visit {
	visits := make([]Visit, len(events))
	for i, e := range events {
		visits[i] = Visit{Item: e.Item, Time: e.Time}
	}
	return visits
}

// TimeSplit cuts at two moments: the last testFrac of the events is the test
// window, the validFrac before it the validation window, up to ties, which
// stay together. What a user did at one moment is one target (a basket); its
// history holds everything strictly earlier. The test window falls into steps
// of equal duration. Logged slates are cut at the same moments.
func TimeSplit(ds *Dataset, validFrac, testFrac float64, steps int, seed uint64) (*Split, error) {
	times := make([]int64, len(ds.Events))
	for i, e := range ds.Events {
		times[i] = e.Time
	}
	split := &Split{Protocol: ProtocolTime}
	if err := split.cut(ds.Name, "events", times, validFrac, testFrac, steps); err != nil {
		return nil, err
	}
	events := ds.sorted(seed)
	visits := visitsOf(events)
	byUser(events, func(from, to int) {
		for at := from; at < to; {
			end := at + 1
			for end < to && events[end].Time == events[at].Time {
				end++
			}
			split.place(events[at:end], visits[from:at:at])
			at = end
		}
	})
	split.placeSlates(ds.Slates)
	return split, nil
}

// place puts one user's events of one moment where their time belongs.
func (s *Split) place(basket []Event, history []Visit) {
	time := basket[0].Time
	if time < s.CutValid {
		s.Train = append(s.Train, basket...)
		return
	}
	items := make([]int32, len(basket))
	for i, e := range basket {
		items[i] = e.Item
	}
	slices.Sort(items)
	t := Target{User: basket[0].User, Time: time, Items: slices.Compact(items), History: history}
	if time < s.CutTest {
		s.Valid = append(s.Valid, t)
	} else {
		s.Test = append(s.Test, t)
	}
}

// SplitSlates cuts logged slates by time as TimeSplit cuts events, by
// fractions of the slates. Train holds the events before the first cut; there
// are no targets, the slates carry their grades.
func SplitSlates(ds *Dataset, validFrac, testFrac float64, steps int, seed uint64) (*Split, error) {
	times := make([]int64, len(ds.Slates))
	for i := range ds.Slates {
		times[i] = ds.Slates[i].Time
	}
	split := &Split{Protocol: ProtocolLogged}
	if err := split.cut(ds.Name, "slates", times, validFrac, testFrac, steps); err != nil {
		return nil, err
	}
	for _, e := range ds.sorted(seed) {
		if e.Time < split.CutValid {
			split.Train = append(split.Train, e)
		}
	}
	split.placeSlates(ds.Slates)
	return split, nil
}

func (s *Split) placeSlates(slates []Slate) {
	for i := range slates {
		switch sl := slates[i]; {
		case sl.Time < s.CutValid:
			s.TrainSlates = append(s.TrainSlates, sl)
		case sl.Time < s.CutTest:
			s.ValidSlates = append(s.ValidSlates, sl)
		default:
			s.TestSlates = append(s.TestSlates, sl)
		}
	}
}

// cut finds the two cuts and the steps; it sorts times. what names the rows.
func (s *Split) cut(name, what string, times []int64, validFrac, testFrac float64, steps int) error {
	if !(validFrac > 0) || !(testFrac > 0) || !(validFrac+testFrac < 1) {
		return fault.Usagef("time split: validation fraction %g and test fraction %g must be above 0 and sum to less than 1", validFrac, testFrac)
	}
	if steps < 1 {
		return fault.Usagef("time split: %d steps; give at least 1", steps)
	}
	n := len(times)
	if n == 0 {
		return fault.Inputf("data set %q has no %s to split by time", name, what)
	}
	slices.Sort(times)
	s.CutValid = times[int(float64(n)*(1-testFrac-validFrac))]
	s.CutTest = times[int(float64(n)*(1-testFrac))]
	if s.CutValid == times[0] || s.CutTest == s.CutValid {
		return fault.Inputf("data set %q: too many %s share one time for a time split with fractions %g and %g; use larger fractions or leave-one-out", name, what, validFrac, testFrac)
	}
	end := times[n-1] + 1
	if end-s.CutTest < int64(steps) {
		return fault.Usagef("time split: the test window lasts %d s and cannot fall into %d steps; give fewer steps", end-s.CutTest, steps)
	}
	for i := range steps {
		s.Steps = append(s.Steps, s.CutTest+(end-s.CutTest)*int64(i)/int64(steps))
	}
	s.Steps = append(s.Steps, end)
	return nil
}
