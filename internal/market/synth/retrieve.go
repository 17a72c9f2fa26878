package synth

import (
	"math"
	"math/rand/v2"

	"github.com/gr2/gr2/internal/market"
)

// skew bends draws from a list by falling appeal towards its head.
const skew = 1.6

// retrieve draws one item that exists at the state's time from the mixed
// retriever. Repeated draws may give the same item.
func (m *simulation) retrieve(random *rand.Rand) int32 {
	r := &m.p.Retrieval
	shares := [...]float64{r.Complement, r.Twin, r.Taste, r.Brand, r.Repeat, r.Popular}
	source := pick(shares[:], random)
	for range 4 { // most items exist; after a few that do not, take a popular one
		if n, ok := m.draw(source, random); ok && m.g.items[n].born <= m.state.at {
			return n
		}
	}
	for range 50 {
		if n := skewed(m.g.itemsOverall, random); m.g.items[n].born <= m.state.at {
			return n
		}
	}
	return skewed(m.g.itemsOverall, random)
}

// draw asks one source; ok is false when it has nothing.
func (m *simulation) draw(source int, random *rand.Rand) (n int32, ok bool) {
	s, g := &m.state, m.g
	var list []int32
	switch source {
	case 0: // complement
		if kind, ok := s.drawNeed(random); ok {
			list = g.ofType[kind]
		}
	case 1: // twin
		if e, ok := s.drawRecent(random); ok {
			list = g.ofType[g.items[e.Item].kind]
		}
	case 2: // taste
		types := g.typesOf[s.user.drawDepartment(random)]
		list = g.ofType[types[random.IntN(len(types))]]
	case 3: // brand
		if e, ok := s.drawRecent(random); ok {
			list = g.ofBrand[g.items[e.Item].brand]
		}
	case 4: // repeat
		e, ok := s.drawRecent(random)
		return e.Item, ok
	default: // popular
		list = g.itemsOverall
	}
	if len(list) == 0 {
		return 0, false
	}
	return skewed(list, random), true
}

// drawNeed draws a type in proportion to its need.
func (s *state) drawNeed(random *rand.Rand) (kind int, ok bool) {
	for _, need := range s.need {
		if need > 0 {
			return pick(s.need, random), true
		}
	}
	return 0, false
}

// drawRecent draws one of the last three events.
func (s *state) drawRecent(random *rand.Rand) (e market.Event, ok bool) {
	n := len(s.recent)
	if n == 0 {
		return e, false
	}
	return s.recent[n-1-random.IntN(min(n, 3))], true
}

func skewed(list []int32, random *rand.Rand) int32 {
	return list[int(float64(len(list))*math.Pow(random.Float64(), skew))]
}

// crowd counts the events of all users with exponential fading, as the legacy
// ranker sees them: refreshed at midnight, so never from the future.
type crowd struct {
	today   int64
	counts  []float64
	touched []int64 // day of the last change of a count
	pending []market.Event
}

func newCrowd(items int) *crowd {
	return &crowd{counts: make([]float64, items), touched: make([]int64, items)}
}

func (c *crowd) add(e market.Event) { c.pending = append(c.pending, e) }

// startDay moves to the day of the given time and takes in the events of
// earlier days.
func (c *crowd) startDay(p *Params, at int64) {
	today := at / int64(day)
	if today == c.today {
		return
	}
	c.today = today
	later := c.pending[:0]
	for _, e := range c.pending {
		if e.Time/int64(day) >= today {
			later = append(later, e)
			continue
		}
		c.counts[e.Item] = c.count(p, e.Item) + 1
		c.touched[e.Item] = today
	}
	c.pending = later
}

// count is the faded number of events of an item.
func (c *crowd) count(p *Params, n int32) float64 {
	if c.counts[n] == 0 {
		return 0
	}
	return c.counts[n] * math.Exp(-float64(c.today-c.touched[n])/p.Decay.Popularity)
}
