package lm_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/infer"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/rng"
)

// The tokens of the task: 0 to 3 and 20 to 29 are noise.
const (
	pointYes, pointNo, pointFrom = 4, 5, 6
	firstChoice, choices         = 10, 10
)

func pointing() lm.Pointing {
	p := lm.Pointing{Layer: 1, From: []int32{pointFrom}, Yes: pointYes, No: pointNo}
	for i := range int32(choices) {
		p.To = append(p.To, firstChoice+i)
	}
	return p
}

// opinionated is a model whose choices are judged by their names alone: the
// higher the choice, the more it says Yes below the last layer. Its norms have
// gains and its projections biases, as trained ones do.
func opinionated(t *testing.T, architecture string) *lm.Model {
	t.Helper()
	m, err := lm.New(lm.Config{Architecture: architecture, VocabSize: 30, Hidden: 128, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 32,
		Intermediate: 96, MaxPositions: 512, RopeTheta: 10000, NormEps: 1e-6, TieEmbeddings: true,
		QKNorm: architecture == lm.Qwen3, QKVBias: architecture == lm.Qwen2, BOS: -1, EOS: 2, PAD: -1}, 3)
	if err != nil {
		t.Fatal(err)
	}
	const h = 128
	for i := range m.Embed.Data {
		m.Embed.Data[i] *= 10
	}
	r := rng.New(11)
	layer := &m.Layers[1]
	for j := range h {
		layer.AttnNorm.Data[j] = .7 + .6*r.Float32()
		m.Norm.Data[j] = .7 + .6*r.Float32()
	}
	for _, bias := range []*lm.Tensor{layer.QBias, layer.KBias, layer.VBias} {
		for j := 0; bias != nil && j < len(bias.Data); j++ {
			bias.Data[j] = 3 * (r.Float32() - .5)
		}
	}
	for c := range choices {
		for j := range h {
			verdict := float32(float64(m.Embed.Data[pointYes*h+j]-m.Embed.Data[pointNo*h+j]) * float64(m.Norm.Data[j]))
			m.Embed.Data[(firstChoice+c)*h+j] += 0.08 * float32(c) * verdict
		}
	}
	return m
}

// favourite asks behind a prompt with a few of the choices and tells which of
// them the model names and which it judges best.
func favourite(t *testing.T, e *infer.Engine, r *rand.Rand) (named, best int32) {
	t.Helper()
	noise := func(prompt []int32) []int32 {
		for range 5 + r.IntN(20) {
			prompt = append(prompt, []int32{0, 1, 2, 3, 20, 22, 25, 29}[r.IntN(8)])
		}
		return prompt
	}
	prompt := noise(nil)
	shown := r.Perm(choices)[:5]
	for _, c := range shown {
		prompt = noise(append(prompt, int32(firstChoice+c)))
		best = max(best, int32(firstChoice+c))
	}
	logits, err := e.NewSession().Feed(append(prompt, pointFrom))
	if err != nil {
		t.Fatal(err)
	}
	named = int32(firstChoice + shown[0])
	for _, c := range shown {
		if id := int32(firstChoice + c); logits[id] > logits[named] {
			named = id
		}
	}
	return named, best
}

// hits counts the prompts in which the favourite is named.
func hits(t *testing.T, m *lm.Model, prompts int) (n int) {
	t.Helper()
	e, err := infer.New(m)
	if err != nil {
		t.Fatal(err)
	}
	for i := range prompts {
		if named, best := favourite(t, e, rng.New(7, uint64(i))); named == best {
			n++
		}
	}
	return n
}

// A head that points names what is judged best, wherever it stands; before, one
// in five is named by chance.
func TestPointNamesTheFavourite(t *testing.T) {
	const prompts = 100
	for _, architecture := range []string{lm.Llama, lm.Qwen2} {
		m := opinionated(t, architecture)
		before := hits(t, m, prompts)
		if err := m.Point(pointing(), 1); err != nil {
			t.Fatal(err)
		}
		if after := hits(t, m, prompts); before > 40 || after < 80 {
			t.Errorf("%s: the favourite of five is named in %d of %d prompts, and in %d with a head that points; want it by chance, then nearly always",
				architecture, before, prompts, after)
		}
	}
}

// The key of a token is the logit of Yes over No as the final norm and the head of
// the model would read it, times what attention divides by; no bias moves it.
func TestPointKeysAreTheVerdict(t *testing.T) {
	const hidden, last = 128, 2*32 - 1
	m := opinionated(t, lm.Qwen2)
	if err := m.Point(pointing(), 1); err != nil {
		t.Fatal(err)
	}
	layer, r := &m.Layers[1], rng.New(2)
	key, logit := 0.0, 0.0
	for j := range hidden {
		x := r.NormFloat64() // of the stream, over its norm
		key += float64(layer.K.Data[last*hidden+j]) * x * float64(layer.AttnNorm.Data[j])
		logit += float64(m.Head.Data[pointYes*hidden+j]-m.Head.Data[pointNo*hidden+j]) * x * float64(m.Norm.Data[j])
	}
	if want := math.Sqrt(32) * logit; math.Abs(key-want) > 1e-4*math.Abs(want) {
		t.Errorf("the key is %g, want %g", key, want)
	}
	for _, bias := range []*lm.Tensor{layer.QBias, layer.KBias, layer.VBias} {
		for j := range 32 {
			if n := len(bias.Data); bias.Data[n-1-j] != 0 || bias.Data[j] == 0 {
				t.Fatalf("%s: %g in the last head, %g in the first; want 0 in the last alone", bias.Name, bias.Data[n-1-j], bias.Data[j])
			}
		}
	}
}

// One head with its keys and values is all that changes, in one layer.
func TestPointTouchesOneHead(t *testing.T) {
	m, fresh := opinionated(t, lm.Llama), opinionated(t, lm.Llama)
	if err := m.Point(pointing(), 1); err != nil {
		t.Fatal(err)
	}
	const dim, wide, hidden = 32, 4 * 32, 128
	changed := map[string]bool{}
	for i, x := range m.Tensors() {
		was := fresh.Tensors()[i].Data
		for j := range x.Data {
			if x.Data[j] == was[j] {
				continue
			}
			_, name, _ := strings.Cut(x.Name, "layers.1.self_attn.")
			changed[name] = true
			mine := map[string]bool{
				"q_proj.weight": j >= 3*dim*hidden, "k_proj.weight": j >= dim*hidden, "v_proj.weight": j >= dim*hidden,
				"o_proj.weight": j%wide >= 3*dim,
			}[name]
			if !mine {
				t.Fatalf("%s changes at %d", x.Name, j)
			}
		}
	}
	if len(changed) != 4 {
		t.Errorf("%v change, want queries, keys, values and output", changed)
	}
}

// A component that a norm drops is not read, so that no weight is infinite.
func TestPointReadsNothingOffADroppedComponent(t *testing.T) {
	m := opinionated(t, lm.Llama)
	m.Layers[1].AttnNorm.Data[5], m.Layers[1].AttnNorm.Data[6] = 0, 1e-9
	if err := m.Point(pointing(), 1); err != nil {
		t.Fatal(err)
	}
	for _, x := range m.Tensors() {
		for j, v := range x.Data {
			if v-v != 0 || v > 1e3 || v < -1e3 {
				t.Fatalf("%s has %g at %d", x.Name, v, j)
			}
		}
	}
}

func TestPointRefuses(t *testing.T) {
	for want, spoil := range map[string]func(p *lm.Pointing){
		"layer 0":                func(p *lm.Pointing) { p.Layer = 0 },
		"layer 2":                func(p *lm.Pointing) { p.Layer = 2 },
		"0 tokens to point from": func(p *lm.Pointing) { p.From = nil },
		"0 to point to":          func(p *lm.Pointing) { p.To = nil },
		"token 30":               func(p *lm.Pointing) { p.To = append(p.To, 30) },
		"token -1":               func(p *lm.Pointing) { p.Yes = -1 },
	} {
		p := pointing()
		spoil(&p)
		if err := opinionated(t, lm.Llama).Point(p, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if err := opinionated(t, lm.Qwen3).Point(pointing(), 1); err == nil || !strings.Contains(err.Error(), lm.Qwen3) {
		t.Errorf("normalised heads: %v", err)
	}
}
