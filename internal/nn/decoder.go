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
	// Early, when not nil, marks the targets that Decoder.ReadEarly moves to a
	// lower layer.
	Early []bool
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
	early     int    // layers below the early targets; all where it is 0
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

// ReadEarly has the targets that a batch marks as Early read after so many
// layers, by the final norm and the same head; 0 reads them at the end, as all
// others. The layers above can then use what those below were asked for.
func (d *Decoder) ReadEarly(layers int) error {
	if layers < 0 || layers >= d.cfg.Layers {
		return fmt.Errorf("early targets after %d layers: the model has %d; give 1 to %d, or 0 for the end", layers, d.cfg.Layers, d.cfg.Layers-1)
	}
	d.early = layers
	return nil
}

// Check reports what would make Loss or LogProbs panic.
func (d *Decoder) Check(b *Batch) error {
	n := len(b.Tokens)
	if len(b.Pos) != n || len(b.Targets) != n || len(b.Weights) != n {
		return fmt.Errorf("batch: %d tokens, but %d positions, %d targets and %d weights", n, len(b.Pos), len(b.Targets), len(b.Weights))
	}
	if b.Allowed != nil && len(b.Allowed) != n {
		return fmt.Errorf("batch: %d tokens and %d lists of allowed tokens", n, len(b.Allowed))
	}
	if b.Early != nil && len(b.Early) != n {
		return fmt.Errorf("batch: %d tokens and %d marks of early targets", n, len(b.Early))
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
	counts := func(i int) bool { return b.Weights[i] != 0 }
	late, early := d.targets(t, b, false, counts), d.targets(t, b, true, counts)
	h, e := d.hidden(t, b, late.rows, early.rows)
	if len(early.rows) == 0 {
		return late.loss(t, h, d.head, norm)
	}
	loss := early.loss(t, e, d.head, norm)
	if len(late.rows) > 0 {
		loss = t.Add(late.loss(t, h, d.head, norm), loss)
	}
	return loss
}

// LogProbs is log p(target) of each token, 0 where there is no target. Weights
// are not read. It records nothing and is valid until t.Reset.
func (d *Decoder) LogProbs(t *Tape, b *Batch) []float32 {
	silent := t.silent
	t.silent = true
	defer func() { t.silent = silent }()
	counts := func(i int) bool { return b.Targets[i] >= 0 }
	late, early := d.targets(t, b, false, counts), d.targets(t, b, true, counts)
	h, e := d.hidden(t, b, late.rows, early.rows)
	out := t.mem.zeros(len(b.Targets))
	late.logProbs(t, h, d.head, out)
	if len(early.rows) > 0 {
		early.logProbs(t, e, d.head, out)
	}
	return out
}

// targets are the rows of a batch that predict, at one depth.
type targets struct {
	rows, tokens []int32
	weights      []float32
	allowed      [][]int32
}

// targets are those of the tokens that count: the early ones, or the others.
func (d *Decoder) targets(t *Tape, b *Batch, early bool, counts func(i int) bool) targets {
	here := func(i int) bool { return counts(i) && early == (d.early > 0 && b.Early != nil && b.Early[i]) }
	n := 0
	for i := range b.Tokens {
		if here(i) {
			n++
		}
	}
	s := targets{rows: t.takeInts(n), tokens: t.takeInts(n), weights: t.mem.take(n)[:0], allowed: t.takeLists(b.Allowed, n)}
	for i := range b.Tokens {
		if !here(i) {
			continue
		}
		s.rows, s.tokens, s.weights = append(s.rows, int32(i)), append(s.tokens, b.Targets[i]), append(s.weights, b.Weights[i])
		if s.allowed != nil {
			s.allowed = append(s.allowed, b.Allowed[i])
		}
	}
	return s
}

// loss is the targets' part of the loss, given the hidden states of their rows.
func (s *targets) loss(t *Tape, hidden *Var, head *Param, norm float32) *Var {
	return t.LinearCrossEntropy(hidden, head, s.tokens, s.allowed, s.weights, norm)
}

// logProbs writes the targets' log-probabilities to their rows of out.
func (s *targets) logProbs(t *Tape, hidden *Var, head *Param, out []float32) {
	for i, p := range t.LinearLogProbs(hidden, head, s.tokens, s.allowed) {
		out[s.rows[i]] = p
	}
}

// hidden is the normalised output of the last layer at the given rows, in
// ascending order: (len(rows), Hidden); and, where there are early rows, that of
// the layer they are read after. After the last attention no row needs
// another, so from there on only these are computed; in fine-tuning, where the
// answer is a small part, that spares most of a layer.
func (d *Decoder) hidden(t *Tape, b *Batch, rows, early []int32) (last, below *Var) {
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
		if len(early) > 0 && i == d.early-1 {
			// Before the next addLinear takes over the gradient of x.
			below = t.RMSNorm(t.Rows(x, early), d.norm, eps)
			if len(rows) == 0 {
				return nil, below
			}
		}
	}
	return t.RMSNorm(x, d.norm, eps), below
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
