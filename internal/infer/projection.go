package infer

import (
	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/lm"
)

// projection is a linear map of rows, (in) to (out).
type projection struct {
	out, in int
	weights []float32    // (out, in), the model's; nil when rounded
	rounded *kernel.Int8 // nil when not
}

func newProjection(t *lm.Tensor, out, in int, round bool) projection {
	if round {
		return projection{out: out, in: in, rounded: kernel.RoundInt8(out, in, t.Data)}
	}
	return projection{out: out, in: in, weights: t.Data}
}

// layer is a decoder block with its projections as the engine multiplies by them.
type layer struct {
	*lm.Layer
	q, k, v, o, gate, up, down projection
}

func newLayers(m *lm.Model, round bool) []layer {
	c := m.Config
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	layers := make([]layer, len(m.Layers))
	for i := range layers {
		l := &m.Layers[i]
		layers[i] = layer{
			Layer: l,
			q:     newProjection(l.Q, q, c.Hidden, round),
			k:     newProjection(l.K, kv, c.Hidden, round),
			v:     newProjection(l.V, kv, c.Hidden, round),
			o:     newProjection(l.O, c.Hidden, q, round),
			gate:  newProjection(l.Gate, c.Intermediate, c.Hidden, round),
			up:    newProjection(l.Up, c.Intermediate, c.Hidden, round),
			down:  newProjection(l.Down, c.Hidden, c.Intermediate, round),
		}
	}
	return layers
}

// input is rows for projections to take: as they are, and rounded for those
// whose weights are.
type input struct {
	x       []float32 // (rows, width) and a spare row
	rows    int
	width   int
	shared  bool // the rows are of several sequences
	rounded kernel.Int8Rows
}

// set makes x the input. To be rounded, its rows must then pass through round.
func (in *input) set(x []float32, rows, width int, shared, round bool) {
	in.x, in.rows, in.width, in.shared = x, rows, width, shared
	if round {
		in.rounded.Reset(rows, width)
	}
}

func (in *input) round(from, to int) {
	for r := from; r < to; r++ {
		in.rounded.Set(r, in.x[r*in.width:(r+1)*in.width])
	}
}

// apply is y = x*w^T, or y += x*w^T with add, with y (rows, out).
//
// Rows of several sequences are cut into products whose row count does not
// matter, so that a sequence gets the same bits in whatever company. A single
// row is multiplied with the spare one behind it, in x and y: alone it would be
// rounded in another way than in company. Of rounded weights the sums are exact,
// and nothing of this matters.
func (w *projection) apply(y []float32, in *input, add bool) {
	if w.rounded != nil {
		kernel.GemmInt8(&in.rounded, w.rounded, add, y, w.out)
		return
	}
	var keep float32
	if add {
		keep = 1
	}
	step := in.rows
	if in.shared {
		step = evenly(in.rows, shareRows)
	}
	for from := 0; from < in.rows; from += step {
		kernel.Gemm(false, true, max(2, min(step, in.rows-from)), w.out, w.in, 1,
			in.x[from*w.in:], w.in, w.weights, w.in, keep, y[from*w.out:], w.out)
	}
}

// evenly is the size of the fewest equal parts of n that are at most limit.
func evenly(n, limit int) int {
	parts := max(1, (n+limit-1)/limit)
	return max(1, (n+parts-1)/parts)
}
