package evidence

import (
	"cmp"
	"slices"
	"sort"

	"github.com/gr2/gr2/internal/market"
)

// itemLog is when each item was used, and by which fold.
type itemLog struct {
	start []int   // item -> first entry; len = items+1
	time  []int64 // Unix seconds, ascending within an item
	fold  []uint8
}

func newItemLog(items int, events []market.Event, folds []uint8) itemLog {
	order := make([]int32, len(events))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		x, y := events[a], events[b]
		return cmp.Or(cmp.Compare(x.Item, y.Item), cmp.Compare(x.Time, y.Time), cmp.Compare(folds[a], folds[b]))
	})
	l := itemLog{start: make([]int, items+1), time: make([]int64, len(order)), fold: make([]uint8, len(order))}
	for at, i := range order {
		l.time[at], l.fold[at] = events[i].Time, folds[i]
		l.start[events[i].Item+1]++
	}
	for i := range items {
		l.start[i+1] += l.start[i]
	}
	return l
}

// count is the number of the item's events outside the excluded fold.
func (l *itemLog) count(item int32, excludeFold int) int {
	n := 0
	for _, f := range l.fold[l.start[item]:l.start[item+1]] {
		if int(f) != excludeFold {
			n++
		}
	}
	return n
}

// past is what is known of an item at one moment, from strictly earlier events.
type past struct {
	seen        bool
	first, last int64 // times of the earliest and the latest event, when seen
	recent      int   // events since the given moment
}

// before looks at events earlier than now and outside the excluded fold; those
// at since or later count as recent.
func (l *itemLog) before(item int32, now, since int64, excludeFold int) past {
	lo, hi := l.start[item], l.start[item+1]
	times, folds := l.time[lo:hi], l.fold[lo:hi]
	end := sort.Search(len(times), func(i int) bool { return times[i] >= now })
	var p past
	for i := end - 1; i >= 0; i-- {
		if int(folds[i]) == excludeFold {
			continue
		}
		if !p.seen {
			p.seen, p.last = true, times[i]
		}
		if times[i] < since {
			break
		}
		p.recent++
	}
	for i := 0; p.seen; i++ {
		if int(folds[i]) != excludeFold {
			p.first = times[i]
			break
		}
	}
	return p
}

const daySeconds = 86400

// sameDay tells whether two moments lie on the same UTC day.
func sameDay(a, b int64) bool { return dayOf(a) == dayOf(b) }

func dayOf(t int64) int64 {
	day := t / daySeconds
	if t%daySeconds < 0 {
		day--
	}
	return day
}
