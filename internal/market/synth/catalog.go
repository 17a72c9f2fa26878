package synth

import (
	"math"
	"math/rand/v2"
	"sort"
	"strings"

	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
)

// item holds the latent values behind one catalog entry.
type item struct {
	kind   int16 // type number
	style  int8
	tier   int8
	brand  int32
	appeal float32
	born   int64 // Unix seconds; may lie before the logs
}

// brand is what the items of a brand share.
type brand struct {
	name  string
	home  [2]int // departments
	style int
	tier  int
}

// Shares of a brand's items that have its own style and its own tier.
const (
	brandStyleShare = .4
	brandTierShare  = .7
)

// bornBefore is the share of items that exist when the logs begin.
const bornBefore = .6

// goods is the catalog with its latent side and the lists to draw from. Lists
// hold item numbers by falling appeal.
type goods struct {
	types        []typeInfo
	brands       []brand
	items        []item
	catalog      *market.Catalog
	ofType       [][]int32
	ofBrand      [][]int32
	typesOf      [][]int   // by department
	brandsOf     [][]int32 // by department; never empty
	itemsOverall []int32
}

func newGoods(p *Params, seed uint64) (*goods, error) {
	g := &goods{types: flatten(), brands: newBrands(p.brands(), seed), items: make([]item, p.Items)}
	g.typesOf = make([][]int, len(departments))
	for t := range g.types {
		d := g.types[t].department
		g.typesOf[d] = append(g.typesOf[d], t)
	}
	g.brandsOf = make([][]int32, len(departments))
	for b := range g.brands {
		for _, d := range g.brands[b].home {
			g.brandsOf[d] = append(g.brandsOf[d], int32(b))
		}
	}
	entries := make([]market.Item, p.Items)
	for i := range entries {
		random := rng.New(seed, rng.Key("synth/item"), uint64(i))
		g.items[i] = g.drawItem(p, random)
		entries[i] = g.describe(&g.items[i], random)
		entries[i].ID = "B" + identifier(rng.Hash(seed, rng.Key("synth/item id"), uint64(i)))
	}
	var err error
	g.catalog, err = market.NewCatalog(entries)
	g.list()
	return g, err
}

// newBrands gives brand b the departments b and b+1+(hash) modulo their
// number, so that every department has brands as soon as there are 8.
func newBrands(n int, seed uint64) []brand {
	brands := make([]brand, n)
	for b := range brands {
		random := rng.New(seed, rng.Key("synth/brand"), uint64(b))
		first := b % len(departments)
		brands[b] = brand{
			name:  brandName(b),
			home:  [2]int{first, (first + 1 + random.IntN(len(departments)-1)) % len(departments)},
			style: random.IntN(len(styles)),
			tier:  random.IntN(len(tiers)),
		}
	}
	return brands
}

func (g *goods) drawItem(p *Params, random *rand.Rand) item {
	kind := random.IntN(len(g.types))
	it := item{kind: int16(kind), appeal: float32(random.NormFloat64())}
	it.brand = g.drawBrand(g.types[kind].department, random)
	own := &g.brands[it.brand]
	it.style = int8(random.IntN(len(styles)))
	if random.Float64() < brandStyleShare {
		it.style = int8(own.style)
	}
	it.tier = int8(random.IntN(len(tiers)))
	if random.Float64() < brandTierShare {
		it.tier = int8(own.tier)
	}
	if random.Float64() < bornBefore {
		it.born = p.Start - int64(random.Float64()*365*day)
	} else {
		it.born = p.Start + int64(random.Float64()*.9*p.Days*day)
	}
	return it
}

// drawBrand draws a brand at home in the department, or any brand when the
// market has too few brands for each department to have one.
func (g *goods) drawBrand(department int, random *rand.Rand) int32 {
	if own := g.brandsOf[department]; len(own) > 0 {
		return own[random.IntN(len(own))]
	}
	return int32(random.IntN(len(g.brands)))
}

// describe writes the public side of an item: brand, tier, style and type are
// in the title, so taste and complements can be read; claims and sizes are
// noise.
func (g *goods) describe(it *item, random *rand.Rand) market.Item {
	kind, own := &g.types[it.kind], &g.brands[it.brand]
	words := styles[it.style].words
	scent := words[random.IntN(len(words))]
	size := sizes[random.IntN(len(sizes))]
	parts := []string{own.name}
	if tiers[it.tier].word != "" {
		parts = append(parts, tiers[it.tier].word)
	}
	parts = append(parts, scent)
	if random.Float64() < .5 {
		parts = append(parts, claims[random.IntN(len(claims))])
	}
	parts = append(parts, kind.name)
	title := strings.Join(parts, " ")
	if random.Float64() < .3 {
		title += ", " + size
	}
	price := kind.price * tiers[it.tier].factor * math.Exp(.15*random.NormFloat64())
	return market.Item{
		Title:       title,
		Categories:  []string{"Beauty", departments[kind.department].name, kind.name},
		Brand:       own.name,
		Description: "A " + styles[it.style].name + " " + strings.ToLower(kind.name) + " with " + strings.ToLower(scent) + ".",
		Price:       math.Round(price*100) / 100,
		Attributes:  map[string]string{"scent": scent, "size": size},
	}
}

// list fills the lists to draw from.
func (g *goods) list() {
	all := make([]int32, len(g.items))
	for i := range all {
		all[i] = int32(i)
	}
	sort.Slice(all, func(a, b int) bool {
		x, y := g.items[all[a]].appeal, g.items[all[b]].appeal
		return x > y || x == y && all[a] < all[b]
	})
	g.itemsOverall = all
	g.ofType = make([][]int32, len(g.types))
	g.ofBrand = make([][]int32, len(g.brands))
	for _, i := range all {
		it := &g.items[i]
		g.ofType[it.kind] = append(g.ofType[it.kind], i)
		g.ofBrand[it.brand] = append(g.ofBrand[it.brand], i)
	}
}

// identifier writes 60 bits of a hash as 12 letters and digits: ids carry no
// order and no meaning.
func identifier(hash uint64) string {
	const letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	id := make([]byte, 12)
	for i := range id {
		id[i] = letters[hash&31]
		hash >>= 5
	}
	return string(id)
}

var (
	onsets  = []string{"Lu", "Ve", "Ka", "Ori", "Ma", "Sol", "Ni", "Be", "Tal", "Fe", "Ro", "Cy", "Am", "Del", "Ze", "Hal"}
	middles = []string{"me", "ra", "li", "no", "vi", "sa", "do", "ri", "ta", "ne", "lo"}
	codas   = []string{"ra", "lle", "na", "dor", "ne", "via", "s", "ka", "lis", "mo", "tta", "xa", "ro"}
)

// brandName writes the number in mixed radix with coprime strides, so that
// neighbours sound different and the first 2,288 names differ; further numbers
// get a second word.
func brandName(n int) string {
	size := len(onsets) * len(middles) * len(codas)
	i := n % size
	name := onsets[i%len(onsets)] + middles[i%len(middles)] + codas[i%len(codas)]
	if n >= size {
		return name + " " + brandName(n/size-1)
	}
	return name
}
