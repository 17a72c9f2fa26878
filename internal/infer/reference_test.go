package infer_test

import (
	"math"
	"testing"

	"github.com/gr2/gr2/internal/infer"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/rng"
)

// configs are small models of each architecture, with what makes them differ:
// grouped heads, a head width that is not Hidden/Heads, untied embeddings.
var configs = map[string]lm.Config{
	"llama": {Architecture: lm.Llama, VocabSize: 61, Hidden: 24, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 6,
		Intermediate: 36, MaxPositions: 640, RopeTheta: 1e4, NormEps: 1e-5, TieEmbeddings: true},
	"qwen2": {Architecture: lm.Qwen2, VocabSize: 50, Hidden: 32, Layers: 3, Heads: 4, KVHeads: 1, HeadDim: 8,
		Intermediate: 40, MaxPositions: 640, RopeTheta: 1e6, NormEps: 1e-6, QKVBias: true},
	"qwen3": {Architecture: lm.Qwen3, VocabSize: 40, Hidden: 20, Layers: 2, Heads: 3, KVHeads: 3, HeadDim: 16,
		Intermediate: 28, MaxPositions: 640, RopeTheta: 1e6, NormEps: 1e-6, QKNorm: true, TieEmbeddings: true},
}

// newModel makes a model whose every tensor matters: New leaves biases 0 and
// norms 1, and weights so small that attention is almost uniform.
func newModel(t testing.TB, cfg lm.Config) *lm.Model {
	t.Helper()
	cfg.BOS, cfg.EOS, cfg.PAD = lm.NoToken, lm.NoToken, lm.NoToken
	m, err := lm.New(cfg, 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range m.Tensors() {
		r := rng.New(5, rng.Key(x.Name))
		for i := range x.Data {
			if len(x.Shape) == 2 {
				x.Data[i] *= 10
			} else {
				x.Data[i] += float32(0.3 * r.NormFloat64())
			}
		}
	}
	return m
}

func newEngine(t testing.TB, m *lm.Model) *infer.Engine {
	t.Helper()
	e, err := infer.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func newInt8Engine(t testing.TB, m *lm.Model) *infer.Engine {
	t.Helper()
	e, err := infer.NewInt8(m)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func tokens(cfg lm.Config, n int, seed uint64) []int32 {
	r := rng.New(seed)
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(r.IntN(cfg.VocabSize))
	}
	return ids
}

// reference computes the logits after every token: the whole sequence at once,
// in float64, without a cache, as the definition reads.
func reference(m *lm.Model, ids []int32) [][]float64 {
	c := m.Config
	x := make([][]float64, len(ids))
	for i, id := range ids {
		x[i] = widen(m.Embed.Data[int(id)*c.Hidden : (int(id)+1)*c.Hidden])
	}
	for l := range m.Layers {
		layer := &m.Layers[l]
		h := make([][]float64, len(x))
		for i := range x {
			h[i] = rmsNorm(x[i], layer.AttnNorm, c.NormEps)
		}
		for i, a := range referenceAttention(c, layer, h) {
			addTo(x[i], times(layer.O, a))
		}
		for i := range x {
			n := rmsNorm(x[i], layer.MLPNorm, c.NormEps)
			gate, up := times(layer.Gate, n), times(layer.Up, n)
			for j, g := range gate {
				up[j] *= g / (1 + math.Exp(-g))
			}
			addTo(x[i], times(layer.Down, up))
		}
	}
	logits := make([][]float64, len(x))
	for i := range x {
		logits[i] = times(m.Head, rmsNorm(x[i], m.Norm, c.NormEps))
	}
	return logits
}

func referenceAttention(c lm.Config, layer *lm.Layer, h [][]float64) [][]float64 {
	q, k, v := make([][]float64, len(h)), make([][]float64, len(h)), make([][]float64, len(h))
	for i := range h {
		q[i] = turned(c, times(layer.Q, h[i]), layer.QBias, layer.QNorm, i)
		k[i] = turned(c, times(layer.K, h[i]), layer.KBias, layer.KNorm, i)
		v[i] = times(layer.V, h[i])
		if layer.VBias != nil {
			addTo(v[i], widen(layer.VBias.Data))
		}
	}
	out := make([][]float64, len(h))
	for i := range h {
		out[i] = make([]float64, c.Heads*c.HeadDim)
		for head := range c.Heads {
			at, kvAt := head*c.HeadDim, head/(c.Heads/c.KVHeads)*c.HeadDim
			weights, total := make([]float64, i+1), 0.0
			for j := range weights {
				var s float64
				for d := range c.HeadDim {
					s += q[i][at+d] * k[j][kvAt+d]
				}
				weights[j] = math.Exp(s / math.Sqrt(float64(c.HeadDim)))
				total += weights[j]
			}
			for j, w := range weights {
				for d := range c.HeadDim {
					out[i][at+d] += w / total * v[j][kvAt+d]
				}
			}
		}
	}
	return out
}

// turned applies bias, head norm and the rotation of position pos.
func turned(c lm.Config, x []float64, bias, gain *lm.Tensor, pos int) []float64 {
	if bias != nil {
		addTo(x, widen(bias.Data))
	}
	half := c.HeadDim / 2
	for at := 0; at < len(x); at += c.HeadDim {
		head := x[at : at+c.HeadDim]
		if gain != nil {
			copy(head, rmsNorm(head, gain, c.NormEps))
		}
		for i := range half {
			sin, cos := math.Sincos(float64(pos) * math.Pow(c.RopeTheta, -float64(i)/float64(half)))
			a, b := head[i], head[i+half]
			head[i], head[i+half] = a*cos-b*sin, b*cos+a*sin
		}
	}
	return x
}

func rmsNorm(x []float64, gain *lm.Tensor, eps float64) []float64 {
	var s float64
	for _, v := range x {
		s += v * v
	}
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = v / math.Sqrt(s/float64(len(x))+eps) * float64(gain.Data[i])
	}
	return out
}

func times(w *lm.Tensor, x []float64) []float64 {
	out := make([]float64, w.Shape[0])
	for i := range out {
		for j, v := range x {
			out[i] += float64(w.Data[i*len(x)+j]) * v
		}
	}
	return out
}

func addTo(dst, x []float64) {
	for i, v := range x {
		dst[i] += v
	}
}

func widen(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

// sameLogits compares up to float32 rounding.
func sameLogits(t testing.TB, what string, got []float32, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d logits, want %d", what, len(got), len(want))
	}
	for i, w := range want {
		if d := math.Abs(float64(got[i]) - w); !(d <= 1e-4*max(1, math.Abs(w))) {
			t.Fatalf("%s: logit %d = %g, want %g", what, i, got[i], w)
		}
	}
}
