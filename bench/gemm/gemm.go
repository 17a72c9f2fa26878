// Package gemm compares float32 matrix products in the shapes of training and
// decoding with those of OpenBLAS (NumPy) and MKL (PyTorch).
package gemm

import (
	"embed"
	"fmt"

	"github.com/gr2/gr2/bench/compare"
	"github.com/gr2/gr2/internal/kernel"
)

//go:embed peer.py
var source embed.FS

// shape is a product of op(A), m x k, and op(B), k x n.
type shape struct {
	role           string
	TransA, TransB bool
	M, N, K        int
}

// layers are the (inputs, outputs) of linear layers: attention and SwiGLU of a
// decoder with d=256, its vocabulary, and a wide square.
var layers = [][2]int{{256, 768}, {768, 256}, {256, 4096}, {1024, 1024}}

// tokens is the batch of a training step.
const tokens = 2048

// shapes are the forward product, the gradients of inputs and of weights, then
// small batches.
func shapes() []shape {
	var all []shape
	for _, l := range layers {
		in, out := l[0], l[1]
		all = append(all,
			shape{"forward", false, true, tokens, out, in},
			shape{"input-grad", false, false, tokens, in, out},
			shape{"weight-grad", true, false, out, in, tokens})
	}
	for _, rows := range []int{1, 2, 4, 8, 16, 32, 48, 64} {
		all = append(all, shape{"decode", false, true, rows, 768, 256}, shape{"decode", false, true, rows, 256, 768})
	}
	return append(all, shape{"decode", false, true, 1, 4096, 256}, shape{"decode", false, true, 32, 4096, 256})
}

// Suite is what Command bench runs.
func Suite() compare.Suite {
	s := compare.Suite{
		Name: "gemm", Unit: "GFLOP/s",
		Peers: []compare.Peer{
			{Name: "openblas", Source: source, Script: "peer.py", Args: []string{"numpy"}},
			{Name: "mkl", Source: source, Script: "peer.py", Args: []string{"torch"}},
		},
	}
	for _, sh := range shapes() {
		s.Cases = append(s.Cases, compare.Case{
			Name:    fmt.Sprintf("%s/%dx%dx%d", sh.role, sh.M, sh.N, sh.K),
			Work:    2 * float64(sh.M) * float64(sh.N) * float64(sh.K) / 1e9,
			Request: sh,
			Prepare: sh.prepare,
		})
	}
	return s
}

func (s shape) prepare() func() {
	a, b, c := fill(s.M*s.K), fill(s.K*s.N), make([]float32, s.M*s.N)
	lda, ldb := s.K, s.N
	if s.TransA {
		lda = s.M
	}
	if s.TransB {
		ldb = s.K
	}
	return func() { kernel.Gemm(s.TransA, s.TransB, s.M, s.N, s.K, 1, a, lda, b, ldb, 0, c, s.N) }
}

func fill(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(i%7) - 3
	}
	return x
}
