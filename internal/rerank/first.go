package rerank

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/infer"
	"github.com/gr2/gr2/internal/prompt"
)

// firstPlace is what First needs of the answer's syntax.
type firstPlace struct {
	open    []int32                // tokens before the first number
	numbers [prompt.SlateMax]int32 // token of candidate i's number
}

// newFirstPlace reads the answer's syntax off the builder. Every number must
// be one token: else two candidates would share a logit.
func newFirstPlace(b *prompt.Builder, opt prompt.Options) (*firstPlace, error) {
	if opt.Mode != prompt.ModeAnswer {
		return nil, fault.Usagef("rerank: mode %q has no place for the trace of prompt mode %q; use mode %q", First, opt.Mode, Generate)
	}
	f := &firstPlace{}
	for i := range prompt.SlateMax {
		tokens, slot, _ := b.Answer([]int{i}, "")
		at := slices.Index(slot, 0)
		if slices.Contains(slot[at+1:], 0) {
			return nil, fault.Usagef("rerank: mode %q needs numbers of one token and this tokenizer takes several for %d; use mode %q", First, i+1, Generate)
		}
		f.open, f.numbers[i] = tokens[:at], tokens[at]
	}
	return f, nil
}

// rankFirst orders the places by the logits of the first one, ties by place.
// The answer's opening is fed with the prompt, in one pass.
func (r *Reranker) rankFirst(session *infer.Session, tokens []int32, k int, res *Result) error {
	start := time.Now()
	logits, err := session.Feed(slices.Concat(tokens, r.first.open))
	res.Prefill = time.Since(start)
	if err != nil {
		return err
	}
	for _, tok := range r.first.numbers[:k] {
		if v := logits[tok]; v != v { // NaN
			return errors.New("the model's logits are not numbers; its weights are broken")
		}
	}
	res.Places = identity(k)
	slices.SortStableFunc(res.Places, func(a, b int) int {
		return cmp.Compare(logits[r.first.numbers[b]], logits[r.first.numbers[a]])
	})
	return nil
}
