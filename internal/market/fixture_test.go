package market

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// tinyCatalog has the items a, b, c, ... with titles.
func tinyCatalog(t testing.TB, n int) *Catalog {
	t.Helper()
	items := make([]Item, n)
	for i := range items {
		id := string(rune('a' + i))
		items[i] = Item{ID: id, Title: "Item " + id, Categories: []string{"Root", "Leaf"}, Price: float64(i)}
	}
	c, err := NewCatalog(items)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// randomDataset has few days, so that ties are common.
func randomDataset(t testing.TB, r *rand.Rand, users, items, events int) *Dataset {
	t.Helper()
	ds := &Dataset{Name: "random", Catalog: tinyCatalog(t, items)}
	for u := range users {
		ds.Users = append(ds.Users, fmt.Sprintf("u%d", u))
	}
	for range events {
		ds.Events = append(ds.Events, Event{
			User: int32(r.IntN(users)), Item: int32(r.IntN(items)),
			Time: int64(r.IntN(5)) * 86400, Kind: EventKind(r.IntN(4)), Value: float32(r.IntN(5)),
		})
	}
	for i := range 4 {
		s := Slate{ID: fmt.Sprintf("s%d", i), User: int32(r.IntN(users+1)) - 1, Time: int64(i) * 86400}
		for j, item := range r.Perm(items)[:1+r.IntN(items)] {
			s.Candidates = append(s.Candidates, Candidate{Item: int32(item), Score: float32(j) / 3})
			if i%2 == 0 {
				s.Grades = append(s.Grades, uint8(r.IntN(3)))
			}
		}
		for day := range int64(i) {
			s.History = append(s.History, Visit{Item: int32(r.IntN(items)), Time: day * 86400})
		}
		ds.Slates = append(ds.Slates, s)
	}
	return ds
}

// named is the data set with ids instead of numbers, to compare across
// numberings.
func named(ds *Dataset) (events, slates []string) {
	id := func(i int32) string { return ds.Catalog.Items[i].ID }
	for _, e := range ds.Events {
		events = append(events, fmt.Sprint(ds.Users[e.User], id(e.Item), e.Time, e.Kind, e.Value))
	}
	for i := range ds.Slates {
		s := &ds.Slates[i]
		text := fmt.Sprint(s.ID, s.Time, s.Grades)
		if s.User >= 0 {
			text += ds.Users[s.User]
		}
		for _, v := range s.History {
			text += fmt.Sprint(" h", id(v.Item), v.Time)
		}
		for _, c := range s.Candidates {
			text += fmt.Sprint(" c", id(c.Item), c.Score)
		}
		slates = append(slates, text)
	}
	return events, slates
}
