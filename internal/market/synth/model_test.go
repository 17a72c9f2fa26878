package synth

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/metric"
	"pgregory.net/rapid"
)

func TestTaxonomy(t *testing.T) {
	types := flatten()
	if len(departments) != len(user{}.department) || len(styles) != len(user{}.style) {
		t.Error("taste vectors do not fit the taxonomy")
	}
	for i := range types {
		for e, l := range types[i].follow {
			if want := types[i].productType.follow[e].to; types[l.to].name != want {
				t.Errorf("%s leads to %s, want %s", types[i].name, types[l.to].name, want)
			}
			if l.to == i || !(l.strength > 0 && l.strength <= 1) {
				t.Errorf("%s: edge %+v", types[i].name, l)
			}
		}
	}
}

func TestBrandNamesDiffer(t *testing.T) {
	seen := map[string]int{}
	for n := range 10000 {
		name := brandName(n)
		if first, dup := seen[name]; dup {
			t.Fatalf("brands %d and %d are both called %s", first, n, name)
		}
		seen[name] = n
	}
}

// Needs rise with a purchase, fade, and end when met; satiation fades.
func TestNeeds(t *testing.T) {
	p := DefaultParams()
	g := &goods{types: flatten()}
	number := map[string]int{}
	for i := range g.types {
		number[g.types[i].name] = i
		g.items = append(g.items, item{kind: int16(i)})
	}
	shampoo, conditioner, mask := number["Shampoo"], number["Conditioner"], number["Hair Mask"]
	at := func(days float64) int64 { return p.Start + int64(days*day) }
	first := market.Event{Item: int32(shampoo), Time: at(0)}
	second := market.Event{Item: int32(conditioner), Time: at(5)}
	var s state
	u := &user{}
	s.observe(&p, g, u, []market.Event{first}, at(p.Decay.Need))
	if got := s.need[conditioner]; math.Abs(got-math.Exp(-1)) > 1e-9 {
		t.Errorf("need of a conditioner %v, want 1/e", got)
	}
	if got, want := s.sated[shampoo], math.Exp(-p.Decay.Need/p.Decay.Satiation); math.Abs(got-want) > 1e-9 {
		t.Errorf("satiation %v, want %v", got, want)
	}
	if s.need[shampoo] != 0 || s.sated[conditioner] != 0 {
		t.Error("a shampoo made a need of shampoo or sated with conditioner")
	}
	s.observe(&p, g, u, []market.Event{first, second}, at(5))
	if s.need[conditioner] != 0 || s.need[mask] != .9 {
		t.Errorf("after the conditioner: need of it %v, of a hair mask %v; want 0 and .9", s.need[conditioner], s.need[mask])
	}
	p.Memory = 1
	s.observe(&p, g, u, []market.Event{first, second}, at(5))
	if s.sated[shampoo] != 0 {
		t.Error("events beyond Memory count")
	}
}

// Each term of the utility, alone, by hand.
func TestUtilityTerms(t *testing.T) {
	p := DefaultParams()
	p.Weights = Weights{}
	g := &goods{types: flatten()}
	fresh := p.Start - int64(p.Decay.Fresh*day)
	g.items = []item{{kind: 0, style: 2, tier: 2, brand: 3, appeal: 1.5, born: fresh}, {kind: 1, brand: 3}, {kind: 2, brand: 9}}
	u := &user{tier: 0, complement: 1.25, repeat: -2, brands: [2]int32{8, 9}}
	u.department[0], u.style[2] = .5, -.25
	past := []market.Event{{Item: 0, Time: p.Start - int64(p.Decay.Loyalty*day)}, {Item: 1, Time: p.Start}}
	e := math.Exp(-1)
	for name, c := range map[string]struct {
		weight *float64
		item   int32
		want   float64 // for a weight of 2
	}{
		"base":          {&p.Weights.Base, 0, 2},
		"department":    {&p.Weights.Department, 1, 1},
		"style":         {&p.Weights.Style, 0, -.5},
		"brand":         {&p.Weights.Brand, 2, 2},
		"no brand":      {&p.Weights.Brand, 0, 0},
		"loyalty":       {&p.Weights.Loyalty, 0, 2 * (1 - math.Exp(-1-e))},
		"no loyalty":    {&p.Weights.Loyalty, 2, 0},
		"complement":    {&p.Weights.Complement, 2, 2 * 1.25 * .9},
		"satiation":     {&p.Weights.Satiation, 1, -2},
		"price":         {&p.Weights.Price, 0, -4},
		"appeal":        {&p.Weights.Appeal, 0, 3},
		"freshness":     {&p.Weights.Fresh, 0, 2 * e},
		"repeat":        {&p.Weights.Repeat, 0, -4},
		"novel":         {&p.Weights.Repeat, 2, 0},
		"out of season": {&p.Weights.Season, 0, 0},
		"same tier":     {&p.Weights.Price, 1, 0},
	} {
		*c.weight = 2
		var s state
		s.observe(&p, g, u, past, p.Start)
		if got := s.utility(&p, g, c.item); math.Abs(got-c.want) > 1e-6 {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		*c.weight = 0
	}
}

// The theorem of the package comment: for independent outcomes of the response
// model, the order by expected gain has the highest expectation of every
// metric, conditional on a positive too, among all orders. By enumeration.
func TestBayesOrderIsOptimal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := DefaultParams()
		p.ConvertSlope = rapid.Float64Range(0, 1).Draw(t, "slope")
		p.ConvertBase = rapid.Float64Range(-3, 3).Draw(t, "base")
		k := rapid.IntRange(2, 4).Draw(t, "k")
		outcomes := make([]Outcome, k)
		for i := range outcomes {
			outcomes[i] = p.outcome(rapid.Float64Range(-5, 4).Draw(t, "u"))
		}
		bayes := expectations(outcomes, byGain(k, func(i int) float64 { return outcomes[i].Gain() }))
		for _, order := range orders(k) {
			for m, value := range expectations(outcomes, order) {
				if value > bayes[m]+1e-12 {
					t.Fatalf("metric %d: order %v expects %v, the bayes order %v", m, order, value, bayes[m])
				}
			}
		}
	})
}

// expectations are the expected metrics of an order over all outcomes. Slates
// without a positive add 0 to all orders alike, so conditional means follow.
func expectations(outcomes []Outcome, order []int) []float64 {
	sums := make([]float64, 9)
	grades := make([]uint8, len(outcomes))
	var walk func(i int, probability float64)
	walk = func(i int, probability float64) {
		if i < len(outcomes) {
			o := outcomes[i]
			for g, q := range []float64{1 - o.Click, o.Click * (1 - o.Convert), o.Click * o.Convert} {
				grades[i] = uint8(g)
				walk(i+1, probability*q)
			}
			return
		}
		j := metric.Judged{Ranking: order, Grades: grades}
		auc, _ := j.AUC()
		for m, v := range []float64{j.RecallAt(1), j.RecallAt(2), j.RecallAt(3), j.NDCGAt(1), j.NDCGAt(3), j.NDCGAt(5), j.AP(), j.MRR(), auc} {
			sums[m] += probability * v
		}
	}
	walk(0, 1)
	return sums
}

func orders(n int) [][]int {
	if n == 0 {
		return [][]int{nil}
	}
	var all [][]int
	for _, o := range orders(n - 1) {
		for at := 0; at <= len(o); at++ {
			all = append(all, slices.Insert(slices.Clone(o), at, n-1))
		}
	}
	return all
}

// No slate shows an item before it exists.
func TestItemsExistWhenShown(t *testing.T) {
	p := DefaultParams()
	p.Users = 300
	ds, w, err := Generate(p, 9)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range ds.Slates {
		for _, c := range s.Candidates {
			if w.g.items[c.Item].born > s.Time {
				t.Fatalf("slate %s shows item %d before its release", s.ID, c.Item)
			}
		}
	}
}

// The legacy ranker's counts hold whole days before the request only.
func TestCrowdSeesNoFuture(t *testing.T) {
	p := DefaultParams()
	c := newCrowd(2)
	c.startDay(&p, int64(10*day))
	c.add(market.Event{Item: 1, Time: int64(10*day) + 5})
	c.add(market.Event{Item: 1, Time: int64(11*day) + 5})
	if n := c.count(&p, 1); n != 0 {
		t.Errorf("on the same day the count is %v", n)
	}
	c.startDay(&p, int64(11*day)+6)
	if n := c.count(&p, 1); n != 1 {
		t.Errorf("on the next day the count is %v, want 1", n)
	}
	c.startDay(&p, int64((11+p.Decay.Popularity)*day)) // the second event, new; the first, faded
	if n, want := c.count(&p, 1), 1+math.Exp(-p.Decay.Popularity/p.Decay.Popularity); math.Abs(n-want) > 1e-9 {
		t.Errorf("a time constant later the count is %v, want %v", n, want)
	}
}

func TestValidate(t *testing.T) {
	for name, change := range map[string]func(*Params){
		"items":               func(p *Params) { p.Items = 2*p.K - 1 },
		"brands":              func(p *Params) { p.Brands = -1 },
		"users":               func(p *Params) { p.Users = 0 },
		"start":               func(p *Params) { p.Start = -1 },
		"days":                func(p *Params) { p.Days = 0 },
		"sessions_per_user":   func(p *Params) { p.SessionsPerUser = .5 },
		"events_per_session":  func(p *Params) { p.EventsPerSession = math.NaN() },
		"impression_rate":     func(p *Params) { p.ImpressionRate = 1.1 },
		"slate_first":         func(p *Params) { p.SlateFirst = -.1 },
		"k":                   func(p *Params) { p.K = 0 },
		"history_max":         func(p *Params) { p.HistoryMax = 0 },
		"memory":              func(p *Params) { p.Memory = 0 },
		"choice":              func(p *Params) { p.Choice = -1 },
		"browse":              func(p *Params) { p.Browse = 0 },
		"decay.need":          func(p *Params) { p.Decay.Need = 0 },
		"retrieval.popular":   func(p *Params) { p.Retrieval.Popular = 0 },
		"logging.noise":       func(p *Params) { p.Logging.Noise = -1 },
		"logging.popularity":  func(p *Params) { p.Logging.Popularity = math.Inf(1) },
		"weights.season":      func(p *Params) { p.Weights.Season = math.NaN() },
		"convert_slope":       func(p *Params) { p.ConvertSlope = 1.01 },
		"convert_base":        func(p *Params) { p.ConvertBase = 1e9 },
		"examination":         func(p *Params) { p.Examination = -1 },
		"full_examination":    func(p *Params) { p.FullExamination = 2 },
		"full_examination is": func(p *Params) { p.FullExamination = -1 },
	} {
		p := DefaultParams()
		change(&p)
		_, _, err := Generate(p, 1)
		if err == nil || !strings.Contains(err.Error(), name) || fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: error %v", name, err)
		}
	}
	p := DefaultParams()
	if err := p.Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}
