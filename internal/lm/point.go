package lm

import (
	"math"
	"math/rand/v2"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/rng"
)

// Pointing is a task: behind a token of From, name one of the earlier tokens
// of To, the one at which the model would rather say Yes than No.
type Pointing struct {
	Layer   int // whose head points, 1 to Layers-1; Yes and No are read below it
	From    []int32
	To      []int32
	Yes, No int32
}

// minPointing is the narrowest head that can point and name.
const minPointing = 8

// Point turns the last head of a layer into the beginnings of one that points
// (Vinyals et al. 2015): its queries ask at the tokens of From, its keys answer
// at those of To with the logit of Yes over No, and its values carry the token's
// own embedding on to the output. They stay ordinary weights, which training
// changes as all others; what they spare it is the search for the circuit, for
// which thousands of slates are not enough. Heads are normalised in Qwen3, so
// that no logit can be read off them: an error.
func (m *Model) Point(p Pointing, seed uint64) error {
	c := &m.Config
	if p.Layer < 1 || p.Layer >= c.Layers {
		return fault.Usagef("pointing: layer %d reads no judgement; use 1 to %d", p.Layer, c.Layers-1)
	}
	if c.QKNorm || c.HeadDim < minPointing {
		return fault.Usagef("pointing: heads are to be %d wide and not normalised; the model is a %s with heads of %d", minPointing, c.Architecture, c.HeadDim)
	}
	h := m.lastHead(p.Layer)
	r := rng.New(seed, rng.Key("lm/point"))
	h.forget(r)

	// The two slowest pairs of the rotary embedding hardly turn within a prompt.
	judged, named := c.HeadDim-1, c.HeadDim-2
	asks, answers := m.direction(p.From), m.direction(p.To)
	yes, no := row(m.Head, int(p.Yes)), row(m.Head, int(p.No))
	unscale := math.Sqrt(float64(c.HeadDim)) // attention divides by it
	for j := range c.Hidden {
		verdict := float64(yes[j]-no[j]) * float64(m.Norm.Data[j])
		h.query(judged)[j] = h.read(asks[j], j)
		h.query(named)[j] = h.read(asks[j], j)
		h.key(judged)[j] = h.read(unscale*verdict, j)
		h.key(named)[j] = h.read(unscale*answers[j], j)
	}
	h.copy(r)
	return nil
}

// attentionHead is one attention head within the tensors of its layer.
type attentionHead struct {
	layer *Layer
	cfg   *Config
}

// lastHead is the last query head with its keys and values, which it shares
// where heads are grouped.
func (m *Model) lastHead(layer int) attentionHead { return attentionHead{&m.Layers[layer], &m.Config} }

func (h attentionHead) query(i int) []float32 { return row(h.layer.Q, (h.cfg.Heads-1)*h.cfg.HeadDim+i) }
func (h attentionHead) key(i int) []float32   { return row(h.layer.K, (h.cfg.KVHeads-1)*h.cfg.HeadDim+i) }
func (h attentionHead) value(i int) []float32 {
	return row(h.layer.V, (h.cfg.KVHeads-1)*h.cfg.HeadDim+i)
}

// read is a weight for component j of the stream as it was before the gain of
// the layer's norm.
func (h attentionHead) read(weight float64, j int) float32 {
	return float32(weight / float64(h.layer.AttnNorm.Data[j]))
}

// forget draws the queries and keys anew: what they attended to before would
// be noise beside the judgement.
func (h attentionHead) forget(r *rand.Rand) {
	for i := range h.cfg.HeadDim {
		for j := range h.cfg.Hidden {
			h.query(i)[j] = float32(initStd * r.NormFloat64())
			h.key(i)[j] = float32(initStd * r.NormFloat64())
		}
	}
	for _, bias := range []*Tensor{h.layer.QBias, h.layer.KBias, h.layer.VBias} {
		if bias != nil {
			clear(bias.Data[len(bias.Data)-h.cfg.HeadDim:])
		}
	}
}

// copy makes the values a random projection of the stream and the output its
// transpose: what is attended to comes out as itself, as well as fits.
func (h attentionHead) copy(r *rand.Rand) {
	std := 1 / math.Sqrt(float64(h.cfg.Hidden))
	wide := h.cfg.Heads * h.cfg.HeadDim
	for i := range h.cfg.HeadDim {
		for j := range h.cfg.Hidden {
			x := std * r.NormFloat64()
			h.value(i)[j] = h.read(x, j)
			h.layer.O.Data[j*wide+wide-h.cfg.HeadDim+i] = float32(x)
		}
	}
}

// direction is the mean embedding of some tokens, of length 1.
func (m *Model) direction(tokens []int32) []float64 {
	sum := make([]float64, m.Config.Hidden)
	for _, t := range tokens {
		for j, x := range row(m.Embed, int(t)) {
			sum[j] += float64(x)
		}
	}
	length := 0.0
	for _, x := range sum {
		length += x * x
	}
	length = math.Sqrt(length)
	for j := range sum {
		sum[j] /= length
	}
	return sum
}

func row(t *Tensor, i int) []float32 {
	cols := t.Shape[len(t.Shape)-1]
	return t.Data[i*cols : (i+1)*cols]
}
