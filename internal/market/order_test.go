package market

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Number and Sort give the same data set however the file was ordered.
func TestResultIsIndependentOfFileOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "data"), 1))
		ds := randomDataset(t, r, 5, 6, 40)
		shuffled := reorder(ds, r)
		for _, d := range []*Dataset{ds, shuffled} {
			d.Number(3)
			d.Sort(3)
		}
		if !reflect.DeepEqual(ds.Users, shuffled.Users) || !reflect.DeepEqual(ds.Catalog.Items, shuffled.Catalog.Items) {
			rt.Fatal("numbers depend on the order of the input")
		}
		if !reflect.DeepEqual(ds.Events, shuffled.Events) {
			rt.Fatal("the order of events depends on the order of the input")
		}
	})
}

// reorder renumbers at random and shuffles the events.
func reorder(ds *Dataset, r *rand.Rand) *Dataset {
	out := &Dataset{Users: make([]string, len(ds.Users))}
	newUser, newItem := r.Perm(len(ds.Users)), r.Perm(ds.Catalog.Len())
	items := make([]Item, len(newItem))
	for old, now := range newUser {
		out.Users[now] = ds.Users[old]
	}
	for old, now := range newItem {
		items[now] = ds.Catalog.Items[old]
	}
	out.Catalog = newCatalog(items)
	for _, e := range ds.Events {
		e.User, e.Item = int32(newUser[e.User]), int32(newItem[e.Item])
		out.Events = append(out.Events, e)
	}
	r.Shuffle(len(out.Events), func(i, j int) { out.Events[i], out.Events[j] = out.Events[j], out.Events[i] })
	return out
}

func TestNumberKeepsMeaning(t *testing.T) {
	ds := randomDataset(t, rand.New(rand.NewPCG(1, 2)), 4, 7, 30)
	events, slates := named(ds)
	before := slices.Clone(ds.Users)
	ds.Number(11)
	gotEvents, gotSlates := named(ds)
	if !slices.Equal(events, gotEvents) || !slices.Equal(slates, gotSlates) {
		t.Error("renumbering changed what the data set says")
	}
	for i, it := range ds.Catalog.Items {
		if n, ok := ds.Catalog.Lookup(it.ID); !ok || n != int32(i) {
			t.Errorf("lookup of %q gives %d, %v", it.ID, n, ok)
		}
	}
	first := slices.Clone(ds.Users)
	ds.Number(12)
	if slices.Equal(first, ds.Users) && slices.Equal(before, ds.Users) {
		t.Error("the seed does not change the numbering")
	}
}

// Items of one moment must not come out in the order of their ids or numbers.
func TestTiesAreShuffled(t *testing.T) {
	const items, users = 20, 300
	ds := &Dataset{Catalog: tinyCatalog(t, items)}
	for u := range int32(users) {
		ds.Users = append(ds.Users, fmt.Sprint(u))
		for i := range int32(items) {
			ds.Events = append(ds.Events, Event{User: u, Item: i, Time: 86400})
		}
	}
	ds.Sort(5)
	ascending, pairs, lastIsLargest := 0, 0, 0
	for i := 1; i < len(ds.Events); i++ {
		if ds.Events[i].User == ds.Events[i-1].User {
			pairs++
			if ds.Events[i].Item > ds.Events[i-1].Item {
				ascending++
			}
		} else if ds.Events[i-1].Item == items-1 {
			lastIsLargest++
		}
	}
	if share := float64(ascending) / float64(pairs); share < .47 || share > .53 {
		t.Errorf("%.3f of the neighbours ascend, want about .5", share)
	}
	if lastIsLargest > users/8 {
		t.Errorf("the largest item comes last for %d of %d users", lastIsLargest, users)
	}
	frozen := slices.Clone(ds.Events)
	ds.Sort(5)
	if !slices.Equal(frozen, ds.Events) {
		t.Error("sorting again changes the order")
	}
	ds.Sort(6)
	if slices.Equal(frozen, ds.Events) {
		t.Error("the seed does not change the order")
	}
}

func TestNewCatalogRefusesDuplicates(t *testing.T) {
	if _, err := NewCatalog([]Item{{ID: "a"}, {ID: "b"}, {ID: "a"}}); err == nil || !containsAll(err.Error(), `"a"`, "twice") {
		t.Errorf("error %v", err)
	}
}

func TestKindNames(t *testing.T) {
	for k := View; k <= Rating; k++ {
		if got, ok := ParseKind(k.String()); !ok || got != k {
			t.Errorf("%v reads back as %v, %v", k, got, ok)
		}
	}
	if _, ok := ParseKind("buy"); ok {
		t.Error(`"buy" is accepted`)
	}
}
