package baseline

import (
	"github.com/gr2/gr2/internal/fault"
)

// Config holds every choice of the legacy rankers. Where a grid has values, the
// validation targets choose among them, starting from the single value; with
// Tune false, or without validation targets, the single values are used.
type Config struct {
	Seed uint64 `json:"seed"` // of every random draw; default 1

	Tune        bool `json:"tune"`         // choose hyper-parameters on validation; default true
	TuneTargets int  `json:"tune_targets"` // validation targets that choose, drawn by a seeded hash; default 8000
	KeepSeen    bool `json:"keep_seen"`    // items of the history may be ranked again; default false

	KNN    KNNConfig    `json:"knn"`
	IALS   IALSConfig   `json:"ials"`
	BPR    BPRConfig    `json:"bpr"`
	SASRec SASRecConfig `json:"sasrec"`
	Blend  BlendConfig  `json:"blend"`

	Slates SlateConfig `json:"slates"`
}

// SlateConfig says how slates are cut from an order.
type SlateConfig struct {
	K          int `json:"k"`           // candidates, 2 to 50; default 10
	Grade      int `json:"grade"`       // of a target item, 1 or 2; default 2
	Folds      int `json:"folds"`       // user folds of the cross-fit, at least 2; default 4
	PrefixMax  int `json:"prefix_max"`  // training requests per user, the last ones; default 8
	MinHistory int `json:"min_history"` // visits before a training request; default 2
}

// DefaultConfig is the documented default. The tables of docs/baselines.md
// were made with it.
func DefaultConfig() Config {
	return Config{
		Seed: 1, Tune: true, TuneTargets: 8000,
		KNN:    KNNConfig{Window: 10, Gap: .9, Damp: 0, SameTime: 1.5, PopPower: .1, QueryPower: .4, Decay: .7, Backoff: .03},
		IALS:   IALSConfig{Dim: 64, Sweeps: 16, Unobserved: .003, Reg: .006, RegPower: 1, Decay: .5},
		BPR:    BPRConfig{Dim: 64, Epochs: 100, Rate: .4, Reg: .03, BiasReg: .001, FoldReg: .0001, Decay: .5},
		SASRec: SASRecConfig{Dim: 64, Blocks: 2, Heads: 2, Inner: 64, MaxLen: 50, Dropout: .5, Rate: .002, Batch: 1024, Negatives: 1024, Epochs: 40, Patience: 4, FoldEpochs: 40},
		Blend:  BlendConfig{KNN: 1.7, IALS: 3},
		Slates: SlateConfig{K: 10, Grade: 2, Folds: 4, PrefixMax: 8, MinHistory: 2},
	}
}

// rule is one check of a field. what says which values would be right.
type rule struct {
	ok    bool
	field string
	value any
	what  string
}

func check(rules []rule) error {
	for _, r := range rules {
		if !r.ok {
			return fault.Usagef("baseline.%s is %v: it must be %s", r.field, r.value, r.what)
		}
	}
	return nil
}

// Validate names the first field that makes no sense and what would.
func (c Config) Validate() error {
	if err := check([]rule{
		{c.TuneTargets >= 1, "tune_targets", c.TuneTargets, "at least 1"},
	}); err != nil {
		return err
	}
	for _, part := range []interface{ rules() []rule }{c.KNN, c.IALS, c.BPR, c.SASRec, c.Blend, c.Slates} {
		if err := check(part.rules()); err != nil {
			return err
		}
	}
	return nil
}

func (c KNNConfig) rules() []rule {
	return []rule{
		{c.Window >= 1 && c.Window <= 1000, "knn.window", c.Window, "1 to 1000 events"},
		{share(c.Gap), "knn.gap", c.Gap, "above 0 and at most 1"},
		{power(c.Damp), "knn.damp", c.Damp, "0 to 4"},
		{c.SameTime >= 0 && c.SameTime <= 100, "knn.same_time", c.SameTime, "0 to 100"},
		{power(c.PopPower), "knn.pop_power", c.PopPower, "0 to 4"},
		{power(c.QueryPower), "knn.query_power", c.QueryPower, "0 to 4"},
		{share(c.Decay), "knn.decay", c.Decay, "above 0 and at most 1"},
		{c.Backoff > 0 && c.Backoff < 1, "knn.backoff", c.Backoff, "above 0 and below 1"},
	}
}

func (c IALSConfig) rules() []rule {
	return []rule{
		{dimension(c.Dim), "ials.dim", c.Dim, "1 to 1024"},
		{c.Sweeps >= 1, "ials.sweeps", c.Sweeps, "at least 1"},
		{positive(c.Unobserved), "ials.unobserved", c.Unobserved, "above 0 and at most 1000"},
		{positive(c.Reg), "ials.reg", c.Reg, "above 0 and at most 1000"},
		{c.RegPower >= 0 && c.RegPower <= 1, "ials.reg_power", c.RegPower, "0 to 1"},
		{share(c.Decay), "ials.decay", c.Decay, "above 0 and at most 1"},
	}
}

func (c BPRConfig) rules() []rule {
	return []rule{
		{dimension(c.Dim), "bpr.dim", c.Dim, "1 to 1024"},
		{c.Epochs >= 1, "bpr.epochs", c.Epochs, "at least 1"},
		{c.Rate > 0 && c.Rate <= 1, "bpr.rate", c.Rate, "above 0 and at most 1"},
		{c.Reg >= 0 && c.Reg <= 1, "bpr.reg", c.Reg, "0 to 1"},
		{c.BiasReg >= 0 && c.BiasReg <= 1, "bpr.bias_reg", c.BiasReg, "0 to 1"},
		{positive(c.FoldReg), "bpr.fold_reg", c.FoldReg, "above 0 and at most 1000"},
		{share(c.Decay), "bpr.decay", c.Decay, "above 0 and at most 1"},
	}
}

func (c SASRecConfig) rules() []rule {
	return []rule{
		{dimension(c.Dim), "sasrec.dim", c.Dim, "1 to 1024"},
		{c.Blocks >= 1 && c.Blocks <= 64, "sasrec.blocks", c.Blocks, "1 to 64"},
		{c.Heads >= 1 && c.Dim%max(c.Heads, 1) == 0, "sasrec.heads", c.Heads, "a divisor of sasrec.dim"},
		{c.Inner >= 1 && c.Inner <= 1<<14, "sasrec.inner", c.Inner, "1 to 16384"},
		{c.MaxLen >= 1 && c.MaxLen <= 4096, "sasrec.max_len", c.MaxLen, "1 to 4096 visits"},
		{c.Dropout >= 0 && c.Dropout < 1, "sasrec.dropout", c.Dropout, "at least 0 and below 1"},
		{c.Rate > 0 && c.Rate <= 1, "sasrec.rate", c.Rate, "above 0 and at most 1"},
		{c.Batch >= 1 && c.Batch <= 1<<16, "sasrec.batch", c.Batch, "1 to 65536 positions"},
		{c.Negatives >= 1 && c.Negatives <= 1<<16, "sasrec.negatives", c.Negatives, "1 to 65536"},
		{c.Epochs >= 1, "sasrec.epochs", c.Epochs, "at least 1"},
		{c.FoldEpochs >= 1, "sasrec.fold_epochs", c.FoldEpochs, "at least 1"},
		{c.Patience >= 1, "sasrec.patience", c.Patience, "at least 1"},
	}
}

func (c BlendConfig) rules() []rule {
	return []rule{
		{c.KNN >= 0 && c.KNN <= 100, "blend.knn", c.KNN, "0 to 100"},
		{c.IALS >= 0 && c.IALS <= 100, "blend.ials", c.IALS, "0 to 100"},
	}
}

func (c SlateConfig) rules() []rule {
	return []rule{
		{c.K >= 2 && c.K <= 50, "slates.k", c.K, "2 to 50"},
		{c.Grade == 1 || c.Grade == 2, "slates.grade", c.Grade, "1 or 2"},
		{c.Folds >= 2 && c.Folds <= 100, "slates.folds", c.Folds, "2 to 100"},
		{c.PrefixMax >= 1, "slates.prefix_max", c.PrefixMax, "at least 1"},
		{c.MinHistory >= 1, "slates.min_history", c.MinHistory, "at least 1"},
	}
}

func share(v float64) bool    { return v > 0 && v <= 1 }
func power(v float64) bool    { return v >= 0 && v <= 4 }
func positive(v float64) bool { return v > 0 && v <= 1000 }
func dimension(n int) bool    { return n >= 1 && n <= 1024 }
