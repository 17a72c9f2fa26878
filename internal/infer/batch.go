package infer

import (
	"context"
	"errors"
	"fmt"

	"github.com/gr2/gr2/internal/kernel"
)

// maxLive is the number of requests that GenerateAll and a Scheduler decode at
// a time. Beyond it a step's products gain no speed by further rows.
const maxLive = 64

// Batch decodes many requests together: each step is one pass over the new
// tokens of all of them, forced runs included. Requests may join and leave
// between steps. Each gets the tokens and log-probabilities, to the bit, that
// Session.Generate would have given it.
//
// A Batch belongs to one goroutine at a time, and so do its requests' sessions.
// That goroutine alone calls grammars; sources of randomness may be drawn from
// on others.
type Batch struct {
	e    *Engine
	live []*member // sequences that begin with the same page stand together

	reader
	asking []*member // who choose from all logits, at most shareRows
	hidden []float32 // of those, (rows, Hidden) and a spare row
	logits []float32 // of those, (rows, VocabSize) and a spare row
	in     input     // of the head
	picks  [shareRows]pick

	pickTask func(int)
}

// member is a request in a batch.
type member struct {
	decoding
	done func(Output, error)
}

// NewBatch makes an empty batch.
func (e *Engine) NewBatch() *Batch {
	b := &Batch{e: e}
	b.pickTask = b.pickOne
	return b
}

// Len is the number of requests that are not finished.
func (b *Batch) Len() int { return len(b.live) }

// Add lets r join at the next step. The step that finishes it calls done, which
// must not use the batch, with what Session.Generate returns. No two requests
// may share a session or a source of randomness.
func (b *Batch) Add(r Request, done func(Output, error)) error {
	if err := r.Sampler.validate(); err != nil {
		return err
	}
	if r.Session.e != b.e {
		return errors.New("infer: the session of a request is of another engine than the batch")
	}
	at := len(b.live)
	for i, m := range b.live {
		switch {
		case m.Session == r.Session:
			return errors.New("infer: two requests extend the same session")
		case r.Sampler.Rand != nil && m.Sampler.Rand == r.Sampler.Rand:
			return errors.New("infer: two requests draw from the same Sampler.Rand; each needs its own")
		case samePage(&m.Session.cache, &r.Session.cache, 0):
			at = i + 1
		}
	}
	b.live = append(b.live, nil)
	copy(b.live[at+1:], b.live[at:])
	b.live[at] = &member{decoding{Request: r}, done}
	return nil
}

// Step takes every request to its next choice and makes it, then finishes those
// that are complete. It returns how many are left.
func (b *Batch) Step() int {
	b.settle()
	b.read()
	b.choose()
	b.settle()
	return len(b.live)
}

// settle takes all requests to a choice and lets go of those that have none.
func (b *Batch) settle() {
	left := b.live[:0]
	for _, m := range b.live {
		if m.settle() {
			left = append(left, m)
			continue
		}
		m.done(m.out, m.err)
	}
	clear(b.live[len(left):])
	b.live = left
}

// read runs the pending tokens of all sequences through the model.
func (b *Batch) read() {
	for _, m := range b.live {
		b.add(m.Session)
	}
	b.run(b.e)
}

// choose makes all choices.
func (b *Batch) choose() {
	for _, m := range b.live {
		if s := m.Session; m.few() || len(s.hidden) == 0 || len(s.logits) > 0 {
			m.choose()
			continue
		}
		if b.asking = append(b.asking, m); len(b.asking) == shareRows {
			b.chooseTogether()
		}
	}
	b.chooseTogether()
}

// chooseTogether makes the choices of asking with one vocabulary projection.
func (b *Batch) chooseTogether() {
	rows, d, vocab := len(b.asking), b.e.cfg.Hidden, b.e.cfg.VocabSize
	if rows == 0 {
		return
	}
	b.hidden, b.logits = resize(b.hidden, (rows+1)*d), resize(b.logits, (rows+1)*vocab)
	for i, m := range b.asking {
		copy(b.hidden[i*d:(i+1)*d], m.Session.hidden)
	}
	b.e.logits(b.logits, b.hidden, &b.in, rows, true)
	kernel.Parallel(rows, b.pickTask)
	for i, m := range b.asking {
		m.take(b.picks[i])
	}
	clear(b.asking)
	b.asking = b.asking[:0]
}

func (b *Batch) pickOne(i int) {
	m, vocab := b.asking[i], b.e.cfg.VocabSize
	b.picks[i] = m.Session.choice.pickMasked(b.logits[i*vocab:(i+1)*vocab], m.Sampler)
}

// GenerateAll extends the sequences of all requests, maxLive of them at a time,
// and returns their outputs in order: what Session.Generate returns for each
// alone. Rollouts are forks of a session that has read the prompt, each with its
// own Sampler.Rand; what they share of the cache they attend to together.
//
// When a request fails or ctx ends, GenerateAll stops with that error; the
// sequences hold what was produced until then.
func (e *Engine) GenerateAll(ctx context.Context, requests []Request) ([]Output, error) {
	b := e.NewBatch()
	outputs := make([]Output, len(requests))
	errs := make([]error, len(requests))
	for next := 0; ; {
		for ; next < len(requests) && b.Len() < maxLive; next++ {
			i := next
			err := b.Add(requests[i], func(out Output, err error) { outputs[i], errs[i] = out, err })
			if err != nil {
				return nil, fmt.Errorf("request %d: %w", i, err)
			}
		}
		left := b.Step()
		for i, err := range errs[:next] {
			if err != nil {
				return nil, fmt.Errorf("request %d: %w", i, err)
			}
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if left == 0 && next == len(requests) {
			return outputs, nil
		}
	}
}
