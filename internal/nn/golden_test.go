package nn

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/gr2/gr2/internal/lm"
)

// goldenNorm is NORM in internal/golden/generate.py.
const goldenNorm = 7

// TestDecoderMatchesTransformers compares logits, loss and every gradient with
// what PyTorch and transformers computed for checkpoints that they wrote: F32
// with Llama 3 rope scaling, F16 in shards with biases, BF16 with query and key
// norms.
func TestDecoderMatchesTransformers(t *testing.T) {
	for _, name := range []string{"llama", "qwen2", "qwen3"} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join("..", "golden", name)
			m, err := lm.Load(os.DirFS(dir))
			if err != nil {
				t.Fatal(err)
			}
			golden := readGolden(t, filepath.Join(dir, "golden.safetensors"))
			b := goldenBatch(golden)
			d, tape := NewDecoder(m), NewTape()
			if err := d.Check(b); err != nil {
				t.Fatal(err)
			}
			every := make([]int32, len(b.Tokens))
			for i := range every {
				every[i] = int32(i)
			}
			h, _ := d.hidden(tape, b, every, nil)
			near(t, "logits", tape.Linear(h, d.head, nil).Value, golden["logits"], 1e-5)

			tape.Reset()
			loss := d.Loss(tape, b, goldenNorm)
			near(t, "loss", loss.Value, golden["loss"], 1e-5)
			tape.Backward(loss)
			for _, p := range d.Params() {
				near(t, p.Name, p.Grad, golden["grad."+p.Name], 2e-5)
			}
		})
	}
}

func readGolden(t *testing.T, path string) map[string][]float32 {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tensors, err := lm.ReadSafetensors(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	golden := map[string][]float32{}
	for _, tensor := range tensors {
		golden[tensor.Name] = tensor.Data
	}
	return golden
}

// goldenBatch predicts each token but the first.
func goldenBatch(golden map[string][]float32) *Batch {
	b := &Batch{Docs: []int32{0}}
	tokens := golden["tokens"]
	for i, token := range tokens {
		b.Tokens = append(b.Tokens, int32(token))
		b.Pos = append(b.Pos, int32(i))
		target, weight := int32(-1), float32(0)
		if i+1 < len(tokens) {
			target, weight = int32(tokens[i+1]), golden["weights"][i]
		}
		b.Targets = append(b.Targets, target)
		b.Weights = append(b.Weights, weight)
	}
	return b
}

// near fails when an element differs from want by more than tolerance times
// the largest magnitude in want (or 1e-3, if that is more).
func near(t *testing.T, what string, have, want []float32, tolerance float64) {
	t.Helper()
	if len(have) != len(want) || len(want) == 0 {
		t.Fatalf("%s: %d elements, want %d", what, len(have), len(want))
	}
	scale, worst, at := 1e-3, 0.0, 0
	for i := range want {
		scale = max(scale, math.Abs(float64(want[i])))
		if d := math.Abs(float64(have[i]) - float64(want[i])); !(d <= worst) {
			worst, at = d, i
		}
	}
	if !(worst <= tolerance*scale) {
		t.Errorf("%s: element %d of %d is %g, want %g (off by %.2g of the largest, allowed %.2g)",
			what, at, len(want), have[at], want[at], worst/scale, tolerance)
	}
}
