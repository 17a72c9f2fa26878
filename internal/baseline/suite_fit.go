package baseline

import (
	"context"

	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
)

// recipe says how one kind of model is fitted, tuned and read back.
type recipe struct {
	order  string
	config func(c *Config) any // what the model depends on
	unpack func(a *artifact, log *trainLog, c Config, seed uint64) (model, error)
	// full fits on the whole log and writes what it tuned into s.cfg.
	full func(s *Suite, ctx context.Context) (model, error)
	// fold fits on part of the log with the tuned configuration.
	fold func(s *Suite, ctx context.Context, log *trainLog, fold int) (model, error)
}

var recipes = []recipe{
	{OrderKNN, func(c *Config) any { return c.KNN }, unpackKNN, (*Suite).fullKNN, (*Suite).foldKNN},
	{OrderIALS, func(c *Config) any { return c.IALS }, unpackIALS, (*Suite).fullIALS, (*Suite).foldIALS},
	{OrderBPR, func(c *Config) any { return c.BPR }, unpackBPR, (*Suite).fullBPR, (*Suite).foldBPR},
	{OrderSASRec, func(c *Config) any { return c.SASRec }, unpackSASRec, (*Suite).fullSASRec, (*Suite).foldSASRec},
}

func recipeOf(order string) recipe {
	for _, r := range recipes {
		if r.order == order {
			return r
		}
	}
	return recipe{}
}

// fitFull makes the full ranker of an order, or loads it.
func (s *Suite) fitFull(ctx context.Context, order string) error {
	switch order {
	case OrderPopularity:
		s.full[order] = fitPopularity(s.log)
		return nil
	case OrderBlend:
		return s.fitBlend()
	}
	r := recipeOf(order)
	key := s.key("full", r.config(&s.given), s.tuneKey())
	m, err := s.obtain(order, -1, key, s.log, func() (model, error) { return r.full(s, ctx) })
	if err != nil {
		return err
	}
	s.adopt(m)
	s.full[order] = m
	return nil
}

// tuneKey is what tuning depends on besides the starting configuration.
func (s *Suite) tuneKey() []any { return []any{s.given.Tune, s.given.TuneTargets, s.given.KeepSeen} }

// adopt takes over what a full model was tuned to.
func (s *Suite) adopt(m model) {
	switch m := m.(type) {
	case *itemKNN:
		s.cfg.KNN = m.cfg
	case *ials:
		s.cfg.IALS = m.cfg
	case *bpr:
		s.cfg.BPR = m.cfg
	case *sasrec:
		s.epochs = m.best
	}
}

// obtain loads the artifact under the key, or fits and saves it.
func (s *Suite) obtain(order string, fold int, key string, log *trainLog, fit func() (model, error)) (model, error) {
	name := artifactName(order, fold)
	a, err := s.store.load(name, key)
	if err != nil {
		return nil, err
	}
	if a != nil {
		s.report(Progress{Model: order, Fold: fold, Stage: "load", Done: 1, Total: 1})
		return recipeOf(order).unpack(a, log, s.cfg, s.foldSeed(fold))
	}
	m, err := fit()
	if err != nil {
		return nil, err
	}
	return m, s.store.save(name, key, m.pack())
}

// fitFold makes the ranker of an order that has not seen the users of a fold,
// or loads it.
func (s *Suite) fitFold(ctx context.Context, order string, fold int) (model, error) {
	r := recipeOf(order)
	log := s.log.without(func(user int32) bool { return s.fold(user) == fold })
	key := s.key("fold", fold, s.cfg.Slates.Folds, r.config(&s.cfg), s.epochs)
	return s.obtain(order, fold, key, log, func() (model, error) { return r.fold(s, ctx, log, fold) })
}

// foldRanker is fitFold for every order.
func (s *Suite) foldRanker(ctx context.Context, order string, fold int) (Ranker, error) {
	switch order {
	case OrderPopularity:
		return fitPopularity(s.log.without(func(user int32) bool { return s.fold(user) == fold })), nil
	case OrderBlend:
		b := &blend{cfg: s.cfg.Blend}
		for _, part := range blendParts {
			m, err := s.fitFold(ctx, part, fold)
			if err != nil {
				return nil, err
			}
			b.set(m)
		}
		return b, nil
	}
	return s.fitFold(ctx, order, fold)
}

// foldSeed keeps the random draws of the models apart.
func (s *Suite) foldSeed(fold int) uint64 {
	return rng.Hash(s.cfg.Seed, foldStream, uint64(fold+1))
}

// reporter is the done callback of an iterative fit.
func (s *Suite) reporter(ctx context.Context, order string, fold, total int) func(int) error {
	return func(done int) error {
		s.report(Progress{Model: order, Fold: fold, Stage: "fit", Done: done, Total: total})
		return ctx.Err()
	}
}

// validate measures a ranker on the targets that tune.
func (s *Suite) validate(ctx context.Context, r Ranker, done int) (float64, error) {
	m := Evaluate(r, s.valid, s.log.items, s.cfg.KeepSeen)
	s.report(Progress{Model: r.Name(), Fold: -1, Stage: "tune", Done: done, Value: m.N10})
	return m.N10, ctx.Err()
}

// tunePasses bounds the passes over a grid.
const tunePasses = 2

func (s *Suite) fullKNN(ctx context.Context) (model, error) {
	counts, tried := s.log.counts(), 0
	build := func(c KNNConfig) *itemKNN { return newItemKNN(c, countPairs(s.log, c), counts) }
	best := s.cfg.KNN
	if len(s.valid) > 0 {
		var err error
		best, err = descend(best, knnAxes(s.log.baskets), tunePasses, func(c KNNConfig) (float64, error) {
			tried++
			return s.validate(ctx, build(c), tried)
		})
		if err != nil {
			return nil, err
		}
	}
	return build(best), ctx.Err()
}

func knnAxes(baskets bool) []axis[KNNConfig] {
	sameTime := []float64{1, 1.5}
	if baskets {
		sameTime = []float64{0, .5, 1} // the target never shares its time with the history
	}
	return []axis[KNNConfig]{
		{sameTime, func(c *KNNConfig, v float64) { c.SameTime = v }},
		{[]float64{0, .1, .2, .35}, func(c *KNNConfig, v float64) { c.PopPower = v }},
		{[]float64{.2, .4, .6}, func(c *KNNConfig, v float64) { c.QueryPower = v }},
		{[]float64{.6, .7, .8, .9}, func(c *KNNConfig, v float64) { c.Decay = v }},
		{[]float64{.7, .8, .9}, func(c *KNNConfig, v float64) { c.Gap = v }},
		{[]float64{0, .2, .35}, func(c *KNNConfig, v float64) { c.Damp = v }},
	}
}

func (s *Suite) foldKNN(ctx context.Context, log *trainLog, _ int) (model, error) {
	return newItemKNN(s.cfg.KNN, countPairs(log, s.cfg.KNN), log.counts()), ctx.Err()
}

func (s *Suite) fullIALS(ctx context.Context) (model, error) {
	best, tried := s.cfg.IALS, 0
	if len(s.valid) > 0 {
		var err error
		best, err = descend(best, ialsAxes(), tunePasses, func(c IALSConfig) (float64, error) {
			m, err := fitIALS(s.log, c, s.foldSeed(-1), func(int) error { return ctx.Err() })
			if err != nil {
				return 0, err
			}
			tried++
			return s.validate(ctx, m, tried)
		})
		if err != nil {
			return nil, err
		}
	}
	return fitIALS(s.log, best, s.foldSeed(-1), s.reporter(ctx, OrderIALS, -1, best.Sweeps))
}

func ialsAxes() []axis[IALSConfig] {
	return []axis[IALSConfig]{
		{[]float64{.003, .006, .012, .05}, func(c *IALSConfig, v float64) { c.Unobserved = v }},
		{[]float64{.003, .006, .012, .024}, func(c *IALSConfig, v float64) { c.Reg = v }},
		{[]float64{.6, .7, .8, .9}, func(c *IALSConfig, v float64) { c.Decay = v }},
	}
}

func (s *Suite) foldIALS(ctx context.Context, log *trainLog, fold int) (model, error) {
	return fitIALS(log, s.cfg.IALS, s.foldSeed(fold), s.reporter(ctx, OrderIALS, fold, s.cfg.IALS.Sweeps))
}

// fullBPR tunes the fold-in only: a fit is too dear for a grid.
func (s *Suite) fullBPR(ctx context.Context) (model, error) {
	m, err := fitBPR(s.log, s.cfg.BPR, s.foldSeed(-1), s.reporter(ctx, OrderBPR, -1, s.cfg.BPR.Epochs))
	if err != nil || len(s.valid) == 0 {
		return m, err
	}
	tried := 0
	best, err := descend(m.cfg, bprAxes(), tunePasses, func(c BPRConfig) (float64, error) {
		tried++
		return s.validate(ctx, m.with(c), tried)
	})
	if err != nil {
		return nil, err
	}
	return m.with(best), nil
}

func bprAxes() []axis[BPRConfig] {
	return []axis[BPRConfig]{
		{[]float64{.0003, .001, .003, .01}, func(c *BPRConfig, v float64) { c.FoldReg = v }},
		{[]float64{.6, .7, .8, .9}, func(c *BPRConfig, v float64) { c.Decay = v }},
	}
}

func (s *Suite) foldBPR(ctx context.Context, log *trainLog, fold int) (model, error) {
	return fitBPR(log, s.cfg.BPR, s.foldSeed(fold), s.reporter(ctx, OrderBPR, fold, s.cfg.BPR.Epochs))
}

// fullSASRec stops when the validation targets have not gained for Patience
// epochs and returns the best epoch.
func (s *Suite) fullSASRec(ctx context.Context) (model, error) {
	cfg := s.cfg.SASRec
	fit := newSASRecFit(s.log, cfg, s.foldSeed(-1))
	var best *sasrec
	top, since := -1.0, 0
	for epoch := 0; epoch < cfg.Epochs && since < cfg.Patience; epoch++ {
		fit.epoch(epoch)
		if len(s.valid) == 0 {
			best = fit.snapshot(epoch + 1)
			if err := s.reporter(ctx, OrderSASRec, -1, cfg.Epochs)(epoch + 1); err != nil {
				return nil, err
			}
			continue
		}
		n10, err := s.validate(ctx, fit.model.frozen(), epoch+1)
		if err != nil {
			return nil, err
		}
		since++
		if n10 > top {
			best, top, since = fit.snapshot(epoch+1), n10, 0
		}
	}
	return best, nil
}

// foldSASRec trains for as many epochs as served the full model.
func (s *Suite) foldSASRec(ctx context.Context, log *trainLog, fold int) (model, error) {
	epochs := s.foldEpochs()
	fit := newSASRecFit(log, s.cfg.SASRec, s.foldSeed(fold))
	done := s.reporter(ctx, OrderSASRec, fold, epochs)
	for epoch := range epochs {
		fit.epoch(epoch)
		if err := done(epoch + 1); err != nil {
			return nil, err
		}
	}
	return fit.snapshot(epochs), nil
}

// fitBlend weighs its parts, which are fitted; this is cheap, so it has no
// artifact.
func (s *Suite) fitBlend() error {
	b := &blend{cfg: s.cfg.Blend}
	for _, part := range blendParts {
		b.set(s.full[part].(model))
	}
	if len(s.valid) > 0 {
		weights, m := tuneBlend(b, s.valid, s.cfg.KeepSeen)
		b.cfg, s.cfg.Blend = weights, weights
		s.report(Progress{Model: OrderBlend, Fold: -1, Stage: "tune", Done: 1, Total: 1, Value: m.N10})
	}
	s.full[OrderBlend] = b
	return nil
}

// set puts a fitted model into its place.
func (b *blend) set(m model) {
	switch m := m.(type) {
	case *sasrec:
		b.sasrec = m
	case *itemKNN:
		b.knn = m
	case *ials:
		b.ials = m
	}
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
