package rqvae

import (
	"fmt"
	"math"

	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/nn"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/sid/fit"
)

// network is linear layers with ReLU between them.
type network struct{ weights, biases []*nn.Param }

var initStream = rng.Key("sid/rqvae/init")

// newNetwork makes a network between layers of these sizes. Weights are uniform
// with the variance 2/in of He et al. (2015), the last ones 1/in; biases are 0.
func newNetwork(name string, sizes []int, seed uint64) network {
	var n network
	for i, out := range sizes[1:] {
		in := sizes[i]
		w := nn.NewParam(fmt.Sprintf("%s.%d.weight", name, i), out, in)
		w.Decay = true
		gain := 2.0
		if i == len(sizes)-2 {
			gain = 1
		}
		r, bound := rng.New(seed, initStream, rng.Key(w.Name)), math.Sqrt(3*gain/float64(in))
		for j := range w.Value {
			w.Value[j] = float32((2*r.Float64() - 1) * bound)
		}
		n.weights = append(n.weights, w)
		n.biases = append(n.biases, nn.NewParam(fmt.Sprintf("%s.%d.bias", name, i), 1, out))
	}
	return n
}

func (n network) params() []*nn.Param {
	return append(append([]*nn.Param{}, n.weights...), n.biases...)
}

func (n network) forward(t *nn.Tape, x *nn.Var) *nn.Var {
	for i, w := range n.weights {
		if i > 0 {
			x = t.ReLU(x)
		}
		x = t.Linear(x, w, n.biases[i])
	}
	return x
}

// layers is a copy of the network that takes inputs before they are normalised.
func (n network) layers(s scaling) []fit.Layer {
	var out []fit.Layer
	for i, w := range n.weights {
		l := fit.Layer{Weight: embed.NewMatrix(w.Rows, w.Cols), Bias: append([]float32(nil), n.biases[i].Value...)}
		copy(l.Weight.Data, w.Value)
		if i == 0 {
			s.fold(l)
		}
		out = append(out, l)
	}
	return out
}

// scaling normalises embeddings to (x - mean) * factor, so that a component's
// mean is 0 and the mean square of all components is 1. One factor for all
// leaves the geometry as it is.
type scaling struct {
	mean   []float32
	factor float32
}

func newScaling(x embed.Matrix) scaling {
	sum, square := make([]float64, x.Cols), 0.0
	for i, v := range x.Data {
		sum[i%x.Cols] += float64(v)
	}
	s := scaling{mean: make([]float32, x.Cols), factor: 1}
	for j := range sum {
		s.mean[j] = float32(sum[j] / float64(x.Rows))
	}
	for i, v := range x.Data {
		d := float64(v - s.mean[i%x.Cols])
		square += d * d
	}
	if square > 0 {
		s.factor = float32(math.Sqrt(float64(len(x.Data)) / square))
	}
	return s
}

// apply normalises a row into dst.
func (s scaling) apply(row, dst []float32) {
	for j, v := range row {
		dst[j] = (v - s.mean[j]) * s.factor
	}
}

// fold makes a layer take what apply takes: W (x - mean) factor + b.
func (s scaling) fold(l fit.Layer) {
	for i := range l.Bias {
		shift := 0.0
		for j, w := range l.Weight.Row(i) {
			l.Weight.Row(i)[j] = w * s.factor
			shift += float64(w*s.factor) * float64(s.mean[j])
		}
		l.Bias[i] -= float32(shift)
	}
}
