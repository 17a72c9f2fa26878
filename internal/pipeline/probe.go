package pipeline

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/gr2/gr2/internal/eval"
	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/prompt"
	"github.com/gr2/gr2/internal/rerank"
	"github.com/gr2/gr2/internal/rng"
)

// Probes are what an order's probes found about the policy. They stand in
// report.json under probes.ORDER.
type Probes struct {
	// ValidRate is the share of answers that are full permutations and no
	// fallback.
	ValidRate float64 `json:"valid_rate"`
	// Fallbacks counts answers that are the incoming order, by reason.
	Fallbacks map[string]int `json:"fallbacks,omitempty"`
	// Written is the same for the rankings that the policy writes under the
	// grammar, where its mode is another.
	Written *Written `json:"written,omitempty"`
	// CopyRate is the share of answers equal to the incoming order.
	CopyRate float64 `json:"copy_rate"`
	// Free is what the policy writes without the grammar.
	Free FreeDecoding `json:"free"`
	// Position compares answers before and after shuffling the shown order.
	Position *eval.PositionBias `json:"position"`
	// IDOrder asks whether ids or item numbers give the answer away.
	IDOrder eval.IDOrder `json:"id_order"`
	Cost    Cost         `json:"cost"`
	// LeftOut counts the impressions that no prompt can show; no row has them.
	LeftOut int `json:"left_out,omitempty"`
}

// Written is what the written rankings are like.
type Written struct {
	ValidRate float64        `json:"valid_rate"`
	Fallbacks map[string]int `json:"fallbacks,omitempty"`
	CopyRate  float64        `json:"copy_rate"`
}

// FreeDecoding is answers decoded greedily without the grammar, on a sample of
// the test slates. A policy that is not read by its writing need not know how.
type FreeDecoding struct {
	N         int            `json:"n"`
	ValidRate float64        `json:"free_valid_rate"`   // share of full permutations in the right form
	CopyRate  float64        `json:"free_copy_rate"`    // of the valid ones
	Invalid   map[string]int `json:"invalid,omitempty"` // the others, by prompt.Reason
}

// Cost is what one slate takes, on average.
type Cost struct {
	PromptTokens float64 `json:"prompt_tokens"`
	OutputTokens float64 `json:"output_tokens"`
	Millis       float64 `json:"ms"` // with all workers busy
}

// probe looks for what a good table can hide: copying, position bias, leaks.
func (e *evaluation) probe(ctx context.Context, results *eval.Report) error {
	slates, served := e.set.test.Slates, e.served()
	p := Probes{
		CopyRate: eval.CopyRate(rankings(served.answers)),
		IDOrder:  eval.ProbeIDOrder(slates, e.data.Catalog, e.job.Options.Eval.Bootstrap, e.job.Options.Seed),
		Cost:     costOf(served.answers),
		LeftOut:  e.set.test.LeftOut,
	}
	p.ValidRate, p.Fallbacks = validity(slates, served.answers)
	if written := e.reading(served.name + writtenSuffix); written != nil {
		w := &Written{CopyRate: eval.CopyRate(rankings(written.answers))}
		w.ValidRate, w.Fallbacks = validity(slates, written.answers)
		p.Written = w
	}
	var err error
	if p.Free, err = e.free(ctx); err != nil {
		return err
	}
	if p.Position, err = e.position(ctx); err != nil {
		return err
	}
	results.Probes[e.order] = p
	return nil
}

// position ranks a sample of the test slates again, shown in random order
// while every candidate keeps its legacy rank and evidence.
func (e *evaluation) position(ctx context.Context) (*eval.PositionBias, error) {
	chosen, served := e.probeSample(), e.served()
	slates, shown := make([]market.Slate, len(chosen)), make([][]int, len(chosen))
	for i, at := range chosen {
		slates[i], shown[i] = e.set.test.Slates[at], served.answers[at].Order
	}
	_, from := eval.Shuffle(slates, e.job.Options.Seed)
	again, err := e.rank(ctx, served.policy, slates, from, "shuffled")
	if err != nil {
		return nil, err
	}
	places := make([][]int, len(again))
	for i, a := range again {
		places[i] = a.Places
	}
	return eval.ProbePosition(slates, shown, from, places, e.job.Options.Eval.Bootstrap, e.job.Options.Seed)
}

// validity is the share of answers that are full permutations and no fallback,
// and the fallbacks by reason.
func validity(slates []market.Slate, answers []rerank.Result) (rate float64, fallbacks map[string]int) {
	valid := make([][]int, len(answers))
	for i, a := range answers {
		if !a.Fallback {
			valid[i] = a.Order
			continue
		}
		if fallbacks == nil {
			fallbacks = map[string]int{}
		}
		fallbacks[string(a.Reason)]++
	}
	return eval.ValidRate(slates, valid), fallbacks
}

// free decodes a sample of the test slates without the grammar.
func (e *evaluation) free(ctx context.Context) (FreeDecoding, error) {
	chosen, policy := e.probeSample(), e.served().policy
	answers, errs := make([]prompt.Output, len(chosen)), make([]error, len(chosen))
	kernel.Parallel(len(chosen), func(i int) {
		answers[i], errs[i] = policy.Free(ctx, &e.set.test.Slates[chosen[i]])
	})
	f := FreeDecoding{N: len(chosen)}
	var valid [][]int
	for i, err := range errs {
		var invalid *prompt.Invalid
		switch {
		case err == nil:
			valid = append(valid, answers[i].Ranking)
		case errors.As(err, &invalid):
			if f.Invalid == nil {
				f.Invalid = map[string]int{}
			}
			f.Invalid[string(invalid.Reason)]++
		default:
			return f, err
		}
	}
	if f.N > 0 {
		f.ValidRate = float64(len(valid)) / float64(f.N)
	}
	f.CopyRate = eval.CopyRate(valid)
	return f, nil
}

// probeSample draws test slates by a hash of their ids.
func (e *evaluation) probeSample() []int {
	index := make([]int, len(e.set.test.Slates))
	keys := make([]uint64, len(index))
	for i := range index {
		index[i], keys[i] = i, rng.Hash(e.job.Options.Seed, rng.Key("probe"), rng.Key(e.set.test.Slates[i].ID))
	}
	slices.SortFunc(index, func(a, b int) int {
		return cmp.Or(cmp.Compare(keys[a], keys[b]), a-b)
	})
	index = index[:min(len(index), e.job.Options.Eval.ProbeSlates)]
	slices.Sort(index)
	return index
}

func costOf(answers []rerank.Result) Cost {
	var c Cost
	for _, a := range answers {
		c.PromptTokens += float64(a.PromptTokens)
		c.OutputTokens += float64(a.OutputTokens)
		c.Millis += float64(a.Total.Microseconds()) / 1000
	}
	if n := float64(len(answers)); n > 0 {
		c.PromptTokens, c.OutputTokens, c.Millis = c.PromptTokens/n, c.OutputTokens/n, c.Millis/n
	}
	return c
}
