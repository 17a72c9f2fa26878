package train

import (
	"math"
	"testing"
)

func TestRateRisesThenFallsToTheFloor(t *testing.T) {
	o := Schedule{LR: 2, Floor: 0.1, Warmup: 0.2}
	for done, want := range map[float64]float64{0: 0, 0.1: 1, 0.2: 2, 0.6: 1.1, 1: 0.2} {
		if got := o.Rate(done); math.Abs(got-want) > 1e-12 {
			t.Errorf("rate at %g is %g, want %g", done, got, want)
		}
	}
	if got := (Schedule{LR: 2}).Rate(0); got != 2 {
		t.Errorf("without warm-up the rate begins at %g, want 2", got)
	}
}
