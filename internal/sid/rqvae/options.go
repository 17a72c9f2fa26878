package rqvae

import (
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/sid"
)

// Options of a fit. A zero field, but Seed, takes its default; the default of a
// switch is off. A configuration file has levels, width and seed elsewhere, for
// all methods.
type Options struct {
	Levels int   `json:"levels" yaml:"-"`      // of a code; default 4
	Width  int   `json:"width" yaml:"-"`       // codes a level; default 256
	Hidden []int `json:"hidden" yaml:"hidden"` // layers of the encoder, those of the decoder in reverse; default 256, 128
	Latent int   `json:"latent" yaml:"latent"` // length of the latent vector; default 32

	Beta         float64 `json:"beta" yaml:"beta"`                   // weight of the commitment loss; default 0.25
	Epochs       int     `json:"epochs" yaml:"epochs"`               // default 200
	Batch        int     `json:"batch" yaml:"batch"`                 // rows of a step; default 1024
	LearningRate float64 `json:"learning_rate" yaml:"learning_rate"` // of AdamW, constant; default 0.001
	Decay        float64 `json:"decay" yaml:"decay"`                 // weight decay of AdamW; default 0
	Sample       int     `json:"sample" yaml:"sample"`               // rows that are trained on, at most; default 200,000
	Seed         uint64  `json:"seed" yaml:"-"`

	Init       Init `json:"init" yaml:"init"`               // of the codebooks; default kmeans
	InitSample int  `json:"init_sample" yaml:"init_sample"` // rows that k-means sees; default 8192

	// EMA, when not 0, moves each code that rows of the batch chose to
	// EMA*code + (1-EMA)*target after each step; .95 to .99 are usual.
	EMA       float64   `json:"ema" yaml:"ema"`
	EMATarget EMATarget `json:"ema_target" yaml:"ema_target"` // default residuals

	// Diversity is the weight of nn.Tape.CodeUsage, summed over the levels.
	Diversity float64 `json:"diversity" yaml:"diversity"`

	// Reset, when not 0, is how many steps in a row a code may go unused before it
	// becomes the residual with the largest quantisation error of the batch.
	Reset int `json:"reset" yaml:"reset"`

	// Contrastive is the weight of the InfoNCE loss between the latent vectors of
	// co-engaged items, whose pairs the caller passes.
	Contrastive  float64 `json:"contrastive" yaml:"contrastive"`
	Temperature  float64 `json:"temperature" yaml:"temperature"`     // of InfoNCE; default 0.1
	ContrastSize int     `json:"contrast_size" yaml:"contrast_size"` // pairs a step; default 512

	// The codebooks of the epoch with the highest uniqueness are kept, of those
	// after BurnIn epochs, as a share of all: early ones look deceptively good. With
	// 1 the last epoch is kept. Default 0.5.
	BurnIn   float64 `json:"burn_in" yaml:"burn_in"`
	Evaluate int     `json:"evaluate" yaml:"evaluate"` // epochs between measurements of uniqueness; default 5
}

// Init names how codebooks begin.
type Init string

// By residual k-means from a k-means++ start on the first latent vectors, or
// uniform in +-1/Width (van den Oord et al. 2017).
const (
	KMeans  Init = "kmeans"
	Uniform Init = "uniform"
)

// EMATarget names a reading of the EMA codebook.
type EMATarget string

// Towards the mean of the residuals that chose the code; the codebook has no
// gradient then. Or towards the code that the optimiser's step made of it.
const (
	Residuals EMATarget = "residuals"
	Optimiser EMATarget = "optimiser"
)

func (o Options) withDefaults() Options {
	setDefault(&o.Levels, sid.Levels)
	setDefault(&o.Width, sid.Width)
	setDefault(&o.Latent, 32)
	setDefault(&o.Beta, 0.25)
	setDefault(&o.Epochs, 200)
	setDefault(&o.Batch, 1024)
	setDefault(&o.LearningRate, 1e-3)
	setDefault(&o.Sample, 200_000)
	setDefault(&o.Init, KMeans)
	setDefault(&o.InitSample, 8192)
	setDefault(&o.EMATarget, Residuals)
	setDefault(&o.Temperature, 0.1)
	setDefault(&o.ContrastSize, 512)
	setDefault(&o.BurnIn, 0.5)
	setDefault(&o.Evaluate, 5)
	if o.Hidden == nil {
		o.Hidden = []int{256, 128}
	}
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate names the field that is out of range.
func (o Options) Validate() error {
	o = o.withDefaults()
	const large = 1 << 30
	for _, err := range []error{
		inRange("levels", o.Levels, 1, 8),
		inRange("width", o.Width, 2, 256),
		inRange("latent", o.Latent, 1, 4096),
		inRange("beta", o.Beta, 0, 1e6),
		inRange("epochs", o.Epochs, 1, large),
		inRange("batch", o.Batch, 1, large),
		inRange("learning_rate", o.LearningRate, 0, 10),
		inRange("decay", o.Decay, 0, 10),
		inRange("sample", o.Sample, 1, large),
		inRange("init_sample", o.InitSample, 1, large),
		inRange("ema", o.EMA, 0, 0.999999),
		inRange("diversity", o.Diversity, 0, 1e6),
		inRange("reset", o.Reset, 0, large),
		inRange("contrastive", o.Contrastive, 0, 1e6),
		inRange("temperature", o.Temperature, 1e-3, 1e3),
		inRange("contrast_size", o.ContrastSize, 2, 1<<14),
		inRange("burn_in", o.BurnIn, 0, 1),
		inRange("evaluate", o.Evaluate, 1, large),
	} {
		if err != nil {
			return err
		}
	}
	for _, n := range o.Hidden {
		if err := inRange("hidden", n, 1, 1<<14); err != nil {
			return err
		}
	}
	if o.Init != KMeans && o.Init != Uniform {
		return fault.Usagef("rqvae: init %q; use %q or %q", o.Init, KMeans, Uniform)
	}
	if o.EMATarget != Residuals && o.EMATarget != Optimiser {
		return fault.Usagef("rqvae: ema_target %q; use %q or %q", o.EMATarget, Residuals, Optimiser)
	}
	return nil
}

// inRange refuses a value below low or above high, and NaN.
func inRange[T int | float64](name string, value, low, high T) error {
	if value >= low && value <= high {
		return nil
	}
	return fault.Usagef("rqvae: %s %v; use %v to %v", name, value, low, high)
}
