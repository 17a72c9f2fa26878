package lm

import (
	"math"
	"math/rand/v2"
	"slices"

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

// MinPointing is the narrowest head that can point and name: the slowest two
// pairs of its rotary embedding have to turn little within a prompt.
const MinPointing = 16

// Point turns the last head of a layer into the beginnings of one that points
// (Vinyals et al. 2015): its queries ask at the tokens of From, its keys answer
// at those of To with the logit of Yes over No, and its values carry the token's
// own embedding on to the output. They stay ordinary weights, which training
// changes as all others; what they spare it is the search for the circuit, for
// which thousands of slates are not enough. Query heads that share keys and values
// with the last one lose theirs. It is an error where no logit can be read off a
// head (Qwen3 normalises them), where the output is not spelt by the embeddings
// (untied), and where there is nothing to point from or to.
func (m *Model) Point(p Pointing, seed uint64) error {
	if err := m.canPoint(&p); err != nil {
		return err
	}
	c := &m.Config
	h := m.lastHead(p.Layer)
	r := rng.New(seed, rng.Key("lm/point"))
	h.forget(r)

	judged, named := c.HeadDim-1, c.HeadDim-2 // of the slowest pairs
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
	h.carry(r)
	return nil
}

func (m *Model) canPoint(p *Pointing) error {
	c := &m.Config
	switch {
	case p.Layer < 1 || p.Layer >= c.Layers:
		return fault.Usagef("pointing: layer %d reads no judgement; use 1 to %d", p.Layer, c.Layers-1)
	case c.QKNorm || !c.TieEmbeddings || c.HeadDim < MinPointing:
		return fault.Usagef("pointing: heads have to be at least %d wide and not normalised, embeddings tied; the model is a %s with heads of %d, tied: %t",
			MinPointing, c.Architecture, c.HeadDim, c.TieEmbeddings)
	case len(p.From) == 0 || len(p.To) == 0:
		return fault.Usagef("pointing: there are %d tokens to point from and %d to point to; it needs both", len(p.From), len(p.To))
	}
	for _, t := range slices.Concat(p.From, p.To, []int32{p.Yes, p.No}) {
		if t < 0 || int(t) >= c.VocabSize {
			return fault.Usagef("pointing: token %d is not one of the %d of the vocabulary", t, c.VocabSize)
		}
	}
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

// leastGain bounds what the gain of a norm is made up for: a component that the
// norm all but drops cannot be read.
const leastGain = 0.05

// read is a weight for component j of the stream as it was before the gain of
// the layer's norm.
func (h attentionHead) read(weight float64, j int) float32 {
	gain := float64(h.layer.AttnNorm.Data[j])
	if math.Abs(gain) < leastGain {
		return 0
	}
	return float32(weight / gain)
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

// carry makes the values a random projection of the stream and the output its
// transpose: what is attended to comes out as itself, as well as fits.
func (h attentionHead) carry(r *rand.Rand) {
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

// direction is that of the mean embedding of some tokens, of length 1, or 0 where
// they cancel out.
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
	length = max(math.Sqrt(length), math.SmallestNonzeroFloat32)
	for j := range sum {
		sum[j] /= length
	}
	return sum
}

func row(t *Tensor, i int) []float32 {
	cols := t.Shape[len(t.Shape)-1]
	return t.Data[i*cols : (i+1)*cols]
}
