package nn

import (
	"math"

	"github.com/gr2/gr2/internal/kernel"
)

// attention is softmax(q k^T / sqrt(headDim)) v over the rows that a row sees.
// Forward tasks are (block of rows, head); backward tasks are (tree, key head),
// so that every row of dk and dv has one owner.
type attention struct {
	q, k, v, y     *Var
	heads, kvHeads int
	docs           *documents
	lse            []float32 // log of the sum of exp(scores) by head and row, heads x rows, where it takes several tiles
	scratch        *scratch  // the tape's
	beta           float32   // of the gradient of q where it is met first
	kFirst, vFirst bool      // to write the gradients of k and v
}

// Attention is causal grouped-query attention (Ainslie et al. 2023) over packed
// documents. q is (tokens, heads*headDim), k and v are (tokens, kvHeads*headDim);
// query head h reads key head h/(heads/kvHeads). docs holds the first row of
// each document, ascending from 0.
//
// Scores exist one tile at a time. Of a pass, the result and one number for each
// row and head are kept, and the backward pass computes the weights again from
// these (Dao et al. 2022; Dao 2023): memory is linear in the length.
func (t *Tape) Attention(q, k, v *Var, heads, kvHeads int, docs []int32) *Var {
	return t.attention(q, k, v, heads, kvHeads, t.documents(q.Rows, docs, nil))
}

// attention is Attention over documents that may form trees.
func (t *Tape) attention(q, k, v *Var, heads, kvHeads int, docs *documents) *Var {
	sameShape("Attention", k, v)
	want("Attention rows", q.Rows, k.Rows)
	want("Attention key columns", q.Cols/heads*kvHeads, k.Cols)
	y := t.result(q.Rows, q.Cols, q.Grad, k.Grad, v.Grad)
	o := t.attentions.put(attention{q: q, k: k, v: v, y: y, heads: heads, kvHeads: kvHeads, docs: docs,
		lse: t.mem.take(heads * q.Rows), scratch: &t.scratch})
	at := t.mem.at
	tasks := len(docs.blocks) * heads
	o.scratch.fill(&t.mem, o.docs.tileSize()+2*docs.queries, tasks)
	t.forward(tasks, o)
	t.mem.release(at)
	if y.Grad != nil {
		t.needGrad(q)
		t.needGrad(k)
		t.needGrad(v)
	}
	return t.record(y, o)
}

func (o *attention) backward(t *Tape) {
	o.beta, o.kFirst, o.vFirst = o.q.beta(), o.k.first(), o.v.first()
	at := t.mem.at
	tasks := len(o.docs.trees) * o.kvHeads
	o.scratch.fill(&t.mem, 2*o.docs.tileSize()+o.docs.queries, tasks)
	t.reverse(tasks, o)
	t.mem.release(at)
}

// head is the columns of one query head and its key head, as views of all rows
// with the strides of their matrices.
type head struct {
	q, k, v, y     []float32
	dq, dk, dv, dy []float32 // nil in the forward pass
	lse            []float32
	ldq, ldk, dim  int
	scale          float32
}

func (o *attention) head(h int) head {
	dim := o.q.Cols / o.heads
	q := func(x []float32) []float32 { return from(x, h*dim) }
	k := func(x []float32) []float32 { return from(x, h/(o.heads/o.kvHeads)*dim) }
	return head{
		q: q(o.q.Value), k: k(o.k.Value), v: k(o.v.Value), y: q(o.y.Value),
		dq: q(o.q.Grad), dk: k(o.k.Grad), dv: k(o.v.Grad), dy: q(o.y.Grad),
		lse: o.lse[h*o.q.Rows : (h+1)*o.q.Rows],
		ldq: o.q.Cols, ldk: o.k.Cols, dim: dim,
		scale: float32(1 / math.Sqrt(float64(dim))),
	}
}

// from is x from element i on; nil stays nil.
func from(x []float32, i int) []float32 {
	if x == nil {
		return nil
	}
	return x[i:]
}

func (a *head) qRow(x []float32, r int) []float32 { return x[r*a.ldq : r*a.ldq+a.dim] }

// scores are scale * q k^T of a tile.
func (a *head) scores(s []float32, t tile) {
	keys := t.to - t.from
	kernel.Gemm(false, true, t.hi-t.lo, keys, a.dim, a.scale, a.q[t.lo*a.ldq:], a.ldq, a.k[t.from*a.ldk:], a.ldk, 0, s, keys)
}

// softmax is the state of a block of rows on the way through its tiles: so far
// y holds sum(exp(score - top) * v), and sum is the same without v.
type softmax struct {
	head
	lo       int // first row
	p        []float32
	top, sum []float32
	single   bool // there is one tile: p is normalised at once, top and sum are not used
}

func (o *attention) forwardTask(i int) {
	b, n := o.docs.blocks[i/o.heads], o.docs.queries
	s := o.scratch.take()
	x := softmax{head: o.head(i % o.heads), lo: int(b.lo), top: s[:n], sum: s[n : 2*n], p: s[2*n:], single: o.docs.single(b)}
	o.docs.tiles(b, x.add)
	if !x.single {
		x.finish(int(b.hi))
	}
	o.scratch.give(s)
}

// add takes a tile into account.
func (x *softmax) add(t tile) {
	rows, keys := t.hi-t.lo, t.to-t.from
	p := x.p[:rows*keys]
	x.scores(p, t)
	keep := float32(1)
	if t.diagonal {
		keep = 0
		x.start(p, t)
	} else {
		x.extend(p, t)
	}
	kernel.Gemm(false, false, rows, x.dim, keys, 1, p, keys, x.v[t.from*x.ldk:], x.ldk, keep, x.y[t.lo*x.ldq:], x.ldq)
}

// start turns the scores of rows that have seen nothing yet into weights, zero
// where a row does not see.
func (x *softmax) start(p []float32, t tile) {
	keys := t.to - t.from
	for r := t.lo; r < t.hi; r++ {
		row := p[(r-t.lo)*keys:][:keys]
		seen := row[:t.seen(r)]
		if x.single {
			kernel.Softmax(seen)
		} else {
			top := kernel.Max(seen)
			x.top[r-x.lo], x.sum[r-x.lo] = top, kernel.ExpSum(seen, top)
		}
		clear(row[len(seen):]) // last: reading next to what was just written is slow
	}
}

// extend does so for rows that go on, and scales what they have to the new
// maximum.
func (x *softmax) extend(p []float32, t tile) {
	keys := t.to - t.from
	for r := t.lo; r < t.hi; r++ {
		row, i := p[(r-t.lo)*keys:][:keys], r-x.lo
		if top := kernel.Max(row); top > x.top[i] {
			shrink := float32(math.Exp(float64(x.top[i] - top)))
			kernel.Scale(shrink, x.qRow(x.y, r))
			x.top[i], x.sum[i] = top, x.sum[i]*shrink
		}
		x.sum[i] += kernel.ExpSum(row, x.top[i])
	}
}

// finish divides by the sums.
func (x *softmax) finish(hi int) {
	for r := x.lo; r < hi; r++ {
		sum := x.sum[r-x.lo]
		kernel.Scale(1/sum, x.qRow(x.y, r))
		x.lse[r] = x.top[r-x.lo] + float32(math.Log(float64(sum)))
	}
}

// gradient is the state of a block of rows on the way back through its tiles.
type gradient struct {
	head
	beta   float32 // of dq on the diagonal
	lo     int     // first row
	p, ds  []float32
	dot    []float32 // rowsum(P*dP) over all that each row sees, which is dy . y
	single bool      // that is one tile: its own sums will do for dot and lse
}

func (o *attention) backwardTask(i int) {
	group := o.heads / o.kvHeads
	s := o.scratch.take()
	n, size := o.docs.queries, o.docs.tileSize()
	x := gradient{beta: o.beta, dot: s[:n], p: s[n : n+size], ds: s[n+size:]}
	o.clearKeys(i/o.kvHeads, i%o.kvHeads)
	for _, b := range o.docs.tree(i / o.kvHeads) {
		for h := i % o.kvHeads * group; h < (i%o.kvHeads+1)*group; h++ {
			x.head, x.lo, x.single = o.head(h), int(b.lo), o.docs.single(b)
			for r := x.lo; r < int(b.hi) && !x.single; r++ {
				x.dot[r-x.lo] = kernel.Dot(x.qRow(x.dy, r), x.qRow(x.y, r))
			}
			o.docs.tiles(b, x.add)
		}
	}
	o.scratch.give(s)
}

// clearKeys clears the gradients of a key head in a tree, where nothing was
// written to them.
func (o *attention) clearKeys(tree, h int) {
	blocks := o.docs.tree(tree)
	dim := o.k.Cols / o.kvHeads
	for r := int(blocks[0].lo); r < int(blocks[len(blocks)-1].hi); r++ {
		at := r*o.k.Cols + h*dim
		if o.kFirst {
			clear(o.k.Grad[at : at+dim])
		}
		if o.vFirst {
			clear(o.v.Grad[at : at+dim])
		}
	}
}

// add adds what a tile contributes. With P the weights and dP = dy v^T:
// dv += P^T dy, dS = P * (dP - rowsum(P*dP)), dq += scale dS k,
// dk += scale dS^T q.
func (x *gradient) add(t tile) {
	rows, keys := t.hi-t.lo, t.to-t.from
	p, ds := x.p[:rows*keys], x.ds[:rows*keys]
	q, dq, dy := x.q[t.lo*x.ldq:], x.dq[t.lo*x.ldq:], x.dy[t.lo*x.ldq:]
	k, v, dk, dv := x.k[t.from*x.ldk:], x.v[t.from*x.ldk:], x.dk[t.from*x.ldk:], x.dv[t.from*x.ldk:]
	x.weights(p, t)
	kernel.Gemm(true, false, keys, x.dim, rows, 1, p, keys, dy, x.ldq, 1, dv, x.ldk)
	kernel.Gemm(false, true, rows, keys, x.dim, 1, dy, x.ldq, v, x.ldk, 0, ds, keys)
	for r := t.lo; r < t.hi; r++ {
		at := (r - t.lo) * keys
		w, d := p[at:at+t.seen(r)], ds[at:at+t.seen(r)]
		kernel.Mul(d, d, w)
		if x.single {
			x.dot[r-x.lo] = kernel.Sum(d)
		}
		kernel.Axpy(-x.dot[r-x.lo], w, d)
		clear(ds[at+len(d) : at+keys])
	}
	beta := float32(1)
	if t.diagonal {
		beta = x.beta
	}
	kernel.Gemm(false, false, rows, x.dim, keys, x.scale, ds, keys, k, x.ldk, beta, dq, x.ldq)
	kernel.Gemm(true, false, keys, x.dim, rows, x.scale, ds, keys, q, x.ldq, 1, dk, x.ldk)
}

// weights computes exp(score - lse), zero where a row does not see.
func (x *gradient) weights(p []float32, t tile) {
	x.scores(p, t)
	keys := t.to - t.from
	for r := t.lo; r < t.hi; r++ {
		row := p[(r-t.lo)*keys:][:keys]
		seen := row[:t.seen(r)]
		if x.single {
			kernel.Softmax(seen)
		} else {
			kernel.ExpSum(seen, x.lse[r])
		}
		clear(row[len(seen):])
	}
}
