package market

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The k-core holds only members with k events, and it is the largest such
// part: peeling one member at a time in a random order ends at the same one.
func TestKCoreIsTheLargest(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "data"), 2))
		k := rapid.IntRange(0, 5).Draw(rt, "k")
		ds := randomDataset(t, r, 8, 8, rapid.IntRange(0, 60).Draw(rt, "events"))
		core := ds.KCore(k)
		users, items := map[string]int{}, map[string]int{}
		for _, e := range core.Events {
			users[core.Users[e.User]]++
			items[core.Catalog.Items[e.Item].ID]++
		}
		for _, u := range core.Users {
			if users[u] < k {
				rt.Fatalf("user %s has %d events", u, users[u])
			}
		}
		for _, it := range core.Catalog.Items {
			if items[it.ID] < k {
				rt.Fatalf("item %s has %d events", it.ID, items[it.ID])
			}
		}
		if want := peel(ds, k, r); !slices.Equal(want, core.Users) {
			rt.Fatalf("users %v, want %v", core.Users, want)
		}
		if core.check() != nil {
			rt.Fatal(core.check())
		}
	})
}

// peel is the slow oracle: drop one member with too few events until none is left.
func peel(ds *Dataset, k int, r *rand.Rand) (users []string) {
	events := slices.Clone(ds.Events)
	goneUser := map[int32]bool{}
	for {
		count := map[[2]int32]int{}
		for _, e := range events {
			count[[2]int32{0, e.User}]++
			count[[2]int32{1, e.Item}]++
		}
		var weak [][2]int32
		for u := range int32(len(ds.Users)) {
			if c := count[[2]int32{0, u}]; c < k && !goneUser[u] {
				weak = append(weak, [2]int32{0, u})
			}
		}
		for i := range int32(ds.Catalog.Len()) {
			if c := count[[2]int32{1, i}]; c > 0 && c < k {
				weak = append(weak, [2]int32{1, i})
			}
		}
		if len(weak) == 0 {
			break
		}
		w := weak[r.IntN(len(weak))]
		if w[0] == 0 {
			goneUser[w[1]] = true
		}
		events = slices.DeleteFunc(events, func(e Event) bool {
			return w == [2]int32{0, e.User} || w == [2]int32{1, e.Item}
		})
	}
	for u, id := range ds.Users {
		if !goneUser[int32(u)] {
			users = append(users, id)
		}
	}
	return users
}

func TestKCoreOfSlates(t *testing.T) {
	ds := &Dataset{Catalog: tinyCatalog(t, 3), Users: []string{"u", "v"}, Source: &Summary{Source: "test"},
		Events: []Event{{User: 0, Item: 0}, {User: 0, Item: 1}, {User: 0, Item: 0, Time: 1}, {User: 0, Item: 1, Time: 1}, {User: 1, Item: 2}},
		Slates: []Slate{
			{ID: "whole", User: 0, Time: 9, Candidates: []Candidate{{Item: 1}, {Item: 0}}, History: []Visit{{Item: 2}, {Item: 1}}},
			{ID: "unknown user", User: -1, Candidates: []Candidate{{Item: 0}}},
			{ID: "lost candidate", User: 0, Candidates: []Candidate{{Item: 0}, {Item: 2}}},
			{ID: "lost user", User: 1, Candidates: []Candidate{{Item: 0}}},
		}}
	core := ds.KCore(2)
	if len(core.Slates) != 2 || core.Slates[0].ID != "whole" || core.Slates[1].ID != "unknown user" {
		t.Fatalf("slates %+v", core.Slates)
	}
	if h := core.Slates[0].History; len(h) != 1 || core.Catalog.Items[h[0].Item].ID != "b" {
		t.Errorf("history %v", h)
	}
	if len(ds.Slates[0].History) != 2 || len(core.Source.Notes) != 1 || len(ds.Source.Notes) != 0 {
		t.Error("the original was changed or the note is missing")
	}
}
