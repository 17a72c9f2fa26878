package nn

import (
	"slices"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/lm"
)

// earlyGradients is gradients with early targets read after one layer.
func earlyGradients(t *testing.T, m *lm.Model, b *Batch) (loss float64, grads [][]float32) {
	t.Helper()
	d, tape := NewDecoder(m), NewTape()
	if err := d.ReadEarly(1); err != nil {
		t.Fatal(err)
	}
	if err := d.Check(b); err != nil {
		t.Fatal(err)
	}
	l := d.Loss(tape, b, 50)
	tape.Backward(l)
	for _, p := range d.Params() {
		grads = append(grads, p.Grad)
	}
	return float64(l.Value[0]), grads
}

// marked is the batch with some targets early, and with only these or only the
// others counting.
func marked(b *Batch) (mixed, early, late *Batch) {
	parts := [3]Batch{*b, *b, *b}
	marks := make([]bool, len(b.Tokens))
	parts[1].Weights, parts[2].Weights = slices.Clone(b.Weights), slices.Clone(b.Weights)
	for i := range marks {
		if marks[i] = i%3 == 0; marks[i] {
			parts[2].Weights[i] = 0
		} else {
			parts[1].Weights[i] = 0
		}
	}
	for i := range parts {
		parts[i].Early = marks
	}
	return &parts[0], &parts[1], &parts[2]
}

// Targets read after one layer are those of the model that has no other, and a
// mixed batch is the sum of its parts.
func TestEarlyTargetsAreThoseOfAShorterModel(t *testing.T) {
	for _, architecture := range []string{lm.Llama, lm.Qwen2, lm.Qwen3} {
		m := mustModel(t, smallConfig(architecture))
		mixed, early, late := marked(packed(m.Config.VocabSize, []int{5, 33, 1, 70}, 0.6))

		short := *m
		short.Config.Layers, short.Layers = 1, m.Layers[:1]
		wantLoss, want := gradients(&short, 50, early)
		loss, grads := earlyGradients(t, m, early)
		near(t, architecture+" early loss", []float32{float32(loss)}, []float32{float32(wantLoss)}, 1e-6)
		byName := map[string][]float32{}
		for i, tensor := range short.Tensors() {
			byName[tensor.Name] = want[i]
		}
		for i, tensor := range m.Tensors() {
			if w, has := byName[tensor.Name]; has {
				near(t, architecture+" "+tensor.Name, grads[i], w, 1e-6)
			} else if slices.ContainsFunc(grads[i], func(g float32) bool { return g != 0 }) {
				t.Errorf("%s: early targets reach %s, which lies above", architecture, tensor.Name)
			}
		}

		lateLoss, lateGrads := gradients(m, 50, late)
		mixedLoss, mixedGrads := earlyGradients(t, m, mixed)
		near(t, architecture+" mixed loss", []float32{float32(mixedLoss)}, []float32{float32(loss + lateLoss)}, 1e-6)
		for i, tensor := range m.Tensors() {
			for j := range lateGrads[i] {
				lateGrads[i][j] += grads[i][j]
			}
			near(t, architecture+" mixed "+tensor.Name, mixedGrads[i], lateGrads[i], 1e-5)
		}
	}
}

func TestEarlyLogProbs(t *testing.T) {
	m := mustModel(t, smallConfig(lm.Llama))
	mixed, _, _ := marked(packed(m.Config.VocabSize, []int{5, 33, 70}, 1))
	d, tape := NewDecoder(m), NewTape()
	if err := d.ReadEarly(1); err != nil {
		t.Fatal(err)
	}
	got := slices.Clone(d.LogProbs(tape, mixed))
	short := *m
	short.Config.Layers, short.Layers = 1, m.Layers[:1]
	tape.Reset()
	want := slices.Clone(NewDecoder(m).LogProbs(tape, mixed)) // read at the end: ReadEarly was not called
	tape.Reset()
	below := NewDecoder(&short).LogProbs(tape, mixed)
	for i, early := range mixed.Early {
		if early {
			want[i] = below[i]
		}
	}
	near(t, "log-probs", got, want, 1e-6)
}

func TestReadEarlyRefusesDepthsThatAreNotThere(t *testing.T) {
	d := NewDecoder(mustModel(t, smallConfig(lm.Llama)))
	for _, layers := range []int{-1, 2, 7} {
		if err := d.ReadEarly(layers); err == nil || !strings.Contains(err.Error(), "give 1 to 1") {
			t.Errorf("%d of 2 layers: %v", layers, err)
		}
	}
	b := packed(50, []int{5}, 1)
	b.Early = make([]bool, 4)
	if err := d.Check(b); err == nil || !strings.Contains(err.Error(), "early marks") {
		t.Errorf("too few marks: %v", err)
	}
}

// Recomputing layers changes nothing about early targets either.
func TestEarlyTargetsOfRecomputedLayers(t *testing.T) {
	cfg := smallConfig(lm.Qwen3)
	cfg.Layers = 3
	m := mustModel(t, cfg)
	mixed, _, _ := marked(packed(cfg.VocabSize, []int{5, 33, 70}, 0.6))
	var losses [2]float32
	var grads [2][][]float32
	for i, recompute := range []bool{false, true} {
		d, tape := NewDecoder(m), NewTape()
		if err := d.ReadEarly(2); err != nil {
			t.Fatal(err)
		}
		d.Recompute = recompute
		l := d.Loss(tape, mixed, 50)
		tape.Backward(l)
		losses[i] = l.Value[0]
		for _, p := range d.Params() {
			grads[i] = append(grads[i], p.Grad)
		}
	}
	if losses[0] != losses[1] {
		t.Errorf("loss %g, recomputed %g", losses[0], losses[1])
	}
	for i, tensor := range m.Tensors() {
		if !slices.Equal(grads[0][i], grads[1][i]) {
			t.Errorf("the gradient of %s differs", tensor.Name)
		}
	}
}
