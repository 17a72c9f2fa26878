package fit

import (
	"fmt"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
	"pgregory.net/rapid"
)

func catalogOf(t testing.TB, titles ...string) *market.Catalog {
	t.Helper()
	items := make([]market.Item, len(titles))
	for i, title := range titles {
		items[i] = market.Item{ID: fmt.Sprint("item-", i), Title: title}
	}
	c, err := market.NewCatalog(items)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// topics makes n titles of words drawn from a few topics.
func topics(n int, seed uint64) []string {
	titles := make([]string, n)
	for i := range titles {
		r := rng.New(seed, uint64(i))
		topic := r.IntN(12)
		for range 5 {
			titles[i] += fmt.Sprintf("w%d_%d ", topic, r.IntN(20))
		}
	}
	return titles
}

func TestTinyCatalogs(t *testing.T) {
	for name, titles := range map[string][]string{
		"one":        {"shampoo"},
		"five":       {"shampoo", "conditioner", "soap", "red lipstick", "comb"},
		"no text":    {"", "", "", "", ""},
		"same text":  {"soap", "soap", "soap", "soap", "soap"},
		"some empty": {"soap", "", "soap dish", "", "..."},
	} {
		index, report, err := Build(catalogOf(t, titles...), Options{Seed: 3})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if report.Index.Uniqueness != 1 || index.Len() != len(titles) {
			t.Errorf("%s: %+v", name, report.Index)
		}
	}
}

// More than Width items of one text must spill over to the nearest prefixes.
func TestIdenticalItemsStayUnique(t *testing.T) {
	titles := topics(200, 1)
	for range 60 {
		titles = append(titles, "the very same thing")
	}
	index, report, err := Build(catalogOf(t, titles...), Options{Levels: 3, Width: 8, Seed: 5})
	if err != nil {
		t.Fatal(err)
	}
	if report.Index.Uniqueness != 1 {
		t.Errorf("uniqueness %v", report.Index.Uniqueness)
	}
	if report.Nearest.Collisions < 60 {
		t.Errorf("the nearest codes of 60 equal items collide %d times", report.Nearest.Collisions)
	}
	// 60 items fit below one first code (64 places) unless others are there too.
	first := map[uint8]int{}
	for i := 200; i < 260; i++ {
		first[index.Code(int32(i))[0]]++
	}
	if len(first) > 2 {
		t.Errorf("60 equal items lie under %d first codes: %v", len(first), first)
	}
}

func TestFullCapacityAndBeyond(t *testing.T) {
	opt := Options{Levels: 2, Width: 4, Seed: 1}
	titles := topics(16, 2)
	_, report, err := Build(catalogOf(t, titles...), opt)
	if err != nil || report.Index.Uniqueness != 1 {
		t.Errorf("16 items in 16 places: %v, %+v", err, report.Index)
	}
	_, _, err = Build(catalogOf(t, append(titles, "one more")...), opt)
	if fault.KindOf(err) != fault.Usage {
		t.Errorf("17 items in 16 places: %v", err)
	}
}

func TestBadOptions(t *testing.T) {
	c := catalogOf(t, "soap")
	for _, opt := range []Options{{Dim: -1}, {Levels: 9}, {Levels: -1}, {Width: 257}, {Width: 1}, {Iterations: -2}} {
		if _, _, err := Build(c, opt); fault.KindOf(err) != fault.Usage {
			t.Errorf("%+v: %v", opt, err)
		}
	}
	if _, _, err := Build(catalogOf(t), Options{}); fault.KindOf(err) != fault.Input {
		t.Errorf("empty catalog: %v", err)
	}
}

func TestSameSeedSameCodesWhateverThreads(t *testing.T) {
	c := catalogOf(t, topics(700, 4)...)
	codes := func(threads int, seed uint64) []uint8 {
		defer kernel.SetThreads(kernel.Threads())
		kernel.SetThreads(threads)
		index, _, err := Build(c, Options{Width: 16, Dim: 24, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		var all []uint8
		for i := range c.Items {
			all = append(all, index.Code(int32(i))...)
		}
		return all
	}
	one := codes(1, 9)
	if !slices.Equal(one, codes(2, 9)) {
		t.Error("codes depend on the number of threads")
	}
	if slices.Equal(one, codes(1, 10)) {
		t.Error("codes do not depend on the seed")
	}
}

// Which of several equal items gets which code depends on ids, not on the order
// of rows.
func TestAssignFollowsIDsNotRows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 40).Draw(t, "items")
		seed := rapid.Uint64().Draw(t, "seed")
		emb := embed.NewMatrix(n, 3)
		ids := make([]string, n)
		for i := range n {
			ids[i] = fmt.Sprint("id", i)
			for j := range 3 {
				emb.Row(i)[j] = float32(rapid.IntRange(-1, 1).Draw(t, "x"))
			}
		}
		books, _, err := RQKMeans(emb, Options{Levels: 3, Width: 4, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		codes, err := Assign(books, emb, ids, seed)
		if err != nil {
			t.Fatal(err)
		}
		perm := rapid.Permutation(seq(n)).Draw(t, "order")
		shuffled, shuffledIDs := embed.NewMatrix(n, 3), make([]string, n)
		for to, from := range perm {
			copy(shuffled.Row(to), emb.Row(from))
			shuffledIDs[to] = ids[from]
		}
		again, err := Assign(books, shuffled, shuffledIDs, seed)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for to, from := range perm {
			if !slices.Equal(again[to*3:to*3+3], codes[from*3:from*3+3]) {
				t.Fatalf("item %s has code %v, as row %d %v", ids[from], codes[from*3:from*3+3], to, again[to*3:to*3+3])
			}
			seen[string(codes[from*3:from*3+3])] = true
		}
		if len(seen) != n {
			t.Fatalf("%d codes for %d items", len(seen), n)
		}
	})
}

func seq(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// An item alone under its prefix keeps the nearest code at every level.
func TestAssignKeepsNearestWhereFree(t *testing.T) {
	c := catalogOf(t, topics(300, 6)...)
	opt := Options{Width: 32, Dim: 16, Seed: 2}
	emb := embed.TFIDF(itemTexts(c), opt.Dim, opt.Seed)
	books, nearest, err := RQKMeans(emb, opt)
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]string, c.Len())
	for i := range ids {
		ids[i] = c.Items[i].ID
	}
	codes, err := Assign(books, emb, ids, 2)
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for i := range ids {
		count[string(nearest[i*4:i*4+4])]++
	}
	for i := range ids {
		// Rounding may part two equally near codes; the first three levels suffice to see the rule.
		if near := nearest[i*4 : i*4+4]; count[string(near)] == 1 && !slices.Equal(near[:3], codes[i*4:i*4+3]) {
			t.Errorf("item %d: nearest %v is free, assigned %v", i, near, codes[i*4:i*4+4])
		}
	}
}

// Planted clusters far apart are found: k-means++ leaves no code dead and Lloyd
// ends at the cluster means.
func TestKMeansFindsPlantedClusters(t *testing.T) {
	const clusters, each, dim = 16, 30, 8
	r := rng.New(5)
	x := embed.NewMatrix(clusters*each, dim)
	for i := range x.Rows {
		row := x.Row(i)
		for j := range row {
			row[j] = float32(r.NormFloat64() * 0.01)
		}
		c := i % clusters
		row[c%dim] += float32(1 + 2*(c/dim))
	}
	book, nearest := kmeans(x, clusters, 25, rng.New(7))
	if book.Rows != clusters {
		t.Fatalf("%d centroids", book.Rows)
	}
	for i := range x.Rows {
		if nearest[i] != nearest[i%clusters] {
			t.Fatalf("row %d of cluster %d has code %d, not %d", i, i%clusters, nearest[i], nearest[i%clusters])
		}
	}
}

func TestEmptyClusterMovesToTheFarthestRow(t *testing.T) {
	x := embed.Matrix{Rows: 4, Cols: 1, Data: []float32{0, 1, 2, 10}}
	book := embed.Matrix{Rows: 2, Cols: 1, Data: []float32{1, 99}}
	moveCentroids(x, book, []int32{0, 0, 0, 0}, []float32{1, 0, 1, 81})
	if book.Data[0] != 13.0/4 || book.Data[1] != 10 {
		t.Errorf("centroids %v, want 3.25 and 10", book.Data)
	}
}

func TestLevelsReduceTheError(t *testing.T) {
	emb := embed.TFIDF(topics(400, 3), 32, 1)
	last := 1.0
	for levels := 1; levels <= 4; levels++ {
		books, codes, err := RQKMeans(emb, Options{Levels: levels, Width: 16, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		e := books.relativeError(emb, codes)
		if e >= last {
			t.Errorf("%d levels leave error %.4f, one fewer %.4f", levels, e, last)
		}
		last = e
	}
}
