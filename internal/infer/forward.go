package infer

import (
	"math"

	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/lm"
)

const (
	// blockRows bounds the rows of one pass, and with them the activations.
	blockRows = 256
	// chunkRows is what one task of a row-wise step takes.
	chunkRows = 32
)

// pass takes a block of tokens through the layers. Its buffers serve pass after
// pass; its tasks are bound once, since closures would allocate.
type pass struct {
	e     *Engine
	cache *cache
	rope  *rope

	layer *lm.Layer
	index int // of layer
	base  int // position of row 0
	rows  int
	first int // the first row whose output is wanted, see run

	x, h     []float32 // (rows, Hidden): residual stream, normalised
	q, att   []float32 // (rows, Heads*HeadDim): queries, attention's output
	k, v     []float32 // (rows, KVHeads*HeadDim)
	gate, up []float32 // (rows, Intermediate)

	gain                                            []float32 // of the norm under way
	normTask, storeTask, turnTask, gluTask, attTask func(int)
}

func newPass(e *Engine, c *cache) *pass {
	p := &pass{e: e, cache: c}
	p.normTask, p.storeTask, p.turnTask = p.normRows, p.storeRows, p.turnRows
	p.gluTask, p.attTask = p.gluRows, p.attend
	return p
}

// run reads tokens into the cache and returns the hidden state of the last one,
// (Hidden), valid until the next run. Without want it returns nil.
//
// The last layer's queries, attention and MLP serve its output alone, and only
// the last row's output is wanted: the other rows stop at their keys and values.
func (p *pass) run(tokens []int32, want bool) []float32 {
	p.begin(tokens)
	for i := range p.e.model.Layers {
		p.layer, p.index = &p.e.model.Layers[i], i
		p.norm(p.layer.AttnNorm)
		p.keysAndValues()
		if i == len(p.e.model.Layers)-1 {
			p.first = p.rows - 1
			if !want {
				break
			}
		}
		p.attention()
		p.norm(p.layer.MLPNorm)
		p.mlp()
	}
	p.cache.length += p.rows
	if !want {
		return nil
	}
	d := p.e.cfg.Hidden
	last := p.x[(p.rows-1)*d : p.rows*d]
	kernel.RMSNorm(p.h[:d], last, p.e.model.Norm.Data, float32(p.e.cfg.NormEps))
	return p.h[:d]
}

// runAll takes tokens through the first layers, for callers that want the
// hidden states of several rows: see choose.
func (p *pass) runAll(tokens []int32, layers int) {
	p.begin(tokens)
	for i := range layers {
		p.layer, p.index = &p.e.model.Layers[i], i
		p.norm(p.layer.AttnNorm)
		p.keysAndValues()
		p.attention()
		p.norm(p.layer.MLPNorm)
		p.mlp()
	}
	p.cache.length += p.rows
}

// choose returns the logits of the choices behind one row of the last runAll.
func (p *pass) choose(row int, choices []int32) []float32 {
	d := p.e.cfg.Hidden
	kernel.RMSNorm(p.h[:d], p.x[row*d:(row+1)*d], p.e.model.Norm.Data, float32(p.e.cfg.NormEps))
	logits := make([]float32, len(choices))
	for i, c := range choices {
		logits[i] = kernel.Dot(p.h[:d], p.e.model.Head.Data[int(c)*d:(int(c)+1)*d])
	}
	return logits
}

// begin sizes the buffers and looks up the embeddings.
func (p *pass) begin(tokens []int32) {
	c := &p.e.cfg
	p.base, p.rows, p.first = p.cache.length, len(tokens), 0
	p.cache.reserve(p.rows)
	if p.rope == nil || p.rope.positions < p.base+p.rows {
		p.rope = p.e.ropeTables(p.base + p.rows)
	}
	p.x, p.h = resize(p.x, p.rows*c.Hidden), resize(p.h, p.rows*c.Hidden)
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	p.q, p.att = resize(p.q, p.rows*q), resize(p.att, p.rows*q)
	p.k, p.v = resize(p.k, p.rows*kv), resize(p.v, p.rows*kv)
	p.gate, p.up = resize(p.gate, p.rows*c.Intermediate), resize(p.up, p.rows*c.Intermediate)
	for i, t := range tokens {
		copy(p.x[i*c.Hidden:(i+1)*c.Hidden], p.e.model.Embed.Data[int(t)*c.Hidden:])
	}
}

// project computes the logits of a hidden state.
func (p *pass) project(logits, hidden []float32) {
	linear(logits, hidden, p.e.model.Head.Data, 1, len(logits), len(hidden), 0)
}

// linear is y = x*w^T + keep*y, with x (rows, in), w (out, in), y (rows, out).
func linear(y, x, w []float32, rows, out, in int, keep float32) {
	kernel.Gemm(false, true, rows, out, in, 1, x, in, w, in, keep, y, out)
}

// keysAndValues fills the cache for all rows of the block.
func (p *pass) keysAndValues() {
	c := &p.e.cfg
	kv := c.KVHeads * c.HeadDim
	linear(p.k, p.h, p.layer.K.Data, p.rows, kv, c.Hidden, 0)
	linear(p.v, p.h, p.layer.V.Data, p.rows, kv, c.Hidden, 0)
	p.eachChunk(p.storeTask)
}

// attention adds its output to the residual stream, for the rows from first on.
func (p *pass) attention() {
	c := &p.e.cfg
	width, rows := c.Heads*c.HeadDim, p.rows-p.first
	q, att := p.q[p.first*width:], p.att[p.first*width:]
	linear(q, p.h[p.first*c.Hidden:], p.layer.Q.Data, rows, width, c.Hidden, 0)
	p.eachChunk(p.turnTask)
	p.attendAll()
	linear(p.x[p.first*c.Hidden:], att, p.layer.O.Data, rows, c.Hidden, width, 1)
}

// mlp adds its output to the residual stream, for the rows from first on.
func (p *pass) mlp() {
	c := &p.e.cfg
	rows := p.rows - p.first
	h, gate, up := p.h[p.first*c.Hidden:], p.gate[p.first*c.Intermediate:], p.up[p.first*c.Intermediate:]
	linear(gate, h, p.layer.Gate.Data, rows, c.Intermediate, c.Hidden, 0)
	linear(up, h, p.layer.Up.Data, rows, c.Intermediate, c.Hidden, 0)
	p.eachChunk(p.gluTask)
	linear(p.x[p.first*c.Hidden:], gate, p.layer.Down.Data, rows, c.Hidden, c.Intermediate, 1)
}

// norm fills h from x.
func (p *pass) norm(gain *lm.Tensor) {
	p.gain = gain.Data
	p.eachChunk(p.normTask)
}

// eachChunk runs task for the chunks that hold wanted rows.
func (p *pass) eachChunk(task func(chunk int)) {
	chunks := (p.rows - p.first + chunkRows - 1) / chunkRows
	if chunks > 1 {
		kernel.Parallel(chunks, task)
		return
	}
	task(0)
}

// chunk is the range of rows that a task takes.
func (p *pass) chunk(i int) (from, to int) {
	from = p.first + i*chunkRows
	return from, min(from+chunkRows, p.rows)
}

func (p *pass) normRows(chunk int) {
	d, eps := p.e.cfg.Hidden, float32(p.e.cfg.NormEps)
	for r, to := p.chunk(chunk); r < to; r++ {
		kernel.RMSNorm(p.h[r*d:(r+1)*d], p.x[r*d:(r+1)*d], p.gain, eps)
	}
}

// storeRows finishes keys and values and moves them to the cache.
func (p *pass) storeRows(chunk int) {
	c := &p.e.cfg
	hd, width := c.HeadDim, c.KVHeads*c.HeadDim
	for r, to := p.chunk(chunk); r < to; r++ {
		k, v := p.k[r*width:(r+1)*width], p.v[r*width:(r+1)*width]
		p.turn(k, p.layer.KBias, p.layer.KNorm, r)
		addBias(v, p.layer.VBias)
		page, at := (p.base+r)/pageLen, (p.base+r)%pageLen*hd
		for head := range c.KVHeads {
			copy(p.cache.keys(page, p.index, head)[at:at+hd], k[head*hd:])
			copy(p.cache.values(page, p.index, head)[at:at+hd], v[head*hd:])
		}
	}
}

// turnRows finishes the queries.
func (p *pass) turnRows(chunk int) {
	width := p.e.cfg.Heads * p.e.cfg.HeadDim
	for r, to := p.chunk(chunk); r < to; r++ {
		p.turn(p.q[r*width:(r+1)*width], p.layer.QBias, p.layer.QNorm, r)
	}
}

// turn applies bias, norm of each head (Qwen3) and rotary embedding to the
// queries or keys of one row.
func (p *pass) turn(x []float32, bias, gain *lm.Tensor, row int) {
	hd := p.e.cfg.HeadDim
	addBias(x, bias)
	if gain != nil {
		for at := 0; at < len(x); at += hd {
			kernel.RMSNorm(x[at:at+hd], x[at:at+hd], gain.Data, float32(p.e.cfg.NormEps))
		}
	}
	at := (p.base + row) * hd / 2
	kernel.RoPE(x, len(x)/hd, hd, p.rope.cos[at:at+hd/2], p.rope.sin[at:at+hd/2])
}

func addBias(x []float32, bias *lm.Tensor) {
	if bias != nil {
		kernel.Add(x, x, bias.Data)
	}
}

func (p *pass) gluRows(chunk int) {
	from, to := p.chunk(chunk)
	n := p.e.cfg.Intermediate
	gate := p.gate[from*n : to*n]
	kernel.SwiGLU(gate, gate, p.up[from*n:to*n])
}

// attentionScale is 1/sqrt(HeadDim).
func attentionScale(headDim int) float32 { return float32(1 / math.Sqrt(float64(headDim))) }
