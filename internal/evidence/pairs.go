package evidence

import (
	"math"
	"slices"

	"github.com/gr2/gr2/internal/market"
)

// unit is the fixed-point value of one full co-engagement: sums of integers do
// not depend on their order, so leaving a fold out is exact. A uint32 holds 16
// million co-engagements of one pair in one fold.
const unit = 256

// strength is how often one item goes with another; near and next in units.
type strength struct {
	near uint32 // within the window, decayed by distance, either direction
	next uint32 // within the window, the other item at a strictly later time, decayed by distance
	day  uint32 // within the window and on the same UTC day; a count, not units
}

// pairTable is the co-engagement of items: for each item its partners in
// ascending order, one entry for each fold that has the pair.
type pairTable struct {
	start    []int // item -> first entry; len = items+1
	partner  []int32
	fold     []uint8
	strength []strength
}

// link is one pair of events of a user, or their sum, seen from one side.
type link struct {
	partner  int32
	fold     uint8
	strength strength
}

// countPairs counts the events, which are grouped by user and ascend in time.
func countPairs(items int, events []market.Event, folds []uint8, opt Options) pairTable {
	weight := make([]uint32, opt.Window+1)
	for gap := 1; gap <= opt.Window; gap++ {
		weight[gap] = uint32(math.Round(unit * math.Pow(opt.Decay, float64(gap-1))))
	}
	start := make([]int, items+1)
	eachPair(events, opt.Window, func(p, q int) {
		start[events[p].Item+1]++
		start[events[q].Item+1]++
	})
	for i := range items {
		start[i+1] += start[i]
	}
	links := make([]link, start[items])
	free := slices.Clone(start)
	put := func(item int32, l link) {
		links[free[item]] = l
		free[item]++
	}
	eachPair(events, opt.Window, func(p, q int) {
		a, b, w := events[p], events[q], weight[q-p]
		s := strength{near: w}
		if sameDay(a.Time, b.Time) {
			s.day = 1
		}
		put(b.Item, link{a.Item, folds[p], s})
		if b.Time > a.Time {
			s.next = w
		}
		put(a.Item, link{b.Item, folds[p], s})
	})
	return mergeLinks(start, links)
}

// eachPair calls body for positions p < q of one user, at most window apart,
// that hold different items.
func eachPair(events []market.Event, window int, body func(p, q int)) {
	for p := range events {
		for q := p + 1; q < len(events) && q-p <= window && events[q].User == events[p].User; q++ {
			if events[p].Item != events[q].Item {
				body(p, q)
			}
		}
	}
}

// mergeLinks sums the links of each item by partner and fold.
func mergeLinks(start []int, links []link) pairTable {
	t := pairTable{start: make([]int, len(start))}
	for item := 0; item+1 < len(start); item++ {
		row := links[start[item]:start[item+1]]
		slices.SortFunc(row, func(a, b link) int {
			if a.partner != b.partner {
				return int(a.partner) - int(b.partner)
			}
			return int(a.fold) - int(b.fold)
		})
		for i, l := range row {
			last := len(t.partner) - 1
			if i > 0 && t.partner[last] == l.partner && t.fold[last] == l.fold {
				t.strength[last].add(l.strength)
				continue
			}
			t.partner = append(t.partner, l.partner)
			t.fold = append(t.fold, l.fold)
			t.strength = append(t.strength, l.strength)
		}
		t.start[item+1] = len(t.partner)
	}
	return t
}

func (s *strength) add(o strength) {
	s.near += o.near
	s.next += o.next
	s.day += o.day
}

// between is the strength from item to partner, outside the excluded fold.
func (t *pairTable) between(item, partner int32, excludeFold int) strength {
	lo, hi := t.start[item], t.start[item+1]
	row := t.partner[lo:hi]
	at, _ := slices.BinarySearch(row, partner)
	var sum strength
	for ; at < len(row) && row[at] == partner; at++ {
		if i := lo + at; int(t.fold[i]) != excludeFold {
			sum.add(t.strength[i])
		}
	}
	return sum
}

// entry is the strength from item to partner in one fold.
func (t *pairTable) entry(item, partner int32, fold uint8) strength {
	lo, hi := t.start[item], t.start[item+1]
	at, _ := slices.BinarySearch(t.partner[lo:hi], partner)
	for i := lo + at; i < hi && t.partner[i] == partner; i++ {
		if t.fold[i] == fold {
			return t.strength[i]
		}
	}
	return strength{}
}
