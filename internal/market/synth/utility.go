package synth

import (
	"math"
	"time"

	"github.com/gr2/gr2/internal/market"
)

// state is what a user's recent events make of them at one time. It is scratch
// space, reused between requests.
type state struct {
	user    *user
	at      int64
	need    []float64 // by type, 0..1
	sated   []float64 // by type, 0..1
	season  []float64 // by type, -1..1
	recent  []market.Event
	loyalty []float64 // by index of recent: faded weight of the event
}

// observe sets the state of the user at time at, from their events strictly
// before it, oldest first, of which the last p.Memory count.
func (s *state) observe(p *Params, g *goods, u *user, events []market.Event, at int64) {
	if s.need == nil {
		s.need, s.sated, s.season = make([]float64, len(g.types)), make([]float64, len(g.types)), make([]float64, len(g.types))
	}
	clear(s.need)
	clear(s.sated)
	s.user, s.at = u, at
	s.recent = events[max(0, len(events)-p.Memory):]
	s.loyalty = s.loyalty[:0]
	for _, e := range s.recent {
		kind := int(g.items[e.Item].kind)
		days := float64(at-e.Time) / day
		s.need[kind] = 0 // met
		s.sated[kind] = math.Exp(-days / p.Decay.Satiation)
		for _, next := range g.types[kind].follow {
			s.need[next.to] = max(s.need[next.to], next.strength*math.Exp(-days/p.Decay.Need))
		}
		s.loyalty = append(s.loyalty, math.Exp(-days/p.Decay.Loyalty))
	}
	dayOfYear := float64(time.Unix(at, 0).UTC().YearDay())
	for t := range s.season {
		s.season[t] = g.types[t].swing * math.Cos(2*math.Pi*(dayOfYear-g.types[t].peak)/365)
	}
}

// utility is u of the package comment, for item number n.
func (s *state) utility(p *Params, g *goods, n int32) float64 {
	w, it, u := &p.Weights, &g.items[n], s.user
	kind := int(it.kind)
	value := w.Base +
		w.Department*float64(u.department[g.types[kind].department]) +
		w.Style*float64(u.style[it.style]) +
		w.Complement*float64(u.complement)*s.need[kind] -
		w.Satiation*s.sated[kind] -
		w.Price*math.Abs(float64(it.tier-u.tier)) +
		w.Season*s.season[kind] +
		w.Appeal*float64(it.appeal)
	if it.brand == u.brands[0] || it.brand == u.brands[1] {
		value += w.Brand
	}
	if age := float64(s.at-it.born) / day; age >= 0 {
		value += w.Fresh * math.Exp(-age/p.Decay.Fresh)
	}
	loyalty, repeated := 0.0, false
	for i, e := range s.recent {
		if g.items[e.Item].brand == it.brand {
			loyalty += s.loyalty[i]
		}
		repeated = repeated || e.Item == n
	}
	value += w.Loyalty * (1 - math.Exp(-loyalty))
	if repeated {
		value += w.Repeat * float64(u.repeat)
	}
	return value
}

// Outcome is what is to be expected of a candidate that is examined.
type Outcome struct {
	Click   float64 // P(grade >= 1)
	Convert float64 // P(grade = 2 | grade >= 1)
}

// Gain is E[2^grade - 1]: 1 for a click, 3 for a conversion.
func (o Outcome) Gain() float64 { return o.Click * (1 + 2*o.Convert) }

// outcome is the response model: both probabilities rise with utility.
func (p *Params) outcome(utility float64) Outcome {
	return Outcome{Click: sigmoid(utility), Convert: sigmoid(p.ConvertBase + p.ConvertSlope*utility)}
}

// examined is the probability that the candidate at position i, from 0, of a
// slate shown at the given time is looked at.
func (p *Params) examined(i int, at int64) float64 {
	if at >= p.examinedFrom() {
		return 1
	}
	return math.Pow(float64(i+1), -p.Examination)
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
