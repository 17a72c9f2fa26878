package synth

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"

	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
)

// Generate draws a market: its data set, with slates logged in the order
// shown, and the world behind it. Slates stand by time, events by user, then
// time; no two events of a user have the same time.
func Generate(p Params, seed uint64) (*market.Dataset, *World, error) {
	if err := p.Validate(); err != nil {
		return nil, nil, err
	}
	g, err := newGoods(&p, seed)
	if err != nil {
		return nil, nil, err
	}
	sim := &simulation{
		p: &p, g: g, seed: seed, users: newUsers(&p, g, seed),
		events: make([][]market.Event, p.Users), crowd: newCrowd(p.Items),
	}
	for _, s := range sim.sessions() {
		sim.run(s)
	}
	return sim.dataset(), &World{p: p, g: g, users: sim.users, events: sim.events}, nil
}

// simulation runs the sessions of all users in the order of time.
type simulation struct {
	p      *Params
	g      *goods
	seed   uint64
	users  []user
	events [][]market.Event // by user, by time
	slates []market.Slate
	crowd  *crowd
	state  state

	pool               []int32 // scratch of choose
	utilities, weights []float64
}

// session is a visit of a user; number counts the user's sessions.
type session struct {
	start        int64
	user, number int32
}

// sessions draws when each user comes, all in the order of time.
func (m *simulation) sessions() []session {
	var all []session
	span := m.p.Days * day
	for u := range m.users {
		random := rng.New(m.seed, rng.Key("synth/sessions"), uint64(u))
		arrival := .5 * random.Float64() * span
		times := make([]int64, 1+poisson(m.p.SessionsPerUser-1, random))
		for i := range times {
			times[i] = m.p.Start + int64(arrival+random.Float64()*(span-arrival))
		}
		slices.Sort(times)
		for i, at := range times {
			all = append(all, session{start: at, user: int32(u), number: int32(i)})
		}
	}
	slices.SortFunc(all, func(a, b session) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.user, b.user), cmp.Compare(a.number, b.number))
	})
	return all
}

// Seconds between sessions of one user, at least.
const sessionGap = 3600

// run plays one session: the user's own events, and a slate before or after.
func (m *simulation) run(s session) {
	m.crowd.startDay(m.p, s.start)
	random := rng.New(m.seed, rng.Key("synth/session"), uint64(s.user), uint64(s.number))
	clock := s.start
	if past := m.events[s.user]; len(past) > 0 {
		clock = max(clock, past[len(past)-1].Time+sessionGap)
	}
	own := 1 + poisson(m.p.EventsPerSession-1, random)
	slate := random.Float64() < m.p.ImpressionRate
	first := random.Float64() < m.p.SlateFirst && len(m.events[s.user]) > 0
	if slate && first {
		clock = m.impress(s.user, clock, random)
	}
	for range own {
		clock += 60 + random.Int64N(600)
		m.choose(s.user, clock, random)
	}
	if slate && !first {
		m.impress(s.user, clock+60+random.Int64N(1800), random)
	}
}

// choose lets the user pick one of the items they come across.
func (m *simulation) choose(u int32, at int64, random *rand.Rand) {
	if at >= m.p.end() {
		return
	}
	m.state.observe(m.p, m.g, &m.users[u], m.events[u], at)
	m.pool, m.utilities, m.weights = m.pool[:0], m.utilities[:0], m.weights[:0]
	highest := math.Inf(-1)
	for range m.p.Browse {
		n := m.retrieve(random)
		value := m.state.utility(m.p, m.g, n)
		highest = max(highest, value)
		m.pool, m.utilities = append(m.pool, n), append(m.utilities, value)
	}
	for _, value := range m.utilities {
		m.weights = append(m.weights, math.Exp(m.p.Choice*(value-highest)))
	}
	i := pick(m.weights, random)
	kind := market.Click
	if random.Float64() < m.p.outcome(m.utilities[i]).Convert {
		kind = market.Purchase
	}
	m.record(market.Event{User: u, Item: m.pool[i], Time: at, Kind: kind})
}

// impress shows a slate at the given time and records the outcome; it returns
// a time after the last outcome.
func (m *simulation) impress(u int32, at int64, random *rand.Rand) int64 {
	const dwell = 20 // seconds between outcomes
	past, after := m.events[u], at+dwell*int64(m.p.K+1)
	if after >= m.p.end() || len(past) == 0 {
		return at
	}
	m.state.observe(m.p, m.g, &m.users[u], past, at)
	slate := market.Slate{User: u, Time: at, Candidates: m.candidates(u, random), Grades: make([]uint8, m.p.K)}
	for _, e := range past[max(0, len(past)-m.p.HistoryMax):] {
		slate.History = append(slate.History, market.Visit{Item: e.Item, Time: e.Time})
	}
	for i, c := range slate.Candidates {
		outcome := m.p.outcome(m.state.utility(m.p, m.g, c.Item))
		look, click, convert := random.Float64(), random.Float64(), random.Float64()
		if look >= m.p.examined(i, at) || click >= outcome.Click {
			continue
		}
		slate.Grades[i] = market.GradeClick
		if convert < outcome.Convert {
			slate.Grades[i] = market.GradeConvert
		}
	}
	for i, grade := range slate.Grades {
		if grade == market.GradeNone {
			continue
		}
		kind := market.Click
		if grade == market.GradeConvert {
			kind = market.Purchase
		}
		m.record(market.Event{User: u, Item: slate.Candidates[i].Item, Time: at + dwell*int64(i+1), Kind: kind})
	}
	m.slates = append(m.slates, slate)
	return after
}

// candidates retrieves K distinct items and puts them in the order of the
// legacy ranker.
func (m *simulation) candidates(u int32, random *rand.Rand) []market.Candidate {
	all := make([]market.Candidate, 0, m.p.K)
	add := func(n int32) {
		if !slices.ContainsFunc(all, func(c market.Candidate) bool { return c.Item == n }) {
			all = append(all, market.Candidate{Item: n})
		}
	}
	for tries := 0; len(all) < m.p.K && tries < 20*m.p.K; tries++ {
		add(m.retrieve(random))
	}
	for len(all) < m.p.K { // a catalog with hardly more than K items
		add(int32(random.IntN(len(m.g.items))))
	}
	log, taste := &m.p.Logging, &m.users[u].department
	for i := range all {
		n := all[i].Item
		all[i].Score = float32(log.Popularity*math.Log1p(m.crowd.count(m.p, n)) +
			log.Department*float64(taste[m.g.types[m.g.items[n].kind].department]) +
			log.Noise*random.NormFloat64())
	}
	sort.SliceStable(all, func(a, b int) bool { return all[a].Score > all[b].Score })
	return all
}

func (m *simulation) record(e market.Event) {
	m.events[e.User] = append(m.events[e.User], e)
	m.crowd.add(e)
}

// dataset brings the logs into their public form.
func (m *simulation) dataset() *market.Dataset {
	ds := &market.Dataset{Name: "synthetic", Catalog: m.g.catalog, Users: make([]string, len(m.users))}
	for u := range ds.Users {
		ds.Users[u] = "U" + identifier(rng.Hash(m.seed, rng.Key("synth/user id"), uint64(u)))
		ds.Events = append(ds.Events, m.events[u]...)
	}
	slices.SortFunc(m.slates, func(a, b market.Slate) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.User, b.User))
	})
	for i := range m.slates {
		m.slates[i].ID = fmt.Sprintf("s%07d", i)
	}
	ds.Slates = m.slates
	ds.Source = m.summary(ds)
	return ds
}

// summary says what the data set is, in the terms of the importers.
func (m *simulation) summary(ds *market.Dataset) *market.Summary {
	shown := map[int32]bool{}
	for i := range ds.Slates {
		for _, c := range ds.Slates[i].Candidates {
			shown[c.Item] = true
		}
	}
	sum := &market.Summary{
		Source: "synth", Counts: ds.Counts(), Candidates: len(shown), TextShown: len(shown),
		Notes: []string{
			fmt.Sprintf("synthetic market, seed %d", m.seed),
			fmt.Sprintf("slates from time %d on were examined in full; before, clicks are biased by position", m.p.examinedFrom()),
		},
	}
	for i, e := range ds.Events {
		if i == 0 || e.Time < sum.FirstTime {
			sum.FirstTime = e.Time
		}
		sum.LastTime = max(sum.LastTime, e.Time)
	}
	return sum
}

// poisson draws by Knuth's product of uniforms; means are small.
func poisson(mean float64, random *rand.Rand) int {
	limit, n := math.Exp(-mean), 0
	for product := random.Float64(); product > limit; product *= random.Float64() {
		n++
	}
	return n
}
