package nn

import (
	"math"
	"sync"

	"github.com/gr2/gr2/internal/kernel"
)

// ClipGradNorm scales all gradients so that their joint Euclidean norm is at
// most limit, and returns the norm before. A limit of 0 or less only measures,
// and a norm that is no finite number scales nothing.
func ClipGradNorm(params []*Param, limit float64) (norm float64) {
	c := takeClip()
	defer c.release()
	for _, p := range params {
		for g := p.trained(); len(g) > 0; {
			n := min(len(g), span)
			c.parts, g = append(c.parts, g[:n]), g[n:]
		}
	}
	c.squares = append(c.squares, make([]float64, len(c.parts))...)
	kernel.Parallel(len(c.parts), c.measure)
	sum := 0.0
	for _, s := range c.squares {
		sum += s
	}
	norm = math.Sqrt(sum)
	if limit <= 0 || !(norm > limit) || math.IsInf(norm, 0) {
		return norm
	}
	c.factor = float32(limit / norm)
	kernel.Parallel(len(c.parts), c.scale)
	return norm
}

// clip is one call of ClipGradNorm: gradients in parts and the sum of squares of
// each. Calls are recycled, with their bound methods, so that none allocates.
type clip struct {
	parts          [][]float32
	squares        []float64
	factor         float32
	measure, scale func(i int)
}

var clips struct {
	mu   sync.Mutex
	free []*clip
}

func takeClip() *clip {
	clips.mu.Lock()
	defer clips.mu.Unlock()
	if n := len(clips.free); n > 0 {
		c := clips.free[n-1]
		clips.free = clips.free[:n-1]
		return c
	}
	c := new(clip)
	c.measure, c.scale = c.measurePart, c.scalePart
	return c
}

func (c *clip) release() {
	clear(c.parts) // so that it keeps no gradient alive
	c.parts, c.squares = c.parts[:0], c.squares[:0]
	clips.mu.Lock()
	clips.free = append(clips.free, c)
	clips.mu.Unlock()
}

// measurePart sums in float32 within a piece, in float64 across.
func (c *clip) measurePart(i int) {
	const piece = 4096
	sum := 0.0
	for g := c.parts[i]; len(g) > 0; {
		n := min(len(g), piece)
		sum += float64(kernel.Dot(g[:n], g[:n]))
		g = g[n:]
	}
	c.squares[i] = sum
}

func (c *clip) scalePart(i int) { kernel.Scale(c.factor, c.parts[i]) }
