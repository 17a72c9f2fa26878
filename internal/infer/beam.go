package infer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/kernel"
)

// Trie holds the sequences that a beam search may find. Node 0 is the root; a
// node without children ends a sequence. It is read by several goroutines.
type Trie interface {
	// Children are the tokens that may follow a node, without repetition, and
	// the nodes that they lead to.
	Children(node int32) (tokens, nodes []int32)
}

// BeamRequest asks for the most probable sequences of a trie behind a session.
type BeamRequest struct {
	Session *Session // is left as it is
	Prompt  []int32  // tokens behind those of Session; one of the two must have some
	Trie    Trie
	Width   int // hypotheses kept at each step, and found at most
	// Skip leaves out a node with all that is below it, without a change to the
	// probabilities of the others; nil leaves out nothing. A node whose children
	// are all skipped should be skipped: else it takes the place of another.
	Skip func(node int32) bool
}

// Hypothesis is a sequence that a beam search found.
type Hypothesis struct {
	Node int32 // where it ends in the trie
	// LogProb is the sum over its tokens of the model's log-probability among
	// the children of the node before, so that all sequences of the trie share a
	// probability of 1. A single child costs nothing.
	LogProb float32
}

// beamRows is how many hypotheses are read together, about. More gain no speed
// but take memory.
const beamRows = 512

// Beam searches for the most probable sequences of each request, best first. It
// keeps Width hypotheses at each step, so with a Width of all sequences it finds
// all, and with fewer it may miss some. Equal probabilities stand in the order of
// the hypotheses before, then of the children.
//
// Requests are read together; what one gets does not depend on the others.
func (e *Engine) Beam(ctx context.Context, requests []BeamRequest) ([][]Hypothesis, error) {
	out := make([][]Hypothesis, len(requests))
	pages := new(spare)
	for from := 0; from < len(requests); {
		group := beamGroup{e: e, spare: pages}
		to := from
		for rows := 0; to < len(requests) && (to == from || rows+requests[to].Width <= beamRows); to++ {
			b, err := group.newBeam(requests[to])
			if err != nil {
				return nil, err
			}
			group.beams = append(group.beams, b)
			rows += b.Width
		}
		if err := group.search(ctx); err != nil {
			return nil, err
		}
		for i, b := range group.beams {
			out[from+i] = b.found()
		}
		from = to
	}
	return out, nil
}

// beam is a request under way.
type beam struct {
	BeamRequest
	kept []hypothesis // at most Width, best first
	next []extension
}

// hypothesis is a sequence under way, or complete when its session is nil.
type hypothesis struct {
	node    int32
	logProb float32
	session *Session
}

// extension is a way to go on with one hypothesis, or to keep a complete one.
type extension struct {
	from, child int // index in kept, and among the children; -1 keeps
	logProb     float32
}

func (g *beamGroup) newBeam(r BeamRequest) (*beam, error) {
	switch {
	case r.Width < 1:
		return nil, fault.Inputf("infer: beam width %d; use 1 or more", r.Width)
	case r.Session.e != g.e:
		return nil, errors.New("infer: the session of a beam request is of another engine")
	case r.Session.Len()+len(r.Prompt) == 0:
		return nil, errNoLogits
	}
	b, s := &beam{BeamRequest: r}, r.Session.Fork()
	s.cache.spare = g.spare
	if err := s.append(r.Prompt...); err != nil {
		return nil, err
	}
	if err := b.settle(hypothesis{session: s}); err != nil {
		return nil, err
	}
	return b, nil
}

// found is the complete hypotheses.
func (b *beam) found() []Hypothesis {
	out := make([]Hypothesis, len(b.kept))
	for i, h := range b.kept {
		out[i] = Hypothesis{h.node, h.logProb}
	}
	return out
}

// settle walks h to its next choice or its end, and keeps it. Its session has
// the tokens on the way pending; at an end nobody asks what follows them.
func (b *beam) settle(h hypothesis) error {
	end := b.ends(h.node) // nobody asks what follows
	tokens, nodes := b.Trie.Children(h.node)
	for len(nodes) == 1 {
		if h.node = nodes[0]; b.skips(h.node) {
			return nil
		}
		if !end {
			if err := h.session.append(tokens[0]); err != nil {
				return err
			}
		}
		tokens, nodes = b.Trie.Children(h.node)
	}
	if end {
		h.session = nil
	} else if err := h.session.known(tokens); err != nil {
		return err
	}
	b.kept = append(b.kept, h)
	return nil
}

func (b *beam) skips(node int32) bool { return b.Skip != nil && b.Skip(node) }

// append adds tokens without reading them.
func (s *Session) append(tokens ...int32) error {
	if err := s.check(tokens); err != nil {
		return err
	}
	s.pending = append(s.pending, tokens...)
	return nil
}

// beamGroup is beams that are read together.
type beamGroup struct {
	e     *Engine
	beams []*beam
	live  []*hypothesis
	tries []Trie // of live
	spare *spare
	reader
}

func (g *beamGroup) search(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		g.live, g.tries = g.live[:0], g.tries[:0]
		for _, b := range g.beams {
			for i := range b.kept {
				if h := &b.kept[i]; h.session != nil {
					g.live, g.tries = append(g.live, h), append(g.tries, b.Trie)
					g.add(h.session)
				}
			}
		}
		if len(g.live) == 0 {
			return nil
		}
		g.run(g.e)
		kernel.Parallel(len(g.live), g.score)
		for _, b := range g.beams {
			if err := b.step(); err != nil {
				return err
			}
		}
	}
}

// score leaves the log-probabilities of the children of a hypothesis in its
// session's choice.
func (g *beamGroup) score(i int) {
	s := g.live[i].session
	tokens, _ := g.tries[i].Children(g.live[i].node)
	c := &s.choice
	c.scores = g.e.logitsOf(c.scores[:0], s.hidden[:g.e.cfg.Hidden], tokens)
	total := kernel.LogSumExp(c.scores)
	for j := range c.scores {
		c.scores[j] -= total
	}
}

// step replaces the hypotheses by the best extensions of all.
func (b *beam) step() error {
	b.next = b.next[:0]
	for i, h := range b.kept {
		if h.session == nil {
			b.next = append(b.next, extension{i, -1, h.logProb})
			continue
		}
		_, nodes := b.Trie.Children(h.node)
		for j, node := range nodes {
			p := h.session.choice.scores[j]
			if math.IsNaN(float64(p)) {
				return fmt.Errorf("infer: a log-probability is %g; the model's weights are broken", p)
			}
			if !b.skips(node) {
				b.next = append(b.next, extension{i, j, h.logProb + p})
			}
		}
	}
	slices.SortFunc(b.next, func(x, y extension) int {
		return cmp.Or(cmp.Compare(y.logProb, x.logProb), x.from-y.from, x.child-y.child)
	})
	b.next = b.next[:min(len(b.next), b.Width)]
	return b.extend()
}

// extend makes the hypotheses of next. The last extension of a session goes on
// in it, the others in forks.
func (b *beam) extend() error {
	old := slices.Clone(b.kept)
	heirs := make([]int, len(old))
	for _, x := range b.next {
		if h := old[x.from]; h.session != nil && !b.ends(b.child(h.node, x.child)) {
			heirs[x.from]++
		}
	}
	for i, h := range old {
		if h.session != nil && heirs[i] == 0 {
			h.session.cache.release()
		}
	}
	b.kept = b.kept[:0]
	for _, x := range b.next {
		h := old[x.from]
		if h.session == nil {
			b.kept = append(b.kept, h)
			continue
		}
		next, err := b.extended(h, x, heirs)
		if err == nil {
			err = b.settle(next)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// extended is h one token further. heirs has how many extensions of each session
// are still to come.
func (b *beam) extended(h hypothesis, x extension, heirs []int) (hypothesis, error) {
	tokens, nodes := b.Trie.Children(h.node)
	next := hypothesis{node: nodes[x.child], logProb: x.logProb}
	if b.ends(next.node) {
		return next, nil
	}
	heirs[x.from]--
	if next.session = h.session; heirs[x.from] > 0 {
		next.session = h.session.with(h.session.cache.branch())
	}
	return next, next.session.append(tokens[x.child])
}

func (b *beam) child(node int32, i int) int32 {
	_, nodes := b.Trie.Children(node)
	return nodes[i]
}

// ends tells whether nothing is chosen below the node.
func (b *beam) ends(node int32) bool {
	for {
		_, nodes := b.Trie.Children(node)
		if len(nodes) != 1 {
			return len(nodes) == 0
		}
		node = nodes[0]
	}
}
