package market

import (
	"cmp"
	"math/rand/v2"
	"slices"

	"github.com/gr2/gr2/internal/rng"
)

// Coordinates that keep the two frozen orders apart under one seed.
var (
	numberStream = rng.Key("market/number")
	orderStream  = rng.Key("market/order")
)

// Number gives items and users new numbers by a seeded hash of their ids and
// rewrites everything that holds a number. The result depends on the ids and
// the seed alone, not on the order in which a file named them.
func (ds *Dataset) Number(seed uint64) {
	userOrder, newUser := hashOrder(len(ds.Users), seed, func(i int32) string { return ds.Users[i] })
	itemOrder, newItem := hashOrder(ds.Catalog.Len(), seed, func(i int32) string { return ds.Catalog.Items[i].ID })

	ds.Users = pick(ds.Users, userOrder)
	ds.Catalog = newCatalog(pick(ds.Catalog.Items, itemOrder))
	for i := range ds.Events {
		e := &ds.Events[i]
		e.User, e.Item = newUser[e.User], newItem[e.Item]
	}
	for i := range ds.Slates {
		s := &ds.Slates[i]
		if s.User >= 0 {
			s.User = newUser[s.User]
		}
		for j := range s.History {
			s.History[j].Item = newItem[s.History[j].Item]
		}
		for j := range s.Candidates {
			s.Candidates[j].Item = newItem[s.Candidates[j].Item]
		}
	}
}

// hashOrder returns the old numbers in hash order, and for each old number
// the new one.
func hashOrder(n int, seed uint64, id func(int32) string) (order, renumber []int32) {
	keys := make([]uint64, n)
	order = make([]int32, n)
	for i := range order {
		order[i] = int32(i)
		keys[i] = rng.Hash(seed, numberStream, rng.Key(id(int32(i))))
	}
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(keys[a], keys[b]), cmp.Compare(id(a), id(b)))
	})
	renumber = make([]int32, n)
	for now, old := range order {
		renumber[old] = int32(now)
	}
	return order, renumber
}

func pick[T any](from []T, order []int32) []T {
	to := make([]T, len(order))
	for i, o := range order {
		to[i] = from[o]
	}
	return to
}

// Sort orders the events by user, then time, then a frozen seeded hash of
// user id, item id and time. Equal times have no order of their own, and the
// order in which public files list them leaks the answer; the hash depends
// neither on the file nor on the numbering.
func (ds *Dataset) Sort(seed uint64) {
	ds.Events = ds.sorted(seed)
}

// sorted returns the events in the order of Sort, in fresh memory.
func (ds *Dataset) sorted(seed uint64) []Event {
	itemKeys := make([]uint64, ds.Catalog.Len())
	for i := range itemKeys {
		itemKeys[i] = rng.Key(ds.Catalog.Items[i].ID)
	}
	userKeys := make([]uint64, len(ds.Users))
	for i, id := range ds.Users {
		userKeys[i] = rng.Key(id)
	}
	type keyed struct {
		Event
		hash uint64
	}
	rows := make([]keyed, len(ds.Events))
	for i, e := range ds.Events {
		rows[i] = keyed{e, rng.Hash(seed, orderStream, userKeys[e.User], itemKeys[e.Item], uint64(e.Time))}
	}
	slices.SortFunc(rows, func(a, b keyed) int {
		return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(a.Time, b.Time), cmp.Compare(a.hash, b.hash),
			cmp.Compare(a.Item, b.Item), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Value, b.Value))
	})
	events := make([]Event, len(rows))
	for i := range rows {
		events[i] = rows[i].Event
	}
	return events
}

// byUser calls visit for each user's run of events; events must be sorted.
func byUser(events []Event, visit func(from, to int)) {
	for from := 0; from < len(events); {
		to := from + 1
		for to < len(events) && events[to].User == events[from].User {
			to++
		}
		visit(from, to)
		from = to
	}
}

// ShuffleTies is a copy of a history with each run of equal times in random
// order: theirs means nothing.
func ShuffleTies(visits []Visit, r *rand.Rand) []Visit {
	out := append([]Visit(nil), visits...)
	for from := 0; from < len(out); {
		to := from + 1
		for to < len(out) && out[to].Time == out[from].Time {
			to++
		}
		run := out[from:to]
		r.Shuffle(len(run), func(i, j int) { run[i], run[j] = run[j], run[i] })
		from = to
	}
	return out
}
