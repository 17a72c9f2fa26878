package rl

import (
	"slices"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/reward"
	"github.com/gr2/gr2/internal/train"
)

// Case is one training slate with the evidence codes of its candidates, its own
// user's fold left out.
type Case struct {
	Slate    *market.Slate
	Evidence [][]uint8 // K x len(prompt.Options.EvidenceNames); nil when prompts carry none
}

// Usable keeps the cases that can teach: those with a positive and a negative.
func Usable(cases []Case) []Case {
	return slices.DeleteFunc(slices.Clone(cases), func(c Case) bool { return !reward.Usable(c.Slate.Grades) })
}

// Normalizer says what the sum of the losses of tokens is divided by.
type Normalizer string

const (
	// ByToken divides by the choices of all answers of an update: DAPO.
	ByToken Normalizer = "token"
	// ByAnswer takes the mean of each answer, then of the answers: GRPO.
	ByAnswer Normalizer = "answer"
	// Constant divides by the answers times their limit of tokens: Dr. GRPO.
	Constant Normalizer = "constant"
)

// Normalizers lists them.
func Normalizers() []Normalizer { return []Normalizer{ByToken, ByAnswer, Constant} }

// Credit says which choices of an answer a reward is due to.
type Credit string

const (
	// ToAnswer gives every choice the advantage of the whole answer: DAPO and
	// GRPO.
	ToAnswer Credit = "answer"
	// ToPlace gives a choice the advantage of the reward that was still to come
	// when it was made, less that of the other answers that stand alike (reward to
	// go; for rankings Oosterhuis 2021, PL-Rank). The expected gradient is the same
	// and has less noise: what stands behind the last positive changes no metric. It needs the grammar: of an answer that may
	// turn out to be no ranking, no place has earned anything for sure.
	ToPlace Credit = "place"

	// ToChoice is ToPlace in expectation over the choice at each place that an
	// answer comes to: what a candidate earns there is known without sampling it.
	ToChoice Credit = "choice"
)

// Credits lists them.
func Credits() []Credit { return []Credit{ToAnswer, ToPlace, ToChoice} }

// Options are the settings of a run.
type Options struct {
	Steps   int // rollout batches
	Prompts int // groups that a step learns from
	Group   int // answers to a prompt

	Temperature float64 // of sampling, and of the policy that learns
	Free        bool    // sample without the grammar
	Shuffle     float64 // share of prompts whose candidates are shown in random order
	ScrambleIDs float64 // share of prompts whose items have random semantic IDs (prompt.Builder.ScrambleIDs)
	// Margin is the number of tokens that a free answer may be longer than the
	// longest full one, and over which the soft penalty falls from 0 to -1.
	Margin int

	Reward reward.Reward
	// Attempts bounds the drawings of a step that fill it with groups whose raw
	// metric has spread (dynamic sampling); 0 takes every group as it comes.
	Attempts int
	// Deviation divides advantages by the standard deviation of their group, or,
	// with credit by choice, by that of what each choice is worth.
	Deviation  bool
	Credit     Credit
	Low, High  float64 // clip of the ratio to 1-Low..1+High
	Normalizer Normalizer
	KL         float64 // weight of the divergence from the reference
	// LambdaJudge weighs the mean loss of the judgements at the candidates' lines
	// beside the surrogate, as SFT has them (with the sampled answers they share
	// the prompt, so that they cost next to nothing); 0 learns from rewards alone.
	// JudgeLayers are the layers below them, at least one and not all.
	LambdaJudge float64
	JudgeLayers int

	Epochs      int // passes over the groups of a step
	Updates     int // optimiser steps in a pass
	BatchTokens int // of a micro-batch; a larger group makes one of its own
	Schedule    train.Schedule
	Decay       float64 // AdamW's decoupled weight decay
	// Average is what is kept, at each step, of the mean of the weights that is
	// validated and kept as the policy; 0 keeps the last weights instead.
	Average float64
	Clip    float64 // global norm of the gradient

	Seed       uint64
	Checkpoint int // steps between two checkpoints
	Validate   int // steps between two validations
	// Patience is how many validations in a row may pass without a better one
	// before the run ends; 0 runs to the end.
	Patience int
}

func (o *Options) validate() error {
	for _, c := range []struct {
		name  string
		value int
		least int
	}{
		{"steps", o.Steps, 0}, {"prompts", o.Prompts, 1}, {"group", o.Group, 2}, {"margin", o.Margin, 0}, {"attempts", o.Attempts, 0},
		{"epochs", o.Epochs, 1}, {"updates", o.Updates, 1}, {"checkpoint", o.Checkpoint, 1}, {"validate", o.Validate, 1}, {"patience", o.Patience, 0},
	} {
		if c.value < c.least {
			return fault.Usagef("rl: %s is %d; use %d or more", c.name, c.value, c.least)
		}
	}
	switch {
	case !slices.Contains(Normalizers(), o.Normalizer):
		return fault.Usagef("rl: the normalizer is %q; use one of %v", o.Normalizer, Normalizers())
	case !slices.Contains(Credits(), o.Credit):
		return fault.Usagef("rl: credit is %q; use one of %v", o.Credit, Credits())
	case !(o.Low >= 0 && o.Low <= 1 && o.High >= 0 && o.KL >= 0):
		return fault.Usagef("rl: clip %g and %g, kl %g; use 0 to 1, 0 or more, 0 or more", o.Low, o.High, o.KL)
	case o.Free && o.Credit != ToAnswer:
		return fault.Usagef("rl: credit by %s needs answers that are rankings; decode by the grammar or give credit by answer", o.Credit)
	case !(o.LambdaJudge >= 0) || o.LambdaJudge > 0 && o.JudgeLayers == 0:
		return fault.Usagef("rl: judgements with weight %g below %d layers; use 0 or more, and layers below the top", o.LambdaJudge, o.JudgeLayers)
	case !(o.Average >= 0 && o.Average < 1):
		return fault.Usagef("rl: average is %g; use 0 for none, or what is kept of the mean at a step, below 1", o.Average)
	case !(o.Temperature > 0):
		return fault.Usagef("rl: the temperature is %g; sampling needs more than 0", o.Temperature)
	}
	return o.Reward.Validate()
}
