package infer_test

import (
	"math"
	"testing"

	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/rng"
)

// TestInt8IsClose: rounding weights and activations moves the logits a little.
// These models are narrow and their weights large: wider ones do better.
func TestInt8IsClose(t *testing.T) {
	best := kernel.Active()
	defer kernel.Use(best)
	for name, cfg := range configs {
		m := newModel(t, cfg)
		ids := tokens(cfg, 90, 1)
		want := reference(m, ids)
		for _, variant := range kernel.Available() {
			if err := kernel.Use(variant); err != nil {
				t.Fatal(err)
			}
			s := newInt8Engine(t, m).NewSession()
			var off, size float64
			for i := range ids {
				got := feed(t, s, ids[i:i+1])
				for j, w := range want[i] {
					d := float64(got[j]) - w
					off, size = off+d*d, size+w*w
				}
			}
			if rel := math.Sqrt(off / size); rel == 0 || rel > 0.05 {
				t.Errorf("%s on %s: logits are off by %.2g of their size", name, variant, rel)
			}
		}
	}
}

// TestInt8RanksAlike: on the decoder that the design measures, with weights that
// keep the size of what passes through them, orders of twenty tokens by their
// logits keep all but a few pairs, and those are close. The logits of random
// weights lie closer together than a trained model's.
func TestInt8RanksAlike(t *testing.T) {
	m := newModel(t, small)
	for _, x := range m.Tensors() {
		if len(x.Shape) == 2 { // of deviation 1/sqrt(Hidden) instead of 0.2
			for i := range x.Data {
				x.Data[i] *= 0.3125
			}
		}
	}
	exact, rounded := newEngine(t, m).NewSession(), newInt8Engine(t, m).NewSession()
	r := rng.New(1)
	var pairs, swapped, worst float64
	for _, id := range tokens(small, 60, 2) {
		want, got := feed(t, exact, []int32{id}), feed(t, rounded, []int32{id})
		spread := deviation(want)
		for range 20 {
			slate := r.Perm(len(want))[:20]
			for i, a := range slate {
				for _, b := range slate[:i] {
					pairs++
					if apart := float64(want[a] - want[b]); apart*float64(got[a]-got[b]) < 0 {
						swapped++
						worst = max(worst, math.Abs(apart)/spread)
					}
				}
			}
		}
	}
	t.Logf("%.2f%% of %g pairs swapped, the widest %.2g deviations of the logits apart", 100*swapped/pairs, pairs, worst)
	if swapped > 0.025*pairs || worst > 0.4 {
		t.Errorf("%.2f%% of pairs swapped, the widest %.2g deviations of the logits apart", 100*swapped/pairs, worst)
	}
}

func deviation(x []float32) float64 {
	var sum, squares float64
	for _, v := range x {
		sum, squares = sum+float64(v), squares+float64(v)*float64(v)
	}
	n := float64(len(x))
	return math.Sqrt(squares/n - sum*sum/n/n)
}
