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
	"github.com/gr2/gr2/internal/reward"
	"github.com/gr2/gr2/internal/rng"
)

// Probes are what an order's probes found about the policy. They stand in
// report.json under probes.ORDER.
type Probes struct {
	// Policy is the row whose answers these are.
	Policy string `json:"policy"`
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
	// IdleRate is the share of answers that better nothing where something could be
	// bettered: copies, and what earns as much.
	IdleRate float64 `json:"idle_rate"`
	// Free is what the policy writes without the grammar.
	Free FreeDecoding `json:"free"`
	// Position compares answers before and after changing the shown order.
	Position Position `json:"position"`
	// Labels asks whether the grades of test slates reach the answers.
	Labels LabelLeak `json:"labels"`
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

// Position is what the shown order does to the answers, on a sample of the test
// slates whose candidates keep their legacy ranks and evidence.
type Position struct {
	Shuffled *eval.PositionBias `json:"shuffled"`
	Reversed *eval.PositionBias `json:"reversed"`
}

// LabelLeak is answers to test slates whose grades were taken away: where one
// differs, the policy has been shown what it is to predict. What the rankers, the
// evidence and the training slates have seen is checked before anything is
// measured; the eval stage refuses to run where the future shows.
type LabelLeak struct {
	N       int  `json:"n"`
	Changed int  `json:"changed"`
	Leak    bool `json:"leak"`
}

// FreeDecoding is answers decoded greedily without the grammar, on a sample of
// the test slates. A policy that is not read by its writing need not know how.
type FreeDecoding struct {
	N         int            `json:"n"`
	ValidRate float64        `json:"free_valid_rate"`   // share of full permutations in the right form
	CopyRate  float64        `json:"free_copy_rate"`    // of the valid ones
	Invalid   map[string]int `json:"invalid,omitempty"` // the others, by prompt.Reason
	// Partial is what a lenient reader would credit the invalid ones with.
	Partial *PartialCredit `json:"partial,omitempty"`
}

// PartialCredit is the mean AUC of invalid answers read leniently: the numbers
// they name, completed by the incoming order. A reward that reads so (rl.reward
// naive) pays for answers that rank nothing what the legacy ranker got right.
type PartialCredit struct {
	N        int     `json:"n"` // invalid answers to slates with positives and negatives
	Credit   float64 `json:"credit"`
	Incoming float64 `json:"incoming"` // mean AUC of the incoming order of the same slates
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
		Policy:   served.name,
		CopyRate: eval.CopyRate(rankings(served.answers)),
		IdleRate: eval.IdleRate(slates, rankings(served.answers)),
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
	if p.Position.Shuffled, err = e.position(ctx, "shuffled", func(s []market.Slate) ([]market.Slate, [][]int) {
		return eval.Shuffle(s, e.job.Options.Seed)
	}); err != nil {
		return err
	}
	if p.Position.Reversed, err = e.position(ctx, "reversed", eval.Reverse); err != nil {
		return err
	}
	if p.Labels, err = e.labels(ctx); err != nil {
		return err
	}
	results.Probes[e.order] = p
	return nil
}

// position ranks a sample of the test slates again, shown in another order
// while every candidate keeps its legacy rank and evidence.
func (e *evaluation) position(ctx context.Context, what string, reorder func([]market.Slate) ([]market.Slate, [][]int)) (*eval.PositionBias, error) {
	chosen, served := e.probeSample(), e.served()
	slates, shown := make([]market.Slate, len(chosen)), make([][]int, len(chosen))
	for i, at := range chosen {
		slates[i], shown[i] = e.set.test.Slates[at], served.answers[at].Order
	}
	_, from := reorder(slates)
	again, err := e.rank(ctx, served.policy, slates, from, what)
	if err != nil {
		return nil, err
	}
	places := make([][]int, len(again))
	for i, a := range again {
		places[i] = a.Places
	}
	return eval.ProbePosition(slates, shown, from, places, e.job.Options.Eval.Bootstrap, e.job.Options.Seed)
}

// labels ranks a sample of the test slates again without their grades.
func (e *evaluation) labels(ctx context.Context) (LabelLeak, error) {
	chosen, served := e.probeSample(), e.served()
	slates := make([]market.Slate, len(chosen))
	for i, at := range chosen {
		slates[i] = e.set.test.Slates[at]
		slates[i].Grades = nil
	}
	again, err := e.rank(ctx, served.policy, slates, nil, "without labels")
	if err != nil {
		return LabelLeak{}, err
	}
	l := LabelLeak{N: len(chosen)}
	for i, at := range chosen {
		if !slices.Equal(again[i].Order, served.answers[at].Order) {
			l.Changed++
		}
	}
	l.Leak = l.Changed > 0
	return l, nil
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
	texts, errs := make([]string, len(chosen)), make([]error, len(chosen))
	kernel.Parallel(len(chosen), func(i int) {
		texts[i], errs[i] = policy.Free(ctx, &e.set.test.Slates[chosen[i]])
	})
	if err := errors.Join(errs...); err != nil {
		return FreeDecoding{}, err
	}
	slates := make([]*market.Slate, len(chosen))
	for i, at := range chosen {
		slates[i] = &e.set.test.Slates[at]
	}
	return freeDecoding(slates, texts), nil
}

// freeDecoding reads free answers to slates.
func freeDecoding(slates []*market.Slate, texts []string) FreeDecoding {
	f := FreeDecoding{N: len(texts)}
	var valid [][]int
	var partial PartialCredit
	for i, text := range texts {
		out, err := prompt.Parse(text, len(slates[i].Candidates))
		var invalid *prompt.Invalid
		if !errors.As(err, &invalid) {
			valid = append(valid, out.Ranking)
			continue
		}
		if f.Invalid == nil {
			f.Invalid = map[string]int{}
		}
		f.Invalid[string(invalid.Reason)]++
		partial.add(slates[i], text)
	}
	if f.N > 0 {
		f.ValidRate = float64(len(valid)) / float64(f.N)
	}
	f.CopyRate = eval.CopyRate(valid)
	if n := float64(partial.N); n > 0 {
		partial.Credit, partial.Incoming = partial.Credit/n, partial.Incoming/n
		f.Partial = &partial
	}
	return f
}

// add sums what an invalid answer would be credited with.
func (p *PartialCredit) add(s *market.Slate, text string) {
	if !reward.Usable(s.Grades) {
		return
	}
	k := len(s.Candidates)
	truth := reward.Slate{Grades: s.Grades, Incoming: identity(k)}
	p.N++
	p.Credit += reward.Reward{Variant: reward.Naive, Metric: reward.AUC}.Score(truth, reward.Answer{Ranking: prompt.Salvage(text, k)}).Rank
	p.Incoming += reward.AUC.Of(truth, truth.Incoming)
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
