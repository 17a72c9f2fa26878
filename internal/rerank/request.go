package rerank

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gr2/gr2/api"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/prompt"
)

// Resolve turns a request into the terms of the catalog. A candidate that the
// catalog does not know is an *api.FieldError, and so are candidates without
// scores where the policy reads them; a visit to an unknown item is left out
// and counted. Missing times are filled in as api.Slate says; a request
// without any is one directly behind the log that the evidence was counted on.
func (r *Reranker) Resolve(s *api.Slate) (slate market.Slate, unknown int, err error) {
	if err := s.Check(); err != nil {
		return slate, 0, err
	}
	if n := len(s.Candidates); n > prompt.SlateMax {
		return slate, 0, &api.FieldError{Field: "candidates", Message: fmt.Sprintf("has %d items, at most %d can be ranked", n, prompt.SlateMax)}
	}
	slate = market.Slate{ID: s.ID, User: -1, Time: cmp.Or(s.RequestTime(), r.after), Candidates: make([]market.Candidate, len(s.Candidates))}
	for i, c := range s.Candidates {
		item, ok := r.parts.Catalog.Lookup(c.Item)
		if !ok {
			return slate, 0, &api.FieldError{Field: fmt.Sprintf("candidates[%d].item", i), Message: fmt.Sprintf("unknown item %.64q; every candidate must be in the run's catalog", c.Item)}
		}
		slate.Candidates[i] = market.Candidate{Item: item, Score: c.Score}
	}
	if err := r.checkScores(s.Candidates); err != nil {
		return slate, 0, err
	}
	for _, v := range s.History {
		item, ok := r.parts.Catalog.Lookup(v.Item)
		if !ok {
			unknown++
			continue
		}
		if v.Time == 0 {
			v.Time = slate.Time
		}
		slate.History = append(slate.History, market.Visit{Item: item, Time: v.Time})
	}
	for _, g := range s.Grades {
		slate.Grades = append(slate.Grades, uint8(g))
	}
	return slate, unknown, nil
}

// checkScores refuses candidates that all lack a score when prompts show how
// scores differ: equal scores would rank, and worse than measured.
func (r *Reranker) checkScores(candidates []api.Candidate) error {
	if !r.opt.Evidence || len(candidates) < 2 || !r.parts.Buckets.ReadsScores() {
		return nil
	}
	if slices.ContainsFunc(candidates, func(c api.Candidate) bool { return c.Score != 0 }) {
		return nil
	}
	return &api.FieldError{Field: "candidates[0].score", Message: "no candidate has one, and this policy reads the scores of the ranker before it (scoreGap in prompt.evidence_names): send them in the unit of its training slates, or train without scoreGap"}
}

// Prepare resolves a request and returns the function that answers it, on any
// goroutine; see Rerank for its error.
func (r *Reranker) Prepare(s *api.Slate) (func(context.Context) (api.Ranking, error), error) {
	slate, unknown, err := r.Resolve(s)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (api.Ranking, error) {
		res, err := r.Rerank(ctx, &slate)
		reply := r.Reply(&slate, &res)
		reply.UnknownHistory = unknown
		return reply, err
	}, nil
}

// Reply is the result in the public form.
func (r *Reranker) Reply(s *market.Slate, res *Result) api.Ranking {
	reply := api.Ranking{
		ID:       s.ID,
		Ranking:  make([]string, len(res.Order)),
		Order:    res.Order,
		Trace:    res.Trace,
		Fallback: res.Fallback,
		Reason:   res.Reason,
		Model:    r.parts.Hash,
		Millis:   milliseconds(res.Total),
		Phases:   api.Phases{Prompt: milliseconds(res.Prompt), Prefill: milliseconds(res.Prefill), Decode: milliseconds(res.Decode)},
		Tokens:   api.Tokens{Prompt: res.PromptTokens, Output: res.OutputTokens},
	}
	for i, c := range res.Order {
		reply.Ranking[i] = r.parts.Catalog.Items[s.Candidates[c].Item].ID
	}
	if res.Cut != (prompt.Cut{}) {
		reply.Cut = &api.Cut{History: res.Cut.History, Titles: res.Cut.Shortened}
	}
	return reply
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
