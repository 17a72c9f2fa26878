package eval

import (
	"fmt"
	"testing"

	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/sid"
)

// Codes that count in the order of ids are found at the level that does, codes
// that know nothing but what items are alike are not, even where ids say it too.
func TestCodeOrder(t *testing.T) {
	const n, width = 2000, 16
	random := rng.New(1, 2)
	items := make([]market.Item, n)
	for i, at := range random.Perm(n) {
		items[i].ID = fmt.Sprintf("B%05d", at)
	}
	catalog, err := market.NewCatalog(items)
	if err != nil {
		t.Fatal(err)
	}
	place := func(item int) int { // of the id
		var at int
		fmt.Sscanf(items[item].ID, "B%d", &at)
		return at
	}
	names := random.Perm(width)
	seen := map[int]int{}
	byID := make([]int, n)
	for item := range items {
		byID[place(item)] = item
	}
	counted := make([]int, n) // how many items of the same group have a lower id
	for _, item := range byID {
		counted[item] = seen[item%400]
		seen[item%400]++
	}
	for _, c := range []struct {
		name  string
		code  func(item int) [2]int
		level int // that leaks by id, -1 for none
	}{
		{"drawn", func(int) [2]int { return [2]int{random.IntN(width), random.IntN(width)} }, -1},
		{"sorted by id", func(item int) [2]int { return [2]int{place(item) * width / n, random.IntN(width)} }, 0},
		{"collisions counted by id", func(item int) [2]int { return [2]int{item % 400 * width / 400, min(counted[item], width-1)} }, 1},
		{"clusters of neighbours in the order of ids", func(item int) [2]int { return [2]int{names[place(item)*width/n], random.IntN(width)} }, -1},
	} {
		var codes []uint8
		for item := range items {
			code := c.code(item)
			codes = append(codes, uint8(code[0]), uint8(code[1]))
		}
		index, err := sid.New(sid.IDs(catalog), 2, width, codes)
		if err != nil {
			t.Fatal(err)
		}
		probe := ProbeCodeOrder(index, catalog)
		if probe.Leak != (c.level >= 0) {
			t.Errorf("%s: leak %v: %+v", c.name, probe.Leak, probe.Levels)
		}
		for _, o := range probe.Levels {
			if o.Leak != (o.Rule == "id" && o.Level == c.level) {
				t.Errorf("%s: %+v", c.name, o)
			}
		}
	}
}

// The deviation is that of all renamings of the codes, here all 24 of them.
func TestCodeOrderDeviation(t *testing.T) {
	x := []float64{3, -1, -4, 2}
	actual, squares, renamings := 0.0, 0.0, 0.0
	for i, v := range x {
		actual += float64(i) * v
	}
	var each func(rest []int, at int, sum float64)
	each = func(rest []int, at int, sum float64) {
		if len(rest) == 0 {
			squares += sum * sum
			renamings++
		}
		for i, c := range rest {
			left := append(append([]int(nil), rest[:i]...), rest[i+1:]...)
			each(left, at+1, sum+float64(c)*x[at])
		}
	}
	each([]int{0, 1, 2, 3}, 0, 0)
	index, err := sid.New([]string{"a", "b", "c", "d"}, 1, 4, []uint8{0, 1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	p := newPrefix(index, []int32{0, 1, 2, 3}, 0, []int32{8, 4, 1, 7}) // x and a mean of 5
	if !near(p.product, actual) || !near(p.variance, squares/renamings) {
		t.Errorf("product %v with variance %v, want %v with %v", p.product, p.variance, actual, squares/renamings)
	}
}
