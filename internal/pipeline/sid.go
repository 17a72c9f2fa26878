package pipeline

import (
	"cmp"
	"context"
	"path/filepath"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/sid/fit"
	"github.com/gr2/gr2/internal/sid/quality"
	"github.com/gr2/gr2/internal/sid/rqvae"
)

// SIDOptions choose the semantic IDs.
type SIDOptions struct {
	// Method finds the codebooks: rq-kmeans, rq-kmeans-balanced or rqvae.
	Method string `yaml:"method" json:"method"`
	Levels int    `yaml:"levels" json:"levels"`
	Width  int    `yaml:"width" json:"width"` // codes a level
	// Seed of fit and assignment; 0 takes the run's seed.
	Seed uint64 `yaml:"seed" json:"seed"`
	// Assign is the rule that gives items their codes: nearest, free, sinkhorn,
	// random or random-free.
	Assign fit.Rule `yaml:"assign" json:"assign"`
	// RandomLevels is how many last levels the random rules draw; 0 is one of
	// them, and none of the other rules'.
	RandomLevels int `yaml:"random_levels" json:"random_levels"`
	// Iterations of k-means, at most.
	Iterations int `yaml:"iterations" json:"iterations"`
	// Slack of rq-kmeans-balanced: a code gets at most 1+slack times its even share.
	Slack float64 `yaml:"slack" json:"slack"`
	// PairWindow is how many events of a user apart two items count as
	// co-engaged, for sid.rqvae.contrastive.
	PairWindow int           `yaml:"pair_window" json:"pair_window"`
	RQVAE      rqvae.Options `yaml:"rqvae" json:"rqvae"`
}

// Methods of section sid.
const (
	methodKMeans   = "rq-kmeans"
	methodBalanced = "rq-kmeans-balanced"
	methodRQVAE    = "rqvae"
)

func (c *checker) sid(o *SIDOptions) {
	c.oneOf("sid.method", o.Method, methodKMeans, methodBalanced, methodRQVAE)
	c.within("sid.levels", float64(o.Levels), 1, 8)
	c.within("sid.width", float64(o.Width), 2, 256)
	c.within("sid.iterations", float64(o.Iterations), 1, 1000)
	c.within("sid.slack", o.Slack, 0.001, 100)
	c.within("sid.pair_window", float64(o.PairWindow), 1, 1000)
	if o.Assign == "" { // AssignOptions has a default, a configuration states it
		c.fail("sid.assign is empty; use one of %v", fit.Rules)
	} else if err := o.assign(0).Validate(o.Levels); err != nil {
		c.fail("%v (sid.assign is the rule)", err)
	}
	if err := o.RQVAE.Validate(); err != nil {
		c.fail("sid.%v", err)
	}
}

func (o *SIDOptions) assign(seed uint64) fit.AssignOptions {
	return fit.AssignOptions{Rule: o.Assign, RandomLevels: o.RandomLevels, Seed: seed}
}

// What the sid stage says of its fit, of the codes, and of the training of an
// RQ-VAE.
const (
	sidReportFile   = "stats.json"
	qualityFile     = "quality.json"
	sidTrainingFile = "training.json"
)

// sidStage fits semantic IDs to the embedding of the catalog.
func (w *world) sidStage(ctx context.Context, dir string) error {
	ds, err := w.dataset()
	if err != nil {
		return err
	}
	emb, err := w.embedding(ctx)
	if err != nil {
		return err
	}
	q, err := w.quantizer(ctx, dir, emb)
	if err != nil {
		return err
	}
	o := &w.job.Options.SID
	f, err := fit.Build(ds.Catalog, emb, q, o.assign(w.sidSeed()))
	if err != nil {
		return err
	}
	w.say("semantic IDs: %.2f%% unique, %.2f%% by the nearest codes", 100*f.Report.Index.Uniqueness, 100*f.Report.Nearest.Uniqueness)
	if err := durable.WriteJSON(filepath.Join(dir, sidReportFile), f.Report); err != nil {
		return err
	}
	split, err := w.split()
	if err != nil {
		return err
	}
	measured, err := quality.Measure(f.Index, ds.Catalog, split.Train, w.job.Options.Seed)
	if err != nil {
		return err
	}
	measured.Errors = f.Report.Errors
	if err := durable.WriteJSON(filepath.Join(dir, qualityFile), measured); err != nil {
		return err
	}
	return saveSIDs(dir, f.Index, f.Quantizer, f.Assign)
}

func (w *world) sidSeed() uint64 { return cmp.Or(w.job.Options.SID.Seed, w.job.Options.Seed) }

// quantizer fits the codebooks by the method of section sid.
func (w *world) quantizer(ctx context.Context, dir string, emb embed.Matrix) (*fit.Quantizer, error) {
	o := &w.job.Options.SID
	if o.Method == methodRQVAE {
		return w.trainQuantizer(ctx, dir, emb)
	}
	return fit.RQKMeans(emb, fit.Options{
		Levels: o.Levels, Width: o.Width, Iterations: o.Iterations, Seed: w.sidSeed(),
		Balanced: o.Method == methodBalanced, Slack: o.Slack,
	})
}

// LearnsPairs tells whether the quantizer is taught by which items users take
// together.
func (o *SIDOptions) LearnsPairs() bool { return o.Method == methodRQVAE && o.RQVAE.Contrastive > 0 }

// trainQuantizer trains an RQ-VAE, which may read the training events, and
// leaves its course.
func (w *world) trainQuantizer(ctx context.Context, dir string, emb embed.Matrix) (*fit.Quantizer, error) {
	split, err := w.split()
	if err != nil {
		return nil, err
	}
	opt := w.job.Options.SID.RQVAE
	opt.Levels, opt.Width, opt.Seed = w.job.Options.SID.Levels, w.job.Options.SID.Width, w.sidSeed()
	var pairs [][2]int32
	if opt.Contrastive > 0 {
		pairs = rqvae.CoEngaged(split.Train, w.job.Options.SID.PairWindow)
	}
	q, report, err := rqvae.Fit(ctx, emb, pairs, opt, func(e rqvae.Epoch) {
		w.work(float64(e.Number), float64(opt.Epochs), "RQ-VAE")
	})
	if err != nil {
		return nil, err
	}
	w.say("RQ-VAE: epoch %d of %d is kept", report.Chosen, len(report.Epochs))
	return q, durable.WriteJSON(filepath.Join(dir, sidTrainingFile), report)
}
