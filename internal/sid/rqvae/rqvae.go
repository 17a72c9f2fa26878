package rqvae

import (
	"context"
	"encoding/json"
	"fmt"
	"math"

	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/sid/fit"
)

// Kind is the fit.Quantizer.Kind of what Fit makes.
const Kind = "rqvae"

// Loss is the terms of the loss, unweighted, as means over rows (pairs).
type Loss struct {
	Reconstruction float64 `json:"reconstruction"` // |x - xhat|^2, where x has a mean square of 1 a component
	Codebook       float64 `json:"codebook"`       // sum over the levels of |sg[r] - q|^2
	Commitment     float64 `json:"commitment"`     // sum over the levels of |r - sg[q]|^2
	Diversity      float64 `json:"diversity"`      // sum over the levels of C sum_j p_j^2; 0 when off
	Contrastive    float64 `json:"contrastive"`    // InfoNCE; 0 when off
}

func (l *Loss) add(o Loss, weight float64) {
	l.Reconstruction += weight * o.Reconstruction
	l.Codebook += weight * o.Codebook
	l.Commitment += weight * o.Commitment
	l.Diversity += weight * o.Diversity
	l.Contrastive += weight * o.Contrastive
}

func (l *Loss) finite() bool {
	sum := l.Reconstruction + l.Codebook + l.Commitment + l.Diversity + l.Contrastive
	return !math.IsNaN(sum) && !math.IsInf(sum, 0)
}

// Epoch tells how an epoch went.
type Epoch struct {
	Number  int    `json:"number"` // from 1
	Loss    Loss   `json:"loss"`
	Revived int    `json:"revived"` // dead codes that were reset
	Usage   *Usage `json:"usage,omitempty"`
}

// Usage is what the rows trained on make of the codes after an epoch, each row
// with its nearest code at every level.
type Usage struct {
	Uniqueness float64 `json:"uniqueness"` // share of rows whose code no other row has
	Dead       []int   `json:"dead"`       // by level: codes that no row has
	Error      float64 `json:"error"`      // of quantising the latent vectors: see fit.Quantizer.RelativeError
}

// Report says how a fit went.
type Report struct {
	Options Options `json:"options"`
	Rows    int     `json:"rows"` // trained on
	Epochs  []Epoch `json:"epochs"`
	Chosen  int     `json:"chosen"` // number of the epoch whose codebooks were kept
}

// Fit trains a quantizer of the rows of emb. pairs are rows of emb that users
// engaged with together; only the contrastive loss reads them. progress, if not
// nil, hears of each epoch. When ctx ends, so does the fit, with its error.
func Fit(ctx context.Context, emb embed.Matrix, pairs [][2]int32, opt Options, progress func(Epoch)) (*fit.Quantizer, *Report, error) {
	if err := opt.Validate(); err != nil {
		return nil, nil, err
	}
	opt = opt.withDefaults()
	if err := check(emb, pairs, opt); err != nil {
		return nil, nil, err
	}
	t, err := newTrainer(emb, pairs, opt)
	if err != nil {
		return nil, nil, err
	}
	report := &Report{Options: opt, Rows: t.train.Rows}
	var best *fit.Quantizer
	bestUniqueness := 0.0
	for number := 1; number <= opt.Epochs; number++ {
		e := Epoch{Number: number}
		if err := t.epoch(ctx, &e); err != nil {
			return nil, nil, err
		}
		last := number == opt.Epochs
		if number%opt.Evaluate == 0 || last {
			q, err := t.measure(&e)
			if err != nil {
				return nil, nil, err
			}
			past := float64(number) > opt.BurnIn*float64(opt.Epochs)
			if past && e.Usage.Uniqueness >= bestUniqueness || last && best == nil {
				best, bestUniqueness, report.Chosen = q, e.Usage.Uniqueness, number
			}
		}
		report.Epochs = append(report.Epochs, e)
		if progress != nil {
			progress(e)
		}
	}
	return best, report, nil
}

func check(emb embed.Matrix, pairs [][2]int32, opt Options) error {
	if emb.Rows == 0 || emb.Cols == 0 {
		return fault.Inputf("rqvae: no embeddings to quantise")
	}
	for i, v := range emb.Data {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return fault.Inputf("rqvae: row %d of the embeddings has a component %v", i/emb.Cols, v)
		}
	}
	if opt.Contrastive > 0 && len(pairs) == 0 {
		return fault.Inputf("rqvae: contrastive %v, but no pairs of co-engaged items: pass some, or set it to 0", opt.Contrastive)
	}
	for i, p := range pairs {
		if p[0] < 0 || p[1] < 0 || int(p[0]) >= emb.Rows || int(p[1]) >= emb.Rows || p[0] == p[1] {
			return fault.Inputf("rqvae: pair %d joins rows %d and %d; use two of the %d", i, p[0], p[1], emb.Rows)
		}
	}
	return nil
}

var orderStream = rng.Key("sid/rqvae/order")

// epoch passes over the rows once, in batches of about the same size.
func (t *trainer) epoch(ctx context.Context, e *Epoch) error {
	order := rng.New(t.opt.Seed, orderStream, uint64(e.Number)).Perm(t.train.Rows)
	batches := (len(order) + t.opt.Batch - 1) / t.opt.Batch
	for i := range batches {
		if err := ctx.Err(); err != nil {
			return err
		}
		rows := order[i*len(order)/batches : (i+1)*len(order)/batches]
		loss, revived := t.step(rows)
		e.Loss.add(loss, float64(len(rows))/float64(len(order)))
		e.Revived += revived
	}
	if !e.Loss.finite() {
		return fmt.Errorf("rqvae: the loss of epoch %d is no finite number (%+v): use a lower learning_rate than %v", e.Number, e.Loss, t.opt.LearningRate)
	}
	return nil
}

// quantizer is a copy of the model as it stands.
func (t *trainer) quantizer() (*fit.Quantizer, error) {
	record, err := json.Marshal(t.opt)
	if err != nil {
		return nil, err
	}
	q := &fit.Quantizer{Kind: Kind, Options: record, Encoder: t.encoder.layers(t.scale), Books: fit.Codebooks{Width: t.opt.Width}}
	for _, b := range t.books {
		m := embed.NewMatrix(b.codes.Rows, b.codes.Cols)
		copy(m.Data, b.codes.Value)
		q.Books.Levels = append(q.Books.Levels, m)
	}
	return q, nil
}
