package infer

import (
	"cmp"
	"math"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/rng"
)

// TestNucleusIsTheFewestTokens compares with sorting everything, over
// distributions from flat to peaked, with ties.
func TestNucleusIsTheFewestTokens(t *testing.T) {
	for seed := range uint64(300) {
		r := rng.New(seed)
		n, peak := 1+r.IntN(400), 6*r.Float64()
		share := min(0.999, r.Float64()*1.2)
		all := make([]float32, n)
		var mass float64
		for i := range all {
			all[i] = float32(math.Exp(math.Round(peak*r.NormFloat64()*4) / 4))
			mass += float64(all[i])
		}
		order := make([]int, n)
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(all[b], all[a]) })
		want, kept := make([]float32, n), 0.0
		for _, i := range order {
			want[i] = all[i]
			if kept += float64(all[i]); kept >= share*mass {
				break
			}
		}
		c := choice{weights: slices.Clone(all)}
		if got := c.nucleus(mass, share); got != kept || !slices.Equal(c.weights, want) {
			t.Fatalf("seed %d, share %g of %v: kept %g of mass %g, want %g", seed, share, all, got, mass, kept)
		}
	}
}
