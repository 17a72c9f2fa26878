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
	"github.com/gr2/gr2/internal/sid"
	"github.com/gr2/gr2/internal/text"
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

// build is Build by residual k-means of an LSA embedding of dim columns.
func build(c *market.Catalog, dim int, opt Options) (*sid.Index, Report, error) {
	texts := make([]string, c.Len())
	for i := range texts {
		texts[i] = text.ItemText(&c.Items[i])
	}
	emb := embed.TFIDF(texts, dim, opt.Seed)
	q, err := RQKMeans(emb, opt)
	if err != nil {
		return nil, Report{}, err
	}
	f, err := Build(c, emb, q, AssignOptions{Seed: opt.Seed})
	if err != nil {
		return nil, Report{}, err
	}
	return f.Index, f.Report, nil
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
		index, report, err := build(catalogOf(t, titles...), 128, Options{Seed: 3})
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
	index, report, err := build(catalogOf(t, titles...), 128, Options{Levels: 3, Width: 8, Seed: 5})
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
	_, report, err := build(catalogOf(t, titles...), 128, opt)
	if err != nil || report.Index.Uniqueness != 1 {
		t.Errorf("16 items in 16 places: %v, %+v", err, report.Index)
	}
	_, _, err = build(catalogOf(t, append(titles, "one more")...), 128, opt)
	if fault.KindOf(err) != fault.Usage {
		t.Errorf("17 items in 16 places: %v", err)
	}
}

func TestBadOptions(t *testing.T) {
	c := catalogOf(t, "soap")
	for _, opt := range []Options{{Levels: 9}, {Levels: -1}, {Width: 257}, {Width: 1}, {Iterations: -2}, {Sample: -1}, {Slack: -1}} {
		if _, _, err := build(c, 128, opt); fault.KindOf(err) != fault.Usage {
			t.Errorf("%+v: %v", opt, err)
		}
	}
	if _, _, err := build(catalogOf(t), 128, Options{}); fault.KindOf(err) != fault.Input {
		t.Errorf("empty catalog: %v", err)
	}
	two := embed.Matrix{Rows: 2, Cols: 1, Data: []float32{1, 2}}
	q, err := RQKMeans(two, Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Build(c, two, q, AssignOptions{}); fault.KindOf(err) != fault.Input {
		t.Errorf("two embeddings for one item: %v", err)
	}
}

func TestSameSeedSameCodesWhateverThreads(t *testing.T) {
	c := catalogOf(t, topics(700, 4)...)
	codes := func(threads int, seed uint64) []uint8 {
		defer kernel.SetThreads(kernel.Threads())
		kernel.SetThreads(threads)
		index, _, err := build(c, 24, Options{Width: 16, Seed: seed})
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
	book := seedCentroids(x, clusters, rng.New(7))
	nearest, distance := make([]int32, x.Rows), make([]float32, x.Rows)
	lloyd(x, book, Options{}.withDefaults(), nearest, distance)
	AssignNearest(x, book, nearest, distance)
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
		q, err := RQKMeans(emb, Options{Levels: levels, Width: 16, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		e := q.RelativeError(emb, q.Books.Nearest(emb))
		if e >= last {
			t.Errorf("%d levels leave error %.4f, one fewer %.4f", levels, e, last)
		}
		last = e
	}
}

// skewed is rows around a few centres, most of them around the first ones.
func skewed(n, dim int, seed uint64) embed.Matrix {
	r := rng.New(seed)
	x := embed.NewMatrix(n, dim)
	for i := range n {
		centre := int(r.ExpFloat64() * 3)
		for j := range dim {
			x.Row(i)[j] = float32(r.NormFloat64()*0.3 + rng.New(seed, uint64(centre), uint64(j)).NormFloat64())
		}
	}
	return x
}

// Balanced clusters keep the bound; the nearest centroids of plain ones do not.
func TestBalanceKeepsTheBound(t *testing.T) {
	const n, width, slack = 2000, 16, 0.05
	x := skewed(n, 6, 3)
	book := seedCentroids(x, width, rng.New(1))
	nearest, distance := make([]int32, n), make([]float32, n)
	AssignNearest(x, book, nearest, distance)
	plain := slices.Max(counts(nearest, width))
	balance(x, book, slack, nearest, distance)
	limit := 132 // 2000/16 * 1.05 = 131.25
	if got := slices.Max(counts(nearest, width)); got > limit || plain <= limit {
		t.Errorf("largest cluster %d balanced, %d plain; the bound is %d", got, plain, limit)
	}
	for i := range x.Rows {
		want := float32(0)
		for j, v := range book.Row(int(nearest[i])) {
			want += (x.Row(i)[j] - v) * (x.Row(i)[j] - v)
		}
		if d := distance[i] - want; d > 1e-4 || d < -1e-4 {
			t.Fatalf("row %d: distance %v, want %v", i, distance[i], want)
		}
	}
}

func counts(codes []int32, width int) []int {
	n := make([]int, width)
	for _, c := range codes {
		n[c]++
	}
	return n
}

// What fitting with the bound is for: codes are used more evenly, though the
// nearest centroid knows no bound.
func TestBalancedCodesAreMoreEven(t *testing.T) {
	x := skewed(3000, 6, 4)
	largest := func(balanced bool) int {
		q, err := RQKMeans(x, Options{Levels: 1, Width: 32, Seed: 2, Balanced: balanced})
		if err != nil {
			t.Fatal(err)
		}
		var codes []int32
		for _, c := range q.Books.Nearest(x) {
			codes = append(codes, int32(c))
		}
		return slices.Max(counts(codes, 32))
	}
	if plain, balanced := largest(false), largest(true); balanced >= plain {
		t.Errorf("largest code: %d items balanced, %d plain", balanced, plain)
	}
}

func TestSampleRows(t *testing.T) {
	a, b := SampleRows(1000, 100, 1), SampleRows(1000, 100, 2)
	if len(a) != 100 || !slices.IsSorted(a) || len(slices.Compact(slices.Clone(a))) != 100 || a[99] > 999 {
		t.Errorf("drew %d rows %v", len(a), a)
	}
	if slices.Equal(a, b) {
		t.Error("the sample does not depend on the seed")
	}
	if all := SampleRows(10, 20, 1); !slices.Equal(all, seq(10)) {
		t.Errorf("a sample of all rows is %v", all)
	}
}
