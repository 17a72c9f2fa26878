package nn

import (
	"math"
	"sync"

	"github.com/gr2/gr2/internal/kernel"
)

// rope is y = x with each head turned by the angles of its position.
type rope struct {
	x, y     *Var
	heads    int
	pos      []int32
	cos, sin []float32
}

// RoPE rotates each of the heads of row i by the angles of position pos[i]:
// row pos[i] of the tables cos and sin, each headDim/2 wide (lm.RopeTables).
func (t *Tape) RoPE(x *Var, heads int, pos []int32, cos, sin []float32) *Var {
	want("RoPE positions", x.Rows, len(pos))
	y := t.result(x.Rows, x.Cols, x.Grad)
	o := t.ropes.put(rope{x, y, heads, pos, cos, sin})
	t.forward(rowBlocks(x.Rows, x.Cols), o)
	return t.record(y, o)
}

func (o *rope) backward(t *Tape) { t.reverse(rowBlocks(o.x.Rows, o.x.Cols), o) }

func (o *rope) forwardTask(i int) {
	dim := o.x.Cols / o.heads
	lo, hi := rowsOf(i, o.x.Rows, o.x.Cols)
	for r := lo; r < hi; r++ {
		copy(o.y.row(r), o.x.row(r))
		cos, sin := o.angles(r, dim)
		kernel.RoPE(o.y.row(r), o.heads, dim, cos, sin)
	}
}

// backwardTask turns the gradient back in place: nobody reads dy again.
func (o *rope) backwardTask(i int) {
	dim := o.x.Cols / o.heads
	lo, hi := rowsOf(i, o.x.Rows, o.x.Cols)
	for r := lo; r < hi; r++ {
		cos, sin := o.angles(r, dim)
		kernel.RoPEGrad(o.y.gradRow(r), o.heads, dim, cos, sin)
		kernel.Add(o.x.gradRow(r), o.x.gradRow(r), o.y.gradRow(r))
	}
}

func (o *rope) angles(r, dim int) (cos, sin []float32) {
	at := int(o.pos[r]) * dim / 2
	return o.cos[at : at+dim/2], o.sin[at : at+dim/2]
}

// queryBlock is the number of query rows whose scores are held at a time: a
// task's scratch is queryBlock x document length, never length x length.
const queryBlock = 96

// attention is causal softmax(q k^T / sqrt(headDim)) v inside each document.
// Forward tasks are (document, head); backward tasks are (document, key head),
// so that every row of dk and dv has one owner.
type attention struct {
	q, k, v, y     *Var
	heads, kvHeads int
	docs           []int32
	longest        int      // tokens of the longest document
	scratch        *scratch // the tape's
}

// Attention is causal grouped-query attention (Ainslie et al. 2023) over packed
// documents. q is (tokens, heads*headDim), k and v are (tokens, kvHeads*headDim);
// query head h reads key head h/(heads/kvHeads). docs holds the first row of
// each document, ascending from 0. Scores are recomputed in the backward pass
// (Dao et al. 2022), so memory is linear in the length.
func (t *Tape) Attention(q, k, v *Var, heads, kvHeads int, docs []int32) *Var {
	sameShape("Attention", k, v)
	want("Attention rows", q.Rows, k.Rows)
	want("Attention key columns", q.Cols/heads*kvHeads, k.Cols)
	if q.Rows > 0 {
		want("Attention first document", 0, int(docs[0]))
	}
	y := t.result(q.Rows, q.Cols, q.Grad, k.Grad, v.Grad)
	o := t.attentions.put(attention{q: q, k: k, v: v, y: y, heads: heads, kvHeads: kvHeads, docs: docs, scratch: &t.scratch})
	for d := range docs {
		lo, hi := o.document(d)
		o.longest = max(o.longest, hi-lo)
	}
	at := t.mem.at
	o.scratch.fill(&t.mem, o.blockSize(), len(docs)*heads)
	t.forward(len(docs)*heads, o)
	t.mem.release(at)
	if y.Grad != nil {
		t.needGrad(q)
		t.needGrad(k)
		t.needGrad(v)
	}
	return t.record(y, o)
}

func (o *attention) backward(t *Tape) {
	at := t.mem.at
	tasks := len(o.docs) * o.kvHeads
	o.scratch.fill(&t.mem, 2*o.blockSize(), tasks)
	t.reverse(tasks, o)
	t.mem.release(at)
}

// document is the range of rows of document d.
func (o *attention) document(d int) (lo, hi int) {
	if d+1 < len(o.docs) {
		return int(o.docs[d]), int(o.docs[d+1])
	}
	return int(o.docs[d]), o.q.Rows
}

func (o *attention) blockSize() int { return min(queryBlock, o.longest) * o.longest }

// head is one query head of one document, as views with the row strides of
// their matrices.
type head struct {
	q, k, v, y     []float32
	dq, dk, dv, dy []float32 // nil in the forward pass
	ldq, ldk, dim  int
	scale          float32
}

func (o *attention) head(doc, h int) head {
	dim := o.q.Cols / o.heads
	lo, hi := o.document(doc)
	q := func(x []float32) []float32 { return view(x, o.q.Cols, lo, hi, h*dim) }
	k := func(x []float32) []float32 { return view(x, o.k.Cols, lo, hi, h/(o.heads/o.kvHeads)*dim) }
	return head{
		q: q(o.q.Value), k: k(o.k.Value), v: k(o.v.Value), y: q(o.y.Value),
		dq: q(o.q.Grad), dk: k(o.k.Grad), dv: k(o.v.Grad), dy: q(o.y.Grad),
		ldq: o.q.Cols, ldk: o.k.Cols, dim: dim,
		scale: float32(1 / math.Sqrt(float64(dim))),
	}
}

// view is rows lo..hi of a matrix from the given column on.
func view(x []float32, cols, lo, hi, col int) []float32 {
	if x == nil || lo == hi {
		return nil
	}
	return x[lo*cols+col : hi*cols]
}

func (o *attention) forwardTask(i int) {
	doc, n := i/o.heads, o.heads
	lo, hi := o.document(doc)
	s := o.scratch.take()
	a := o.head(doc, i%n)
	for from := 0; from < hi-lo; from += queryBlock {
		rows := min(queryBlock, hi-lo-from)
		keys := from + rows
		p := s[:rows*keys]
		a.weights(p, from, rows)
		kernel.Gemm(false, false, rows, a.dim, keys, 1, p, keys, a.v, a.ldk, 0, a.y[from*a.ldq:], a.ldq)
	}
	o.scratch.give(s)
}

// weights computes the attention weights of query rows from.. over all keys up
// to the last of these rows, zero after each row's own: p is rows x (from+rows).
func (a *head) weights(p []float32, from, rows int) {
	keys := from + rows
	kernel.Gemm(false, true, rows, keys, a.dim, a.scale, a.q[from*a.ldq:], a.ldq, a.k, a.ldk, 0, p, keys)
	for r := range rows {
		row := p[r*keys : (r+1)*keys]
		kernel.Softmax(row[:from+r+1])
		clear(row[from+r+1:])
	}
}

func (o *attention) backwardTask(i int) {
	doc, group := i/o.kvHeads, o.heads/o.kvHeads
	lo, hi := o.document(doc)
	s := o.scratch.take()
	for h := i % o.kvHeads * group; h < (i%o.kvHeads+1)*group; h++ {
		a := o.head(doc, h)
		for from := 0; from < hi-lo; from += queryBlock {
			a.gradients(s, from, min(queryBlock, hi-lo-from))
		}
	}
	o.scratch.give(s)
}

// gradients adds what query rows from.. contribute. With P the weights and
// dP = dy v^T: dv += P^T dy, dS = P * (dP - rowsum(P*dP)), dq += scale dS k,
// dk += scale dS^T q.
func (a *head) gradients(s []float32, from, rows int) {
	keys := from + rows
	p, ds := s[:rows*keys], s[rows*keys:2*rows*keys]
	a.weights(p, from, rows)
	q, dq, dy := a.q[from*a.ldq:], a.dq[from*a.ldq:], a.dy[from*a.ldq:]
	kernel.Gemm(true, false, keys, a.dim, rows, 1, p, keys, dy, a.ldq, 1, a.dv, a.ldk)
	kernel.Gemm(false, true, rows, keys, a.dim, 1, dy, a.ldq, a.v, a.ldk, 0, ds, keys)
	for r := range rows {
		seen := r*keys + from + r + 1
		w, d := p[r*keys:seen], ds[r*keys:seen]
		kernel.Mul(d, d, w)
		kernel.Axpy(-kernel.Sum(d), w, d)
		clear(ds[seen : (r+1)*keys])
	}
	kernel.Gemm(false, false, rows, a.dim, keys, a.scale, ds, keys, a.k, a.ldk, 1, dq, a.ldq)
	kernel.Gemm(true, false, keys, a.dim, rows, a.scale, ds, keys, q, a.ldq, 1, a.dk, a.ldk)
}

// scratch lends each running task a buffer of its own. Which one it gets does
// not matter: tasks overwrite before they read.
type scratch struct {
	mu   sync.Mutex
	size int
	free [][]float32
}

// fill takes a buffer of size elements for as many tasks as can run at once.
func (s *scratch) fill(mem *arena, size, tasks int) {
	s.size, s.free = size, s.free[:0]
	for range min(tasks, kernel.Threads()) {
		s.free = append(s.free, mem.take(size))
	}
}

func (s *scratch) take() []float32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.free) - 1
	if n < 0 {
		return make([]float32, s.size) // the thread bound was raised meanwhile
	}
	b := s.free[n]
	s.free = s.free[:n]
	return b
}

func (s *scratch) give(b []float32) {
	s.mu.Lock()
	s.free = append(s.free, b)
	s.mu.Unlock()
}
