package infer

import (
	"fmt"
	"runtime/debug"
	"sync"
)

// Scheduler decodes in one batch what goroutines ask for at the same time. It
// has no goroutine of its own: one of the callers leads, steps the batch for
// all until its own request is finished, and then lets another lead.
type Scheduler struct {
	batch *Batch // the leader's

	mu      sync.Mutex
	waiting []*ticket // for room in the batch
	led     bool      // somebody leads

	riding []*ticket // in the batch; the leader's
}

// ticket is a caller of Generate. What it holds belongs to the leader until
// finished is seen behind a receive from turn.
type ticket struct {
	Request
	out      Output
	err      error
	finished bool
	turn     chan struct{} // capacity 1: wakes the caller, who is finished or leads now
}

// NewScheduler makes a scheduler, which serves any number of goroutines.
func (e *Engine) NewScheduler() *Scheduler { return &Scheduler{batch: e.NewBatch()} }

// Generate is Session.Generate for r, in company. A panic in a step, of a grammar
// say, is raised in the caller who leads and an error for the others.
func (s *Scheduler) Generate(r Request) (Output, error) {
	t := &ticket{Request: r, turn: make(chan struct{}, 1)}
	s.mu.Lock()
	s.waiting = append(s.waiting, t)
	lead := !s.led
	s.led = true
	s.mu.Unlock()
	if !lead {
		<-t.turn
	}
	if !t.finished {
		s.lead(t)
	}
	return t.out, t.err
}

// lead steps the batch until t is finished.
func (s *Scheduler) lead(t *ticket) {
	whole := false
	defer func() {
		if !whole {
			s.abandon(t)
		}
		s.handOver()
	}()
	for !t.finished {
		s.admit()
		s.batch.Step()
		s.dismiss(t)
	}
	whole = true
}

// admit moves callers from waiting into the batch, as many as it has room for.
func (s *Scheduler) admit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.waiting), maxLive-s.batch.Len())
	for _, t := range s.waiting[:n] {
		t.err = s.batch.Add(t.Request, func(out Output, err error) { t.out, t.err, t.finished = out, err, true })
		t.finished = t.err != nil
		s.riding = append(s.riding, t)
	}
	left := copy(s.waiting, s.waiting[n:])
	clear(s.waiting[left:])
	s.waiting = s.waiting[:left]
}

// dismiss wakes those who are finished, but for the leader.
func (s *Scheduler) dismiss(leader *ticket) {
	left := s.riding[:0]
	for _, t := range s.riding {
		if !t.finished {
			left = append(left, t)
		} else if t != leader {
			t.turn <- struct{}{}
		}
	}
	clear(s.riding[len(left):])
	s.riding = left
}

// abandon fails all in the batch, whose state is unknown after a panic.
func (s *Scheduler) abandon(leader *ticket) {
	err := fmt.Errorf("infer: decoding together with a request that panicked\n%s", debug.Stack())
	for _, t := range s.riding {
		t.err, t.finished = err, true
	}
	s.dismiss(leader)
	s.batch = s.batch.e.NewBatch()
}

// handOver lets one who is not finished lead, if there is one.
func (s *Scheduler) handOver() {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.riding) > 0:
		s.riding[0].turn <- struct{}{}
	case len(s.waiting) > 0:
		s.waiting[0].turn <- struct{}{}
	default:
		s.led = false
	}
}
