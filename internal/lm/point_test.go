package lm_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/infer"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/rng"
)

// The tokens of the task: 0 to 3 and 20 to 29 are noise.
const yes, no, ask, firstChoice, choices = 4, 5, 6, 10, 10

func pointing() lm.Pointing {
	p := lm.Pointing{Layer: 1, From: []int32{ask}, Yes: yes, No: no}
	for i := range int32(choices) {
		p.To = append(p.To, firstChoice+i)
	}
	return p
}

// opinionated is a fresh model whose choices are judged by their names alone:
// the higher the choice, the more it says Yes below the last layer.
func opinionated(t *testing.T, architecture string) *lm.Model {
	t.Helper()
	m, err := lm.New(lm.Config{Architecture: architecture, VocabSize: 30, Hidden: 64, Layers: 2, Heads: 2, KVHeads: 1, HeadDim: 32,
		Intermediate: 96, MaxPositions: 512, RopeTheta: 10000, NormEps: 1e-6, TieEmbeddings: true,
		QKNorm: architecture == lm.Qwen3, QKVBias: architecture == lm.Qwen2, BOS: -1, EOS: 2, PAD: -1}, 3)
	if err != nil {
		t.Fatal(err)
	}
	const h = 64
	for i := range m.Embed.Data {
		m.Embed.Data[i] *= 10
	}
	for c := range choices {
		for j := range h {
			verdict := m.Embed.Data[yes*h+j] - m.Embed.Data[no*h+j]
			m.Embed.Data[(firstChoice+c)*h+j] += 0.05 * float32(c) * verdict
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
	logits, err := e.NewSession().Feed(append(prompt, ask))
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

// One head of one layer is all that changes.
func TestPointTouchesOneHead(t *testing.T) {
	m, fresh := opinionated(t, lm.Llama), opinionated(t, lm.Llama)
	if err := m.Point(pointing(), 1); err != nil {
		t.Fatal(err)
	}
	changed := map[string]bool{}
	for i, x := range m.Tensors() {
		was := fresh.Tensors()[i].Data
		for j := range x.Data {
			if x.Data[j] == was[j] {
				continue
			}
			changed[x.Name] = true
			first := strings.Contains(x.Name, "q_proj") && j < 32*64 || strings.Contains(x.Name, "o_proj") && j%64 < 32
			if first || !strings.Contains(x.Name, "layers.1.self_attn") {
				t.Fatalf("%s changes at %d", x.Name, j)
			}
		}
	}
	if len(changed) != 4 {
		t.Errorf("%v change, want queries, keys, values and output", changed)
	}
}

func TestPointRefuses(t *testing.T) {
	for want, spoil := range map[string]func(p *lm.Pointing){
		"layer 0": func(p *lm.Pointing) { p.Layer = 0 },
		"layer 2": func(p *lm.Pointing) { p.Layer = 2 },
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
