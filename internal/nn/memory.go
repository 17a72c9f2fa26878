package nn

import (
	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/lm"
)

// Reserve makes room for a step that needs that many bytes, so that the first
// one does not gather it piece by piece. The tape must be fresh or Reset.
func (t *Tape) Reserve(bytes int) { t.mem.reserve((bytes + 3) / 4) }

// Bytes is the memory that the tape holds for results, gradients and temporaries.
func (t *Tape) Bytes() int {
	n := 0
	for _, b := range t.mem.blocks {
		n += len(b)
	}
	return 4 * n
}

// StepBytes is the memory that a tape needs for Loss and Backward of a decoder on
// a batch with so many tokens and predictions that have a weight, made by so many
// of the tokens (rows), without dropout (DropoutBytes comes on top). It is exact when all parameters are trained, rows are fewer
// than tokens or all of them, once each, the softmax runs over the vocabulary, and attention has work for all threads; else a step may need less.
func StepBytes(cfg lm.Config, recompute bool, tokens, rows, predictions int) int {
	m := meter{cfg: cfg, recompute: recompute, limits: defaultLimits, tokens: tokens, rows: rows, predictions: predictions}
	m.forward()
	m.backward()
	return 4 * m.peak
}

// DropoutBytes is what dropout adds to StepBytes, at most: behind the embedding
// and at two places a layer a mask, and a result with its gradient.
func DropoutBytes(cfg lm.Config, tokens int) int {
	return 4 * 3 * (2*cfg.Layers + 1) * tokens * cfg.Hidden
}

// meter follows the arena through a step. Each of its methods mirrors the
// operations that it names.
type meter struct {
	cfg          lm.Config
	recompute    bool
	limits       limits
	tokens, rows int // rows go through the end of the last layer
	predictions  int
	live, peak   int // elements
}

func (m *meter) take(n int) {
	m.live += n
	m.peak = max(m.peak, m.live)
}

// brief is memory that is released at once.
func (m *meter) brief(n int) { m.peak = max(m.peak, m.live+n) }

func (m *meter) forward() {
	c := &m.cfg
	m.take(m.predictions) // weights
	m.take(2 * m.tokens * c.Hidden)
	for range c.Layers - 1 {
		if !m.recompute {
			m.layer(2, m.tokens)
			continue
		}
		m.take(m.tokens * c.Hidden)
		live := m.live
		m.layer(1, m.tokens)
		m.live = live
	}
	m.layer(2, m.rows)
	m.norm(2, m.rows, c.Hidden)
	if m.rows < m.predictions {
		m.take(2 * m.predictions * c.Hidden)
	}
	m.take(2 + m.predictions) // loss and log-probabilities
	if all := m.predictions * c.VocabSize; all <= m.limits.kept {
		m.take(all)
	} else {
		m.brief(m.chunk())
	}
}

func (m *meter) backward() {
	c := &m.cfg
	if m.predictions*c.VocabSize > m.limits.kept {
		m.brief(m.chunk())
	}
	m.normGrad(m.rows, c.Hidden)
	m.layerGrad(m.rows)
	for range c.Layers - 1 {
		live := m.live
		if m.recompute {
			m.layer(2, m.tokens)
		}
		m.layerGrad(m.tokens)
		m.live = live
	}
}

// chunk is the logits of a chunk of the vocabulary projection.
func (m *meter) chunk() int {
	vocab := m.cfg.VocabSize
	return min(max(1, m.limits.chunk/vocab), max(1, m.predictions)) * vocab
}

// layer is a layer whose attention goes on with some rows. A result takes the
// space of its elements once, or twice with a gradient.
func (m *meter) layer(times, rows int) {
	c, n := &m.cfg, m.tokens
	q, k := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	m.norm(times, n, c.Hidden)
	m.take(times * n * (q + 2*k))
	if c.QKNorm {
		m.norm(times, n*c.Heads, c.HeadDim)
		m.norm(times, n*c.KVHeads, c.HeadDim)
	}
	m.take(times*n*q + n*c.Heads)
	m.brief(kernel.Threads() * (m.tile() + 2*m.limits.queries))
	if rows != n {
		m.take(times * rows * (c.Hidden + q))
	}
	m.take(rows * c.Hidden) // a sum has the gradient of its residual
	m.norm(times, rows, c.Hidden)
	m.take(times * rows * 3 * c.Intermediate)
	m.take(rows * c.Hidden)
}

func (m *meter) layerGrad(rows int) {
	c := &m.cfg
	m.normGrad(rows, c.Hidden)
	m.brief(kernel.Threads() * (2*m.tile() + m.limits.queries))
	if c.QKNorm {
		m.normGrad(m.tokens*c.Heads, c.HeadDim)
		m.normGrad(m.tokens*c.KVHeads, c.HeadDim)
	}
	m.normGrad(m.tokens, c.Hidden)
}

func (m *meter) norm(times, rows, cols int) { m.take(times*rows*cols + rows) }

func (m *meter) normGrad(rows, cols int) { m.brief(rowBlocks(rows, cols) * cols) }

func (m *meter) tile() int { return min(m.limits.queries, m.tokens) * min(m.limits.keys, m.tokens) }
