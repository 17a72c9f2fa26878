package infer

import (
	"math"

	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/lm"
)

const (
	// blockRows bounds the rows of one pass, and with them the activations.
	blockRows = 256
	// shareRows bounds the rows of a product that several sequences share. Up to
	// here, and from two rows on, Gemm gives a row the same bits whatever the
	// number of rows; a test demands that of every variant.
	shareRows = 32
	// chunkRows is what one task of a row-wise step takes.
	chunkRows = 32
)

// pass takes a block of tokens, of one sequence or several, through the layers.
// Its buffers serve pass after pass; its tasks are bound once, since closures
// would allocate.
//
// Every matrix has a spare row behind the last one, see projection.apply.
type pass struct {
	e    *Engine
	rope *rope

	layers int // that the block passes
	layer  *layer
	index  int // of layer

	tokens []int32
	places []place // of the rows under way
	wanted []int   // rows whose output is wanted, ascending
	shared bool    // the block is of several sequences
	tiles  []tile  // of attention over the rows under way
	work   int     // multiply-adds of that attention

	x, h     []float32 // (rows, Hidden): residual stream, normalised
	q, att   []float32 // (rows, Heads*HeadDim): queries, attention's output
	k, v     []float32 // (rows, KVHeads*HeadDim)
	gate, up []float32 // (rows, Intermediate)

	in   input     // of projections
	gain []float32 // of the norm under way

	normTask, roundTask, storeTask, turnTask, gluTask, attTask func(int)
}

// place is where a row belongs: a position of the sequence that cache holds.
type place struct {
	cache *cache
	pos   int
}

func newPass(e *Engine) *pass {
	p := &pass{e: e}
	p.normTask, p.roundTask, p.storeTask = p.normRows, p.roundRows, p.storeRows
	p.turnTask, p.gluTask, p.attTask = p.turnRows, p.gluRows, p.attend
	return p
}

// begin starts an empty block that passes all layers.
func (p *pass) begin() {
	p.layers = len(p.e.model.Layers)
	p.tokens, p.places, p.wanted, p.shared = p.tokens[:0], p.places[:0], p.wanted[:0], false
}

// add puts tokens behind the sequence in c and into the block. Without shareRows
// or fewer of each, a block must be of one sequence. Rows that are wanted are
// said by want.
func (p *pass) add(c *cache, tokens []int32) {
	p.shared = p.shared || len(p.places) > 0
	c.reserve(len(tokens))
	for i := range tokens {
		p.places = append(p.places, place{c, c.length + i})
	}
	p.tokens = append(p.tokens, tokens...)
	c.length += len(tokens)
}

// want asks for the output of the rows'th row added so far, the last one being
// len(places)-1. Rows must be asked for in order.
func (p *pass) want(row int) { p.wanted = append(p.wanted, row) }

// run computes the block. The last of its layers' queries, attention and MLP serve its
// output alone, so only the wanted rows pass them.
func (p *pass) run() {
	p.embed()
	p.layOut()
	for i := range p.layers {
		p.layer, p.index = &p.e.layers[i], i
		p.norm(p.layer.AttnNorm)
		p.take(p.h, p.e.cfg.Hidden)
		p.keysAndValues()
		if i == p.layers-1 {
			p.keepWanted()
		}
		if len(p.places) > 0 {
			p.attention()
			p.norm(p.layer.MLPNorm)
			p.take(p.h, p.e.cfg.Hidden)
			p.mlp()
		}
	}
	p.norm(p.e.model.Norm)
}

// output is the normalised hidden state of the i'th wanted row, (Hidden), valid
// until the next run.
func (p *pass) output(i int) []float32 {
	d := p.e.cfg.Hidden
	return p.h[i*d : (i+1)*d]
}

// embed sizes the buffers and looks up the embeddings.
func (p *pass) embed() {
	c := &p.e.cfg
	last := 0
	for _, at := range p.places {
		last = max(last, at.pos)
	}
	if p.rope == nil || p.rope.positions <= last {
		p.rope = p.e.ropeTables(last + 1)
	}
	rows := len(p.places) + 1
	p.x, p.h = resize(p.x, rows*c.Hidden), resize(p.h, rows*c.Hidden)
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	p.q, p.att = resize(p.q, rows*q), resize(p.att, rows*q)
	p.k, p.v = resize(p.k, rows*kv), resize(p.v, rows*kv)
	p.gate, p.up = resize(p.gate, rows*c.Intermediate), resize(p.up, rows*c.Intermediate)
	for i, t := range p.tokens {
		copy(p.x[i*c.Hidden:(i+1)*c.Hidden], p.e.model.Embed.Data[int(t)*c.Hidden:])
	}
	clear(p.x[len(p.tokens)*c.Hidden:]) // the spare row accumulates
}

// keepWanted drops all rows but the wanted ones.
func (p *pass) keepWanted() {
	if len(p.wanted) == len(p.places) {
		return
	}
	d := p.e.cfg.Hidden
	for i, row := range p.wanted {
		copy(p.x[i*d:(i+1)*d], p.x[row*d:])
		copy(p.h[i*d:(i+1)*d], p.h[row*d:])
		p.places[i] = p.places[row]
	}
	p.places = p.places[:len(p.wanted)]
	p.layOut()
	p.take(p.h, d)
}

// take makes x, (rows, width), what projections take next.
func (p *pass) take(x []float32, width int) {
	p.in.set(x, len(p.places), width, p.shared, p.e.rounds)
	if p.e.rounds {
		p.eachChunk(p.roundTask)
	}
}

func (p *pass) roundRows(chunk int) { p.in.round(p.chunk(chunk)) }

// keysAndValues fills the caches.
func (p *pass) keysAndValues() {
	p.layer.k.apply(p.k, &p.in, false)
	p.layer.v.apply(p.v, &p.in, false)
	p.eachChunk(p.storeTask)
}

// attention adds its output to the residual stream.
func (p *pass) attention() {
	p.layer.q.apply(p.q, &p.in, false)
	p.eachChunk(p.turnTask)
	p.attendAll()
	p.take(p.att, p.layer.o.in)
	p.layer.o.apply(p.x, &p.in, true)
}

// mlp adds its output to the residual stream.
func (p *pass) mlp() {
	p.layer.gate.apply(p.gate, &p.in, false)
	p.layer.up.apply(p.up, &p.in, false)
	p.eachChunk(p.gluTask)
	p.take(p.gate, p.layer.down.in)
	p.layer.down.apply(p.x, &p.in, true)
}

// norm fills h from x.
func (p *pass) norm(gain *lm.Tensor) {
	p.gain = gain.Data
	p.eachChunk(p.normTask)
}

// eachChunk runs task for all chunks of the rows under way.
func (p *pass) eachChunk(task func(chunk int)) {
	chunks := (len(p.places) + chunkRows - 1) / chunkRows
	if chunks > 1 {
		kernel.Parallel(chunks, task)
		return
	}
	task(0)
}

// chunk is the range of rows that a task takes.
func (p *pass) chunk(i int) (from, to int) {
	from = i * chunkRows
	return from, min(from+chunkRows, len(p.places))
}

func (p *pass) normRows(chunk int) {
	d, eps := p.e.cfg.Hidden, float32(p.e.cfg.NormEps)
	for r, to := p.chunk(chunk); r < to; r++ {
		kernel.RMSNorm(p.h[r*d:(r+1)*d], p.x[r*d:(r+1)*d], p.gain, eps)
	}
}

// storeRows finishes keys and values and moves them to the caches.
func (p *pass) storeRows(chunk int) {
	c := &p.e.cfg
	hd, width := c.HeadDim, c.KVHeads*c.HeadDim
	for r, to := p.chunk(chunk); r < to; r++ {
		k, v := p.k[r*width:(r+1)*width], p.v[r*width:(r+1)*width]
		p.turn(k, p.layer.KBias, p.layer.KNorm, r)
		addBias(v, p.layer.VBias)
		cache, pos := p.places[r].cache, p.places[r].pos
		for head := range c.KVHeads {
			cache.put(keysOf(p.index), head, pos, k[head*hd:(head+1)*hd])
			cache.put(valuesOf(p.index), head, pos, v[head*hd:(head+1)*hd])
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
	at := p.places[row].pos * hd / 2
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
