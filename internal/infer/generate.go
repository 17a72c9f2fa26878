package infer

import "fmt"

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
	// the grammar allowed, at temperature 1 and without nucleus; 0 where forced.
	LogProbs []float32
	Forced   int    // tokens that were the only choice
	Finish   string // FinishGrammar, FinishStop or FinishLength
}

// Generate extends the sequence by up to max tokens: until g is done, or stop
// is produced (stop < 0: none), whichever comes first. g is advanced on the
// way; nil allows everything. Forced tokens cost no step of their own: they are
// read in one block, once a choice depends on them. On an error the tokens
// produced before it are returned, and are part of the sequence.
func (s *Session) Generate(g Grammar, sm Sampler, stop int32, max int) (Output, error) {
	if err := sm.validate(); err != nil {
		return Output{}, err
	}
	var out Output
	for {
		switch {
		case g != nil && g.Done():
			out.Finish = FinishGrammar
			return out, nil
		case stop >= 0 && len(out.Tokens) > 0 && out.Tokens[len(out.Tokens)-1] == stop:
			out.Finish = FinishStop
			return out, nil
		case len(out.Tokens) >= max || s.Len() >= s.e.cfg.MaxPositions:
			out.Finish = FinishLength
			return out, nil
		}
		if err := s.step(g, sm, &out); err != nil {
			return out, err
		}
	}
}

// step appends one token to out and to the sequence.
func (s *Session) step(g Grammar, sm Sampler, out *Output) error {
	tok, logProb, forced, err := s.next(g, sm)
	if err != nil {
		return err
	}
	if g != nil {
		if err := g.Advance(tok); err != nil {
			return fmt.Errorf("infer: the grammar refused token %d, which it had allowed: %w", tok, err)
		}
	}
	s.pending = append(s.pending, tok)
	out.Tokens = append(out.Tokens, tok)
	out.LogProbs = append(out.LogProbs, logProb)
	if forced {
		out.Forced++
	}
	return nil
}

// next decides on a token without appending it.
func (s *Session) next(g Grammar, sm Sampler) (tok int32, logProb float32, forced bool, err error) {
	c := &s.choice
	c.allowed = c.allowed[:0]
	if g != nil {
		c.allowed = g.Allowed(c.allowed)
		if err := s.checkAllowed(c.allowed); err != nil {
			return 0, 0, false, err
		}
		if len(c.allowed) == 1 {
			return c.allowed[0], 0, true, nil
		}
	}
	logits, err := s.Logits()
	if err != nil {
		return 0, 0, false, err
	}
	tok, logProb, err = c.pick(logits, g != nil, sm)
	return tok, logProb, false, err
}

func (s *Session) checkAllowed(allowed []int32) error {
	if len(allowed) == 0 {
		return fmt.Errorf("infer: the grammar allows no token and is not done")
	}
	for i, t := range allowed {
		if t < 0 || int(t) >= s.e.cfg.VocabSize {
			return fmt.Errorf("infer: the grammar allows token %d, outside the vocabulary of %d", t, s.e.cfg.VocabSize)
		}
		if i > 0 && t <= allowed[i-1] {
			return fmt.Errorf("infer: the grammar lists token %d after %d, not ascending", t, allowed[i-1])
		}
	}
	return nil
}
