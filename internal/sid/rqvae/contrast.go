package rqvae

import (
	"github.com/gr2/gr2/internal/nn"
	"github.com/gr2/gr2/internal/rng"
)

// contrast is the working memory of the contrastive loss.
type contrast struct {
	ones               *nn.Param // gain of the norm
	input, mask        []float32
	items              []int32 // anchors, then positives, of the batch
	anchors, positives []int32 // their places in items
	weights            []float32
}

func newContrast(opt Options) contrast {
	c := contrast{ones: nn.NewParam("ones", 1, opt.Latent)}
	c.ones.Frozen = true
	for i := range c.ones.Value {
		c.ones.Value[i] = 1
	}
	return c
}

var pairStream = rng.Key("sid/rqvae/pairs")

// drawPairs draws the batch of n pairs with replacement, either item as the
// anchor.
func (t *trainer) drawPairs(n int) {
	c := &t.contrast
	r := rng.New(t.opt.Seed, pairStream, t.steps)
	c.items = resize(c.items, 2*n)
	for i := range n {
		pair := t.pairs[r.IntN(len(t.pairs))]
		side := r.IntN(2)
		c.items[i], c.items[n+i] = pair[side], pair[1-side]
	}
}

// infoNCE is the cross-entropy of each anchor's partner among the partners of
// all anchors of the batch, with scores cos(z_a, z_b)/Temperature (van den Oord
// et al. 2018).
func (t *trainer) infoNCE() *nn.Var {
	c := &t.contrast
	n := c.arrange()
	c.input = resize(c.input, 2*n*t.emb.Cols)
	for i, item := range c.items {
		t.scale.apply(t.emb.Row(int(item)), c.input[i*t.emb.Cols:(i+1)*t.emb.Cols])
	}
	tape := t.tape
	z := t.encoder.forward(tape, tape.Const(2*n, t.emb.Cols, c.input))
	unit := tape.RMSNorm(z, c.ones, 1e-12) // of length sqrt(latent)
	scores := tape.MatMulT(tape.Rows(unit, c.anchors), tape.Rows(unit, c.positives))
	scores = tape.Scale(scores, float32(1/(float64(t.opt.Latent)*t.opt.Temperature)))
	scores = tape.Add(scores, tape.Const(n, n, c.mask))
	// The partner of anchor i is candidate i, just as its place among the anchors.
	return tape.CrossEntropy(scores, c.anchors, c.weights, float32(n))
}

// arrange fills in what follows from the items of the batch, and counts its
// pairs. The mask takes out of a row the candidates that are no negatives: its
// anchor, and its partner once more.
func (c *contrast) arrange() int {
	const never = -1e9
	n := len(c.items) / 2
	c.anchors, c.positives = resize(c.anchors, n), resize(c.positives, n)
	c.weights, c.mask = resize(c.weights, n), resize(c.mask, n*n)
	for i := range n {
		c.anchors[i], c.positives[i], c.weights[i] = int32(i), int32(n+i), 1
		for j := range n {
			c.mask[i*n+j] = 0
			if other := c.items[n+j]; j != i && (other == c.items[i] || other == c.items[n+i]) {
				c.mask[i*n+j] = never
			}
		}
	}
	return n
}
