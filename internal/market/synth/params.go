package synth

import (
	"math"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
)

// Params are the parameters of the market. DefaultParams is a small market
// for the demo; docs/synthetic-market.md has what it measures.
type Params struct {
	// Size.
	Items  int `json:"items"`  // items of the catalog
	Brands int `json:"brands"` // brands; 0 = max(16, square root of Items)
	Users  int `json:"users"`

	// Time.
	Start int64   `json:"start"` // Unix seconds of the first day
	Days  float64 `json:"days"`  // length of the logs

	// Sessions of a user: 1 + Poisson(SessionsPerUser-1), uniform over the time
	// from the user's arrival on (itself uniform over the first half).
	SessionsPerUser float64 `json:"sessions_per_user"`
	// EventsPerSession is the mean number of items chosen unprompted in a session:
	// 1 + Poisson(EventsPerSession-1).
	EventsPerSession float64 `json:"events_per_session"`
	// ImpressionRate is the probability that a session shows a slate. The first
	// session of a user shows its slate, if any, after the first events: no slate has an empty history.
	ImpressionRate float64 `json:"impression_rate"`
	// SlateFirst is the probability that a session shows its slate before
	// the session's own events rather than after them.
	SlateFirst float64 `json:"slate_first"`
	K          int     `json:"k"`           // candidates of a slate
	HistoryMax int     `json:"history_max"` // latest events a slate's history keeps
	Memory     int     `json:"memory"`      // latest events that shape needs, satiation, loyalty and repeats

	// Choice is the inverse temperature of unprompted choices; 0 = at random.
	Choice float64 `json:"choice"`
	// Browse is the number of items come across before an unprompted choice.
	Browse int `json:"browse"`

	Weights   Weights   `json:"weights"`
	Decay     Decay     `json:"decay"`
	Retrieval Retrieval `json:"retrieval"`
	Logging   Logging   `json:"logging"`

	// ConvertBase and ConvertSlope give P(convert | click) =
	// sigmoid(ConvertBase + ConvertSlope*u). Slope in 0..1 keeps the ceiling exact.
	ConvertBase  float64 `json:"convert_base"`
	ConvertSlope float64 `json:"convert_slope"`

	// Examination is the exponent of the position bias: position p (from 1) is
	// examined with probability p^-Examination. 0 = no bias.
	Examination float64 `json:"examination"`
	// FullExamination is the last share of the time in which every candidate is
	// examined, so that metrics on these slates are unbiased; it must cover the
	// validation and test parts of a time split. 0 = biased to the end.
	FullExamination float64 `json:"full_examination"`
}

// Weights scale the terms of the utility, in logits per unit of the term.
type Weights struct {
	Base       float64 `json:"base"`       // intercept: lower = fewer clicks
	Department float64 `json:"department"` // taste of a department, N(0,1)
	Style      float64 `json:"style"`      // taste of a style: 1 for the favourite, else N(0,.3)
	Brand      float64 `json:"brand"`      // 1 for one of the user's two favourite brands
	Loyalty    float64 `json:"loyalty"`    // 1-exp(-faded number of recent events with the brand)
	Complement float64 `json:"complement"` // need in 0..1, times the user's trait (log-normal, median 1)
	Satiation  float64 `json:"satiation"`  // 1 right after getting an item of the type, subtracted
	Price      float64 `json:"price"`      // distance of price tiers, 0..2, subtracted
	Season     float64 `json:"season"`     // swing*cos(year angle from the peak), -1..1
	Appeal     float64 `json:"appeal"`     // quality of the item, N(0,1)
	Fresh      float64 `json:"fresh"`      // exp(-age/Decay.Fresh)
	Repeat     float64 `json:"repeat"`     // the user's trait, N(0,1), if the item is among the last Memory
}

// Decay holds time constants in days: a quantity falls to 1/e in that time.
type Decay struct {
	Need       float64 `json:"need"`
	Satiation  float64 `json:"satiation"`
	Loyalty    float64 `json:"loyalty"`
	Fresh      float64 `json:"fresh"`
	Popularity float64 `json:"popularity"` // of the counts that the logging ranker sees
}

// Retrieval are the relative shares of the sources of candidates. A source
// that has nothing to offer gives way to Popular.
type Retrieval struct {
	Complement float64 `json:"complement"` // of a type that complements a recent one
	Twin       float64 `json:"twin"`       // of the type of a recent event
	Taste      float64 `json:"taste"`      // of a department drawn by the user's taste
	Brand      float64 `json:"brand"`      // of the brand of a recent event
	Repeat     float64 `json:"repeat"`     // a recent item itself
	Popular    float64 `json:"popular"`    // of any type, by appeal
}

// Logging are the weights of the legacy pointwise ranker.
type Logging struct {
	Popularity float64 `json:"popularity"` // per log(1+faded count)
	Department float64 `json:"department"` // per unit of the user's department taste
	Noise      float64 `json:"noise"`      // standard deviation of its error
}

// DefaultParams is the market of the demo.
func DefaultParams() Params {
	return Params{
		Items: 700, Users: 2500,
		Start: 1672531200, Days: 365, // 2023-01-01
		SessionsPerUser: 6, EventsPerSession: 1.7, ImpressionRate: .5, SlateFirst: .3,
		K: 10, HistoryMax: 50, Memory: 10,
		Choice: 1, Browse: 40,
		Weights: Weights{
			Base: -4.3, Department: .7, Style: 1.4, Brand: 1, Loyalty: 1.4, Complement: 3, Satiation: 2,
			Price: .5, Season: .7, Appeal: .5, Fresh: .4, Repeat: .5,
		},
		Decay:       Decay{Need: 25, Satiation: 40, Loyalty: 120, Fresh: 30, Popularity: 90},
		Retrieval:   Retrieval{Complement: .25, Twin: .2, Taste: .2, Brand: .12, Repeat: .03, Popular: .2},
		Logging:     Logging{Popularity: .6, Department: .7, Noise: .9},
		ConvertBase: -.6, ConvertSlope: .5,
		Examination: .5, FullExamination: .2,
	}
}

// Validate says which parameter is wrong and what would be right.
func (p *Params) Validate() error {
	for _, c := range []struct {
		name           string
		value, low, up float64
	}{
		{"items", float64(p.Items), 2 * float64(p.K), math.MaxInt32},
		{"brands", float64(p.Brands), 0, math.MaxInt32},
		{"users", float64(p.Users), 1, math.MaxInt32},
		{"start", float64(p.Start), 0, market.MaxTime - p.Days*day},
		{"days", p.Days, 1, 36500},
		{"sessions_per_user", p.SessionsPerUser, 1, 1000},
		{"events_per_session", p.EventsPerSession, 1, 100},
		{"impression_rate", p.ImpressionRate, 0, 1},
		{"slate_first", p.SlateFirst, 0, 1},
		{"k", float64(p.K), 1, 50},
		{"history_max", float64(p.HistoryMax), 1, 10000},
		{"memory", float64(p.Memory), 1, 1000},
		{"choice", p.Choice, 0, 100},
		{"browse", float64(p.Browse), 1, 10000},
		{"decay.need", p.Decay.Need, .01, 36500},
		{"decay.satiation", p.Decay.Satiation, .01, 36500},
		{"decay.loyalty", p.Decay.Loyalty, .01, 36500},
		{"decay.fresh", p.Decay.Fresh, .01, 36500},
		{"decay.popularity", p.Decay.Popularity, .01, 36500},
		{"retrieval.complement", p.Retrieval.Complement, 0, 1000},
		{"retrieval.twin", p.Retrieval.Twin, 0, 1000},
		{"retrieval.taste", p.Retrieval.Taste, 0, 1000},
		{"retrieval.brand", p.Retrieval.Brand, 0, 1000},
		{"retrieval.repeat", p.Retrieval.Repeat, 0, 1000},
		{"retrieval.popular", p.Retrieval.Popular, 1e-3, 1000},
		{"logging.noise", p.Logging.Noise, 0, 100},
		{"convert_slope", p.ConvertSlope, 0, 1},
		{"examination", p.Examination, 0, 10},
		{"full_examination", p.FullExamination, 0, 1},
	} {
		if !(c.value >= c.low && c.value <= c.up) {
			return fault.Usagef("synth: %s is %.15g; it must lie in %.15g..%.15g", c.name, c.value, c.low, c.up)
		}
	}
	return p.validateReals()
}

// validateReals checks what may be any finite number.
func (p *Params) validateReals() error {
	w := p.Weights
	for _, c := range []struct {
		name  string
		value float64
	}{
		{"base", w.Base}, {"department", w.Department}, {"style", w.Style}, {"brand", w.Brand},
		{"loyalty", w.Loyalty}, {"complement", w.Complement}, {"satiation", w.Satiation}, {"price", w.Price},
		{"season", w.Season}, {"appeal", w.Appeal}, {"fresh", w.Fresh}, {"repeat", w.Repeat},
	} {
		if !(math.Abs(c.value) <= 100) {
			return fault.Usagef("synth: weights.%s is %g; it must lie in -100..100", c.name, c.value)
		}
	}
	for _, c := range []struct {
		name  string
		value float64
	}{{"logging.popularity", p.Logging.Popularity}, {"logging.department", p.Logging.Department}, {"convert_base", p.ConvertBase}} {
		if !(math.Abs(c.value) <= 100) {
			return fault.Usagef("synth: %s is %g; it must lie in -100..100", c.name, c.value)
		}
	}
	return nil
}

func (p *Params) brands() int {
	if p.Brands > 0 {
		return p.Brands
	}
	return max(16, int(math.Sqrt(float64(p.Items))))
}

// end is the exclusive last second of the logs.
func (p *Params) end() int64 { return p.Start + int64(p.Days*day) }

// examinedFrom is the time from which on every candidate is examined.
func (p *Params) examinedFrom() int64 {
	return p.end() - int64(p.FullExamination*p.Days*day)
}

const day = 86400.0
