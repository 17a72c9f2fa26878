package infer_test

import (
	"math"
	"testing"

	"github.com/gr2/gr2/internal/kernel"
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
