package rqvae

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/lm"
)

// TestLossMatchesPyTorch compares every term of the loss, and the gradient of
// every parameter, with PyTorch's: see internal/golden/rqvae/generate.py. The
// gradient through the codes is no derivative of the loss (straight through), so
// that finite differences cannot tell it.
func TestLossMatchesPyTorch(t *testing.T) {
	golden := readGolden(t)
	x := golden["x"]
	emb := embed.Matrix{Rows: x.Shape[0], Cols: x.Shape[1], Data: x.Data}
	opt := Options{Levels: 2, Width: 4, Hidden: []int{6}, Latent: 4, Beta: 0.25, Diversity: 0.7, Contrastive: 1.3, Temperature: 0.4}
	tr, err := newTrainer(emb, [][2]int32{{0, 3}}, opt.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	params := append(tr.encoder.params(), tr.decoder.params()...)
	for _, b := range tr.books {
		params = append(params, b.codes)
	}
	for _, p := range params {
		if copy(p.Value, golden[p.Name].Data) != len(p.Value) {
			t.Fatalf("%s has another size", p.Name)
		}
	}
	for _, item := range golden["pairs"].Data {
		tr.items = append(tr.items, int32(item))
	}
	total, terms := tr.lossOf([]int{0, 1, 2, 3, 4, 5, 6})
	terms.contrastive = tr.infoNCE()
	total = tr.tape.Add(total, tr.tape.Scale(terms.contrastive, float32(opt.Contrastive)))
	tr.tape.Backward(total)

	loss := terms.read()
	for name, have := range map[string]float64{
		"loss": float64(total.Value[0]), "loss.reconstruction": loss.Reconstruction, "loss.codebook": loss.Codebook,
		"loss.commitment": loss.Commitment, "loss.diversity": loss.Diversity, "loss.contrastive": loss.Contrastive,
	} {
		near(t, name, []float32{float32(have)}, golden[name].Data)
	}
	for _, p := range params {
		near(t, "gradient of "+p.Name, p.Grad, golden["grad."+p.Name].Data)
	}
}

func readGolden(t *testing.T) map[string]*lm.Tensor {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "golden", "rqvae", "golden.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	tensors, err := lm.ReadSafetensors(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	golden := map[string]*lm.Tensor{}
	for _, tensor := range tensors {
		golden[tensor.Name] = tensor
	}
	return golden
}

// near compares with an error of 1e-5 of the largest number.
func near(t *testing.T, name string, have, want []float32) {
	t.Helper()
	if len(have) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", name, len(have), len(want))
	}
	scale := 0.0
	for _, w := range want {
		scale = max(scale, math.Abs(float64(w)))
	}
	for i, w := range want {
		if !(math.Abs(float64(have[i]-w)) <= 1e-5*scale) {
			t.Errorf("%s[%d] is %v, want %v", name, i, have[i], w)
		}
	}
}
