package baseline

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
)

// SlateSet is one incoming order cut into slates.
type SlateSet struct {
	Order string
	Train Part // cross-fitted
	Valid Part
	Test  Part
}

// Part holds the slates whose top K hold a target. A slate without one can not
// be changed for the better or worse by re-ranking, so it is only counted.
type Part struct {
	Slates    []market.Slate
	Positives []int    // target items of each slate's event, also those not retrieved
	Events    int      // requests in all: the denominator of end-to-end metrics
	Full      Measures // of the order over the whole catalog, over all requests
}

// BuildSlates cuts the slates of an order. A candidate's score is its
// log-probability under a softmax over the items that may be ranked.
func (s *Suite) BuildSlates(ctx context.Context, order string) (*SlateSet, error) {
	r, err := s.Ranker(order)
	if err != nil {
		return nil, err
	}
	if s.split.Protocol == market.ProtocolLogged {
		return nil, fault.Usagef("a split of logged impressions brings its own slates: use them, or split by leave-one-out or time")
	}
	set := &SlateSet{Order: order}
	if set.Train, err = s.crossFit(ctx, order); err != nil {
		return nil, err
	}
	set.Valid = s.cut(order+"/valid", r, s.split.Valid)
	s.report(Progress{Model: order, Fold: -1, Stage: "slates", Done: 1, Total: 2, Value: set.Valid.Full.N10})
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	set.Test = s.cut(order+"/test", r, s.split.Test)
	s.report(Progress{Model: order, Fold: -1, Stage: "slates", Done: 2, Total: 2})
	return set, ctx.Err()
}

// crossFit cuts the training slates: each fold's by models without its users.
func (s *Suite) crossFit(ctx context.Context, order string) (Part, error) {
	var all Part
	var each []Measures
	for fold := range s.cfg.Slates.Folds {
		r, err := s.foldRanker(ctx, order, fold)
		if err != nil {
			return Part{}, err
		}
		part, measures := s.cutEach(order+"/train", r, s.requests(fold))
		all.Slates = append(all.Slates, part.Slates...)
		all.Positives = append(all.Positives, part.Positives...)
		each = append(each, measures...)
		s.report(Progress{Model: order, Fold: fold, Stage: "slates", Done: fold + 1, Total: s.cfg.Slates.Folds, Value: Mean(measures).N10})
		if err := ctx.Err(); err != nil {
			return Part{}, err
		}
	}
	all.Events, all.Full = len(each), Mean(each)
	all.sort()
	return all, nil
}

// sort orders slates by user and time, whatever fold they came from.
func (p *Part) sort() {
	index := make([]int, len(p.Slates))
	for i := range index {
		index[i] = i
	}
	slices.SortStableFunc(index, func(a, b int) int {
		x, y := &p.Slates[a], &p.Slates[b]
		return cmp.Or(cmp.Compare(x.User, y.User), cmp.Compare(len(x.History), len(y.History)))
	})
	slates, positives := make([]market.Slate, len(index)), make([]int, len(index))
	for to, from := range index {
		slates[to], positives[to] = p.Slates[from], p.Positives[from]
	}
	p.Slates, p.Positives = slates, positives
}

func (s *Suite) cut(label string, r Ranker, targets []market.Target) Part {
	part, each := s.cutEach(label, r, targets)
	part.Events, part.Full = len(each), Mean(each)
	return part
}

// cutEach ranks the catalog for each target and keeps the top K that hold one.
func (s *Suite) cutEach(label string, r Ranker, targets []market.Target) (Part, []Measures) {
	each := make([]Measures, len(targets))
	made := make([]*market.Slate, len(targets))
	EachScored(r, queriesOf(targets), s.log.items, func(i int, row []float32) {
		t := targets[i]
		if !s.cfg.KeepSeen {
			maskSeen(row, t.History)
		}
		each[i] = measure(row, t.Items)
		made[i] = s.slate(label, t, row)
	})
	var part Part
	for i, slate := range made {
		if slate != nil {
			part.Slates = append(part.Slates, *slate)
			part.Positives = append(part.Positives, len(targets[i].Items))
		}
	}
	return part, each
}

// slate is the top K of a scored and masked row, nil when no target is in it.
func (s *Suite) slate(label string, t market.Target, row []float32) *market.Slate {
	top := topK(row, s.cfg.Slates.K, s.ties)
	grades := make([]uint8, len(top))
	hit := false
	for i, item := range top {
		if slices.Contains(t.Items, item) {
			grades[i], hit = uint8(s.cfg.Slates.Grade), true
		}
	}
	if !hit {
		return nil
	}
	norm := logNormaliser(row)
	slate := &market.Slate{
		ID:   fmt.Sprintf("%s/%s/%d", label, s.ds.Users[t.User], len(t.History)),
		User: t.User, Time: t.Time, History: t.History, Grades: grades,
	}
	for _, item := range top {
		slate.Candidates = append(slate.Candidates, market.Candidate{Item: item, Score: float32(float64(row[item]) - norm)})
	}
	return slate
}

// requests are the training events of a fold's users as targets: the last
// PrefixMax moments of each user that have MinHistory visits before them.
func (s *Suite) requests(fold int) []market.Target {
	var list []market.Target
	for i, user := range s.log.users {
		if s.fold(user) == fold {
			list = append(list, lastRequests(user, s.log.seqs[i], s.log.baskets, s.cfg.Slates)...)
		}
	}
	return list
}

// lastRequests turns the end of a training sequence into targets: its single
// events, or with baskets its moments.
func lastRequests(user int32, seq []market.Visit, baskets bool, cfg SlateConfig) []market.Target {
	var list []market.Target
	for to := len(seq); to > cfg.MinHistory && len(list) < cfg.PrefixMax; {
		from := to - 1
		for baskets && from > 0 && seq[from-1].Time == seq[from].Time {
			from--
		}
		if from < cfg.MinHistory {
			break
		}
		t := market.Target{User: user, Time: seq[from].Time, History: seq[:from:from]}
		for _, v := range seq[from:to] {
			t.Items = append(t.Items, v.Item)
		}
		slices.Sort(t.Items)
		t.Items = slices.Compact(t.Items)
		list = append(list, t)
		to = from
	}
	slices.Reverse(list)
	return list
}
