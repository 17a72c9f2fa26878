package nn

import (
	"fmt"
	"slices"

	"github.com/gr2/gr2/internal/lm"
)

// Batch is packed documents. All slices but Docs have one entry per token.
type Batch struct {
	Tokens  []int32
	Pos     []int32   // position of the token in its document
	Docs    []int32   // first token of each document, ascending from 0
	Targets []int32   // the token to predict here; -1 for none
	Weights []float32 // loss weight of the target; 0 where there is none
	// Allowed, when not nil, has the tokens that a grammar allows as the
	// target of each token, none for all of the vocabulary. The loss is then
	// that of the masked distribution.
	Allowed [][]int32
}

// Decoder is a language model on the tape. Its Params share memory with the
// tensors of the lm.Model, so training changes the model in place.
type Decoder struct {
	cfg       lm.Config
	params    []*Param
	embed     *Param
	layers    []decoderLayer
	norm      *Param
	head      *Param // embed when tied
	positions int    // rows of the tables
	cos, sin  []float32
}

// decoderLayer mirrors lm.Layer; absent tensors are nil.
type decoderLayer struct {
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

// Check reports what would make Loss or LogProbs panic.
func (d *Decoder) Check(b *Batch) error {
	n := len(b.Tokens)
	if len(b.Pos) != n || len(b.Targets) != n || len(b.Weights) != n {
		return fmt.Errorf("batch: %d tokens, but %d positions, %d targets and %d weights", n, len(b.Pos), len(b.Targets), len(b.Weights))
	}
	if b.Allowed != nil && len(b.Allowed) != n {
		return fmt.Errorf("batch: %d tokens and %d lists of allowed tokens", n, len(b.Allowed))
	}
	vocab := int32(d.cfg.VocabSize)
	for i, token := range b.Tokens {
		switch {
		case token < 0 || token >= vocab:
			return fmt.Errorf("batch: token %d at %d, the vocabulary has %d", token, i, vocab)
		case b.Pos[i] < 0 || int(b.Pos[i]) >= d.cfg.MaxPositions:
			return fmt.Errorf("batch: position %d at %d, the model takes up to %d tokens", b.Pos[i], i, d.cfg.MaxPositions)
		case b.Targets[i] >= vocab || (b.Targets[i] < 0 && b.Weights[i] != 0):
			return fmt.Errorf("batch: target %d with weight %g at %d, the vocabulary has %d", b.Targets[i], b.Weights[i], i, vocab)
		}
	}
	if err := b.checkAllowed(vocab); err != nil {
		return err
	}
	for i, start := range b.Docs {
		if (i == 0 && start != 0) || (i > 0 && start <= b.Docs[i-1]) || int(start) >= n {
			return fmt.Errorf("batch: document %d starts at %d, want ascending starts from 0 below %d", i, start, n)
		}
	}
	if n > 0 && len(b.Docs) == 0 {
		return fmt.Errorf("batch: %d tokens in no document", n)
	}
	return nil
}

func (b *Batch) checkAllowed(vocab int32) error {
	for i, list := range b.Allowed {
		for _, token := range list {
			if token < 0 || token >= vocab {
				return fmt.Errorf("batch: allowed token %d at %d, the vocabulary has %d", token, i, vocab)
			}
		}
		if len(list) > 0 && b.Targets[i] >= 0 && !slices.Contains(list, b.Targets[i]) {
			return fmt.Errorf("batch: target %d at %d is not one of the allowed tokens %v", b.Targets[i], i, list)
		}
	}
	return nil
}

// Loss is sum(weight * -log p(target)) / norm over the tokens of the batch.
func (d *Decoder) Loss(t *Tape, b *Batch, norm float32) *Var {
	n := 0
	for _, w := range b.Weights {
		if w != 0 {
			n++
		}
	}
	rows, targets := t.ints.take(n), t.ints.take(n)
	weights, allowed := t.mem.take(n)[:0], t.takeAllowed(b, n)
	for i, w := range b.Weights {
		if w != 0 {
			rows, targets, weights = append(rows, int32(i)), append(targets, b.Targets[i]), append(weights, w)
			if allowed != nil {
				allowed = append(allowed, b.Allowed[i])
			}
		}
	}
	return t.LinearCrossEntropy(d.hidden(t, b, rows), d.head, targets, allowed, weights, norm)
}

// LogProbs is log p(target) of each token, 0 where there is no target. Weights
// are not read. It records nothing and is valid until t.Reset.
func (d *Decoder) LogProbs(t *Tape, b *Batch) []float32 {
	silent := t.silent
	t.silent = true
	defer func() { t.silent = silent }()
	rows, targets := t.ints.take(len(b.Targets)), t.ints.take(len(b.Targets))
	allowed := t.takeAllowed(b, len(b.Targets))
	for i, target := range b.Targets {
		if target >= 0 {
			rows, targets = append(rows, int32(i)), append(targets, target)
			if allowed != nil {
				allowed = append(allowed, b.Allowed[i])
			}
		}
	}
	out := t.mem.zeros(len(b.Targets))
	for i, p := range t.LinearLogProbs(d.hidden(t, b, rows), d.head, targets, allowed) {
		out[rows[i]] = p
	}
	return out
}

// hidden is the normalised output of the last layer at the given rows, in
// ascending order: (len(rows), Hidden). After the last attention no row needs
// another, so from there on only these are computed; in fine-tuning, where the
// answer is a small part, that spares most of a layer.
func (d *Decoder) hidden(t *Tape, b *Batch, rows []int32) *Var {
	d.growTables(b.Pos)
	eps := float32(d.cfg.NormEps)
	x := t.Embed(d.embed, b.Tokens)
	for i := range d.layers {
		l := &d.layers[i]
		a := d.attend(t, l, t.RMSNorm(x, l.attnNorm, eps), b)
		if i == len(d.layers)-1 && len(rows) < x.Rows {
			x, a = t.Rows(x, rows), t.Rows(a, rows)
		}
		x = t.addLinear(x, a, l.o)
		h := t.RMSNorm(x, l.mlpNorm, eps)
		x = t.addLinear(x, t.SwiGLU(t.Linear(h, l.gate, nil), t.Linear(h, l.up, nil)), l.down)
	}
	return t.RMSNorm(x, d.norm, eps)
}

// attend is the attention of one layer before its output projection.
func (d *Decoder) attend(t *Tape, l *decoderLayer, h *Var, b *Batch) *Var {
	c := &d.cfg
	q, k, v := t.Linear(h, l.q, l.qBias), t.Linear(h, l.k, l.kBias), t.Linear(h, l.v, l.vBias)
	q = d.headNorm(t, q, l.qNorm, c.Heads)
	k = d.headNorm(t, k, l.kNorm, c.KVHeads)
	q = t.RoPE(q, c.Heads, b.Pos, d.cos, d.sin)
	k = t.RoPE(k, c.KVHeads, b.Pos, d.cos, d.sin)
	return t.Attention(q, k, v, c.Heads, c.KVHeads, b.Docs)
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

// takeAllowed returns an empty list for the allowed tokens of n targets; nil
// where the batch has none.
func (t *Tape) takeAllowed(b *Batch, n int) [][]int32 {
	if b.Allowed == nil {
		return nil
	}
	return t.allowed.take(n)
}
