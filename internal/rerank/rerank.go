package rerank

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gr2/gr2/api"
	"github.com/gr2/gr2/internal/evidence"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/infer"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/prompt"
	"github.com/gr2/gr2/internal/token"
)

// Mode is how a ranking is read off the model.
type Mode string

const (
	Generate Mode = "generate" // decode the whole answer greedily
	First    Mode = "first"    // order by the logits of the first place
	Judge    Mode = "judge"    // order by the judgement at the end of each candidate's line
)

// Weights is what the model's linear maps multiply by.
type Weights string

const (
	Float32 Weights = "float32"
	Int8    Weights = "int8" // rounded, see infer.NewInt8: faster, and close
)

// engine makes the engine that multiplies so. No name is Float32.
func (w Weights) engine(m *lm.Model) (*infer.Engine, error) {
	switch w {
	case "", Float32:
		return infer.New(m)
	case Int8:
		return infer.NewInt8(m)
	}
	return nil, fault.Usagef("rerank: weights %q; use %q or %q", w, Float32, Int8)
}

// Parts are what a Reranker is made of. They must belong together; New checks
// what can be seen.
type Parts struct {
	Catalog   *market.Catalog
	Tokenizer *token.Tokenizer
	Builder   *prompt.Builder
	Model     *lm.Model
	Stats     *evidence.Stats   // nil when prompts show no evidence
	Buckets   *evidence.Buckets // nil when prompts show no evidence
	// JudgeLayers are those below the judgements of mode Judge; 0 is all.
	JudgeLayers int
	Weights     Weights
	Hash        string // names all of this in replies
}

// Reranker ranks slates. It is safe for concurrent use.
type Reranker struct {
	parts  Parts
	mode   Mode
	opt    prompt.Options
	engine *infer.Engine
	first  *firstPlace // for First
	after  int64       // time of requests that have none; 0 without evidence

	sessions sync.Pool // of *infer.Session, emptied
}

// Result is the answer to one slate.
type Result struct {
	Order    []int // indices of the slate's candidates, best first
	Places   []int // the same as places in the order shown; equal to Order unless that was changed
	Trace    string
	Fallback bool
	Reason   api.Reason // why, when Fallback
	Cut      prompt.Cut // what the prompt left out

	PromptTokens, OutputTokens     int
	Prompt, Prefill, Decode, Total time.Duration
}

// New checks that the parts fit and makes a Reranker of them. The model's
// weights are shared, not copied; whoever changes them must not rank meanwhile.
func New(p Parts, mode Mode) (*Reranker, error) {
	opt := p.Builder.Options()
	if n := p.Tokenizer.Size(); n > p.Model.Config.VocabSize {
		return nil, fault.Inputf("the tokenizer has %d tokens, the model %d: they are not of one run", n, p.Model.Config.VocabSize)
	}
	if err := checkEvidence(p, opt); err != nil {
		return nil, err
	}
	engine, err := p.Weights.engine(p.Model)
	if err != nil {
		return nil, err
	}
	r := &Reranker{parts: p, mode: mode, opt: opt, engine: engine}
	r.sessions.New = func() any { return engine.NewSession() }
	if p.Stats != nil {
		r.after = p.Stats.After()
	}
	switch mode {
	case Generate:
	case Judge:
		if !opt.Judge {
			return nil, fault.Usagef("rerank: mode %q needs prompts with judge on; use mode %q", Judge, Generate)
		}
		if l := p.JudgeLayers; l < 0 || l > p.Model.Config.Layers {
			return nil, fault.Inputf("judgements stand after %d layers, the model has %d: they are not of one run", l, p.Model.Config.Layers)
		}
	case First:
		if r.first, err = newFirstPlace(p.Builder, opt); err != nil {
			return nil, err
		}
	default:
		return nil, fault.Usagef("rerank: mode %q; use %q, %q or %q", mode, Generate, First, Judge)
	}
	return r, nil
}

func checkEvidence(p Parts, opt prompt.Options) error {
	switch {
	case !opt.Evidence:
		return nil
	case p.Stats == nil || p.Buckets == nil:
		return fault.Inputf("prompts show evidence and there are no statistics: run the evidence stage")
	case !slices.Equal(p.Buckets.Names(), opt.EvidenceNames):
		return fault.Inputf("the evidence buckets are of %v, prompts show %v: they are not of one run", p.Buckets.Names(), opt.EvidenceNames)
	case p.Buckets.Count >= opt.EvidenceBuckets:
		return fault.Inputf("evidence has codes up to %d, prompts know those below %d: they are not of one run", p.Buckets.Count, opt.EvidenceBuckets)
	}
	return nil
}

// Model is the hash that names what answers.
func (r *Reranker) Model() string { return r.parts.Hash }

// Rerank ranks the slate. The result is always a ranking of all candidates.
// The error is not nil when the result is a fallback because something broke;
// a deadline or a prompt that is too long is no error.
func (r *Reranker) Rerank(ctx context.Context, s *market.Slate) (Result, error) {
	return r.RerankShown(ctx, s, nil)
}

// RerankShown is Rerank with the candidates shown in another order: place i
// shows candidate shown[i], which keeps its legacy rank and evidence. A policy
// that looks at items and not at places gives the same Order.
func (r *Reranker) RerankShown(ctx context.Context, s *market.Slate, shown []int) (Result, error) {
	start := time.Now()
	var res Result
	err := checkShown(s, shown)
	if err != nil {
		shown = nil
	} else {
		res, err = r.rank(ctx, s, shown)
	}
	if err != nil {
		res.Fallback, res.Reason = true, reasonOf(ctx, err)
		res.Order, res.Trace = identity(len(s.Candidates)), ""
		if res.Reason != api.ReasonFailed {
			err = nil
		}
	}
	if res.Places == nil {
		res.Places = placesOf(res.Order, shown)
	}
	res.Total = time.Since(start)
	return res, err
}

// errTooLong marks a slate whose prompt or answer does not fit.
var errTooLong = errors.New("does not fit the model")

func reasonOf(ctx context.Context, err error) api.Reason {
	switch {
	case errors.Is(err, errTooLong):
		return api.ReasonTooLong
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return api.ReasonDeadline
	case ctx.Err() != nil:
		return api.ReasonCanceled
	}
	return api.ReasonFailed
}

// rank fills what it knows of the result even when it fails.
func (r *Reranker) rank(ctx context.Context, s *market.Slate, shown []int) (res Result, err error) {
	k := len(s.Candidates)
	if k == 1 {
		res.Order = []int{0}
		return res, nil
	}
	if err := ctx.Err(); err != nil {
		return res, err
	}
	start := time.Now()
	prompted, err := r.prompt(s, shown)
	res.Prompt = time.Since(start)
	if err != nil {
		return res, err
	}
	res.Cut, res.PromptTokens = prompted.Cut, len(prompted.Tokens)
	if n := len(prompted.Tokens) + r.answerMax(k); n > r.parts.Model.Config.MaxPositions {
		return res, fmt.Errorf("slate %q: prompt and answer take up to %d tokens, the model has %d positions: %w", s.ID, n, r.parts.Model.Config.MaxPositions, errTooLong)
	}
	session := r.sessions.Get().(*infer.Session)
	defer func() {
		session.Truncate(0)
		r.sessions.Put(session)
	}()
	switch r.mode {
	case First:
		err = r.rankFirst(session, prompted.Tokens, k, &res)
	case Judge:
		err = r.rankJudged(session, &prompted, &res)
	default:
		err = r.generate(ctx, session, prompted.Tokens, k, &res)
	}
	if err != nil {
		return res, fmt.Errorf("slate %q: %w", s.ID, err)
	}
	res.Order = res.Places
	if shown != nil {
		res.Order = make([]int, k)
		for i, place := range res.Places {
			res.Order[i] = shown[place]
		}
	}
	return res, nil
}

// prompt renders the slate in the order shown.
func (r *Reranker) prompt(s *market.Slate, shown []int) (prompt.Prompted, error) {
	var codes [][]uint8
	if r.opt.Evidence {
		codes = r.parts.Buckets.CodeAll(r.parts.Stats.Raw(s, evidence.None))
	}
	as, ranks, codes, err := prompt.Reorder(s, shown, nil, codes)
	if err != nil {
		return prompt.Prompted{}, err
	}
	p, err := r.parts.Builder.Render(as, ranks, codes)
	if err != nil && r.opt.MaxTokens > 0 && fault.KindOf(err) == fault.Input {
		err = fmt.Errorf("%w: %w", err, errTooLong)
	}
	return p, err
}

// answerMax is the largest number of tokens of an answer; a judging policy
// writes none.
func (r *Reranker) answerMax(k int) int {
	if r.mode == Judge {
		return 0
	}
	return r.answerTokens(k)
}

// answerTokens is the largest number of tokens of a written answer.
func (r *Reranker) answerTokens(k int) int {
	tokens, _, _ := r.parts.Builder.Answer(identity(k), "")
	if r.opt.Mode == prompt.ModeTrace {
		return len(tokens) + r.opt.TraceMax
	}
	return len(tokens)
}

// noStop is no token: the grammar ends an answer.
const noStop = -1

// generate decodes the answer under the grammar. What the grammar forces at its
// beginning is read with the prompt, in one pass.
func (r *Reranker) generate(ctx context.Context, session *infer.Session, tokens []int32, k int, res *Result) error {
	start := time.Now()
	grammar := r.parts.Builder.Grammar(k)
	opening, err := advanceForced(grammar)
	if err == nil {
		_, err = session.Feed(slices.Concat(tokens, opening))
	}
	res.Prefill = time.Since(start)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	start = time.Now()
	out, err := session.Generate(deadlined{grammar, ctx}, infer.Sampler{}, noStop, r.answerMax(k))
	res.Decode = time.Since(start)
	res.OutputTokens = len(opening) + len(out.Tokens)
	if err != nil {
		return err
	}
	answer, err := prompt.Parse(r.parts.Tokenizer.Decode(append(opening, out.Tokens...)), k)
	if err != nil {
		return fmt.Errorf("the grammar let an invalid answer through: %w", err)
	}
	res.Places, res.Trace = answer.Ranking, answer.Trace
	return nil
}

// advanceForced takes the grammar up to its first choice.
func advanceForced(g infer.Grammar) (forced []int32, err error) {
	var allowed []int32
	for !g.Done() {
		allowed = g.Allowed(allowed[:0])
		if len(allowed) != 1 {
			break
		}
		if err := g.Advance(allowed[0]); err != nil {
			return nil, err
		}
		forced = append(forced, allowed[0])
	}
	return forced, nil
}

// deadlined is a grammar that ends decoding with its context.
type deadlined struct {
	*prompt.Grammar
	ctx context.Context
}

func (g deadlined) Advance(tok int32) error {
	if err := g.ctx.Err(); err != nil {
		return err
	}
	return g.Grammar.Advance(tok)
}

func checkShown(s *market.Slate, shown []int) error {
	if shown == nil {
		return nil
	}
	sorted := slices.Sorted(slices.Values(shown))
	if !slices.Equal(sorted, identity(len(s.Candidates))) {
		return fault.Inputf("slate %q: the order to show %v is not a permutation of its %d candidates", s.ID, shown, len(s.Candidates))
	}
	return nil
}

func identity(k int) []int {
	order := make([]int, k)
	for i := range order {
		order[i] = i
	}
	return order
}

// placesOf says where the candidates of order were shown.
func placesOf(order, shown []int) []int {
	if shown == nil {
		return slices.Clone(order)
	}
	at := make([]int, len(order))
	for place, c := range shown {
		at[c] = place
	}
	places := make([]int, len(order))
	for i, c := range order {
		places[i] = at[c]
	}
	return places
}
