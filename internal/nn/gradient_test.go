package nn

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/rng"
)

// opCase is an operation with the obvious float64 program for the same thing.
// The inputs are Params, so that weights and activations are tested alike.
type opCase struct {
	name   string
	inputs [][2]int // rows, cols
	run    func(t *Tape, p []*Param) *Var
	want   func(x [][]float64) []float64
}

// TestGradients compares each operation with its reference, and its gradient
// with central differences of the reference in float64.
func TestGradients(t *testing.T) {
	for _, c := range opCases() {
		t.Run(c.name, func(t *testing.T) { checkGradient(t, c) })
	}
}

// coordinates is how many elements of an input are varied; all of a small one.
const coordinates = 40

func checkGradient(t *testing.T, c opCase) {
	t.Helper()
	r := rng.New(7, rng.Key(c.name))
	params, x := make([]*Param, len(c.inputs)), make([][]float64, len(c.inputs))
	for i, shape := range c.inputs {
		params[i] = NewParam(fmt.Sprintf("input %d", i), shape[0], shape[1])
		x[i] = make([]float64, shape[0]*shape[1])
		for j := range x[i] {
			params[i].Value[j] = float32(r.NormFloat64())
			x[i][j] = float64(params[i].Value[j])
		}
	}
	tape := dirtyTape()
	// Several chunks, with small passes kept; several tiles of attention.
	tape.limits = limits{chunk: 30, kept: 60, queries: 8, keys: 128}
	y := c.run(tape, params)
	want := c.want(x)
	near(t, "value", y.Value, float32s(want), 1e-5)

	pick := make([]float32, len(want)) // loss = sum(pick * y)
	for i := range pick {
		pick[i] = float32(r.NormFloat64())
	}
	loss := func() float64 {
		sum := 0.0
		for i, v := range c.want(x) {
			sum += v * float64(pick[i])
		}
		return sum
	}
	tape.Backward(tape.MatMulT(tape.Reshape(y, 1, len(pick)), tape.Const(1, len(pick), pick)))
	for i, p := range params {
		var have, numeric []float32
		for range min(len(x[i]), coordinates) {
			j := r.IntN(len(x[i]))
			if len(x[i]) <= coordinates {
				j = len(have)
			}
			have = append(have, p.Grad[j])
			numeric = append(numeric, float32(difference(&x[i][j], loss)))
		}
		near(t, "gradient of "+p.Name, have, numeric, 3e-5)
	}
}

// dirtyTape is a tape whose memory holds NaNs, as that of a later step may.
func dirtyTape() *Tape {
	tape := NewTape()
	for x := tape.mem.take(arenaBlock); len(x) > 0; x = x[1:] {
		x[0] = float32(math.NaN())
	}
	tape.Reset()
	return tape
}

// difference is the central difference of f at *x.
func difference(x *float64, f func() float64) float64 {
	const h = 1e-5
	at := *x
	*x = at + h
	up := f()
	*x = at - h
	down := f()
	*x = at
	return (up - down) / (2 * h)
}

func float32s(x []float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(v)
	}
	return out
}

func opCases() []opCase {
	return append(append(append(pointwiseCases(), matrixCases()...), attentionCases()...), lossCases()...)
}

func pointwiseCases() []opCase {
	each := func(f func(a, b float64) float64) func(x [][]float64) []float64 {
		return func(x [][]float64) []float64 {
			out := make([]float64, len(x[0]))
			for i, a := range x[0] {
				out[i] = f(a, x[len(x)-1][i])
			}
			return out
		}
	}
	one, two := [][2]int{{3, 7}}, [][2]int{{3, 7}, {3, 7}}
	silu := func(a float64) float64 { return a / (1 + math.Exp(-a)) }
	return []opCase{
		{"Add", two, func(t *Tape, p []*Param) *Var { return t.Add(t.Leaf(p[0]), t.Leaf(p[1])) },
			each(func(a, b float64) float64 { return a + b })},
		{"Mul", two, func(t *Tape, p []*Param) *Var { return t.Mul(t.Leaf(p[0]), t.Leaf(p[1])) },
			each(func(a, b float64) float64 { return a * b })},
		{"Square", one, func(t *Tape, p []*Param) *Var { x := t.Leaf(p[0]); return t.Mul(x, x) },
			each(func(a, _ float64) float64 { return a * a })},
		{"Scale", one, func(t *Tape, p []*Param) *Var { return t.Scale(t.Leaf(p[0]), -2.5) },
			each(func(a, _ float64) float64 { return -2.5 * a })},
		{"ReLU", one, func(t *Tape, p []*Param) *Var { return t.ReLU(t.Leaf(p[0])) },
			each(func(a, _ float64) float64 { return math.Max(a, 0) })},
		{"GELU", one, func(t *Tape, p []*Param) *Var { return t.GELU(t.Leaf(p[0])) },
			each(func(a, _ float64) float64 { return a / 2 * (1 + math.Erf(a/math.Sqrt2)) })},
		{"SiLU", one, func(t *Tape, p []*Param) *Var { return t.SiLU(t.Leaf(p[0])) },
			each(func(a, _ float64) float64 { return silu(a) })},
		{"SwiGLU", two, func(t *Tape, p []*Param) *Var { return t.SwiGLU(t.Leaf(p[0]), t.Leaf(p[1])) },
			each(func(a, b float64) float64 { return silu(a) * b })},
		{"SwiGLU in spans", [][2]int{{3, 9000}, {3, 9000}},
			func(t *Tape, p []*Param) *Var { return t.SwiGLU(t.Leaf(p[0]), t.Leaf(p[1])) },
			each(func(a, b float64) float64 { return silu(a) * b })},
		{"StopGradient", one, func(t *Tape, p []*Param) *Var { x := t.Leaf(p[0]); return t.Add(x, t.StopGradient(t.Scale(x, 0))) },
			each(func(a, _ float64) float64 { return a })},
	}
}

// times is a (rows x k) times the transpose of b (n x k).
func times(a, b []float64, k int) []float64 {
	rows, n := len(a)/k, len(b)/k
	out := make([]float64, rows*n)
	for i := range rows {
		for j := range n {
			for p := range k {
				out[i*n+j] += a[i*k+p] * b[j*k+p]
			}
		}
	}
	return out
}

func matrixCases() []opCase {
	ids, rows := []int32{2, 0, -1, 2, 4}, []int32{1, 1, 3}
	return []opCase{
		{"Linear", [][2]int{{5, 4}, {3, 4}, {1, 3}},
			func(t *Tape, p []*Param) *Var { return t.Linear(t.Leaf(p[0]), p[1], p[2]) },
			func(x [][]float64) []float64 {
				y := times(x[0], x[1], 4)
				for i := range y {
					y[i] += x[2][i%3]
				}
				return y
			}},
		{"addLinear", [][2]int{{5, 3}, {5, 4}, {3, 4}},
			func(t *Tape, p []*Param) *Var {
				r := t.Scale(t.Leaf(p[0]), 1)
				h := t.Mul(r, r) // a reader of the residual before the sum
				_ = h
				return t.addLinear(r, t.Leaf(p[1]), p[2])
			},
			func(x [][]float64) []float64 {
				y := times(x[1], x[2], 4)
				for i := range y {
					y[i] += x[0][i]
				}
				return y
			}},
		{"residual block", [][2]int{{5, 4}, {4, 4}},
			func(t *Tape, p []*Param) *Var {
				r := t.Scale(t.Leaf(p[0]), 1)
				return t.addLinear(r, t.Mul(r, r), p[1])
			},
			func(x [][]float64) []float64 {
				square := make([]float64, len(x[0]))
				for i, v := range x[0] {
					square[i] = v * v
				}
				y := times(square, x[1], 4)
				for i := range y {
					y[i] += x[0][i]
				}
				return y
			}},
		{"MatMulT", [][2]int{{5, 4}, {3, 4}},
			func(t *Tape, p []*Param) *Var { return t.MatMulT(t.Leaf(p[0]), t.Leaf(p[1])) },
			func(x [][]float64) []float64 { return times(x[0], x[1], 4) }},
		{"RMSNorm", [][2]int{{4, 6}, {1, 6}},
			func(t *Tape, p []*Param) *Var { return t.RMSNorm(t.Leaf(p[0]), p[1], 1e-3) },
			func(x [][]float64) []float64 { return rmsNormReference(x[0], x[1], 1e-3) }},
		{"LayerNorm", [][2]int{{4, 6}, {1, 6}, {1, 6}},
			func(t *Tape, p []*Param) *Var { return t.LayerNorm(t.Leaf(p[0]), p[1], p[2], 1e-3) },
			layerNormReference},
		{"RMSNorm in blocks", [][2]int{{9, 4096}, {1, 4096}},
			func(t *Tape, p []*Param) *Var { return t.RMSNorm(t.Leaf(p[0]), p[1], 1e-3) },
			func(x [][]float64) []float64 { return rmsNormReference(x[0], x[1], 1e-3) }},
		{"LayerNorm in blocks", [][2]int{{9, 4096}, {1, 4096}, {1, 4096}},
			func(t *Tape, p []*Param) *Var { return t.LayerNorm(t.Leaf(p[0]), p[1], p[2], 1e-3) },
			layerNormReference},
		{"Embed", [][2]int{{5, 3}},
			func(t *Tape, p []*Param) *Var { return t.Embed(p[0], ids) },
			func(x [][]float64) []float64 { return lookUp(x[0], ids, 3) }},
		{"Rows", [][2]int{{5, 3}},
			func(t *Tape, p []*Param) *Var { return t.Rows(t.Leaf(p[0]), rows) },
			func(x [][]float64) []float64 { return lookUp(x[0], rows, 3) }},
	}
}

func lookUp(table []float64, ids []int32, cols int) []float64 {
	var out []float64
	for _, id := range ids {
		if id < 0 {
			out = append(out, make([]float64, cols)...)
			continue
		}
		out = append(out, table[int(id)*cols:(int(id)+1)*cols]...)
	}
	return out
}

func rmsNormReference(x, gain []float64, eps float64) []float64 {
	n := len(gain)
	out := make([]float64, len(x))
	for r := 0; r < len(x); r += n {
		square := 0.0
		for _, v := range x[r : r+n] {
			square += v * v
		}
		for j, v := range x[r : r+n] {
			out[r+j] = v / math.Sqrt(square/float64(n)+eps) * gain[j]
		}
	}
	return out
}

func layerNormReference(x [][]float64) []float64 {
	n := len(x[1])
	out := make([]float64, len(x[0]))
	for r := 0; r < len(x[0]); r += n {
		mean, variance := 0.0, 0.0
		for _, v := range x[0][r : r+n] {
			mean += v / float64(n)
		}
		for _, v := range x[0][r : r+n] {
			variance += (v - mean) * (v - mean) / float64(n)
		}
		for j, v := range x[0][r : r+n] {
			out[r+j] = (v-mean)/math.Sqrt(variance+1e-3)*x[1][j] + x[2][j]
		}
	}
	return out
}

func attentionCases() []opCase {
	cases := []opCase{ropeCase()}
	for _, c := range []struct {
		heads, kvHeads, dim int
		docs, parents       []int32
		rows                int
	}{
		{2, 2, 3, []int32{0}, nil, 7},
		{4, 2, 2, []int32{0, 3, 4}, nil, 9},
		{2, 1, 4, []int32{0, 50}, nil, 205},                                            // several blocks, then several tiles
		{2, 1, 2, []int32{0, 130, 133, 139, 141}, []int32{-1, 0, 0, 0, -1}, 170},       // siblings share a block, a trunk has two tiles
		{2, 2, 2, []int32{0, 4, 9, 10, 14, 17, 40}, []int32{-1, 0, 1, 1, 0, 4, 4}, 45}, // three generations
	} {
		q, kv := c.heads*c.dim, c.kvHeads*c.dim
		cases = append(cases, opCase{
			fmt.Sprintf("Attention %d heads %d keys %d rows", c.heads, c.kvHeads, c.rows),
			[][2]int{{c.rows, q}, {c.rows, kv}, {c.rows, kv}},
			func(t *Tape, p []*Param) *Var {
				docs := t.documents(c.rows, c.docs, c.parents)
				return t.attention(t.Leaf(p[0]), t.Leaf(p[1]), t.Leaf(p[2]), c.heads, c.kvHeads, docs)
			},
			func(x [][]float64) []float64 {
				return attentionReference(x[0], x[1], x[2], c.heads, c.kvHeads, c.dim, c.docs, c.parents)
			}})
	}
	return cases
}

func ropeCase() opCase {
	const heads, dim = 2, 6
	pos := []int32{3, 0, 5, 1}
	var cos, sin []float32
	var angles []float64
	for i := range 6 * dim / 2 {
		a := 0.37 * float64(i)
		angles = append(angles, a)
		cos, sin = append(cos, float32(math.Cos(a))), append(sin, float32(math.Sin(a)))
	}
	return opCase{"rope", [][2]int{{len(pos), heads * dim}},
		func(t *Tape, p []*Param) *Var { return t.rope(t.Scale(t.Leaf(p[0]), 1), heads, pos, cos, sin) },
		func(x [][]float64) []float64 {
			return ropeReference(x[0], heads, dim, pos, func(p, i int) float64 { return angles[p*dim/2+i] })
		}}
}

// ropeReference turns the pair (i, i+dim/2) of each head as a complex number.
func ropeReference(x []float64, heads, dim int, pos []int32, angle func(pos, i int) float64) []float64 {
	out := make([]float64, len(x))
	for r, p := range pos {
		for h := range heads {
			at := (r*heads + h) * dim
			for i := range dim / 2 {
				s, c := math.Sincos(angle(int(p), i))
				re, im := x[at+i], x[at+i+dim/2]
				out[at+i], out[at+i+dim/2] = re*c-im*s, re*s+im*c
			}
		}
	}
	return out
}

// attentionReference looks at every earlier row of the same document and of the
// documents above it.
func attentionReference(q, k, v []float64, heads, kvHeads, dim int, docs, parents []int32) []float64 {
	rows := len(q) / (heads * dim)
	out := make([]float64, len(q))
	for r := range rows {
		for h := range heads {
			mine := q[(r*heads+h)*dim:][:dim]
			other := func(x []float64, s int) []float64 { return x[(s*kvHeads+h*kvHeads/heads)*dim:][:dim] }
			total := 0.0
			sum := make([]float64, dim)
			for s := range r + 1 {
				if !above(documentOf(docs, s), documentOf(docs, r), parents) {
					continue
				}
				w := math.Exp(times(mine, other(k, s), dim)[0] / math.Sqrt(float64(dim)))
				total += w
				for i, value := range other(v, s) {
					sum[i] += w * value
				}
			}
			for i := range sum {
				out[(r*heads+h)*dim+i] = sum[i] / total
			}
		}
	}
	return out
}

// documentOf is the document of a row.
func documentOf(docs []int32, row int) int {
	at := 0
	for d, first := range docs {
		if int(first) <= row {
			at = d
		}
	}
	return at
}

// above tells whether document a is d or one that d goes on from.
func above(a, d int, parents []int32) bool {
	for ; d >= 0; d = int(parents[d]) {
		if a == d || parents == nil {
			return a == d
		}
	}
	return false
}

func lossCases() []opCase {
	targets := []int32{2, 0, -1, 4, 4, 1}
	weights := []float32{1, 0.5, 0, 2, -1.5, 0.25}
	nll := func(logits []float64, vocab int) float64 {
		sum := 0.0
		for r, w := range weights {
			if w != 0 {
				sum -= float64(w) * math.Log(softmaxReference(logits[r*vocab : (r+1)*vocab])[targets[r]])
			}
		}
		return sum / 3
	}
	cases := []opCase{
		{"CrossEntropy", [][2]int{{6, 5}},
			func(t *Tape, p []*Param) *Var { return t.CrossEntropy(t.Leaf(p[0]), targets, weights, 3) },
			func(x [][]float64) []float64 { return []float64{nll(x[0], 5)} }},
		{"MSE", [][2]int{{3, 4}, {3, 4}},
			func(t *Tape, p []*Param) *Var { return t.MSE(t.Leaf(p[0]), t.Leaf(p[1])) },
			func(x [][]float64) []float64 {
				sum := 0.0
				for i, a := range x[0] {
					sum += (a - x[1][i]) * (a - x[1][i]) / float64(len(x[0]))
				}
				return []float64{sum}
			}},
	}
	for _, shape := range [][2]int{{6, 5}, {500, 40}} { // rows, codes; the second in several blocks
		rows, codes := shape[0], shape[1]
		cases = append(cases, opCase{fmt.Sprintf("CodeUsage %d rows", rows), [][2]int{{rows, 3}, {codes, 3}},
			func(t *Tape, p []*Param) *Var { return t.CodeUsage(t.Scale(t.Leaf(p[0]), 1), p[1]) },
			func(x [][]float64) []float64 { return []float64{codeUsageReference(x[0], x[1], rows, codes)} }})
	}
	whole := append([]int32{}, targets...)
	whole[2] = 3                         // every row is projected
	for _, vocab := range []int{9, 14} { // 6 rows: kept in two chunks, computed again in three
		cases = append(cases, opCase{fmt.Sprintf("LinearCrossEntropy %d", vocab), [][2]int{{6, 3}, {vocab, 3}},
			func(t *Tape, p []*Param) *Var {
				return t.LinearCrossEntropy(t.Leaf(p[0]), p[1], whole, nil, weights, 3)
			},
			func(x [][]float64) []float64 { return []float64{nll(times(x[0], x[1], 3), vocab)} }})
	}
	cases = append(cases, opCase{"LinearCrossEntropy of a shared input", [][2]int{{6, 3}, {9, 3}},
		func(t *Tape, p []*Param) *Var {
			x := t.Leaf(p[0])
			return t.Add(t.LinearCrossEntropy(x, p[1], whole, nil, weights, 3), t.LinearCrossEntropy(x, p[1], whole, nil, weights, 6))
		},
		func(x [][]float64) []float64 { return []float64{1.5 * nll(times(x[0], x[1], 3), 9)} }})
	// Two rows are masked: to four tokens and to two.
	allowed := [][]int32{nil, {0, 1, 2, 4, whole[1]}, nil, {whole[3], (whole[3] + 1) % 5}, nil, nil}
	masked := func(logits []float64, vocab int) []float64 {
		for r, list := range allowed {
			for token := range vocab {
				if list != nil && !slices.Contains(list, int32(token)) {
					logits[r*vocab+token] = math.Inf(-1)
				}
			}
		}
		return logits
	}
	for _, vocab := range []int{9, 14} {
		cases = append(cases, opCase{fmt.Sprintf("LinearCrossEntropy %d masked", vocab), [][2]int{{6, 3}, {vocab, 3}},
			func(t *Tape, p []*Param) *Var {
				return t.LinearCrossEntropy(t.Leaf(p[0]), p[1], whole, allowed, weights, 3)
			},
			func(x [][]float64) []float64 { return []float64{nll(masked(times(x[0], x[1], 3), vocab), vocab)} }})
	}
	return append(cases, sampledCase())
}

func codeUsageReference(x, codes []float64, rows, n int) float64 {
	d := len(x) / rows
	mean := make([]float64, n)
	for r := range rows {
		logits := make([]float64, n)
		for j := range logits {
			for k := range d {
				gap := x[r*d+k] - codes[j*d+k]
				logits[j] -= gap * gap
			}
		}
		for j, p := range softmaxReference(logits) {
			mean[j] += p / float64(rows)
		}
	}
	sum := 0.0
	for _, p := range mean {
		sum += float64(n) * p * p
	}
	return sum
}

func softmaxReference(logits []float64) []float64 {
	out, total := make([]float64, len(logits)), 0.0
	for i, v := range logits {
		out[i] = math.Exp(v)
		total += out[i]
	}
	for i := range out {
		out[i] /= total
	}
	return out
}

// sampledCase has a target that occurs twice and negatives that hit targets.
func sampledCase() opCase {
	targets, negatives := []int32{1, 3, 1}, []int32{0, 3, 5, 5}
	logq := []float32{-1, 0.5, -2, 0.25, 1, -0.75}
	return opCase{"SampledSoftmax", [][2]int{{3, 4}, {6, 4}, {6, 1}},
		func(t *Tape, p []*Param) *Var {
			return t.SampledSoftmax(t.Leaf(p[0]), p[1], p[2], targets, negatives, logq)
		},
		func(x [][]float64) []float64 {
			sum := 0.0
			for r, target := range targets {
				score := func(c int32) float64 {
					return times(x[0][r*4:r*4+4], x[1][c*4:c*4+4], 4)[0] + x[2][c] - float64(logq[c])
				}
				total := math.Exp(score(target))
				for _, c := range append(append([]int32{}, targets...), negatives...) {
					if c != target {
						total += math.Exp(score(c))
					}
				}
				sum += math.Log(total) - score(target)
			}
			return []float64{sum / float64(len(targets))}
		}}
}
