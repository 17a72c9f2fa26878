package infer

import (
	"cmp"
	"errors"

	"github.com/gr2/gr2/internal/fault"
)

// Session is one sequence being read and written, with its cache.
type Session struct {
	e     *Engine
	cache cache

	// pending tokens belong to the sequence but have not been read, since
	// nobody has asked for what follows them.
	pending []int32
	// hidden is the normalised output of the last token read, (Hidden) and a
	// spare row; empty before the first token and after Truncate and Judge.
	hidden []float32
	// logits are those of hidden, (VocabSize) and a spare row; empty until they
	// are asked for.
	logits []float32
	in     input // of the head
	choice choice
}

// NewSession starts an empty sequence.
func (e *Engine) NewSession() *Session {
	return &Session{e: e, cache: newCache(e.cfg, e.rounds)}
}

// Len is the number of tokens in the sequence.
func (s *Session) Len() int { return s.cache.length + len(s.pending) }

// Feed appends tokens and returns the logits (VocabSize) of the token that
// follows the last one. They belong to the session and are valid until its next
// call. On an error the session is what it was.
func (s *Session) Feed(tokens []int32) ([]float32, error) {
	if err := s.append(tokens...); err != nil {
		return nil, err
	}
	return s.Logits()
}

// Logits returns the logits after the last token, as Feed does, without
// appending any.
func (s *Session) Logits() ([]float32, error) {
	s.read()
	c := &s.e.cfg
	if len(s.hidden) == 0 {
		return nil, errNoLogits
	}
	if len(s.logits) == 0 {
		s.logits = resize(s.logits, 2*c.VocabSize)
		s.e.logits(s.logits, s.hidden, &s.in, 1, false)
	}
	return s.logits[:c.VocabSize], nil
}

var errNoLogits = errors.New("infer: no logits: feed a token first (Truncate and Judge drop them too)")

var errEmpty = errors.New("infer: a sequence without tokens cannot be read")

// Judge appends tokens and returns the logits of the choices behind some of
// them: at holds indices into tokens, ascending, and row i of the result belongs
// to at[i]. It costs one pass over the tokens, like Feed, but leaves no logits
// behind the last of them. On an error the session is what it was.
//
// The logits are read after so many layers, by the final norm and the head, as
// nn.Decoder.ReadEarly has them learnt; 0 is all layers. With fewer than all,
// nothing can follow the tokens, and the session loses them again.
func (s *Session) Judge(tokens []int32, at []int, choices []int32, layers int) ([][]float32, error) {
	if layers < 0 || layers > s.e.cfg.Layers {
		return nil, fault.Inputf("infer: judgements asked after %d layers; the model has %d", layers, s.e.cfg.Layers)
	}
	for i, a := range at {
		if a < 0 || a >= len(tokens) || (i > 0 && a <= at[i-1]) {
			return nil, fault.Inputf("infer: judgements asked at %v of %d tokens; indices must ascend", at, len(tokens))
		}
	}
	if err := s.known(choices); err != nil {
		return nil, err
	}
	s.read()
	if err := s.check(tokens); err != nil {
		return nil, err
	}
	before := s.Len()
	rows := make([][]float32, 0, len(at))
	p := s.e.takePass()
	for from := 0; from < len(tokens); from += blockRows {
		n := min(blockRows, len(tokens)-from)
		p.begin()
		p.layers = cmp.Or(layers, p.layers)
		p.add(&s.cache, tokens[from:from+n])
		for _, a := range at[len(rows):] {
			if a < from+n {
				p.want(a - from)
			}
		}
		p.run()
		for i := range p.wanted {
			rows = append(rows, s.e.logitsOf(nil, p.output(i), choices))
		}
	}
	s.e.putPass(p)
	s.hidden = s.hidden[:0]
	if layers%s.e.cfg.Layers != 0 {
		s.Truncate(before)
	}
	return rows, nil
}

// known reports choices that the model has no logit of.
func (s *Session) known(choices []int32) error {
	for _, c := range choices {
		if c < 0 || int(c) >= s.e.cfg.VocabSize {
			return fault.Inputf("infer: choice %d is outside the vocabulary of %d", c, s.e.cfg.VocabSize)
		}
	}
	return nil
}

// check reports tokens that cannot be appended.
func (s *Session) check(tokens []int32) error {
	for i, t := range tokens {
		if t < 0 || int(t) >= s.e.cfg.VocabSize {
			return fault.Inputf("infer: token %d at position %d is outside the vocabulary of %d", t, s.Len()+i, s.e.cfg.VocabSize)
		}
	}
	if n := s.Len() + len(tokens); n > s.e.cfg.MaxPositions {
		return fault.Inputf("infer: a sequence of %d tokens exceeds the model's %d positions; shorten the input", n, s.e.cfg.MaxPositions)
	}
	return nil
}

// read runs the pending tokens through the model, as one sequence alone.
func (s *Session) read() {
	if len(s.pending) == 0 {
		return
	}
	p := s.e.takePass()
	for at := 0; at < len(s.pending); at += blockRows {
		n := min(len(s.pending)-at, blockRows)
		p.begin()
		p.add(&s.cache, s.pending[at:at+n])
		if at+n == len(s.pending) {
			p.want(n - 1)
		}
		p.run()
	}
	s.arrive(p.output(0))
	s.e.putPass(p)
}

// arrive says that the pending tokens have been read and what came out.
func (s *Session) arrive(hidden []float32) {
	s.pending = s.pending[:0]
	s.hidden = resize(s.hidden, 2*len(hidden))
	copy(s.hidden, hidden)
	s.logits = s.logits[:0]
}

// Fork returns an independent session with the same sequence. The cache is
// shared until either writes to it, so a fork costs no forward pass.
func (s *Session) Fork() *Session {
	return s.with(s.cache.fork())
}

// with is a session with the same sequence, in the given cache.
func (s *Session) with(c cache) *Session {
	f := &Session{e: s.e, cache: c}
	f.pending = append(f.pending, s.pending...)
	f.hidden = append(f.hidden, s.hidden...)
	f.logits = append(f.logits, s.logits...)
	return f
}

// Truncate shortens the sequence to its first n tokens, if it is longer. If
// that cuts tokens that were read, the logits are gone until a token is fed.
func (s *Session) Truncate(n int) {
	if n >= s.Len() {
		return
	}
	n = max(n, 0)
	if unread := n - s.cache.length; unread > 0 {
		s.pending = s.pending[:unread]
		return
	}
	s.pending = s.pending[:0]
	if n < s.cache.length {
		s.cache.length = n
		s.hidden = s.hidden[:0]
	}
}

// resize returns a slice of n elements, x itself when it has the room. The old
// contents are lost.
func resize(x []float32, n int) []float32 {
	if cap(x) < n {
		return make([]float32, n)
	}
	return x[:n]
}
