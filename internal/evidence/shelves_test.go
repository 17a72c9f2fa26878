package evidence

import (
	"math"
	"testing"

	"github.com/gr2/gr2/internal/market"
)

// TestCategoryEvidence: two users went from shampoo to conditioner, one from
// shampoo to mask; nobody went back.
func TestCategoryEvidence(t *testing.T) {
	const shampoo, conditioner, mask, odd = 0, 1, 2, 3
	c := catalogOf(t,
		market.Item{Categories: []string{"Hair", "Shampoo"}}, market.Item{Categories: []string{"Hair", "Conditioner"}},
		market.Item{Categories: []string{"Hair", "Mask"}}, market.Item{},
		market.Item{Categories: []string{"Hair", "Conditioner"}})
	events := []market.Event{
		{User: 0, Item: shampoo, Time: 1}, {User: 0, Item: conditioner, Time: 2},
		{User: 1, Item: shampoo, Time: 1}, {User: 1, Item: 4, Time: 2},
		{User: 2, Item: shampoo, Time: 1}, {User: 2, Item: mask, Time: 2},
		{User: 3, Item: odd, Time: 1}, {User: 3, Item: mask, Time: 2}, // from no shelf
	}
	s := build(t, c, events, Options{Folds: 1})
	slate := &market.Slate{
		Time:       10,
		History:    []market.Visit{{Item: conditioner, Time: 3}, {Item: shampoo, Time: 4}},
		Candidates: []market.Candidate{{Item: 4}, {Item: mask}, {Item: odd}},
	}
	// Seen against expected by chance, 2 of prior to both: of 3 goings from
	// shampoo 2 end at conditioners, and so do 2 of 3 of all. From conditioners
	// there are none.
	toConditioner, toMask := (2.0+2)/(3*2/3.0+2), (1.0+2)/(3*1/3.0+2)
	rows := s.Raw(slate, None)
	for _, want := range []struct {
		row, feature int
		value        float64
	}{
		{0, catLast, math.Log1p(toConditioner)},
		{0, catNext, math.Log1p((toConditioner + .7*1) / 1.7)},
		{0, catSame, .7 / 1.7},
		{1, catLast, math.Log1p(toMask)},
		{1, catSame, 0},
		{2, catLast, 0}, {2, catNext, 0}, {2, catSame, 0},
	} {
		if got := float64(rows[want.row][want.feature]); math.Abs(got-want.value) > 1e-6 {
			t.Errorf("candidate %d: %s is %v, want %v", want.row, names[want.feature], got, want.value)
		}
	}
}

// TestCategoriesThatFollowPull: more than chance is above 1, less below.
func TestCategoriesThatFollowPull(t *testing.T) {
	c := catalogOf(t, market.Item{Categories: []string{"a"}}, market.Item{Categories: []string{"b"}},
		market.Item{Categories: []string{"c"}}, market.Item{Categories: []string{"d"}})
	var events []market.Event
	for u := range int32(20) { // a then b, c then d
		first := 2 * (u % 2)
		events = append(events, market.Event{User: u, Item: first, Time: 1}, market.Event{User: u, Item: first + 1, Time: 2})
	}
	s := build(t, c, events, Options{Folds: 1})
	follows, not := s.shelves.pull(0, 1, None), s.shelves.pull(0, 3, None)
	if want := (10.0 + 2) / (5 + 2); math.Abs(follows-want) > 1e-9 {
		t.Errorf("what follows pulls %v, want %v", follows, want)
	}
	if want := 2.0 / (5 + 2); math.Abs(not-want) > 1e-9 {
		t.Errorf("what does not pulls %v, want %v", not, want)
	}
}
