package train

import (
	"math"

	"github.com/gr2/gr2/internal/prompt"
)

// Source gives the examples of a stage.
type Source interface {
	// Len is the number of examples of one epoch.
	Len() int
	// Example makes example i (0 <= i < Len) of an epoch. The same arguments
	// give the same example.
	Example(epoch, i int) (prompt.Example, error)
}

// Options are the loop's settings.
type Options struct {
	// Epochs over the source; a fraction is a part of a pass.
	Epochs float64
	// BatchTokens bounds the tokens of one packed micro-batch. A longer
	// example makes a batch of its own.
	BatchTokens int
	// Accumulate is the number of micro-batches of a step.
	Accumulate int
	LR         float64
	// Floor is the final learning rate as a share of LR.
	Floor float64
	// Warmup is the share of the examples over which the rate rises from 0.
	Warmup float64
	// Decay is AdamW's decoupled weight decay.
	Decay float64
	// Dropout is that of nn.Decoder; 0 is none.
	Dropout float64
	// Clip bounds the global norm of the gradient.
	Clip float64
	Seed uint64
	// BF16 is that of nn.Tape, Recompute that of nn.Decoder.
	BF16, Recompute bool
	// Checkpoint is the number of steps between two checkpoints.
	Checkpoint int
	// Validations is how often Validate is called, evenly spaced, the last
	// time at the end.
	Validations int
	// Patience ends the run after so many validations in a row without a better
	// score; 0 never does.
	Patience int
	// NewTokensFrom freezes all but the rows of the embedding from this token
	// on (token warm-up, GR2 section 2); 0 trains everything.
	NewTokensFrom int
	// JudgeLayers are the layers after which judgements (prompt.Aside) are read;
	// 0 is all. Those above then learn from what the judgements know.
	JudgeLayers int
}

// Schedule is a learning rate over a stage: linear warm-up, then a cosine down to
// the floor.
type Schedule struct {
	LR     float64
	Floor  float64 // final rate as a share of LR
	Warmup float64 // share of the stage over which the rate rises from 0
}

// Rate is the learning rate after a share done of the stage.
func (s Schedule) Rate(done float64) float64 {
	if done < s.Warmup {
		return s.LR * done / s.Warmup
	}
	along := 0.0
	if s.Warmup < 1 {
		along = min(1, (done-s.Warmup)/(1-s.Warmup))
	}
	return s.LR * (s.Floor + (1-s.Floor)*(1+math.Cos(math.Pi*along))/2)
}

func (o *Options) schedule() Schedule { return Schedule{o.LR, o.Floor, o.Warmup} }
