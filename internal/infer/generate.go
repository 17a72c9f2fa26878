package infer

import (
	"errors"
	"fmt"
)

// Grammar says which tokens may come next. prompt.Grammar is one.
type Grammar interface {
	// Allowed appends the tokens that may come next to dst, ascending and
	// without repetition. A single one is forced: the model is not asked.
	Allowed(dst []int32) []int32
	// Advance accepts the next token.
	Advance(tok int32) error
	// Done says that the output is complete.
	Done() bool
}

// Reasons why Generate ended.
const (
	FinishGrammar = "grammar" // the grammar was done
	FinishStop    = "stop"    // the stop token was produced
	FinishLength  = "length"  // max tokens, or the model's positions, were used up
)

// Output is what Generate appended to the sequence, the stop token included.
type Output struct {
	Tokens []int32
	// LogProbs are the model's log-probabilities of the tokens among those that
	// the grammar allowed, at temperature 1 or as Sampler.Tempered says, and
	// without nucleus; 0 where forced.
	LogProbs []float32
	// Spread are those of all tokens that were allowed, in their order, where
	// Request.Spread asks for them; nil where forced.
	Spread [][]float32
	Forced int    // tokens that were the only choice
	Finish string // FinishGrammar, FinishStop or FinishLength
}

// Request asks for a sequence to be extended by up to Max tokens: until Grammar
// is done, or Stop is produced, whichever comes first.
type Request struct {
	Session *Session // the sequence; nobody else may use it meanwhile
	Grammar Grammar  // advanced on the way; nil allows everything
	Sampler Sampler
	Stop    int32 // negative: none
	Max     int
	Spread  bool // also return the log-probabilities of what was not chosen
}

// Generate extends the sequence as Request says. Forced tokens cost no step of
// their own: they are read in one block, once a choice depends on them. On an
// error the tokens produced before it are returned, and are part of the sequence.
func (s *Session) Generate(g Grammar, sm Sampler, stop int32, max int) (Output, error) {
	d := decoding{Request: Request{Session: s, Grammar: g, Sampler: sm, Stop: stop, Max: max}}
	if err := sm.validate(); err != nil {
		return Output{}, err
	}
	for d.settle() {
		s.read()
		d.choose()
	}
	return d.out, d.err
}

// decoding is a request under way: settle and choose in turn, with the pending
// tokens of the session read between them.
type decoding struct {
	Request
	out   Output
	err   error
	asked bool // settle has been answered by a choice to make
}

// settle appends what is forced and reports whether there is a choice to make,
// whose tokens are then in the session's allowed ones. If not, the request is
// finished, with or without err.
func (d *decoding) settle() bool {
	for !d.asked && d.err == nil && !d.finished() {
		c := &d.Session.choice
		c.allowed, c.spread = c.allowed[:0], d.Request.Spread
		if d.Grammar != nil {
			c.allowed = d.Grammar.Allowed(c.allowed)
			if d.err = d.checkAllowed(); d.err != nil {
				return false
			}
		}
		if len(c.allowed) != 1 {
			d.asked = true
			break
		}
		if d.append(pick{token: c.allowed[0]}) {
			d.out.Forced++
		}
	}
	return d.asked
}

// finished sets out.Finish if there is a reason to end.
func (d *decoding) finished() bool {
	out := &d.out
	switch {
	case d.Grammar != nil && d.Grammar.Done():
		out.Finish = FinishGrammar
	case d.Stop >= 0 && len(out.Tokens) > 0 && out.Tokens[len(out.Tokens)-1] == d.Stop:
		out.Finish = FinishStop
	case len(out.Tokens) >= d.Max || d.Session.Len() >= d.Session.e.cfg.MaxPositions:
		out.Finish = FinishLength
	}
	return out.Finish != ""
}

func (d *decoding) checkAllowed() error {
	allowed, vocab := d.Session.choice.allowed, d.Session.e.cfg.VocabSize
	if len(allowed) == 0 {
		return errors.New("infer: the grammar allows no token and is not done")
	}
	for i, t := range allowed {
		if t < 0 || int(t) >= vocab {
			return fmt.Errorf("infer: the grammar allows token %d, outside the vocabulary of %d", t, vocab)
		}
		if i > 0 && t <= allowed[i-1] {
			return fmt.Errorf("infer: the grammar lists token %d after %d, not ascending", t, allowed[i-1])
		}
	}
	return nil
}

// few reports whether the allowed tokens are so few that their logits alone
// cost less than a row of the vocabulary projection.
func (d *decoding) few() bool {
	n := len(d.Session.choice.allowed)
	return n > 0 && n <= d.Session.e.cfg.VocabSize/fewShare
}

// fewShare is the part of the vocabulary whose logits are computed one by one.
const fewShare = 16

// choose makes the choice that settle found. The session has nothing pending.
func (d *decoding) choose() {
	s := d.Session
	if d.few() && len(s.hidden) > 0 {
		c := &s.choice
		c.scores = s.e.logitsOf(c.scores[:0], s.hidden[:s.e.cfg.Hidden], c.allowed)
		d.take(c.pick(c.scores, d.Sampler))
		return
	}
	logits, err := s.Logits()
	if err != nil {
		d.fail(err)
		return
	}
	d.take(s.choice.pickMasked(logits, d.Sampler))
}

// take appends the choice made.
func (d *decoding) take(p pick) {
	if p.err != nil {
		d.fail(p.err)
		return
	}
	d.asked = false
	d.append(p)
}

// append appends one token to the output and, unread, to the sequence, unless
// the grammar refuses it.
func (d *decoding) append(p pick) bool {
	if d.Grammar != nil {
		if err := d.Grammar.Advance(p.token); err != nil {
			d.fail(fmt.Errorf("infer: the grammar refused token %d, which it had allowed: %w", p.token, err))
			return false
		}
	}
	d.Session.pending = append(d.Session.pending, p.token)
	d.out.Tokens = append(d.out.Tokens, p.token)
	d.out.LogProbs = append(d.out.LogProbs, p.logProb)
	if d.Request.Spread {
		d.out.Spread = append(d.out.Spread, p.spread)
	}
	return true
}

func (d *decoding) fail(err error) { d.err, d.asked = err, false }
