package quality

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/sid"
)

// shop is items with a category path each and codes of two levels.
func shop(t *testing.T, paths [][]string, codes []uint8) (*sid.Index, *market.Catalog) {
	t.Helper()
	items := make([]market.Item, len(paths))
	for i, p := range paths {
		items[i] = market.Item{ID: fmt.Sprint("i", i), Title: fmt.Sprint("title ", i), Categories: p}
	}
	c, err := market.NewCatalog(items)
	if err != nil {
		t.Fatal(err)
	}
	x, err := sid.New(sid.IDs(c), 2, 8, codes)
	if err != nil {
		t.Fatal(err)
	}
	return x, c
}

func TestByHand(t *testing.T) {
	hair, nail := []string{"beauty", "hair"}, []string{"beauty", "nail"}
	x, c := shop(t, [][]string{hair, hair, nail, nail, {"beauty"}, nil}, []uint8{0, 0, 0, 1, 0, 1, 1, 2, 1, 3, 1, 4})
	events := []market.Event{ // user 0: items 0, 1, 1, 3 in time; user 1: 3, 2
		{User: 0, Item: 3, Time: 9}, {User: 0, Item: 0, Time: 1}, {User: 0, Item: 1, Time: 2}, {User: 0, Item: 1, Time: 3},
		{User: 1, Item: 3, Time: 1}, {User: 1, Item: 2, Time: 2},
	}
	r, err := Measure(x, c, events, 1)
	if err != nil {
		t.Fatal(err)
	}
	if want := []Sharing{{1, 4}, {2, 1}}; !slices.Equal(r.Sharing, want) {
		t.Errorf("sharing %v, want %v", r.Sharing, want)
	}
	if math.Abs(r.Uniqueness-4./6) > 1e-12 {
		t.Errorf("uniqueness %v", r.Uniqueness)
	}
	if len(r.Purity) != 2 || r.Purity[0].Items != 5 || r.Purity[0].Levels[0] != 1 || r.Purity[1].Items != 4 {
		t.Fatalf("%+v", r.Purity)
	}
	// Below code 0 are hair, hair, nail: 2 of 3 agree; below 1 one nail. Below
	// 0,1 are a hair and a nail.
	if want := []float64{3. / 4, 3. / 4}; !slices.Equal(r.Purity[1].Levels, want) {
		t.Errorf("purity %v, want %v", r.Purity[1].Levels, want)
	}
	// Pairs 0-1, 1-3 and 3-2: the first alone shares its first code, none both.
	// First codes of the pairs' ends are 0,0,1 and 0,1,0. Items 1 and 3 are both
	// first and second, once each.
	want := []Agreement{{3, 1. / 3, (2*2 + 1*1 - 2) / (9. - 2)}, {3, 0, (1*2 + 1*1 - 2) / (9. - 2)}}
	for l, got := range r.CoEngagement {
		if got.Pairs != want[l].Pairs || math.Abs(got.Shared-want[l].Shared) > 1e-12 || math.Abs(got.Chance-want[l].Chance) > 1e-12 {
			t.Errorf("level %d: %+v, want %+v", l+1, got, want[l])
		}
	}
	at := slices.IndexFunc(r.Neighbours, func(s Sample) bool { return s.Item == "i1" })
	if len(r.Neighbours) != 6 || at < 0 {
		t.Fatalf("%+v", r.Neighbours)
	}
	near := r.Neighbours[at].Near
	if len(near) != 2 || near[0].Item != "i2" || near[0].Shared != 2 || near[1].Item != "i0" || near[1].Shared != 1 {
		t.Errorf("neighbours of i1: %+v", near)
	}
}

// Codes that follow categories are purer than shuffled ones and agree with users
// that stay in a category; codes drawn at random are and do neither.
func TestPlantedStructure(t *testing.T) {
	const n = 2000
	random := rng.New(3)
	var paths [][]string
	var planted, drawn []uint8
	for i := range n {
		k := i % 8
		paths = append(paths, []string{"all", fmt.Sprint("c", k)})
		planted = append(planted, uint8(k), uint8(random.IntN(8)))
		drawn = append(drawn, uint8(random.IntN(8)), uint8(random.IntN(8)))
	}
	var events []market.Event
	for u := range 500 {
		for j := range 5 {
			events = append(events, market.Event{User: int32(u), Time: int64(j), Item: int32(8*random.IntN(n/8) + u%8)})
		}
	}
	for name, codes := range map[string][]uint8{"planted": planted, "drawn": drawn} {
		x, c := shop(t, paths, codes)
		r, err := Measure(x, c, events, 7)
		if err != nil {
			t.Fatal(err)
		}
		pure, chance, lift := r.Purity[1].Levels[0], r.Purity[1].Shuffled[0], r.CoEngagement[0].Lift()
		if name == "planted" && (pure != 1 || chance > .2 || lift < 7) {
			t.Errorf("planted: purity %.3f, shuffled %.3f, lift %.2f", pure, chance, lift)
		}
		if name == "drawn" && (math.Abs(pure-chance) > .03 || math.Abs(lift-1) > .15) {
			t.Errorf("drawn: purity %.3f, shuffled %.3f, lift %.2f", pure, chance, lift)
		}
	}
}

func TestMeasureRefusesAnotherCatalog(t *testing.T) {
	x, _ := shop(t, make([][]string, 2), []uint8{0, 0, 1, 1})
	_, other := shop(t, make([][]string, 3), make([]uint8, 6))
	if _, err := Measure(x, other, nil, 1); fault.KindOf(err) != fault.Input {
		t.Error(err)
	}
	empty, c := shop(t, nil, nil)
	if r, err := Measure(empty, c, nil, 1); err != nil || r.Items != 0 || r.CoEngagement[0].Lift() != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}
