package rl

import (
	"context"
	"slices"
	"strings"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/infer"
	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/prompt"
	"github.com/gr2/gr2/internal/reward"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/token"
)

// sampler draws groups of answers from the policy as it stands.
type sampler struct {
	engine *infer.Engine
	build  *prompt.Builder
	tok    *token.Tokenizer
	cases  []Case
	opt    *Options

	epoch int   // whose order is held
	order []int // nil for none yet
}

// maxTogether bounds the answers under way at a time, and with them the memory
// of their prompts' caches.
const maxTogether = 512

// draw samples the answers to prompts number from to from+n-1. The order of the
// cases is another in each pass over them.
func (s *sampler) draw(ctx context.Context, from, n int) ([]group, error) {
	together := max(1, maxTogether/s.opt.Group)
	var groups []group
	for at := 0; at < n; at += together {
		more, err := s.drawTogether(ctx, from+at, min(together, n-at))
		if err != nil {
			return nil, err
		}
		groups = append(groups, more...)
	}
	return groups, nil
}

func (s *sampler) drawTogether(ctx context.Context, from, n int) ([]group, error) {
	groups := make([]group, n)
	for i := range groups {
		if err := s.show(&groups[i], from+i); err != nil {
			return nil, err
		}
	}
	requests, err := s.requests(ctx, groups, from)
	if err != nil {
		return nil, err
	}
	outputs, err := s.engine.GenerateAll(ctx, requests)
	if err != nil {
		return nil, err
	}
	for i := range groups {
		g := &groups[i]
		for _, out := range outputs[i*s.opt.Group : (i+1)*s.opt.Group] {
			a, err := s.read(g, &out)
			if err != nil {
				return nil, err
			}
			g.answers = append(g.answers, a)
		}
	}
	return groups, nil
}

// caseAt is the case of prompt number n.
func (s *sampler) caseAt(n int) *Case {
	epoch := n / len(s.cases)
	if s.order == nil || epoch != s.epoch {
		s.epoch = epoch
		s.order = rng.New(s.opt.Seed, rng.Key("prompts"), uint64(epoch)).Perm(len(s.cases))
	}
	return &s.cases[s.order[n%len(s.cases)]]
}

// show renders prompt number n.
func (s *sampler) show(g *group, n int) error {
	c := s.caseAt(n)
	k := len(c.Slate.Candidates)
	var order []int
	g.slate.Incoming = make([]int, k)
	for i := range g.slate.Incoming {
		g.slate.Incoming[i] = i
	}
	if r := rng.New(s.opt.Seed, rng.Key("shown"), uint64(n)); r.Float64() < s.opt.Shuffle {
		order = r.Perm(k)
		for place, candidate := range order {
			g.slate.Incoming[candidate] = place
		}
	}
	shown, ranks, codes, err := prompt.Reorder(c.Slate, order, nil, c.Evidence)
	if err != nil {
		return err
	}
	g.slate.Grades = shown.Grades
	prompted, err := s.build.Render(shown, ranks, codes)
	if err != nil {
		return err
	}
	g.trunk = prompted.Tokens
	if need, most := len(g.trunk)+s.limit(k), s.engine.Config().MaxPositions; need > most {
		return fault.Inputf("rl: slate %q: prompt and answer take up to %d tokens, the model has %d positions: lower prompt.max_tokens or rl.margin, or raise model.max_positions", c.Slate.ID, need, most)
	}
	if r := rng.New(s.opt.Seed, rng.Key("scrambled"), uint64(n)); r.Float64() < s.opt.ScrambleIDs {
		s.build.ScrambleIDs(g.trunk, r)
	}
	if s.opt.LambdaJudge > 0 {
		g.asides = s.build.Judgements(shown, nil, prompted.Judged, 1)
	}
	if !s.opt.Free {
		opening, err := opening(s.build.Grammar(k))
		if err != nil {
			return err
		}
		g.trunk = append(g.trunk, opening...)
	}
	return nil
}

// opening is what the grammar forces before its first choice, which it is taken to.
func opening(g *prompt.Grammar) (forced []int32, err error) {
	for !g.Done() {
		allowed := g.Allowed(nil)
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

// longest is the number of tokens of the longest full answer.
func (s *sampler) longest(k int) int {
	all := make([]int, k)
	for i := range all {
		all[i] = i
	}
	tokens, _, _ := s.build.Answer(all, "")
	if opt := s.build.Options(); opt.Mode == prompt.ModeTrace {
		return len(tokens) + opt.TraceMax
	}
	return len(tokens)
}

// limit is the most tokens that an answer may have.
func (s *sampler) limit(k int) int { return s.longest(k) + s.opt.Margin }

// requests reads the prompts and asks for the answers below them.
func (s *sampler) requests(ctx context.Context, groups []group, from int) ([]infer.Request, error) {
	roots, errs := make([]*infer.Session, len(groups)), make([]error, len(groups))
	kernel.Parallel(len(groups), func(i int) {
		if errs[i] = ctx.Err(); errs[i] == nil {
			roots[i] = s.engine.NewSession()
			_, errs[i] = roots[i].Feed(groups[i].trunk)
		}
	})
	var requests []infer.Request
	for i, root := range roots {
		if errs[i] != nil {
			return nil, errs[i]
		}
		k := len(groups[i].slate.Grades)
		for j := range s.opt.Group {
			r := infer.Request{Session: root.Fork(), Stop: s.build.StopToken(), Max: s.limit(k), Sampler: infer.Sampler{
				Temperature: s.opt.Temperature,
				Tempered:    s.opt.Temperature != 1,
				Rand:        rng.New(s.opt.Seed, rng.Key("answer"), uint64(from+i), uint64(j)),
			}, Spread: s.opt.Credit == ToChoice}
			if !s.opt.Free {
				g := s.build.Grammar(k)
				if _, err := opening(g); err != nil {
					return nil, err
				}
				r.Grammar, r.Stop = g, noStop
			}
			requests = append(requests, r)
		}
	}
	return requests, nil
}

// noStop is no token: the grammar ends an answer.
const noStop = -1

// read makes an answer of an output: what was chosen, what it says and what it is
// worth.
func (s *sampler) read(g *group, out *infer.Output) (answer, error) {
	k := len(g.slate.Grades)
	a := answer{tokens: out.Tokens, logProb: out.LogProbs, length: len(out.Tokens), truncated: out.Finish == infer.FinishLength}
	text := out.Tokens
	if s.opt.Free {
		a.choice, a.allowed = slices.Repeat([]bool{true}, len(out.Tokens)), make([][]int32, len(out.Tokens))
	} else {
		forced, err := a.replay(s.build.Grammar(k))
		if err != nil {
			return a, err
		}
		a.length += len(forced)
		text = append(forced, text...)
	}
	a.parsed = parse(s.tok.Decode(text), k)
	a.score = s.opt.Reward.Score(g.slate, a.parsed)
	a.overlong = reward.Overlong(a.length, s.limit(k), s.opt.Margin)
	if s.opt.Credit != ToAnswer && a.parsed.Valid {
		a.credit(s.opt.Reward.Metric, g.slate)
		a.place = s.places(text[:len(text)-len(out.Tokens)], a.tokens)
		if s.opt.Credit == ToChoice {
			a.note(s.build, out.Spread)
		}
	}
	return a, nil
}

// places says which place of the ranking each token of a valid answer helps to
// fill: as many as commas stand between it and the beginning of the list, 0
// before that. The opening stands before the tokens.
func (s *sampler) places(opening, tokens []int32) []int {
	text := s.tok.Decode(opening)
	ends := make([]int, len(tokens)) // of the text before each token
	for i, tok := range tokens {
		ends[i] = len(text)
		text += s.tok.Decode([]int32{tok})
	}
	list := strings.LastIndexByte(text, '[') // a valid answer ends in its only list
	out := make([]int, len(tokens))
	for i, end := range ends {
		out[i] = strings.Count(text[min(list, end):end], ",")
	}
	return out
}

// replay takes the grammar through the answer, notes the choices and drops what
// was forced behind the last of them: nothing depends on it. It returns what was
// forced before the first one.
func (a *answer) replay(g *prompt.Grammar) (forced []int32, err error) {
	if forced, err = opening(g); err != nil {
		return nil, err
	}
	end := 0
	for i, tok := range a.tokens {
		allowed := g.Allowed(nil)
		a.choice = append(a.choice, len(allowed) > 1)
		if len(allowed) > 1 {
			end = i + 1
		}
		a.allowed = append(a.allowed, allowed)
		if err := g.Advance(tok); err != nil {
			return nil, err
		}
	}
	a.tokens, a.choice, a.allowed, a.logProb = a.tokens[:end], a.choice[:end], a.allowed[:end], a.logProb[:end]
	return forced, nil
}

// parse reads an answer's text. Of one that is no full permutation it keeps what
// a lenient reader would.
func parse(text string, k int) reward.Answer {
	out, err := prompt.Parse(text, k)
	if err != nil {
		return reward.Answer{Ranking: prompt.Salvage(text, k)}
	}
	return reward.Answer{Valid: true, Ranking: out.Ranking}
}
