package baseline

import (
	"context"

	"github.com/gr2/gr2/internal/rng"
)

// recipe says how one kind of model is fitted, tuned and read back.
type recipe struct {
	order  string
	config func(c *Config) any // the model's part
	unpack func(a *artifact, log *trainLog, c Config, seed uint64) (model, error)
	// full fits on the whole log; the model carries what it was tuned to.
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
// or loads it. It is kept: the blend needs the same models as its parts.
func (s *Suite) fitFold(ctx context.Context, order string, fold int) (model, error) {
	name := artifactName(order, fold)
	if m := s.folds[name]; m != nil {
		return m, nil
	}
	r := recipeOf(order)
	log := s.log.without(func(user int32) bool { return s.fold(user) == fold })
	epochs := 0
	if order == OrderSASRec {
		epochs = s.foldEpochs()
	}
	key := s.key("fold", fold, s.cfg.Slates.Folds, r.config(&s.cfg), epochs)
	m, err := s.obtain(order, fold, key, log, func() (model, error) { return r.fold(s, ctx, log, fold) })
	if err != nil {
		return nil, err
	}
	s.folds[name] = m
	return m, nil
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
