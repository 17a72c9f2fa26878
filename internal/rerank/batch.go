package rerank

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/gr2/gr2/internal/market"
)

// Batch says how RerankAll works.
type Batch struct {
	Workers  int                   // slates ranked at the same time; 0 is 1
	Progress func(done, total int) // called after each slate, never twice at a time; nil for none
	// Shown are the orders that the candidates are shown in, a permutation per
	// slate as for RerankShown; nil shows them as they stand. eval.Shuffle
	// makes such orders.
	Shown [][]int
}

// RerankAll ranks every slate. Results stand in the order of the slates and do
// not depend on Workers. It stops at the first slate, by index, that fails;
// fallbacks for other reasons are results.
func (r *Reranker) RerankAll(ctx context.Context, slates []market.Slate, b Batch) ([]Result, error) {
	if b.Shown != nil && len(b.Shown) != len(slates) {
		return nil, fmt.Errorf("rerank: %d slates and %d orders to show them in", len(slates), len(b.Shown))
	}
	results := make([]Result, len(slates))
	errs := make([]error, len(slates))
	var next atomic.Int64
	var failed atomic.Bool
	var mu sync.Mutex // guards done and Progress
	done := 0
	work := func() {
		// Indices are given out in order and what is begun is finished, so the
		// lowest failing index is always among those that ran.
		for !failed.Load() && ctx.Err() == nil {
			i := int(next.Add(1)) - 1
			if i >= len(slates) {
				return
			}
			var shown []int
			if b.Shown != nil {
				shown = b.Shown[i]
			}
			results[i], errs[i] = r.RerankShown(ctx, &slates[i], shown)
			if errs[i] != nil {
				failed.Store(true)
			}
			mu.Lock()
			done++
			if b.Progress != nil {
				b.Progress(done, len(slates))
			}
			mu.Unlock()
		}
	}
	var workers sync.WaitGroup
	for range max(b.Workers, 1) {
		workers.Go(work)
	}
	workers.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return results, nil
}
