package nextitem

import (
	"cmp"
	"context"
	"slices"

	"github.com/gr2/gr2/internal/baseline"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/sid"
	"github.com/gr2/gr2/internal/train"
)

// Fit trains a recommender on the train part of a split and keeps the weights
// with the best R@10 on the validation targets, the last ones where there are none. The test targets are not read.
// dir holds the state of the training, which a second call goes on from; progress
// may be nil.
func Fit(ctx context.Context, dir string, index *sid.Index, split *market.Split, o Options, progress func(train.Status)) (*Recommender, train.Result, error) {
	r, err := New(index, o)
	if err != nil {
		return nil, train.Result{}, err
	}
	documents := newSource(r.vocabulary, split.Train, o.History, o.Seed)
	if documents.Len() == 0 {
		return nil, train.Result{}, fault.Inputf("nextitem: no user has two training events, so there is no next item to learn")
	}
	targets := drawTargets(split.Valid, o.ValidTargets, o.Seed)
	run := train.Run{Dir: dir, Model: r.model, Source: documents, Options: o.train(), Progress: progress}
	if len(targets) > 0 {
		run.Validate = func(ctx context.Context) (train.Validation, error) {
			each, err := r.evaluate(ctx, targets, o.ValidBeam, false)
			m := baseline.Mean(each)
			return train.Validation{Score: m.R10, Metrics: map[string]float64{"R@1": m.R1, "R@5": m.R5, "R@10": m.R10, "N@10": m.N10}}, err
		}
	}
	result, err := run.Do(ctx)
	return r, result, err
}

var drawStream = rng.Key("nextitem/valid")

// drawTargets draws n targets by a hash of their users and keeps their order;
// n = 0 keeps all.
func drawTargets(targets []market.Target, n int, seed uint64) []market.Target {
	if n == 0 || len(targets) <= n {
		return targets
	}
	order := make([]int, len(targets))
	for i := range order {
		order[i] = i
	}
	hash := func(i int) uint64 {
		return rng.Hash(seed, drawStream, uint64(targets[i].User), uint64(targets[i].Time))
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(hash(a), hash(b)), a-b) })
	order = order[:n]
	slices.Sort(order)
	drawn := make([]market.Target, n)
	for i, at := range order {
		drawn[i] = targets[at]
	}
	return drawn
}
