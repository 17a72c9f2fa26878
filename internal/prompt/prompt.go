package prompt

import (
	"sync/atomic"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/token"
)

// Codes gives an item's semantic ID, one code a level; nil when it has none.
// *sid.Index is one.
type Codes interface{ Code(item int32) []uint8 }

// Builder makes prompts, answers, grammars and training examples for one
// tokenizer, catalog and index. It is safe for concurrent use and remembers
// the tokens of every item it has shown.
type Builder struct {
	opt     Options // defaults filled in
	tok     *token.Tokenizer
	catalog *market.Catalog
	codes   Codes
	v       *vocab
	lines   []atomic.Pointer[line] // by item

	head           []int32 // up to the user's turn
	historyHead    []int32
	candidatesHead []int32
	tail           []int32 // end of the user's turn, assistant header
}

// New checks that the tokenizer has every token the options need. The index
// may be nil when semantic IDs are off.
func New(tok *token.Tokenizer, catalog *market.Catalog, index Codes, opt Options) (*Builder, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	if opt.SID && index == nil {
		return nil, fault.Usagef("prompt: sid is on and there is no semantic ID index")
	}
	v, err := newVocab(tok, opt)
	if err != nil {
		return nil, err
	}
	if opt.SID {
		if err := v.checkCodes(index, catalog.Len()); err != nil {
			return nil, err
		}
	}
	system, err := systemText(opt)
	if err != nil {
		return nil, err
	}
	b := &Builder{
		opt: opt, tok: tok, catalog: catalog, codes: index, v: v,
		lines: make([]atomic.Pointer[line], catalog.Len()),
		head:  tok.Encode(startToken + "system\n" + system + endToken + "\n" + startToken + "user\n"),
		tail:  tok.Encode(endToken + "\n" + startToken + "assistant\n"),
	}
	if opt.Headers {
		b.historyHead = tok.EncodeText(fixed("history.txt") + "\n")
		b.candidatesHead = tok.EncodeText(fixed("candidates.txt") + "\n")
	}
	return b, nil
}

// Options are the builder's options with every default filled in.
func (b *Builder) Options() Options { return b.opt }

// Cut says what a budget took away. The zero value is nothing.
type Cut struct {
	History   int  // oldest history items left out, of those within HistoryMax
	Shortened bool // titles were shortened further than configured,
	TitleMax  int  // to this many tokens
	Tokens    int  // tokens of a text example left out
}

// Prompted is a prompt and what its budget cost it.
type Prompted struct {
	Tokens []int32
	// Judged[i] is the token that ends the line shown at place i, its number
	// where it has one there: what the model knows of the candidate by then is
	// all it has read of it.
	Judged []int
	Cut    Cut
}

// Prompt is Render for callers that have no budget or report cuts elsewhere.
func (b *Builder) Prompt(s *market.Slate, ranks []int, ev [][]uint8) ([]int32, error) {
	p, err := b.Render(s, ranks, ev)
	return p.Tokens, err
}

// Render builds the prompt for a slate as shown, up to and including the
// assistant's header. ranks[i] is the legacy rank (from 1) of the candidate
// shown at place i, nil = 1..K; ev[i] are its evidence codes, one a name, and
// may be nil when evidence is off. Over the budget MaxTokens, the oldest
// history goes first, then titles are shortened; Cut reports both, and a
// slate that fits in no way is an error.
func (b *Builder) Render(s *market.Slate, ranks []int, ev [][]uint8) (Prompted, error) {
	if err := b.check(s, ranks, ev); err != nil {
		return Prompted{}, err
	}
	for limit := b.opt.TitleMax; ; limit = limit * 3 / 4 {
		candidates, ends := b.candidates(s, ranks, ev, limit)
		fixed := len(b.head) + len(b.historyHead) + len(b.candidatesHead) + len(candidates) + len(b.tail)
		if b.opt.MaxTokens > 0 && fixed > b.opt.MaxTokens {
			if b.opt.Title && limit > 0 {
				continue
			}
			return Prompted{}, fault.Inputf("prompt: a slate of %d candidates takes %d tokens without history and titles; the budget is %d", len(s.Candidates), fixed, b.opt.MaxTokens)
		}
		return b.assemble(s, candidates, ends, fixed, limit), nil
	}
}

// assemble puts the turns together with as much history as the budget admits
// beside the fixed number of other tokens.
func (b *Builder) assemble(s *market.Slate, candidates []int32, ends []int, fixed, limit int) Prompted {
	wanted := min(max(b.opt.HistoryMax, 0), len(s.History))
	out := make([]int32, 0, fixed+wanted*(b.opt.TitleMax+16))
	out = append(out, b.head...)
	out = append(out, b.historyHead...)
	var cut Cut
	for n := range wanted {
		before := len(out)
		out = b.appendVisit(out, s.Time, s.History[len(s.History)-1-n], limit)
		fixed += len(out) - before
		if b.opt.MaxTokens > 0 && fixed > b.opt.MaxTokens {
			out, cut.History = out[:before], wanted-n
			break
		}
	}
	if limit != b.opt.TitleMax {
		cut.Shortened, cut.TitleMax = true, limit
	}
	out = append(out, b.candidatesHead...)
	for i := range ends {
		ends[i] += len(out)
	}
	out = append(out, candidates...)
	return Prompted{Tokens: append(out, b.tail...), Judged: ends, Cut: cut}
}

// lineWithin is the item's line with titles cut to limit.
func (b *Builder) lineWithin(item int32, limit int) *line {
	if limit == b.opt.TitleMax {
		return b.line(item)
	}
	return b.newLine(item, limit)
}

// appendVisit appends one history line: the item and how long ago it was.
func (b *Builder) appendVisit(out []int32, now int64, visit market.Visit, limit int) []int32 {
	l := b.lineWithin(visit.Item, limit)
	bucket := dayBucket(now, visit.Time)
	if bucket == 0 && !b.opt.SameDay || bucket > 0 && !b.opt.DaysSince {
		return append(out, l.closed...)
	}
	out = append(append(out, l.open...), b.v.days[bucket])
	return append(out, b.v.lineEnd...)
}

// candidates is the block of candidate lines, and where each ends.
func (b *Builder) candidates(s *market.Slate, ranks []int, ev [][]uint8, limit int) (out []int32, ends []int) {
	perLine := b.opt.TitleMax + len(b.v.evidence) + 20
	out, ends = make([]int32, 0, len(s.Candidates)*perLine), make([]int, len(s.Candidates))
	for i, c := range s.Candidates {
		rank := i + 1
		if ranks != nil {
			rank = ranks[i]
		}
		var codes []uint8
		if b.opt.Evidence {
			codes = ev[i]
		}
		out = b.appendCandidate(out, b.lineWithin(c.Item, limit), i+1, rank, codes)
		ends[i] = len(out) - 1
		if b.opt.NumberAt != NumberStart {
			ends[i] -= len(b.v.lineEnd)
		}
	}
	return out, ends
}

// appendCandidate appends one candidate line: the item as in the history, its
// rank, evidence and number.
func (b *Builder) appendCandidate(out []int32, l *line, number, rank int, codes []uint8) []int32 {
	v := b.v
	if b.opt.NumberAt != NumberEnd {
		out = append(out, v.numbers[number]...)
	}
	text, marks := len(l.open) > l.sid, b.opt.Rank || len(codes) > 0
	if b.opt.NumberAt == NumberStart && !marks {
		return append(out, l.closed...)
	}
	out = append(out, l.open...)
	if b.opt.Rank {
		out = append(out, v.ranks[rank])
	}
	for name, code := range codes {
		out = append(out, v.evidence[name][code])
	}
	if b.opt.NumberAt != NumberStart {
		if text && !marks {
			out = append(out, v.hash...) // titles may end in digits
		}
		out = append(out, v.numbers[number]...)
	}
	return append(out, v.lineEnd...)
}

// check refuses what cannot be shown, and a history from the future.
func (b *Builder) check(s *market.Slate, ranks []int, ev [][]uint8) error {
	k := len(s.Candidates)
	switch {
	case k == 0:
		return fault.Inputf("prompt: slate %q has no candidates", s.ID)
	case k > SlateMax:
		return fault.Inputf("prompt: slate %q has %d candidates; a prompt shows at most %d", s.ID, k, SlateMax)
	case ranks != nil && len(ranks) != k:
		return fault.Inputf("prompt: slate %q has %d candidates and %d ranks", s.ID, k, len(ranks))
	case b.opt.Evidence && len(ev) != k:
		return fault.Inputf("prompt: slate %q has %d candidates and evidence for %d", s.ID, k, len(ev))
	}
	for i, c := range s.Candidates {
		if c.Item < 0 || int(c.Item) >= b.catalog.Len() {
			return fault.Inputf("prompt: slate %q: candidate %d is item %d; the catalog has %d", s.ID, i+1, c.Item, b.catalog.Len())
		}
		if ranks != nil && (ranks[i] < 1 || ranks[i] > SlateMax) {
			return fault.Inputf("prompt: slate %q: candidate %d has rank %d; ranks are 1 to %d", s.ID, i+1, ranks[i], SlateMax)
		}
		if b.opt.Evidence {
			if err := b.checkCodes(s.ID, i, ev[i]); err != nil {
				return err
			}
		}
	}
	return b.checkHistory(s)
}

func (b *Builder) checkCodes(id string, i int, codes []uint8) error {
	if len(codes) != len(b.opt.EvidenceNames) {
		return fault.Inputf("prompt: slate %q: candidate %d has %d evidence codes; there are %d names", id, i+1, len(codes), len(b.opt.EvidenceNames))
	}
	for n, c := range codes {
		if int(c) >= b.opt.EvidenceBuckets {
			return fault.Inputf("prompt: slate %q: candidate %d: code %d of evidence %q; codes are below %d", id, i+1, c, b.opt.EvidenceNames[n], b.opt.EvidenceBuckets)
		}
	}
	return nil
}

func (b *Builder) checkHistory(s *market.Slate) error {
	for i, h := range s.History {
		if h.Item < 0 || int(h.Item) >= b.catalog.Len() {
			return fault.Inputf("prompt: slate %q: history %d is item %d; the catalog has %d", s.ID, i+1, h.Item, b.catalog.Len())
		}
		if (b.opt.SameDay || b.opt.DaysSince) && utcDay(h.Time) > utcDay(s.Time) {
			return fault.Inputf("prompt: slate %q: history %d is later than the request: a leak of the future", s.ID, i+1)
		}
	}
	return nil
}
