package baseline

import "github.com/gr2/gr2/internal/market"

// popularity ranks by the number of training events, for everybody alike.
type popularity struct {
	prior []float32 // log-probability of each item
}

func fitPopularity(log *trainLog) *popularity {
	return &popularity{prior: logPopularity(log.counts())}
}

func (p *popularity) Name() string { return OrderPopularity }

func (p *popularity) Scores(_ []market.Visit, _ int64, dst []float32) { copy(dst, p.prior) }
