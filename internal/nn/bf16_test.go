package nn

import (
	"math"
	"testing"

	"github.com/gr2/gr2/internal/lm"
)

// TestBF16IsClose: with rounded operands the loss differs by no more than the
// rounding explains, the gradient keeps its direction, and neither is the same.
func TestBF16IsClose(t *testing.T) {
	m := mustModel(t, smallConfig(lm.Llama))
	b := packed(m.Config.VocabSize, []int{100, 60, 40}, 1)
	step := func(narrow bool) (float64, []float32) {
		d, tape := NewDecoder(m), NewTape()
		tape.BF16 = narrow
		out := d.Loss(tape, b, 200)
		tape.Backward(out)
		var all []float32
		for _, p := range d.Params() {
			all = append(all, p.Grad...)
		}
		return float64(out.Value[0]), all
	}
	exact, g := step(false)
	rounded, h := step(true)
	if off := math.Abs(rounded-exact) / exact; off == 0 || off > 2e-3 {
		t.Errorf("the loss is %g with bfloat16 and %g without", rounded, exact)
	}
	var dot, gg, hh float64
	for i := range g {
		x, y := float64(g[i]), float64(h[i])
		dot, gg, hh = dot+x*y, gg+x*x, hh+y*y
	}
	if cos := dot / math.Sqrt(gg*hh); cos < 0.999 || cos == 1 {
		t.Errorf("the cosine between the gradients is %g", cos)
	}
}
