package nn

import (
	"math"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/rng"
)

// masked gives about two thirds of the targets of a batch a list of allowed
// tokens: the target and some others, in no order.
func masked(b *Batch, vocab int) *Batch {
	r := rng.New(4, rng.Key("masked"))
	b.Allowed = make([][]int32, len(b.Tokens))
	for i, target := range b.Targets {
		if target < 0 || r.IntN(3) == 0 {
			continue
		}
		list := []int32{target}
		for _, token := range r.Perm(vocab)[:r.IntN(min(vocab, 70))] {
			if int32(token) != target {
				list = append(list, int32(token))
			}
		}
		r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		b.Allowed[i] = list
	}
	return b
}

// naiveLogProbs asks the unmasked model for every token of the vocabulary and
// renormalises over those allowed, as decoding under a grammar does.
func naiveLogProbs(d *Decoder, b *Batch, vocab int) []float32 {
	tape := NewTape()
	every := make([][]float32, vocab)
	ask := &Batch{Tokens: b.Tokens, Pos: b.Pos, Docs: b.Docs, Weights: b.Weights, Targets: make([]int32, len(b.Tokens))}
	for token := range every {
		for i := range ask.Targets {
			ask.Targets[i] = int32(token)
		}
		tape.Reset()
		every[token] = slices.Clone(d.LogProbs(tape, ask))
	}
	out := make([]float32, len(b.Tokens))
	for i, target := range b.Targets {
		if target < 0 {
			continue
		}
		sum := 0.0
		for token := range every {
			if len(b.Allowed[i]) == 0 || slices.Contains(b.Allowed[i], int32(token)) {
				sum += math.Exp(float64(every[token][i]))
			}
		}
		out[i] = every[target][i] - float32(math.Log(sum))
	}
	return out
}

// TestAllowedIsTheDecodedDistribution: with allowed tokens, log-probabilities
// and loss are those of the distribution that a grammar leaves.
func TestAllowedIsTheDecodedDistribution(t *testing.T) {
	cfg := smallConfig(lm.Qwen3)
	m := mustModel(t, cfg)
	sharpen(m)
	d, tape := NewDecoder(m), NewTape()
	b := masked(packed(cfg.VocabSize, []int{9, 30, 14}, 0.6), cfg.VocabSize)
	if err := d.Check(b); err != nil {
		t.Fatal(err)
	}
	want := naiveLogProbs(d, b, cfg.VocabSize)
	near(t, "log-probs", d.LogProbs(tape, b), want, 1e-4)
	const norm = 17
	sum := 0.0
	for i, w := range b.Weights {
		sum -= float64(w) * float64(want[i])
	}
	chunks := defaultLimits
	chunks.chunk, chunks.kept = 4*cfg.VocabSize, 0
	for name, l := range map[string]limits{"kept": defaultLimits, "in chunks": chunks} {
		tape.Reset()
		tape.limits = l
		near(t, name+": loss", d.Loss(tape, b, norm).Value, []float32{float32(sum / norm)}, 1e-4)
	}
	tape.Reset()
	unmasked := *b
	unmasked.Allowed = nil
	if free := d.Loss(tape, &unmasked, norm).Value[0]; !(free > float32(sum/norm)+0.1) {
		t.Errorf("loss %g without the grammar and %g with it: this test sees nothing", free, sum/norm)
	}
}

// sharpen makes random weights opinionated.
func sharpen(m *lm.Model) {
	for _, x := range m.Tensors() {
		if len(x.Shape) == 2 {
			for i := range x.Data {
				x.Data[i] *= 10
			}
		}
	}
}

// TestSingleAllowedTokenTeachesNothing: a forced token has probability 1.
func TestSingleAllowedTokenTeachesNothing(t *testing.T) {
	x, w := NewParam("x", 2, 3), NewParam("w", 5, 3)
	for i := range x.Value {
		x.Value[i] = float32(i) - 2
	}
	for i := range w.Value {
		w.Value[i] = float32(i%4) - 1.5
	}
	tape := NewTape()
	loss := tape.LinearCrossEntropy(tape.Leaf(x), w, []int32{3, 0}, [][]int32{{3}, {0}}, []float32{1, 2}, 1)
	tape.Backward(loss)
	if loss.Value[0] != 0 || !slices.Equal(x.Grad, make([]float32, 6)) || !slices.Equal(w.Grad, make([]float32, 15)) {
		t.Errorf("loss %g, gradients %v and %v, want 0", loss.Value[0], x.Grad, w.Grad)
	}
}

// TestTwoLossesOnOneTape: lists taken for the first loss survive the second,
// and the gradient of the sum is the sum of gradients.
func TestTwoLossesOnOneTape(t *testing.T) {
	cfg := smallConfig(lm.Llama)
	a := masked(packed(cfg.VocabSize, []int{5, 6}, 0.9), cfg.VocabSize)
	b := masked(packed(cfg.VocabSize, []int{60, 70, 7}, 0.9), cfg.VocabSize)
	m := mustModel(t, cfg)
	loss, want := gradients(m, 10, a, b)

	d, tape := NewDecoder(mustModel(t, cfg)), NewTape()
	// The second pass finds room for both; the third asks for the lists again
	// in its backward pass.
	for _, kept := range []int{defaultLimits.kept, defaultLimits.kept, 0} {
		tape.limits.kept = kept
		for _, p := range d.Params() {
			clear(p.Grad)
		}
		tape.Reset()
		sum := tape.Add(d.Loss(tape, a, 10), d.Loss(tape, b, 10))
		tape.Backward(sum)
		near(t, "loss", sum.Value, []float32{float32(loss)}, 1e-6)
		for i, p := range d.Params() {
			near(t, p.Name, p.Grad, want[i], 1e-5)
		}
	}
}

// TestFewAllowedTokens: where rows allow a few tokens among many, loss, gradients
// and entropy are those of the whole vocabulary with the others masked, and a target
// that is not allowed has probability 0.
func TestFewAllowedTokens(t *testing.T) {
	const rows, cols, vocab = 9, 8, 60
	r := rng.New(5)
	x, w := NewParam("x", rows, cols), NewParam("w", vocab, cols)
	for _, p := range []*Param{x, w} {
		for i := range p.Value {
			p.Value[i] = float32(r.NormFloat64())
		}
	}
	w.TrainFrom = 3
	var targets []int32
	var allowed [][]int32
	weights := make([]float32, rows)
	for i := range rows {
		list := []int32{int32(i % 4), int32(5 + i%3), 20, int32(40 + i)}
		allowed, targets, weights[i] = append(allowed, list), append(targets, list[i%4]), float32(i)/4
	}
	learn := func(allowed [][]int32, targets []int32, weights []float32) (float32, []float32, []float32) {
		clear(x.Grad)
		clear(w.Grad)
		tape := dirtyTape()
		loss := tape.LinearCrossEntropy(tape.Leaf(x), w, targets, allowed, weights, 3)
		tape.Backward(loss)
		return loss.Value[0], slices.Clone(x.Grad), slices.Clone(w.Grad)
	}
	few, fewX, fewW := learn(allowed, targets, weights)
	// A tenth row that allows everything and weighs nothing keeps the vocabulary whole.
	x.Rows, x.Value, x.Grad = rows+1, append(x.Value, make([]float32, cols)...), append(x.Grad, make([]float32, cols)...)
	all, allX, allW := learn(append(slices.Clone(allowed), nil), append(slices.Clone(targets), 0), append(slices.Clone(weights), 0))
	near(t, "loss", []float32{few}, []float32{all}, 1e-6)
	near(t, "gradient of x", fewX, allX[:rows*cols], 1e-5)
	near(t, "gradient of w", fewW, allW, 1e-5)
	if !slices.Equal(fewW[:3*cols], make([]float32, 3*cols)) {
		t.Error("rows that are not trained have a gradient")
	}
	tape := NewTape()
	if p := tape.LinearLogProbs(tape.Leaf(x), w, append(slices.Clone(targets), 59), append(slices.Clone(allowed), []int32{1, 2}), 1)[rows]; !math.IsInf(float64(p), -1) {
		t.Errorf("a target that is not allowed has log-probability %g", p)
	}
}
