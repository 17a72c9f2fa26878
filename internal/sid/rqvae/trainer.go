package rqvae

import (
	"fmt"
	"slices"

	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/nn"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/sid/fit"
)

// trainer is the model and its optimiser.
type trainer struct {
	opt   Options
	emb   embed.Matrix // all rows, which pairs name
	pairs [][2]int32
	train embed.Matrix // the rows trained on
	scale scaling

	encoder, decoder network
	books            []*codebook
	adam             *nn.AdamW
	tape             *nn.Tape
	steps            uint64

	input  []float32 // of the step under way: rows x emb.Cols
	before []float32 // codes before the optimiser's step
	sum    []float32 // of the chosen codes: rows x latent
	contrast
}

func newTrainer(emb embed.Matrix, pairs [][2]int32, opt Options) (*trainer, error) {
	t := &trainer{opt: opt, emb: emb, pairs: pairs, train: emb, tape: nn.NewTape()}
	if opt.Sample < emb.Rows {
		t.train = fit.Gather(emb, fit.SampleRows(emb.Rows, opt.Sample, opt.Seed))
	}
	t.scale = newScaling(t.train)
	sizes := append(append([]int{emb.Cols}, opt.Hidden...), opt.Latent)
	t.encoder = newNetwork("encoder", sizes, opt.Seed)
	slices.Reverse(sizes)
	t.decoder = newNetwork("decoder", sizes, opt.Seed)
	if err := t.initCodebooks(); err != nil {
		return nil, err
	}
	params := append(t.encoder.params(), t.decoder.params()...)
	for _, b := range t.books {
		params = append(params, b.codes)
	}
	t.adam = nn.NewAdamW(params, nn.AdamWOptions{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Decay: opt.Decay})
	t.contrast = newContrast(opt)
	return t, nil
}

// initCodebooks starts the codes of each level; where the residuals have fewer
// distinct values than codes, k-means leaves the last codes at 0.
func (t *trainer) initCodebooks() error {
	for l := range t.opt.Levels {
		b := &codebook{codes: nn.NewParam(fmt.Sprintf("codebook.%d", l), t.opt.Width, t.opt.Latent), idle: make([]int, t.opt.Width)}
		b.codes.Frozen = t.opt.EMA > 0 && t.opt.EMATarget == Residuals
		t.books = append(t.books, b)
	}
	if t.opt.Init == Uniform {
		for _, b := range t.books {
			r := rng.New(t.opt.Seed, initStream, rng.Key(b.codes.Name))
			for i := range b.codes.Value {
				b.codes.Value[i] = float32((2*r.Float64() - 1) / float64(t.opt.Width))
			}
		}
		return nil
	}
	sample := fit.Gather(t.train, fit.SampleRows(t.train.Rows, t.opt.InitSample, t.opt.Seed))
	latent := fit.Encode(t.encoder.layers(t.scale), sample)
	q, err := fit.RQKMeans(latent, fit.Options{Levels: t.opt.Levels, Width: t.opt.Width, Iterations: 10, Seed: t.opt.Seed})
	if err != nil {
		return err
	}
	for l, b := range t.books {
		copy(b.codes.Value, q.Books.Levels[l].Data)
	}
	return nil
}

// step trains on some rows of train and returns the loss before the step and how
// many dead codes it reset.
func (t *trainer) step(rows []int) (Loss, int) {
	t.tape.Reset()
	t.steps++
	total, terms := t.lossOf(rows)
	if t.opt.Contrastive > 0 {
		t.drawPairs(min(t.opt.ContrastSize, len(t.pairs)))
		terms.contrastive = t.infoNCE()
		total = t.tape.Add(total, t.tape.Scale(terms.contrastive, float32(t.opt.Contrastive)))
	}
	t.tape.Backward(total)
	loss := terms.read()
	t.update()
	revived := 0
	if t.opt.Reset > 0 {
		for _, b := range t.books {
			codes := b.reset(t.opt.Reset)
			t.forget(b.codes, codes)
			revived += len(codes)
		}
	}
	return loss, revived
}

// lossOf records the loss of a batch, but the contrastive one, and its terms.
func (t *trainer) lossOf(rows []int) (*nn.Var, *terms) {
	tape := t.tape
	t.input = resize(t.input, len(rows)*t.train.Cols)
	for i, row := range rows {
		t.scale.apply(t.train.Row(row), t.input[i*t.train.Cols:(i+1)*t.train.Cols])
	}
	x := tape.Const(len(rows), t.train.Cols, t.input)
	z := t.encoder.forward(tape, x)
	terms := t.quantise(z)
	decoded := t.decoder.forward(tape, tape.StraightThrough(z, tape.Const(z.Rows, z.Cols, t.sum)))
	terms.reconstruction = rowError(tape, x, decoded)
	total := tape.Add(terms.reconstruction, tape.Add(terms.codebook, tape.Scale(terms.commitment, float32(t.opt.Beta))))
	if t.opt.Diversity > 0 {
		total = tape.Add(total, tape.Scale(terms.diversity, float32(t.opt.Diversity)))
	}
	return total, terms
}

// terms are the parts of the loss on the tape; nil where off.
type terms struct{ reconstruction, codebook, commitment, diversity, contrastive *nn.Var }

func (t *terms) read() Loss {
	value := func(v *nn.Var) float64 {
		if v == nil {
			return 0
		}
		return float64(v.Value[0])
	}
	return Loss{value(t.reconstruction), value(t.codebook), value(t.commitment), value(t.diversity), value(t.contrastive)}
}

// rowError is the mean over the rows of |a - b|^2.
func rowError(tape *nn.Tape, a, b *nn.Var) *nn.Var {
	return tape.Scale(tape.MSE(a, b), float32(a.Cols))
}

// quantise chooses the codes of z level by level, r_1 = z, r_k+1 = r_k - sg[q_k],
// adds them up in t.sum, and records the losses of the levels.
func (t *trainer) quantise(z *nn.Var) *terms {
	tape, out := t.tape, new(terms)
	t.sum = resize(t.sum, len(z.Value))
	clear(t.sum)
	residual := z
	for _, b := range t.books {
		b.choose(embed.Matrix{Rows: z.Rows, Cols: z.Cols, Data: residual.Value})
		q := tape.Embed(b.codes, b.chosen)
		out.codebook = plus(tape, out.codebook, rowError(tape, tape.StopGradient(residual), q))
		out.commitment = plus(tape, out.commitment, rowError(tape, residual, tape.StopGradient(q)))
		if t.opt.Diversity > 0 {
			out.diversity = plus(tape, out.diversity, tape.CodeUsage(residual, b.codes))
		}
		for i, v := range q.Value {
			t.sum[i] += v
		}
		residual = tape.Add(residual, tape.Scale(tape.StopGradient(q), -1))
	}
	return out
}

// plus is a + b, where a may be nil for nothing.
func plus(tape *nn.Tape, a, b *nn.Var) *nn.Var {
	if a == nil {
		return b
	}
	return tape.Add(a, b)
}

// update applies the gradients and moves the EMA codebooks.
func (t *trainer) update() {
	lr, gamma := t.opt.LearningRate, t.opt.EMA
	switch {
	case gamma == 0:
		t.adam.Step(lr)
	case t.opt.EMATarget == Residuals:
		t.adam.Step(lr)
		for _, b := range t.books {
			b.average(gamma)
		}
	default:
		t.before = t.before[:0]
		for _, b := range t.books {
			t.before = append(t.before, b.codes.Value...)
		}
		t.adam.Step(lr)
		for l, b := range t.books {
			n := len(b.codes.Value)
			b.blend(t.before[l*n:(l+1)*n], gamma)
		}
	}
}

// forget clears the optimiser's moments of some rows of a codebook: they belong
// to the codes that were there before.
func (t *trainer) forget(codes *nn.Param, rows []int) {
	first, second := t.adam.Moments()
	at := len(first) - len(t.books) + slices.IndexFunc(t.books, func(b *codebook) bool { return b.codes == codes })
	for _, row := range rows {
		clear(first[at][row*codes.Cols : (row+1)*codes.Cols])
		clear(second[at][row*codes.Cols : (row+1)*codes.Cols])
	}
}

// measure fills the epoch's usage and returns the quantizer that it is of.
func (t *trainer) measure(e *Epoch) (*fit.Quantizer, error) {
	q, err := t.quantizer()
	if err != nil {
		return nil, err
	}
	latent := q.Latent(t.train)
	codes := q.Books.Nearest(latent)
	e.Usage = usageOf(codes, t.opt)
	e.Usage.Error = q.RelativeError(latent, codes)
	return q, nil
}

func usageOf(codes []uint8, opt Options) *Usage {
	users := map[string]int{}
	used := make([]bool, opt.Levels*opt.Width)
	for i := 0; i < len(codes); i += opt.Levels {
		code := codes[i : i+opt.Levels]
		users[string(code)]++
		for l, c := range code {
			used[l*opt.Width+int(c)] = true
		}
	}
	u := &Usage{Dead: make([]int, opt.Levels)}
	for i, ok := range used {
		if !ok {
			u.Dead[i/opt.Width]++
		}
	}
	alone := 0
	for _, n := range users {
		if n == 1 {
			alone++
		}
	}
	u.Uniqueness = float64(alone) / float64(len(codes)/opt.Levels)
	return u
}
