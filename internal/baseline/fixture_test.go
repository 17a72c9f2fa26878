package baseline

import (
	"context"
	"fmt"
	"testing"

	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
)

// ring is a market that sequences can be learned from: the items stand on a
// ring and a user walks along it, mostly to the next item. perDay events of a
// user share their time.
func ring(t testing.TB, users, items, perDay int) *market.Dataset {
	t.Helper()
	ds := &market.Dataset{Name: "ring"}
	var list []market.Item
	for i := range items {
		list = append(list, market.Item{ID: fmt.Sprintf("item-%d", i)})
	}
	catalog, err := market.NewCatalog(list)
	if err != nil {
		t.Fatal(err)
	}
	ds.Catalog = catalog
	for u := range users {
		ds.Users = append(ds.Users, fmt.Sprintf("user-%d", u))
		r := rng.New(77, uint64(u))
		at := r.IntN(items)
		for n := range 6 + r.IntN(6) {
			time := int64(r.IntN(3)+n/perDay*10) * 86400
			if perDay > 1 {
				time = int64(u%7+n/perDay*10) * 86400
			}
			ds.Events = append(ds.Events, market.Event{User: int32(u), Item: int32(at), Time: time})
			at = (at + 1 + r.IntN(5)/4) % items
		}
	}
	ds.Number(3)
	ds.Sort(3)
	return ds
}

func leaveOneOut(t testing.TB, ds *market.Dataset) *market.Split {
	t.Helper()
	split, err := market.LeaveOneOut(ds, 3)
	if err != nil {
		t.Fatal(err)
	}
	return split
}

// smallConfig fits the ring in a blink.
func smallConfig() Config {
	c := DefaultConfig()
	c.Tune = false
	c.IALS.Dim, c.IALS.Sweeps = 8, 4
	c.BPR.Dim, c.BPR.Epochs = 8, 10
	c.SASRec = SASRecConfig{Dim: 16, Blocks: 1, Heads: 2, Inner: 16, MaxLen: 8, Dropout: .1, Rate: .01,
		Batch: 128, Negatives: 32, Epochs: 8, Patience: 2, FoldEpochs: 4}
	c.Slates.K = 5
	return c
}

func train(t testing.TB, ds *market.Dataset, split *market.Split, cfg Config, opt Options) *Suite {
	t.Helper()
	s, err := Train(context.Background(), ds, split, cfg, opt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func slatesOf(t testing.TB, s *Suite, order string) *SlateSet {
	t.Helper()
	set, err := s.BuildSlates(context.Background(), order)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func visits(items ...int32) []market.Visit {
	var list []market.Visit
	for i, item := range items {
		list = append(list, market.Visit{Item: item, Time: int64(i)})
	}
	return list
}
