package baseline

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"

	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/nn"
	"github.com/gr2/gr2/internal/rng"
)

// SASRecConfig holds the parameters of self-attentive sequential
// recommendation (Kang and McAuley 2018), trained with a sampled softmax.
type SASRecConfig struct {
	Dim       int     `json:"dim"`       // default 64, a multiple of Heads
	Blocks    int     `json:"blocks"`    // default 2
	Heads     int     `json:"heads"`     // default 2
	Inner     int     `json:"inner"`     // width of the feed-forward layer; default 64
	MaxLen    int     `json:"max_len"`   // visits of a history that are read; default 50
	Dropout   float64 `json:"dropout"`   // in [0,1); default .5
	Rate      float64 `json:"rate"`      // Adam's learning rate; default .002
	Batch     int     `json:"batch"`     // positions per step, about; default 1024
	Negatives int     `json:"negatives"` // uniform, shared by a batch; default 1024
	Epochs    int     `json:"epochs"`    // at most; default 40
	Patience  int     `json:"patience"`  // epochs without a better valid N@10; default 4
	// FoldEpochs bounds the epochs of a cross-fitted model, which otherwise
	// trains for as many as were best for the full one; default 40.
	FoldEpochs int `json:"fold_epochs"`
}

// sasrec is the model: pre-norm blocks over item and position embeddings, item
// embeddings tied to the output.
type sasrec struct {
	cfg SASRecConfig
	known
	item   *nn.Param // (items, Dim)
	pos    *nn.Param // (MaxLen, Dim), counted from the oldest visit that is read
	blocks []sasrecBlock
	norm   layerNormParams
	best   int       // epochs behind the values
	tapes  sync.Pool // *nn.Tape for scoring
}

type layerNormParams struct{ gain, bias *nn.Param }

type linearParams struct{ weight, bias *nn.Param }

type sasrecBlock struct {
	attnNorm   layerNormParams
	q, k, v, o linearParams
	ffnNorm    layerNormParams
	in, out    linearParams
}

const layerNormEps = 1e-6

// newSASRec makes a model of zeros with unit gains.
func newSASRec(cfg SASRecConfig, items int) *sasrec {
	d := cfg.Dim
	m := &sasrec{cfg: cfg, item: nn.NewParam("item", items, d), pos: nn.NewParam("pos", cfg.MaxLen, d)}
	norm := func(name string) layerNormParams {
		n := layerNormParams{nn.NewParam(name+".gain", 1, d), nn.NewParam(name+".bias", 1, d)}
		for i := range n.gain.Value {
			n.gain.Value[i] = 1
		}
		return n
	}
	linear := func(name string, out, in int) linearParams {
		return linearParams{nn.NewParam(name, out, in), nn.NewParam(name+".bias", 1, out)}
	}
	for i := range cfg.Blocks {
		name := fmt.Sprintf("block.%d.", i)
		m.blocks = append(m.blocks, sasrecBlock{
			attnNorm: norm(name + "attn.norm"),
			q:        linear(name+"attn.q", d, d), k: linear(name+"attn.k", d, d),
			v: linear(name+"attn.v", d, d), o: linear(name+"attn.o", d, d),
			ffnNorm: norm(name + "ffn.norm"),
			in:      linear(name+"ffn.in", cfg.Inner, d), out: linear(name+"ffn.out", d, cfg.Inner),
		})
	}
	m.norm = norm("norm")
	m.tapes.New = func() any { return nn.NewTape() }
	return m
}

// params lists every parameter in a fixed order.
func (m *sasrec) params() []*nn.Param {
	list := []*nn.Param{m.item, m.pos}
	for _, b := range m.blocks {
		list = append(list, b.attnNorm.gain, b.attnNorm.bias)
		for _, l := range []linearParams{b.q, b.k, b.v, b.o} {
			list = append(list, l.weight, l.bias)
		}
		list = append(list, b.ffnNorm.gain, b.ffnNorm.bias, b.in.weight, b.in.bias, b.out.weight, b.out.bias)
	}
	return append(list, m.norm.gain, m.norm.bias)
}

// initialise draws embeddings from N(0, .02) and weights from Glorot's normal
// distribution.
func (m *sasrec) initialise(seed uint64) {
	for i, p := range m.params() {
		if p.Rows == 1 {
			continue // gains and biases
		}
		scale := .02
		if p != m.item && p != m.pos {
			scale = math.Sqrt(2 / float64(p.Rows+p.Cols))
		}
		r := rng.New(seed, sasrecStream, 0, uint64(i))
		for j := range p.Value {
			p.Value[j] = float32(r.NormFloat64() * scale)
		}
	}
}

var sasrecStream = rng.Key("baseline/sasrec")

// frozen is the model for scoring: it shares the values and records nothing.
func (m *sasrec) frozen() *sasrec {
	f := newSASRec(m.cfg, 0)
	f.known, f.best = m.known, m.best
	to := f.params()
	for i, p := range m.params() {
		*to[i] = *p
		to[i].Frozen, to[i].Grad = true, nil
	}
	return f
}

// tokens is a batch of packed sequences.
type tokens struct {
	ids, pos []int32
	docs     []int32 // first row of each sequence
}

func (b *tokens) reset() { b.ids, b.pos, b.docs = b.ids[:0], b.pos[:0], b.docs[:0] }

func (b *tokens) add(visits []market.Visit) {
	b.docs = append(b.docs, int32(len(b.ids)))
	for i, v := range visits {
		b.ids = append(b.ids, v.Item)
		b.pos = append(b.pos, int32(i))
	}
}

// hidden is the state of every token, (tokens, Dim): its product with an
// item's embedding is that item's logit. r draws dropout; nil for none.
func (m *sasrec) hidden(t *nn.Tape, b *tokens, r *rand.Rand) *nn.Var {
	drop := m.cfg.Dropout
	if r == nil {
		drop = 0
	}
	linear := func(x *nn.Var, l linearParams) *nn.Var { return t.Linear(x, l.weight, l.bias) }
	norm := func(x *nn.Var, n layerNormParams) *nn.Var { return t.LayerNorm(x, n.gain, n.bias, layerNormEps) }
	scale := float32(math.Sqrt(float64(m.cfg.Dim)))
	x := t.Add(t.Scale(t.Embed(m.item, b.ids), scale), t.Embed(m.pos, b.pos))
	x = t.Dropout(x, drop, r)
	for _, k := range m.blocks {
		h := norm(x, k.attnNorm)
		a := t.Attention(linear(h, k.q), linear(h, k.k), linear(h, k.v), m.cfg.Heads, m.cfg.Heads, b.docs)
		x = t.Add(x, t.Dropout(linear(a, k.o), drop, r))
		h = t.Dropout(t.ReLU(linear(norm(x, k.ffnNorm), k.in)), drop, r)
		x = t.Add(x, t.Dropout(linear(h, k.out), drop, r))
	}
	return norm(x, m.norm)
}

func (m *sasrec) Name() string { return OrderSASRec }

func (m *sasrec) Scores(history []market.Visit, now int64, dst []float32) {
	scoreOne(m, history, now, dst)
}

func (m *sasrec) scoreBatch(queries []Query, dst []float32) {
	t := m.tapes.Get().(*nn.Tape)
	defer m.tapes.Put(t)
	t.Reset()
	n, dim := len(m.prior), m.cfg.Dim
	var b tokens
	var last, rows []int32 // last token of a sequence; its query
	for i, q := range queries {
		history := m.read(q.History, m.cfg.MaxLen)
		if len(history) == 0 {
			copy(dst[i*n:(i+1)*n], m.prior)
			continue
		}
		b.add(history)
		last = append(last, int32(len(b.ids)-1))
		rows = append(rows, int32(i))
	}
	if len(rows) == 0 {
		return
	}
	state := t.Rows(m.hidden(t, &b, nil), last).Value
	for from := 0; from < len(rows); {
		to := from + 1
		for to < len(rows) && rows[to] == rows[to-1]+1 {
			to++
		}
		kernel.Gemm(false, true, to-from, n, dim, 1, state[from*dim:], dim, m.item.Value, dim, 0, dst[int(rows[from])*n:], n)
		from = to
	}
}
