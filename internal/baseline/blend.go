package baseline

import (
	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/market"
)

// BlendConfig holds the weights of the blend
//
//	SASRec logit + KNN * log item-kNN + IALS * iALS score
type BlendConfig struct {
	KNN  float64 `json:"knn"`  // default 1.7
	IALS float64 `json:"ials"` // default 3
}

// blend is the best cheap order: three rankers that err differently.
type blend struct {
	cfg    BlendConfig
	sasrec *sasrec
	knn    *itemKNN
	ials   *ials
}

func (b *blend) Name() string { return OrderBlend }

func (b *blend) Scores(history []market.Visit, now int64, dst []float32) {
	scoreOne(b, history, now, dst)
}

func (b *blend) scoreBatch(queries []Query, dst []float32) {
	b.sasrec.scoreBatch(queries, dst)
	part := make([]float32, len(dst))
	b.knn.scoreBatch(queries, part)
	kernel.Axpy(float32(b.cfg.KNN), part, dst)
	b.ials.scoreBatch(queries, part)
	kernel.Axpy(float32(b.cfg.IALS), part, dst)
}

// tuneBlend chooses the weights by N@10 over the whole grid, scoring each
// target once.
func tuneBlend(b *blend, targets []market.Target, keepSeen bool) (BlendConfig, Measures) {
	grid := blendGrid()
	n := len(b.sasrec.prior)
	queries := queriesOf(targets)
	sums := make([][]Measures, len(grid))
	for g := range sums {
		sums[g] = make([]Measures, len(targets))
	}
	chunk := max(1, min(batchElements/n, 128))
	var parts [3][]float32
	for i := range parts {
		parts[i] = make([]float32, chunk*n)
	}
	for from := 0; from < len(targets); from += chunk {
		part := queries[from:min(from+chunk, len(queries))]
		for i, r := range []batchRanker{b.sasrec, b.knn, b.ials} {
			r.scoreBatch(part, parts[i][:len(part)*n])
		}
		kernel.Parallel(len(part), func(i int) {
			row := make([]float32, n)
			t := targets[from+i]
			for g, w := range grid {
				copy(row, parts[0][i*n:(i+1)*n])
				kernel.Axpy(float32(w.KNN), parts[1][i*n:(i+1)*n], row)
				kernel.Axpy(float32(w.IALS), parts[2][i*n:(i+1)*n], row)
				if !keepSeen {
					maskSeen(row, t.History)
				}
				sums[g][from+i] = measure(row, t.Items)
			}
		})
	}
	best, top := 0, Measures{N10: -1}
	for g := range grid {
		if m := Mean(sums[g]); m.N10 > top.N10 {
			best, top = g, m
		}
	}
	return grid[best], top
}

func blendGrid() []BlendConfig {
	var grid []BlendConfig
	for _, knn := range []float64{0, .4, .8, 1.2, 1.7, 2.4, 3.4} {
		for _, ials := range []float64{0, 1, 2, 3, 4.5, 7} {
			grid = append(grid, BlendConfig{KNN: knn, IALS: ials})
		}
	}
	return grid
}
