package nextitem

import (
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/train"
)

// Options are the model's and its training's. None has a default; see Default.
type Options struct {
	Hidden       int `json:"hidden"`
	Layers       int `json:"layers"`
	Heads        int `json:"heads"`    // divides Hidden
	KVHeads      int `json:"kv_heads"` // divides Heads
	Intermediate int `json:"intermediate"`

	History int  `json:"history"` // items of a history that are read, the last ones
	Gaps    bool `json:"gaps"`    // say how long after the one before an item came

	Epochs      int     `json:"epochs"` // at most
	Patience    int     `json:"patience"`
	BatchTokens int     `json:"batch_tokens"`
	LR          float64 `json:"lr"`
	Floor       float64 `json:"floor"`  // last learning rate, as a share of LR
	Warmup      float64 `json:"warmup"` // share of the epochs over which the rate rises
	Decay       float64 `json:"decay"`
	Dropout     float64 `json:"dropout"`

	Beam         int `json:"beam"`          // hypotheses of a recommendation
	ValidBeam    int `json:"valid_beam"`    // the same in validations
	ValidTargets int `json:"valid_targets"` // drawn from the validation part, by a hash; 0 is all

	Seed uint64 `json:"seed"`
}

// Default is what was best on the validation part of Amazon Beauty.
func Default() Options {
	return Options{
		Hidden: 128, Layers: 3, Heads: 4, KVHeads: 2, Intermediate: 256,
		History: 20, Gaps: true,
		Epochs: 30, Patience: 4, BatchTokens: 4096, LR: 2e-3, Floor: .05, Warmup: .05, Decay: .1, Dropout: .2,
		Beam: 50, ValidBeam: 20, ValidTargets: 4000,
	}
}

// Validate names the field that is out of range.
func (o Options) Validate() error {
	for _, f := range []struct {
		name  string
		value int
		least int
	}{
		{"hidden", o.Hidden, 2}, {"layers", o.Layers, 1}, {"heads", o.Heads, 1}, {"kv_heads", o.KVHeads, 1},
		{"intermediate", o.Intermediate, 1}, {"history", o.History, 1}, {"epochs", o.Epochs, 1}, {"patience", o.Patience, 0},
		{"batch_tokens", o.BatchTokens, 1}, {"beam", o.Beam, 1}, {"valid_beam", o.ValidBeam, 1}, {"valid_targets", o.ValidTargets, 0},
	} {
		if f.value < f.least {
			return fault.Usagef("nextitem: %s is %d; use %d or more", f.name, f.value, f.least)
		}
	}
	switch {
	case o.Hidden%o.Heads != 0 || o.Hidden/o.Heads%2 != 0 || o.Heads%o.KVHeads != 0:
		return fault.Usagef("nextitem: hidden %d, heads %d and kv_heads %d do not fit: each must be a multiple of the next, and hidden/heads even", o.Hidden, o.Heads, o.KVHeads)
	case !(o.LR > 0):
		return fault.Usagef("nextitem: lr is %g; use a positive number", o.LR)
	case !(o.Dropout >= 0 && o.Dropout < 1):
		return fault.Usagef("nextitem: dropout is %g; use 0 to below 1", o.Dropout)
	}
	return nil
}

// train is the options of the training loop.
func (o Options) train() train.Options {
	return train.Options{
		Epochs: float64(o.Epochs), BatchTokens: o.BatchTokens, Accumulate: 1,
		LR: o.LR, Floor: o.Floor, Warmup: o.Warmup, Decay: o.Decay, Dropout: o.Dropout, Clip: 1,
		Seed: o.Seed, Checkpoint: checkpointSteps, Validations: o.Epochs, Patience: o.Patience,
	}
}

// checkpointSteps is about an epoch of Amazon Beauty.
const checkpointSteps = 200
