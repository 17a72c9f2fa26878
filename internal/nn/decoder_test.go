package nn

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/rng"
)

// smallConfig has grouped queries and, by architecture, biases or head norms.
func smallConfig(architecture string) lm.Config {
	c := lm.Config{
		Architecture: architecture, VocabSize: 50, Hidden: 24, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 6,
		Intermediate: 40, MaxPositions: 256, RopeTheta: 1000, NormEps: 1e-5, TieEmbeddings: architecture != lm.Llama,
		QKNorm: architecture == lm.Qwen3, QKVBias: architecture == lm.Qwen2,
		BOS: lm.NoToken, EOS: lm.NoToken, PAD: lm.NoToken,
	}
	return c
}

// bigEnough is a model whose operations split into several tasks.
func bigEnough() lm.Config {
	c := smallConfig(lm.Qwen3)
	c.VocabSize, c.Hidden, c.HeadDim, c.Intermediate = 600, 96, 24, 200
	return c
}

func mustModel(t *testing.T, cfg lm.Config) *lm.Model {
	t.Helper()
	m, err := lm.New(cfg, 3)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// gradients is the loss of the batch and the gradient of every parameter.
func gradients(m *lm.Model, norm float32, batches ...*Batch) (loss float64, grads [][]float32) {
	d, tape := NewDecoder(m), dirtyTape()
	for _, b := range batches {
		tape.Reset()
		l := d.Loss(tape, b, norm)
		tape.Backward(l)
		loss += float64(l.Value[0])
	}
	for _, p := range d.Params() {
		grads = append(grads, p.Grad)
	}
	return loss, grads
}

// split returns each document of a batch as a batch of its own.
func split(b *Batch) []*Batch {
	var out []*Batch
	for i, lo := range b.Docs {
		hi := int32(len(b.Tokens))
		if i+1 < len(b.Docs) {
			hi = b.Docs[i+1]
		}
		out = append(out, &Batch{Tokens: b.Tokens[lo:hi], Pos: b.Pos[lo:hi], Docs: []int32{0},
			Targets: b.Targets[lo:hi], Weights: b.Weights[lo:hi]})
	}
	return out
}

// TestPackedEqualsSeparate: documents in one batch do not see each other, and
// accumulating eight batches of one gives the gradient of one batch of eight.
func TestPackedEqualsSeparate(t *testing.T) {
	for _, architecture := range []string{lm.Llama, lm.Qwen2, lm.Qwen3} {
		m := mustModel(t, smallConfig(architecture))
		b := packed(m.Config.VocabSize, []int{5, 33, 1, 120, 17, 2, 40, 9}, 0.6)
		loss, whole := gradients(m, 50, b)
		lossParts, parts := gradients(m, 50, split(b)...)
		near(t, architecture+" loss", []float32{float32(lossParts)}, []float32{float32(loss)}, 1e-6)
		for i := range whole {
			near(t, architecture+" "+m.Tensors()[i].Name, parts[i], whole[i], 1e-5)
		}

		d, tape := NewDecoder(m), NewTape()
		together := slices.Clone(d.LogProbs(tape, b))
		var alone []float32
		for _, one := range split(b) {
			tape.Reset()
			alone = append(alone, d.LogProbs(tape, one)...)
		}
		near(t, architecture+" log-probs", together, alone, 1e-6)
	}
}

// TestThreadsChangeNothing runs training steps with one and with two threads
// and compares bits.
func TestThreadsChangeNothing(t *testing.T) {
	defer kernel.SetThreads(0)
	run := func(threads int) []*lm.Tensor {
		kernel.SetThreads(threads)
		m := mustModel(t, bigEnough())
		d, tape := NewDecoder(m), NewTape()
		adam := NewAdamW(d.Params(), AdamWOptions{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1})
		b := packed(m.Config.VocabSize, []int{250, 100, 120}, 0.7)
		tree := randomForest(rng.New(3), m.Config.VocabSize, 200).shared()
		for range 2 {
			tape.Reset()
			tape.Backward(tape.Add(d.Loss(tape, b, 100), d.Loss(tape, tree, 100)))
			adam.ClippedStep(1e-3, 1)
		}
		return m.Tensors()
	}
	one, two := run(1), run(2)
	for i := range one {
		if !slices.Equal(one[i].Data, two[i].Data) {
			t.Errorf("%s differs between 1 and 2 threads", one[i].Name)
		}
	}
}

// TestSteadyStepAllocatesNothing is the promise of the arena, for losses over
// the whole vocabulary and over a slate's numbers, of packed and of shared
// documents, and for several on one tape.
func TestSteadyStepAllocatesNothing(t *testing.T) {
	m := mustModel(t, bigEnough())
	d, tape := NewDecoder(m), NewTape()
	adam := NewAdamW(d.Params(), AdamWOptions{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8})
	b, c := packed(m.Config.VocabSize, []int{200, 70, 30}, 0.7), packed(m.Config.VocabSize, []int{40, 12}, 0.7)
	c.Allowed = make([][]int32, len(c.Tokens))
	for i, target := range c.Targets {
		if target >= 0 {
			for n := range int32(50) {
				c.Allowed[i] = append(c.Allowed[i], (target+n)%int32(m.Config.VocabSize))
			}
		}
	}
	c.Early = make([]bool, len(c.Tokens))
	for i := range c.Early {
		c.Early[i] = i%3 == 0
	}
	if err := d.ReadEarly(1); err != nil {
		t.Fatal(err)
	}
	tree := randomForest(rng.New(3), m.Config.VocabSize, 120).shared()
	step := func() {
		tape.Reset()
		tape.Backward(tape.Add(tape.Add(d.Loss(tape, b, 100), d.Loss(tape, c, 100)), d.Loss(tape, tree, 100)))
		adam.ClippedStep(1e-4, 1)
		tape.Reset()
		d.LogProbs(tape, b)
		d.LogProbs(tape, c)
	}
	for _, d.Recompute = range []bool{false, true} {
		for range 3 {
			step()
		}
		if n := testing.AllocsPerRun(5, step); n != 0 {
			t.Errorf("a steady training step makes %g allocations, want 0 (recompute %t)", n, d.Recompute)
		}
	}
}

// TestLogProbsMatchReference compares with a forward pass in float64 that is
// written for reading.
func TestLogProbsMatchReference(t *testing.T) {
	for _, architecture := range []string{lm.Llama, lm.Qwen2, lm.Qwen3} {
		m := mustModel(t, smallConfig(architecture))
		for i, tensor := range m.Tensors() { // fresh norms and biases are constant: make them matter
			for j := range tensor.Data {
				tensor.Data[j] = 3*tensor.Data[j] + 0.2*float32(math.Sin(float64(i+3*j)))
			}
		}
		tree := randomForest(rng.New(4), m.Config.VocabSize, 20).shared()
		backwards := packed(m.Config.VocabSize, []int{20, 5}, 1) // as many predictions as tokens, in another order
		for i := range backwards.Tokens {
			backwards.Rows = append(backwards.Rows, int32(len(backwards.Tokens)-1-i))
			backwards.Targets[i] = max(0, backwards.Targets[i])
		}
		for _, b := range []*Batch{packed(m.Config.VocabSize, []int{20, 1, 31}, 1), tree, backwards} {
			d, tape := NewDecoder(m), NewTape()
			near(t, architecture, d.LogProbs(tape, b), float32s(referenceLogProbs(m, b)), 1e-5)
			if len(tape.ops) != 0 || tape.silent {
				t.Errorf("LogProbs left %d operations on the tape, silent %t", len(tape.ops), tape.silent)
			}
		}
	}
}

// referenceLogProbs is Llama, Qwen2 or Qwen3, one obvious step after another.
func referenceLogProbs(m *lm.Model, b *Batch) []float64 {
	c := m.Config
	data := func(t *lm.Tensor) []float64 {
		if t == nil {
			return nil
		}
		out := make([]float64, len(t.Data))
		for i, v := range t.Data {
			out[i] = float64(v)
		}
		return out
	}
	linear := func(x []float64, w, bias *lm.Tensor) []float64 {
		y := times(x, data(w), w.Shape[1])
		for i := range y {
			if bias != nil {
				y[i] += float64(bias.Data[i%w.Shape[0]])
			}
		}
		return y
	}
	norm := func(x []float64, gain *lm.Tensor) []float64 {
		if gain == nil {
			return x
		}
		return rmsNormReference(x, data(gain), c.NormEps)
	}
	angle := func(p, i int) float64 {
		return float64(p) * math.Pow(c.RopeTheta, -2*float64(i)/float64(c.HeadDim))
	}
	add := func(x, y []float64) {
		for i := range x {
			x[i] += y[i]
		}
	}
	x := lookUp(data(m.Embed), b.Tokens, c.Hidden)
	for _, l := range m.Layers {
		h := norm(x, l.AttnNorm)
		q := ropeReference(norm(linear(h, l.Q, l.QBias), l.QNorm), c.Heads, c.HeadDim, b.Pos, angle)
		k := ropeReference(norm(linear(h, l.K, l.KBias), l.KNorm), c.KVHeads, c.HeadDim, b.Pos, angle)
		v := linear(h, l.V, l.VBias)
		add(x, linear(attentionReference(q, k, v, c.Heads, c.KVHeads, c.HeadDim, b.Docs, b.Parents), l.O, nil))
		h = norm(x, l.MLPNorm)
		gate, up := linear(h, l.Gate, nil), linear(h, l.Up, nil)
		for i, g := range gate {
			up[i] *= g / (1 + math.Exp(-g))
		}
		add(x, linear(up, l.Down, nil))
	}
	logits := linear(norm(x, m.Norm), m.Head, nil)
	out := make([]float64, len(b.Targets))
	for i, target := range b.Targets {
		if target >= 0 {
			at := int(b.row(i)) * c.VocabSize
			out[i] = math.Log(softmaxReference(logits[at : at+c.VocabSize])[target])
		}
	}
	return out
}

// TestTokenWarmUp: with everything frozen but the rows of new tokens, only
// those rows get gradients and change, although the head is tied to them.
func TestTokenWarmUp(t *testing.T) {
	m := mustModel(t, smallConfig(lm.Qwen3))
	d, tape := NewDecoder(m), NewTape()
	const from = 40
	before := map[string][]float32{}
	for _, p := range d.Params() {
		before[p.Name] = slices.Clone(p.Value)
		p.Frozen = p != d.embed
	}
	d.embed.TrainFrom = from
	_, full := gradients(mustModel(t, smallConfig(lm.Qwen3)), 10, packed(50, []int{30}, 1))

	tape.Backward(d.Loss(tape, packed(50, []int{30}, 1), 10))
	cut := from * m.Config.Hidden
	near(t, "gradient of the new rows", d.embed.Grad[cut:], full[0][cut:], 1e-6)
	if !slices.Equal(d.embed.Grad[:cut], make([]float32, cut)) {
		t.Error("rows below TrainFrom got a gradient")
	}
	norm := 0.0
	for _, g := range full[0][cut:] {
		norm += float64(g) * float64(g)
	}
	if have := GradNorm(d.Params()); math.Abs(have-math.Sqrt(norm)) > 1e-6*have {
		t.Errorf("gradient norm %g, want that of the new rows, %g", have, math.Sqrt(norm))
	}
	NewAdamW(d.Params(), AdamWOptions{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1}).Step(0.01)
	for _, p := range d.Params() {
		fixed := len(p.Value)
		if p == d.embed {
			fixed = cut
			if slices.Equal(p.Value[cut:], before[p.Name][cut:]) {
				t.Error("the new rows did not change")
			}
		}
		if !slices.Equal(p.Value[:fixed], before[p.Name][:fixed]) {
			t.Errorf("%s changed although it is frozen", p.Name)
		}
	}
}

// TestTrainingLearns: a batch seen again and again is predicted.
func TestTrainingLearns(t *testing.T) {
	for _, narrow := range []bool{false, true} {
		t.Run(fmt.Sprintf("bf16=%t", narrow), func(t *testing.T) { learn(t, narrow) })
	}
}

func learn(t *testing.T, narrow bool) {
	m := mustModel(t, smallConfig(lm.Llama))
	d, tape := NewDecoder(m), NewTape()
	tape.BF16 = narrow
	adam := NewAdamW(d.Params(), AdamWOptions{Beta1: 0.9, Beta2: 0.99, Eps: 1e-8})
	b := packed(m.Config.VocabSize, []int{40, 40}, 1)
	loss := float32(0)
	for step := range 150 {
		tape.Reset()
		l := d.Loss(tape, b, 78)
		loss = l.Value[0]
		tape.Backward(l)
		adam.ClippedStep(1e-2*min(1, float64(step+1)/10), 1)
	}
	if !(loss < 0.2) {
		t.Errorf("loss after 150 steps on one batch is %g, want below 0.2", loss)
	}
}

func TestCheck(t *testing.T) {
	d := NewDecoder(mustModel(t, smallConfig(lm.Llama)))
	if err := d.Check(packed(50, []int{3, 4}, 1)); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(b *Batch){
		"length":          func(b *Batch) { b.Pos = b.Pos[1:] },
		"token":           func(b *Batch) { b.Tokens[2] = 50 },
		"negative token":  func(b *Batch) { b.Tokens[2] = -1 },
		"position":        func(b *Batch) { b.Pos[1] = 256 },
		"target":          func(b *Batch) { b.Targets[0] = 50 },
		"weight":          func(b *Batch) { b.Targets[0] = -1 },
		"first document":  func(b *Batch) { b.Docs[0] = 1 },
		"document order":  func(b *Batch) { b.Docs[1] = 0 },
		"document end":    func(b *Batch) { b.Docs[1] = 7 },
		"no documents":    func(b *Batch) { b.Docs = nil },
		"negative target": func(b *Batch) { b.Targets[1] = -2 },
		"number of lists": func(b *Batch) { b.Allowed = make([][]int32, 6) },
		"allowed token":   func(b *Batch) { b.Allowed = make([][]int32, 7); b.Allowed[0] = []int32{b.Targets[0], 50} },
		"negative list":   func(b *Batch) { b.Allowed = make([][]int32, 7); b.Allowed[2] = []int32{-1} },
		"parents":         func(b *Batch) { b.Parents = []int32{-1} },
		"later parent":    func(b *Batch) { b.Parents = []int32{-1, 1} },
		"parent order":    func(b *Batch) { b.Docs = []int32{0, 1, 2, 3}; b.Parents = []int32{-1, 0, 0, 1} },
		"negative parent": func(b *Batch) { b.Parents = []int32{-1, -2} },
		"rows":            func(b *Batch) { b.Rows = []int32{0, 1} },
		"row":             func(b *Batch) { b.Rows = []int32{0, 1, 2, 3, 4, 5, 7} },
		"negative row":    func(b *Batch) { b.Rows = []int32{0, 1, 2, 3, 4, 5, -1} },
		"list":            func(b *Batch) { b.Allowed = make([][]int32, 7); b.Allowed[0] = []int32{(b.Targets[0] + 1) % 50} },
	} {
		b := packed(50, []int{3, 4}, 1)
		spoil(b)
		if d.Check(b) == nil {
			t.Errorf("a batch with a bad %s passes", name)
		}
	}
}

// TestDecoderDropout: masks follow from the seed alone, hit the loss in the mean but
// not LogProbs, and are the same when layers are computed twice.
func TestDecoderDropout(t *testing.T) {
	cfg := smallConfig(lm.Qwen3)
	cfg.Layers = 3
	m := mustModel(t, cfg)
	b := packed(cfg.VocabSize, []int{30, 40}, 0.8)
	run := func(share float64, seed uint64, recompute bool) (loss float32, grads [][]float32, logProbs []float32) {
		d, tape := NewDecoder(m), dirtyTape()
		d.Dropout, d.DropoutSeed, d.Recompute = share, seed, recompute
		out := d.Loss(tape, b, 10)
		tape.Backward(out)
		for _, p := range d.Params() {
			grads = append(grads, p.Grad)
		}
		loss = out.Value[0]
		tape.Reset()
		return loss, grads, slices.Clone(d.LogProbs(tape, b))
	}
	loss, grads, logProbs := run(0.3, 1, false)
	again, twice, _ := run(0.3, 1, true)
	if again != loss {
		t.Errorf("loss %g, with layers computed twice %g", loss, again)
	}
	for i := range grads {
		if !slices.Equal(grads[i], twice[i]) {
			t.Errorf("gradient %d differs when layers are computed twice", i)
		}
	}
	if other, _, _ := run(0.3, 2, false); other == loss {
		t.Error("another seed drops the same elements")
	}
	plain, _, want := run(0, 1, false)
	if plain == loss {
		t.Error("dropout changes nothing")
	}
	if !slices.Equal(logProbs, want) {
		t.Error("LogProbs drops elements")
	}
}

// TestDecoderDropoutGradient compares a directional derivative of the loss under fixed
// masks with the gradient.
func TestDecoderDropoutGradient(t *testing.T) {
	cfg := smallConfig(lm.Llama)
	m := mustModel(t, cfg)
	sharpen(m)
	b := packed(cfg.VocabSize, []int{12, 20}, 0.9)
	d, tape := NewDecoder(m), dirtyTape()
	d.Dropout, d.DropoutSeed = 0.25, 5
	tape.Backward(d.Loss(tape, b, 10))
	for _, p := range d.Params() {
		square := 0.0
		for _, g := range p.Grad {
			square += float64(g) * float64(g)
		}
		slope := math.Sqrt(square)
		if slope < 1e-3 {
			continue
		}
		before := slices.Clone(p.Value)
		const h = 2e-3
		at := func(step float64) float64 {
			for i, g := range p.Grad {
				p.Value[i] = before[i] + float32(step*float64(g)/slope)
			}
			tape.Reset()
			return float64(d.Loss(tape, b, 10).Value[0])
		}
		have := (at(h) - at(-h)) / (2 * h)
		copy(p.Value, before)
		if math.Abs(have-slope) > 0.03*slope+1e-2 {
			t.Errorf("%s: the loss changes by %g along a gradient of length %g", p.Name, have, slope)
		}
	}
}

// TestDropoutBytes bounds what the masks take.
func TestDropoutBytes(t *testing.T) {
	cfg := bigEnough()
	b := packed(cfg.VocabSize, []int{200, 100}, 1)
	peak := func(share float64) int {
		d, tape := NewDecoder(mustModel(t, cfg)), NewTape()
		d.Dropout = share
		tape.Backward(d.Loss(tape, b, 10))
		return 4 * tape.mem.peak
	}
	if extra, most := peak(0.2)-peak(0), DropoutBytes(cfg, len(b.Tokens)); extra > most || extra < most/2 {
		t.Errorf("dropout takes %d bytes, the forecast is %d at most", extra, most)
	}
}
