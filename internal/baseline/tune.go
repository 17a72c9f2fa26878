package baseline

import "context"

// validate measures a ranker on the targets that tune; total is 0 when the
// length of the search is unknown.
func (s *Suite) validate(ctx context.Context, r Ranker, done, total int) (float64, error) {
	m := Evaluate(r, s.valid, s.log.items, s.cfg.KeepSeen)
	s.report(Progress{Model: r.Name(), Fold: -1, Stage: "tune", Done: done, Total: total, Value: m.N10})
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
			return s.validate(ctx, build(c), tried, 0)
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
	fitted := map[IALSConfig]*ials{} // by configuration, but for Decay, which does not enter the fit
	build := func(c IALSConfig) (*ials, error) {
		key := c
		key.Decay = 0
		if fitted[key] == nil {
			m, err := fitIALS(s.log, c, s.foldSeed(-1), s.reporter(ctx, OrderIALS, -1, c.Sweeps))
			if err != nil {
				return nil, err
			}
			fitted[key] = m
		}
		return fitted[key].with(c), nil
	}
	best, tried := s.cfg.IALS, 0
	if len(s.valid) > 0 {
		var err error
		best, err = descend(best, ialsAxes(), tunePasses, func(c IALSConfig) (float64, error) {
			m, err := build(c)
			if err != nil {
				return 0, err
			}
			tried++
			return s.validate(ctx, m, tried, 0)
		})
		if err != nil {
			return nil, err
		}
	}
	return build(best)
}

func ialsAxes() []axis[IALSConfig] {
	return []axis[IALSConfig]{
		{[]float64{.0015, .003, .006, .012}, func(c *IALSConfig, v float64) { c.Unobserved = v }},
		{[]float64{.003, .006, .012, .024}, func(c *IALSConfig, v float64) { c.Reg = v }},
		{[]float64{.4, .5, .6, .7, .8, .9}, func(c *IALSConfig, v float64) { c.Decay = v }},
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
		return s.validate(ctx, m.with(c), tried, 0)
	})
	if err != nil {
		return nil, err
	}
	return m.with(best), nil
}

func bprAxes() []axis[BPRConfig] {
	return []axis[BPRConfig]{
		{[]float64{.0001, .0003, .001, .003}, func(c *BPRConfig, v float64) { c.FoldReg = v }},
		{[]float64{.4, .5, .6, .7, .8}, func(c *BPRConfig, v float64) { c.Decay = v }},
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
		n10, err := s.validate(ctx, fit.model.frozen(), epoch+1, cfg.Epochs)
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

// foldEpochs is how long a fold's SASRec trains.
func (s *Suite) foldEpochs() int {
	return max(1, min(s.epochs, s.cfg.SASRec.FoldEpochs))
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
