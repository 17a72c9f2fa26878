package quality

import (
	"cmp"
	"slices"
	"strings"

	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/sid"
)

// Report is the quality of a catalog's semantic IDs. Slices over levels begin
// with the first.
type Report struct {
	sid.Stats
	Sharing      []Sharing   `json:"sharing"`       // collision histogram, ascending
	Purity       []Purity    `json:"purity"`        // one for each depth of the category path
	CoEngagement []Agreement `json:"co_engagement"` // one a level
	Neighbours   []Sample    `json:"neighbours"`    // of sample items
	// Errors are what a reconstruction from the nearest codes of the first levels
	// leaves, relative, by level. Measure does not know them: whoever has the
	// embeddings says so. A grown catalog has none, for its old items are not
	// embedded again.
	Errors []float64 `json:"errors,omitempty"`
}

// Sharing says how many codes have how many items.
type Sharing struct {
	Items int `json:"items"`
	Codes int `json:"codes"`
}

// Purity is how far prefixes agree with the category paths cut at a depth: the
// share of items that have the most frequent path among the items of their
// prefix, by level. It rises by itself as prefixes get small, up to 1 for unique
// codes; Shuffled, the same of codes dealt out anew among the items, shows how
// far.
type Purity struct {
	Depth    int       `json:"depth"`
	Items    int       `json:"items"` // whose path is so long; the others do not count
	Levels   []float64 `json:"levels"`
	Shuffled []float64 `json:"shuffled"`
}

// Agreement is how often two items that a user engaged with one after the other
// share a prefix.
type Agreement struct {
	Pairs  int     `json:"pairs"`
	Shared float64 `json:"shared"` // share of the pairs
	Chance float64 `json:"chance"` // of pairs of different items whose second ones are dealt out anew
}

// Lift is how many times chance the agreement is; 0 where chance has none.
func (a Agreement) Lift() float64 {
	if a.Chance == 0 {
		return 0
	}
	return a.Shared / a.Chance
}

// Sample is an item and those that share the longest prefix with it.
type Sample struct {
	Neighbour
	Near []Neighbour `json:"near"`
}

// Neighbour is an item as a reader wants to see it.
type Neighbour struct {
	Item   string `json:"item"`
	Code   []int  `json:"code"`
	Title  string `json:"title"`
	Shared int    `json:"shared"` // levels in common with the sample
}

const (
	maxDepth   = 4 // of category paths
	samples    = 8
	neighbours = 4
)

// Measure describes the codes of a catalog. Events are of the training part, in
// any order.
func Measure(x *sid.Index, catalog *market.Catalog, events []market.Event, seed uint64) (*Report, error) {
	if err := x.Check(catalog); err != nil {
		return nil, err
	}
	r := &Report{Stats: x.Stats(), Sharing: sharing(x), CoEngagement: agreement(x, follows(events))}
	for depth := 1; depth <= maxDepth; depth++ {
		if p := purity(x, catalog, depth, seed); p.Items > 0 {
			r.Purity = append(r.Purity, p)
		}
	}
	items := rng.New(seed, rng.Key("sid/quality/samples")).Perm(catalog.Len())
	for _, item := range items[:min(samples, len(items))] {
		r.Neighbours = append(r.Neighbours, sampleOf(x, catalog, int32(item)))
	}
	return r, nil
}

// key is a prefix as a number; prefixes of one length have different ones.
func key(prefix []uint8) uint64 {
	var k uint64
	for _, c := range prefix {
		k = k<<8 | uint64(c)
	}
	return k
}

func sharing(x *sid.Index) []Sharing {
	holders := map[uint64]int{}
	for item := range int32(x.Len()) {
		holders[key(x.Code(item))]++
	}
	codes := map[int]int{}
	for _, n := range holders {
		codes[n]++
	}
	var out []Sharing
	for items, n := range codes {
		out = append(out, Sharing{items, n})
	}
	slices.SortFunc(out, func(a, b Sharing) int { return a.Items - b.Items })
	return out
}

func purity(x *sid.Index, catalog *market.Catalog, depth int, seed uint64) Purity {
	p := Purity{Depth: depth, Levels: make([]float64, x.Levels()), Shuffled: make([]float64, x.Levels())}
	var items []int32
	var paths []string
	for i := range catalog.Items {
		if c := catalog.Items[i].Categories; len(c) >= depth {
			items, paths = append(items, int32(i)), append(paths, strings.Join(c[:depth], "\x00"))
		}
	}
	if p.Items = len(items); p.Items == 0 {
		return p
	}
	dealt := rng.New(seed, rng.Key("sid/quality/purity"), uint64(depth)).Perm(len(items))
	for l := range x.Levels() {
		p.Levels[l] = agreeing(len(items), func(i int) uint64 { return key(x.Code(items[i])[:l+1]) }, paths)
		p.Shuffled[l] = agreeing(len(items), func(i int) uint64 { return key(x.Code(items[dealt[i]])[:l+1]) }, paths)
	}
	return p
}

// agreeing is the share of n items whose path is the most frequent one of their
// prefix.
func agreeing(n int, prefix func(i int) uint64, paths []string) float64 {
	type cell struct {
		prefix uint64
		path   string
	}
	counts, most := map[cell]int{}, map[uint64]int{}
	for i := range n {
		c := cell{prefix(i), paths[i]}
		counts[c]++
		most[c.prefix] = max(most[c.prefix], counts[c])
	}
	agree := 0
	for _, m := range most {
		agree += m
	}
	return float64(agree) / float64(n)
}

// follows is the pairs of different items that a user's events have one after
// the other. Events of one time stand in the order of item numbers, which says
// nothing of the items.
func follows(events []market.Event) [][2]int32 {
	sorted := slices.Clone(events)
	slices.SortFunc(sorted, func(a, b market.Event) int {
		return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(a.Time, b.Time), cmp.Compare(a.Item, b.Item))
	})
	var pairs [][2]int32
	for i := 1; i < len(sorted); i++ {
		if a, b := sorted[i-1], sorted[i]; a.User == b.User && a.Item != b.Item {
			pairs = append(pairs, [2]int32{a.Item, b.Item})
		}
	}
	return pairs
}

func agreement(x *sid.Index, pairs [][2]int32) []Agreement {
	out := make([]Agreement, x.Levels())
	if len(pairs) == 0 {
		return out
	}
	// Matches are integers, so that no order of a map counts. An item matches
	// itself, which no pair does.
	itself := matches(pairs, func(item int32) uint64 { return uint64(item) })
	others := len(pairs)*len(pairs) - itself
	for l := range out {
		prefix := func(item int32) uint64 { return key(x.Code(item)[:l+1]) }
		shared := 0
		for _, p := range pairs {
			if prefix(p[0]) == prefix(p[1]) {
				shared++
			}
		}
		out[l] = Agreement{Pairs: len(pairs), Shared: float64(shared) / float64(len(pairs))}
		if others > 0 {
			out[l].Chance = float64(matches(pairs, prefix)-itself) / float64(others)
		}
	}
	return out
}

// matches counts the first and second items, each of any pair, of one key.
func matches(pairs [][2]int32, key func(item int32) uint64) int {
	first := map[uint64]int{}
	for _, p := range pairs {
		first[key(p[0])]++
	}
	n := 0
	for _, p := range pairs {
		n += first[key(p[1])]
	}
	return n
}

// sampleOf finds the items that share the longest prefixes with an item, in the
// order of codes at each length.
func sampleOf(x *sid.Index, catalog *market.Catalog, item int32) Sample {
	code := x.Code(item)
	s := Sample{Neighbour: neighbour(x, catalog, item, len(code))}
	met := map[int32]bool{item: true}
	for shared := len(code); shared > 0; shared-- {
		node, _ := x.Find(code[:shared])
		for other := range x.Items(node) {
			if len(s.Near) == neighbours {
				return s
			}
			if !met[other] {
				met[other] = true
				s.Near = append(s.Near, neighbour(x, catalog, other, shared))
			}
		}
	}
	return s
}

func neighbour(x *sid.Index, catalog *market.Catalog, item int32, shared int) Neighbour {
	n := Neighbour{Item: x.ID(item), Title: catalog.Items[item].Title, Shared: shared}
	for _, c := range x.Code(item) {
		n.Code = append(n.Code, int(c))
	}
	return n
}
