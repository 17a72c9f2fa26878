package infer

import (
	"fmt"
	"sync"

	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/lm"
)

// Engine runs one model. It is safe for concurrent use.
type Engine struct {
	model  *lm.Model
	cfg    lm.Config
	rounds bool // projections have rounded weights
	layers []layer
	head   projection

	mu     sync.Mutex
	rope   *rope
	scores [][]float32 // recycled buffers, one per attention tile ever under way at once
	passes []*pass     // recycled, one per block ever under way at once
}

// rope holds the rotary tables of the first positions, each row HeadDim/2.
type rope struct {
	cos, sin  []float32
	positions int
}

// New makes an engine for m, whose weights it shares. It reports a model whose
// tensors do not have the sizes that its configuration says.
func New(m *lm.Model) (*Engine, error) { return newEngine(m, false) }

// NewInt8 makes an engine whose linear maps have weights rounded to eight bits,
// a copy, and round what they take, and whose key-value cache holds float16, half
// the memory: keys and values above 65,504 would become infinite. It is faster
// than that of New and its logits are off by a few hundredths of their size.
// Embeddings, norms and the arithmetic of attention are the same, and so are the
// rows of the head where the logits of a few tokens are asked for: by grammars,
// beams and judgements.
func NewInt8(m *lm.Model) (*Engine, error) { return newEngine(m, true) }

func newEngine(m *lm.Model, round bool) (*Engine, error) {
	if err := m.Config.Validate(); err != nil {
		return nil, err
	}
	if err := checkShapes(m); err != nil {
		return nil, err
	}
	return &Engine{
		model: m, cfg: m.Config, rounds: round, layers: newLayers(m, round),
		head: newProjection(m.Head, m.Config.VocabSize, m.Config.Hidden, round),
	}, nil
}

// Config is the configuration of the model.
func (e *Engine) Config() lm.Config { return e.cfg }

// ropeTables returns tables for at least n positions. They grow by doubling:
// long contexts are cheap until they are used.
func (e *Engine) ropeTables(n int) *rope {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.rope == nil || e.rope.positions < n {
		positions := min(max(2*n, 512), e.cfg.MaxPositions)
		cos, sin := lm.RopeTables(e.cfg, positions)
		e.rope = &rope{cos, sin, positions}
	}
	return e.rope
}

// takeScores returns a buffer of n elements, to be given back to putScores.
// Buffers grow by doubling: n grows a little with every token.
func (e *Engine) takeScores(n int) []float32 {
	e.mu.Lock()
	defer e.mu.Unlock()
	last := len(e.scores) - 1
	if last < 0 {
		return make([]float32, n)
	}
	buffer := e.scores[last]
	e.scores = e.scores[:last]
	if cap(buffer) < n {
		buffer = make([]float32, max(n, 2*cap(buffer)))
	}
	return buffer[:n]
}

func (e *Engine) putScores(buffer []float32) {
	e.mu.Lock()
	e.scores = append(e.scores, buffer)
	e.mu.Unlock()
}

// takePass returns an empty pass to be given back to putPass.
func (e *Engine) takePass() *pass {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := (*pass)(nil)
	if last := len(e.passes) - 1; last >= 0 {
		p, e.passes = e.passes[last], e.passes[:last]
	} else {
		p = newPass(e)
	}
	p.begin()
	return p
}

func (e *Engine) putPass(p *pass) {
	e.mu.Lock()
	e.passes = append(e.passes, p)
	e.mu.Unlock()
}

// logits fills dst, (rows, VocabSize) and a spare row, from hidden states, (rows,
// Hidden) and a spare row, with in for its work.
func (e *Engine) logits(dst, hidden []float32, in *input, rows int, shared bool) {
	in.set(hidden, rows, e.cfg.Hidden, shared, e.rounds)
	if e.rounds {
		in.round(0, rows)
	}
	e.head.apply(dst, in, false)
}

// logitsOf appends to dst the logits of some tokens behind a hidden state.
func (e *Engine) logitsOf(dst, hidden []float32, tokens []int32) []float32 {
	d := len(hidden)
	for _, t := range tokens {
		dst = append(dst, kernel.Dot(hidden, e.model.Head.Data[int(t)*d:(int(t)+1)*d]))
	}
	return dst
}

// checkShapes demands every tensor that the forward pass reads, at its size.
func checkShapes(m *lm.Model) error {
	c := m.Config
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	check := func(name string, t *lm.Tensor, size int) error {
		switch {
		case t == nil:
			return fmt.Errorf("infer: the model has no %s", name)
		case len(t.Data) != size:
			return fmt.Errorf("infer: %s holds %d weights where the configuration asks for %d", t.Name, len(t.Data), size)
		}
		return nil
	}
	type want struct {
		name string
		t    *lm.Tensor
		size int
	}
	wants := []want{
		{"embedding", m.Embed, c.VocabSize * c.Hidden},
		{"final norm", m.Norm, c.Hidden},
		{"head", m.Head, c.VocabSize * c.Hidden},
	}
	if len(m.Layers) != c.Layers {
		return fmt.Errorf("infer: the model has %d layers, its configuration says %d", len(m.Layers), c.Layers)
	}
	for i := range m.Layers {
		l := &m.Layers[i]
		at := func(name string) string { return fmt.Sprintf("%s in layer %d", name, i) }
		wants = append(wants,
			want{at("attention norm"), l.AttnNorm, c.Hidden}, want{at("MLP norm"), l.MLPNorm, c.Hidden},
			want{at("query projection"), l.Q, q * c.Hidden}, want{at("key projection"), l.K, kv * c.Hidden},
			want{at("value projection"), l.V, kv * c.Hidden}, want{at("output projection"), l.O, q * c.Hidden},
			want{at("gate projection"), l.Gate, c.Intermediate * c.Hidden},
			want{at("up projection"), l.Up, c.Intermediate * c.Hidden},
			want{at("down projection"), l.Down, c.Intermediate * c.Hidden})
		if c.QKVBias {
			wants = append(wants, want{at("query bias"), l.QBias, q}, want{at("key bias"), l.KBias, kv}, want{at("value bias"), l.VBias, kv})
		}
		if c.QKNorm {
			wants = append(wants, want{at("query norm"), l.QNorm, c.HeadDim}, want{at("key norm"), l.KNorm, c.HeadDim})
		}
	}
	for _, w := range wants {
		if err := check(w.name, w.t, w.size); err != nil {
			return err
		}
	}
	return nil
}
