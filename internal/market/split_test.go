package market

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gr2/gr2/internal/fault"
)

func containsAll(s string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}

func TestLeaveOneOut(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "data"), 3))
		ds := randomDataset(t, r, 6, 6, rapid.IntRange(1, 50).Draw(rt, "events"))
		input := slices.Clone(ds.Events)
		split, err := LeaveOneOut(ds, 9)
		if err != nil {
			rt.Fatal(err)
		}
		if !slices.Equal(input, ds.Events) {
			rt.Fatal("the split changed the data set")
		}
		if len(split.Train)+len(split.Valid)+len(split.Test) != len(ds.Events) || len(split.Valid) != len(split.Test) {
			rt.Fatalf("%d train, %d valid, %d test of %d", len(split.Train), len(split.Valid), len(split.Test), len(ds.Events))
		}
		held := map[int32]bool{}
		for i, test := range split.Test {
			valid := split.Valid[i]
			held[test.User] = true
			n := len(valid.History)
			if test.User != valid.User || len(test.History) != n+1 || test.History[n] != (Visit{valid.Items[0], valid.Time}) {
				rt.Fatalf("test %+v does not continue valid %+v", test, valid)
			}
			if !reflect.DeepEqual(test.History[:n], valid.History) || test.Time < valid.Time {
				rt.Fatal("histories do not agree")
			}
			var train []Visit
			for _, e := range split.Train {
				if e.User == test.User {
					train = append(train, Visit{e.Item, e.Time})
				}
			}
			if !slices.Equal(train, valid.History) || len(train) == 0 {
				rt.Fatalf("training events %v, validation history %v", train, valid.History)
			}
		}
		counts := map[int32]int{}
		for _, e := range ds.Events {
			counts[e.User]++
		}
		for u, n := range counts {
			if held[u] != (n >= 3) {
				rt.Fatalf("user with %d events: held out %v", n, held[u])
			}
		}
	})
}

// Appending to a history must not write into the next target's.
func TestHistoriesCannotBeOverwritten(t *testing.T) {
	ds := &Dataset{Catalog: tinyCatalog(t, 4), Users: []string{"u"}, Events: []Event{{Time: 1}, {Item: 1, Time: 2}, {Item: 2, Time: 3}, {Item: 3, Time: 4}}}
	split, err := LeaveOneOut(ds, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = append(split.Valid[0].History, Visit{Item: 3, Time: 99})
	if got := split.Test[0].History[2]; got != (Visit{Item: 2, Time: 3}) {
		t.Errorf("the test history now ends with %v", got)
	}
}

func TestTimeSplit(t *testing.T) {
	runs, cut := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "data"), 4))
		ds := randomDataset(t, r, 6, 6, rapid.IntRange(30, 90).Draw(rt, "events"))
		split, err := TimeSplit(ds, .3, .3, 3, 9)
		if err != nil {
			return // too many ties for these fractions, or one day is the whole window
		}
		cut++
		for _, e := range split.Train {
			if e.Time >= split.CutValid {
				rt.Fatalf("training event %+v at or after %d", e, split.CutValid)
			}
		}
		check := func(targets []Target, from, to int64) {
			for _, target := range targets {
				if target.Time < from || target.Time >= to {
					rt.Fatalf("target at %d outside [%d, %d)", target.Time, from, to)
				}
				checkBasket(rt, ds, target)
			}
		}
		check(split.Valid, split.CutValid, split.CutTest)
		check(split.Test, split.CutTest, split.Steps[3])
		if len(split.TrainSlates)+len(split.ValidSlates)+len(split.TestSlates) != len(ds.Slates) {
			rt.Fatal("slates were lost")
		}
		for _, s := range split.TestSlates {
			if s.Time < split.CutTest {
				rt.Fatal("a test slate lies before the cut")
			}
		}
	})
	if cut < runs/3 {
		t.Errorf("only %d of %d random data sets could be cut", cut, runs)
	}
}

// checkBasket compares a target with all events of its user, counted slowly.
func checkBasket(rt *rapid.T, ds *Dataset, target Target) {
	items, earlier := map[int32]bool{}, 0
	for _, e := range ds.Events {
		if e.User == target.User && e.Time == target.Time {
			items[e.Item] = true
		}
		if e.User == target.User && e.Time < target.Time {
			earlier++
		}
	}
	if len(items) != len(target.Items) || !slices.IsSorted(target.Items) {
		rt.Fatalf("basket %v, want %v", target.Items, items)
	}
	if len(target.History) != earlier {
		rt.Fatalf("history of %d, want %d", len(target.History), earlier)
	}
	for _, v := range target.History {
		if v.Time >= target.Time {
			rt.Fatalf("history reaches %d, target at %d", v.Time, target.Time)
		}
	}
}

func TestTimeSplitCutsAndSteps(t *testing.T) {
	ds := &Dataset{Name: "line", Catalog: tinyCatalog(t, 2), Users: []string{"u"}}
	for i := range int64(100) {
		ds.Events = append(ds.Events, Event{Time: i, Item: int32(i % 2)})
	}
	split, err := TimeSplit(ds, .1, .2, 4, 0)
	if err != nil {
		t.Fatal(err)
	}
	if split.CutValid != 70 || split.CutTest != 80 || len(split.Train) != 70 || len(split.Valid) != 10 || len(split.Test) != 20 {
		t.Errorf("cuts %d and %d; %d, %d, %d", split.CutValid, split.CutTest, len(split.Train), len(split.Valid), len(split.Test))
	}
	if want := []int64{80, 85, 90, 95, 100}; !slices.Equal(split.Steps, want) {
		t.Errorf("steps %v, want %v", split.Steps, want)
	}
	for time, want := range map[int64]int{79: -1, 80: 0, 84: 0, 85: 1, 99: 3, 100: -1} {
		if got := split.Step(time); got != want {
			t.Errorf("time %d is in step %d, want %d", time, got, want)
		}
	}
}

func TestSplitSlates(t *testing.T) {
	ds := &Dataset{Name: "logged", Catalog: tinyCatalog(t, 2), Users: []string{"u"}}
	for i := range int64(10) {
		ds.Slates = append(ds.Slates, Slate{ID: fmt.Sprint(i), Time: i, Candidates: []Candidate{{Item: 0}}})
		ds.Events = append(ds.Events, Event{Time: i})
	}
	split, err := SplitSlates(ds, .2, .2, 2, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(split.TrainSlates) != 6 || len(split.ValidSlates) != 2 || len(split.TestSlates) != 2 || len(split.Train) != 6 {
		t.Errorf("%d, %d, %d slates, %d events", len(split.TrainSlates), len(split.ValidSlates), len(split.TestSlates), len(split.Train))
	}
}

func TestSplitErrors(t *testing.T) {
	one := &Dataset{Name: "one", Catalog: tinyCatalog(t, 2), Users: []string{"u"}, Events: []Event{{Time: 5}, {Time: 5, Item: 1}}}
	none := &Dataset{Name: "none", Catalog: tinyCatalog(t, 1)}
	line := &Dataset{Name: "line", Catalog: one.Catalog, Users: one.Users}
	for i := range int64(10) {
		line.Events = append(line.Events, Event{Time: i})
	}
	split := func(ds *Dataset, valid, test float64, steps int) error {
		_, err := TimeSplit(ds, valid, test, steps, 0)
		return err
	}
	_, noEvents := LeaveOneOut(none, 0)
	_, noSlates := SplitSlates(one, .1, .1, 1, 0)
	for _, c := range []struct {
		err  error
		want string
	}{
		{noEvents, `"none" has no events`},
		{noSlates, `"one" has no slates`},
		{split(none, .1, .1, 1), `"none" has no events`},
		{split(one, .1, .1, 1), "share one time"},
		{split(line, 0, .1, 1), "must be above 0"},
		{split(line, .5, .5, 1), "sum to less than 1"},
		{split(line, .2, .2, 0), "at least 1"},
		{split(line, .2, .2, 3), "fewer steps"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("error %v, want one with %q", c.err, c.want)
		}
		if fault.Exit(c.err) != 2 {
			t.Errorf("%v exits with %d", c.err, fault.Exit(c.err))
		}
	}
}
