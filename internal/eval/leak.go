package eval

import (
	"slices"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
)

// TimeRule says what counts as the future.
type TimeRule struct {
	// Cut is the time from which on no event may be used for training
	// (exclusive bound of the train part); 0 where the protocol has none, as in
	// leave-one-out.
	Cut int64
	// Ties allows a history event at the request's own time, for leave-one-out
	// whose equal times are ordered by a frozen shuffle.
	Ties bool
}

// CheckTime refuses test slates and train events in which the future is
// visible: a history event at or after its request, a slate before the cut, a
// train event at or after the cut, or a slate's own positive among the train
// events. The error names the first offender.
func CheckTime(slates []market.Slate, train []market.Event, ds *market.Dataset, rule TimeRule) error {
	positives := map[pair]*market.Slate{}
	for i := range slates {
		s := &slates[i]
		if err := checkSlate(s, ds, rule); err != nil {
			return err
		}
		for c, g := range s.Grades {
			if g == market.GradeNone || s.User < 0 || c >= len(s.Candidates) {
				continue
			}
			key := pair{s.User, s.Candidates[c].Item}
			if first := positives[key]; first == nil || s.Time < first.Time {
				positives[key] = s
			}
		}
	}
	for i := range train {
		e := &train[i]
		if rule.Cut != 0 && e.Time >= rule.Cut {
			return fault.Inputf("leak: train event %d (user %s, item %s) at %d is not before the cut at %d; train on events before the cut only",
				i, userID(ds, e.User), itemID(ds, e.Item), e.Time, rule.Cut)
		}
		if s := positives[pair{e.User, e.Item}]; s != nil && e.Time >= s.Time && !knownPast(s, e, rule) {
			return fault.Inputf("leak: train event %d (user %s, item %s) at %d is the answer of test slate %q requested at %d; take it out of the train part",
				i, userID(ds, e.User), itemID(ds, e.Item), e.Time, s.ID, s.Time)
		}
	}
	return nil
}

// knownPast reports whether an event at the request's own time stands in the
// slate's history: a repeat within a tie, not the answer itself.
func knownPast(s *market.Slate, e *market.Event, rule TimeRule) bool {
	return rule.Ties && e.Time == s.Time && slices.Contains(s.History, market.Visit{Item: e.Item, Time: e.Time})
}

type pair struct{ user, item int32 }

func checkSlate(s *market.Slate, ds *market.Dataset, rule TimeRule) error {
	if rule.Cut != 0 && s.Time < rule.Cut {
		return fault.Inputf("leak: test slate %q at %d lies before the cut at %d; it belongs to the train part", s.ID, s.Time, rule.Cut)
	}
	for i, v := range s.History {
		if v.Time < s.Time || rule.Ties && v.Time == s.Time {
			continue
		}
		return fault.Inputf("leak: slate %q: history event %d (item %s) at %d is not before the request at %d; keep strictly earlier events only",
			s.ID, i, itemID(ds, v.Item), v.Time, s.Time)
	}
	return nil
}

func itemID(ds *market.Dataset, item int32) string {
	if item < 0 || int(item) >= ds.Catalog.Len() {
		return "unknown"
	}
	return ds.Catalog.Items[item].ID
}

func userID(ds *market.Dataset, user int32) string {
	if user < 0 || int(user) >= len(ds.Users) {
		return "unknown"
	}
	return ds.Users[user]
}
