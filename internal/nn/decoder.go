package nn

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/rng"
)

// Decoder is a language model on the tape. Its Params share memory with the
// tensors of the lm.Model, so training changes the model in place.
type Decoder struct {
	// Recompute makes Loss keep the input of each layer but the last alone and
	// compute the rest a second time on the way back (Chen et al. 2016): the
	// same gradients with less memory, for about a third more work.
	Recompute bool
	// Dropout is the share of elements that Loss zeroes behind the embedding and
	// behind what each layer adds to the residual stream, twice (Vaswani et al.
	// 2017). Its masks are a function of DropoutSeed, which every step needs anew,
	// and of the layer. LogProbs knows none.
	Dropout     float64
	DropoutSeed uint64

	cfg       lm.Config
	params    []*Param
	embed     *Param
	layers    []decoderLayer
	norm      *Param
	head      *Param // embed when tied
	early     int    // layers below the early predictions; 0 is all
	positions int    // rows of the tables
	cos, sin  []float32
}

// decoderLayer mirrors lm.Layer; absent tensors are nil.
type decoderLayer struct {
	index                   int
	attnNorm, q, k, v, o    *Param
	qBias, kBias, vBias     *Param
	qNorm, kNorm            *Param
	mlpNorm, gate, up, down *Param
}

// NewDecoder wraps the model. All matrices decay, norms and biases do not.
func NewDecoder(m *lm.Model) *Decoder {
	d := &Decoder{cfg: m.Config}
	byTensor := map[*lm.Tensor]*Param{}
	for _, t := range m.Tensors() {
		p := &Param{Name: t.Name, Rows: 1, Cols: t.Shape[len(t.Shape)-1], Value: t.Data,
			Grad: make([]float32, len(t.Data)), Decay: len(t.Shape) == 2}
		if len(t.Shape) == 2 {
			p.Rows = t.Shape[0]
		}
		byTensor[t] = p
		d.params = append(d.params, p)
	}
	d.embed, d.norm, d.head = byTensor[m.Embed], byTensor[m.Norm], byTensor[m.Head]
	for i := range m.Layers {
		l := &m.Layers[i]
		d.layers = append(d.layers, decoderLayer{
			index:    i,
			attnNorm: byTensor[l.AttnNorm],
			q:        byTensor[l.Q], k: byTensor[l.K], v: byTensor[l.V], o: byTensor[l.O],
			qBias: byTensor[l.QBias], kBias: byTensor[l.KBias], vBias: byTensor[l.VBias],
			qNorm: byTensor[l.QNorm], kNorm: byTensor[l.KNorm],
			mlpNorm: byTensor[l.MLPNorm],
			gate:    byTensor[l.Gate], up: byTensor[l.Up], down: byTensor[l.Down],
		})
	}
	return d
}

// Params are the parameters in the order of lm.Model.Tensors.
func (d *Decoder) Params() []*Param { return d.params }

// ReadEarly has the predictions that a batch marks as Early read after so many
// layers, by the final norm and the same head; 0 reads them at the end, as all
// others. The layers above can then use what those below were asked for.
func (d *Decoder) ReadEarly(layers int) error {
	if layers < 0 || layers >= d.cfg.Layers {
		return fmt.Errorf("early predictions after %d layers: the model has %d; give 1 to %d, or 0 for the end", layers, d.cfg.Layers, d.cfg.Layers-1)
	}
	d.early = layers
	return nil
}

// Loss is sum(weight * -log p(target)) / norm over the predictions of the batch.
// Only tokens with a prediction that has a weight are projected on the
// vocabulary.
func (d *Decoder) Loss(t *Tape, b *Batch, norm float32) *Var {
	late, early := d.split(t, b, weighted)
	h, below := d.hidden(t, b, late.rows, early.rows)
	if len(early.rows) == 0 {
		return late.loss(t, h, d.head, norm)
	}
	loss := early.loss(t, below, d.head, norm)
	if len(late.rows) > 0 {
		loss = t.Add(late.loss(t, h, d.head, norm), loss)
	}
	return loss
}

// LogProbs is log p(target) of each prediction, 0 where there is no target.
// Weights are not read. It records nothing and is valid until t.Reset.
func (d *Decoder) LogProbs(t *Tape, b *Batch) []float32 { return d.LogProbsAt(t, b, 1) }

// LogProbsAt is LogProbs with the logits divided by a temperature.
func (d *Decoder) LogProbsAt(t *Tape, b *Batch, temperature float32) []float32 {
	silent, dropout := t.silent, d.Dropout
	t.silent, d.Dropout = true, 0
	defer func() { t.silent, d.Dropout = silent, dropout }()
	late, early := d.split(t, b, targeted)
	h, below := d.hidden(t, b, late.rows, early.rows)
	out := t.mem.zeros(len(b.Targets))
	late.logProbs(t, h, d.head, temperature, out)
	early.logProbs(t, below, d.head, temperature, out)
	return out
}

// hidden is the normalised output of the last layer at the given rows:
// (len(rows), Hidden), and that of the layer below the early rows. Either is nil
// where it has no rows. After the last attention no row needs another, so from
// there on only these are computed; in fine-tuning, where the answer is a small
// part, that spares most of a layer.
func (d *Decoder) hidden(t *Tape, b *Batch, rows, early []int32) (last, below *Var) {
	d.growTables(b.Pos)
	docs := t.documents(len(b.Tokens), b.Docs, b.Parents)
	x := t.Embed(d.embed, b.Tokens)
	if d.Dropout > 0 {
		x = t.Dropout(x, d.Dropout, d.masks(len(d.layers), 0))
	}
	top := len(d.layers) - 1
	for i := range top {
		if l := &d.layers[i]; d.Recompute || t.silent {
			x = d.stretch(t, l, x, b.Pos, docs)
		} else {
			x = d.transform(t, l, x, d.attend(t, l, x, b.Pos, docs))
		}
		if len(early) > 0 && i == d.early-1 {
			// Before the next addLinear takes over the gradient of x.
			below = t.RMSNorm(t.Rows(x, early), d.norm, float32(d.cfg.NormEps))
			if len(rows) == 0 {
				return nil, below
			}
		}
	}
	l := &d.layers[top]
	a := d.attend(t, l, x, b.Pos, docs)
	if everyRow(rows, x.Rows) {
		return t.RMSNorm(d.transform(t, l, x, a), d.norm, float32(d.cfg.NormEps)), below
	}
	once, at := distinct(t, rows)
	x, a = t.Rows(x, once), t.Rows(a, once)
	last = t.RMSNorm(d.transform(t, l, x, a), d.norm, float32(d.cfg.NormEps))
	if at != nil {
		last = t.Rows(last, at)
	}
	return last, below
}

// distinct is each of the rows once, and where in them each one stands; nil where
// there are no others. The choices after one prompt, and all that is learnt of one
// choice, share a row.
func distinct(t *Tape, rows []int32) (once, at []int32) {
	once = append(t.ints.take(len(rows)), rows...)
	slices.Sort(once)
	if once = slices.Compact(once); len(once) == len(rows) {
		return rows, nil
	}
	at = t.ints.take(len(rows))
	for _, r := range rows {
		n, _ := slices.BinarySearch(once, r)
		at = append(at, int32(n))
	}
	return once, at
}

// attend is the attention of one layer before its output projection.
func (d *Decoder) attend(t *Tape, l *decoderLayer, x *Var, pos []int32, docs *documents) *Var {
	c := &d.cfg
	h := t.RMSNorm(x, l.attnNorm, float32(c.NormEps))
	q, k, v := t.Linear(h, l.q, l.qBias), t.Linear(h, l.k, l.kBias), t.Linear(h, l.v, l.vBias)
	q = d.headNorm(t, q, l.qNorm, c.Heads)
	k = d.headNorm(t, k, l.kNorm, c.KVHeads)
	q = t.rope(q, c.Heads, pos, d.cos, d.sin)
	k = t.rope(k, c.KVHeads, pos, d.cos, d.sin)
	return t.attention(q, k, v, c.Heads, c.KVHeads, docs)
}

// transform is the rest of the layer: x and the attention a come in.
func (d *Decoder) transform(t *Tape, l *decoderLayer, x, a *Var) *Var {
	x = d.addTo(t, x, a, l.o, l.index, 0)
	h := t.RMSNorm(x, l.mlpNorm, float32(d.cfg.NormEps))
	return d.addTo(t, x, t.SwiGLU(t.Linear(h, l.gate, nil), t.Linear(h, l.up, nil)), l.down, l.index, 1)
}

// addTo is residual + dropout(x W^T). site tells the masks of a layer apart.
func (d *Decoder) addTo(t *Tape, residual, x *Var, w *Param, layer, site int) *Var {
	if d.Dropout <= 0 {
		return t.addLinear(residual, x, w)
	}
	return t.addDropout(residual, t.Linear(x, w, nil), d.Dropout, d.masks(layer, site))
}

// masks is the source of the masks at a site of a layer.
func (d *Decoder) masks(layer, site int) *rand.Rand {
	return rng.New(d.DropoutSeed, dropoutStream, uint64(layer), uint64(site))
}

var dropoutStream = rng.Key("nn/dropout")

// everyRow tells whether rows are 0..n-1.
func everyRow(rows []int32, n int) bool {
	for i, r := range rows {
		if int(r) != i {
			return false
		}
	}
	return len(rows) == n
}

// headNorm normalises each head by itself, where the model does that.
func (d *Decoder) headNorm(t *Tape, x *Var, gain *Param, heads int) *Var {
	if gain == nil {
		return x
	}
	y := t.RMSNorm(t.Reshape(x, x.Rows*heads, d.cfg.HeadDim), gain, float32(d.cfg.NormEps))
	return t.Reshape(y, x.Rows, x.Cols)
}

// growTables makes the rotary tables long enough for the positions.
func (d *Decoder) growTables(pos []int32) {
	need := 0
	for _, p := range pos {
		need = max(need, int(p)+1)
	}
	if need > d.positions {
		d.positions = max(need, min(2*d.positions, d.cfg.MaxPositions))
		d.cos, d.sin = lm.RopeTables(d.cfg, d.positions)
	}
}
