package synth_test

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/gr2/gr2/internal/market"
)

// linear is a pointwise logistic model on what a re-ranker may see: the
// incoming place, titles, brands, types and counts over strictly earlier
// events. It shows that the ceiling can be approached from observations.
type linear struct{ weight [observables]float64 }

const observables = 11

// observer streams events in time order and turns slates into features.
type observer struct {
	ds     *market.Dataset
	events []market.Event // by time
	next   int
	pop    map[int32]float64
	pairs  map[[2]int32]float64  // directed, damped by the gap
	kinds  map[[2]string]float64 // transitions of types
	from   map[string]float64
	recent map[int32][]int32 // last items of a user
	words  [][]string        // of each title
}

func newObserver(ds *market.Dataset) *observer {
	o := &observer{
		ds: ds, events: slices.Clone(ds.Events),
		pop: map[int32]float64{}, pairs: map[[2]int32]float64{}, kinds: map[[2]string]float64{},
		from: map[string]float64{}, recent: map[int32][]int32{},
	}
	for i := range ds.Catalog.Items {
		o.words = append(o.words, strings.Fields(ds.Catalog.Items[i].Title))
	}
	slices.SortStableFunc(o.events, func(a, b market.Event) int { return cmp.Compare(a.Time, b.Time) })
	return o
}

func (o *observer) advance(until int64) {
	for ; o.next < len(o.events) && o.events[o.next].Time < until; o.next++ {
		e := o.events[o.next]
		o.pop[e.Item]++
		past := o.recent[e.User]
		for gap, i := 1, len(past)-1; i >= 0 && gap <= 4; gap, i = gap+1, i-1 {
			o.pairs[[2]int32{past[i], e.Item}] += 1 / float64(gap)
			o.kinds[[2]string{o.kind(past[i]), o.kind(e.Item)}] += 1 / float64(gap)
			o.from[o.kind(past[i])] += 1 / float64(gap)
		}
		o.recent[e.User] = append(past, e.Item)
	}
}

func (o *observer) kind(item int32) string { return o.ds.Catalog.Items[item].Categories[2] }

// features of candidate i; visits are the recent history, newest first.
func (o *observer) features(s *market.Slate, i int) (x [observables]float64) {
	c := s.Candidates[i].Item
	own := &o.ds.Catalog.Items[c]
	x[0] = 1
	x[1] = math.Log(float64(i + 1))
	x[2] = math.Log1p(o.pop[c])
	for gap := 0; gap < min(6, len(s.History)); gap++ {
		v := s.History[len(s.History)-1-gap].Item
		past := &o.ds.Catalog.Items[v]
		fade := 1 / float64(1+gap)
		x[3] += fade * o.pairs[[2]int32{v, c}] / math.Pow(1+o.pop[c], .5)
		x[4] += fade * o.kinds[[2]string{o.kind(v), o.kind(c)}] / (1 + o.from[o.kind(v)])
		x[5] = max(x[5], o.kinds[[2]string{o.kind(v), o.kind(c)}]/(1+o.from[o.kind(v)]))
		if past.Brand == own.Brand {
			x[6] += fade
		}
		if o.kind(v) == o.kind(c) {
			x[7] += fade
		}
		x[8] += float64(sharedWords(o.words[v], o.words[c]))
		if past.Categories[1] == own.Categories[1] {
			x[9]++
		}
	}
	last := s.History[len(s.History)-1]
	if o.kind(last.Item) != o.kind(c) {
		x[10] = x[5] * math.Exp(-float64(s.Time-last.Time)/86400/25)
	}
	x[3], x[8] = math.Log1p(x[3]), math.Log1p(x[8])
	return x
}

func sharedWords(a, b []string) int {
	n := 0
	for _, w := range a {
		if slices.Contains(b, w) {
			n++
		}
	}
	return n
}

// fit runs plain stochastic gradient steps over the rows, a few times, with
// features scaled to unit deviation.
func fit(rows [][observables]float64, clicked []bool) *linear {
	var mean, dev [observables]float64
	for _, x := range rows {
		for f := range x {
			mean[f] += x[f] / float64(len(rows))
		}
	}
	for _, x := range rows {
		for f := range x {
			dev[f] += (x[f] - mean[f]) * (x[f] - mean[f]) / float64(len(rows))
		}
	}
	var m linear
	const passes = 8
	for pass := range passes {
		rate := .02 / float64(1+pass)
		for n, x := range rows {
			z := 0.0
			for f := range x {
				x[f] /= max(math.Sqrt(dev[f]), 1e-3)
				if f == 0 {
					x[f] = 1
				}
				z += m.weight[f] * x[f]
			}
			g := -1 / (1 + math.Exp(-z))
			if clicked[n] {
				g++
			}
			for f := range x {
				m.weight[f] += rate * g * x[f]
			}
		}
	}
	for f := 1; f < observables; f++ {
		m.weight[f] /= max(math.Sqrt(dev[f]), 1e-3)
	}
	return &m
}

// linearRankings trains on the slates before cut and ranks those after.
func linearRankings(ds *market.Dataset, cut int64) [][]int {
	o := newObserver(ds)
	var rows [][observables]float64
	var clicked []bool
	var test [][][observables]float64
	for i := range ds.Slates {
		s := &ds.Slates[i]
		o.advance(s.Time)
		var slate [][observables]float64
		for c := range s.Candidates {
			slate = append(slate, o.features(s, c))
		}
		if s.Time >= cut {
			test = append(test, slate)
			continue
		}
		for c, x := range slate {
			rows, clicked = append(rows, x), append(clicked, s.Grades[c] > 0)
		}
	}
	m := fit(rows, clicked)
	rankings := make([][]int, len(test))
	for i, slate := range test {
		score := make([]float64, len(slate))
		order := make([]int, len(slate))
		for c, x := range slate {
			order[c] = c
			for f := range x {
				score[c] += m.weight[f] * x[f]
			}
			score[c] -= m.weight[1] * x[1] // the place was examined more or less in training; test is not
		}
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(score[b], score[a]) })
		rankings[i] = order
	}
	return rankings
}
