package nn

import (
	"math"
	"sync"

	"github.com/gr2/gr2/internal/kernel"
)

// GradNorm is the joint Euclidean norm of the gradients of what is trained.
func GradNorm(params []*Param) float64 {
	n := takeNorm()
	defer n.release()
	for _, p := range params {
		for g := p.trained(); len(g) > 0; {
			size := min(len(g), span)
			n.parts, g = append(n.parts, g[:size]), g[size:]
		}
	}
	n.squares = append(n.squares, make([]float64, len(n.parts))...)
	kernel.Parallel(len(n.parts), n.measure)
	sum := 0.0
	for _, s := range n.squares {
		sum += s
	}
	return math.Sqrt(sum)
}

// gradNorm is one call of GradNorm: gradients in parts and the sum of squares of
// each. Calls are recycled, with their bound method, so that none allocates.
type gradNorm struct {
	parts   [][]float32
	squares []float64
	measure func(i int)
}

var norms struct {
	mu   sync.Mutex
	free []*gradNorm
}

func takeNorm() *gradNorm {
	norms.mu.Lock()
	defer norms.mu.Unlock()
	if n := len(norms.free); n > 0 {
		c := norms.free[n-1]
		norms.free = norms.free[:n-1]
		return c
	}
	n := new(gradNorm)
	n.measure = n.measurePart
	return n
}

func (n *gradNorm) release() {
	clear(n.parts) // so that it keeps no gradient alive
	n.parts, n.squares = n.parts[:0], n.squares[:0]
	norms.mu.Lock()
	norms.free = append(norms.free, n)
	norms.mu.Unlock()
}

// measurePart sums in float32 within a piece, in float64 across.
func (n *gradNorm) measurePart(i int) {
	const piece = 4096
	sum := 0.0
	for g := n.parts[i]; len(g) > 0; {
		size := min(len(g), piece)
		sum += float64(kernel.Dot(g[:size], g[:size]))
		g = g[size:]
	}
	n.squares[i] = sum
}
