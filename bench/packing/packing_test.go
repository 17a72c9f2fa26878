package packing

import (
	"math"
	"testing"

	"github.com/gr2/gr2/bench/reference"
	"github.com/gr2/gr2/internal/nn"
)

// Both batches have the same loss and, in float32, the same gradients.
func TestSharingChangesNothing(t *testing.T) {
	g := group{Prompt: 40, Rollouts: 3, Length: 7}
	run := func(b *nn.Batch) (loss float32, grads []float32) {
		d, tape := nn.NewDecoder(reference.Model()), nn.NewTape()
		if err := d.Check(b); err != nil {
			t.Fatal(err)
		}
		out := d.Loss(tape, b, float32(len(b.Targets)))
		tape.Backward(out)
		for _, p := range d.Params() {
			grads = append(grads, p.Grad...)
		}
		return out.Value[0], grads
	}
	loss, grads := run(g.shared())
	lossApart, gradsApart := run(g.unshared())
	var diff, norm float64
	for i := range grads {
		diff += math.Pow(float64(grads[i]-gradsApart[i]), 2)
		norm += math.Pow(float64(gradsApart[i]), 2)
	}
	if math.Abs(float64(loss-lossApart)) > 1e-5 || diff > 1e-9*norm || norm == 0 {
		t.Errorf("loss %v, apart %v; gradients differ by %g of %g", loss, lossApart, math.Sqrt(diff), math.Sqrt(norm))
	}
}
