package serve

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/gr2/gr2/api"
)

// rankFunc ranks one prepared slate, see Reranker.Prepare.
type rankFunc func(context.Context) (api.Ranking, error)

// job is one slate on its way through the queue. Its ctx ends with the
// request; the worker delivers exactly one outcome unless it had ended before
// the job's turn.
type job struct {
	ctx     context.Context
	rank    rankFunc
	arrived time.Time
	done    chan outcome // capacity 1: a worker never waits for a request
}

type outcome struct {
	ranking api.Ranking
	err     error // why ranking is a fallback, for the log
}

// queue is the bounded queue and its workers.
type queue struct {
	mu      sync.Mutex
	waiting int
	closed  bool

	jobs    chan *job // capacity is the bound, so sending under mu never blocks
	workers sync.WaitGroup
}

func newQueue(capacity, workers int) *queue {
	q := &queue{jobs: make(chan *job, capacity)}
	for range workers {
		q.workers.Go(q.work)
	}
	return q
}

// admit takes all jobs or none; it reports whether there was room.
func (q *queue) admit(jobs []*job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.waiting+len(jobs) > cap(q.jobs) {
		return false
	}
	q.waiting += len(jobs)
	for _, j := range jobs {
		q.jobs <- j
	}
	return true
}

// depth is the number of slates waiting for a worker.
func (q *queue) depth() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting
}

// close stops the workers once the queue is empty and waits for them.
func (q *queue) close() {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		close(q.jobs)
	}
	q.mu.Unlock()
	q.workers.Wait()
}

func (q *queue) work() {
	for j := range q.jobs {
		q.mu.Lock()
		q.waiting--
		q.mu.Unlock()
		if j.ctx.Err() != nil {
			continue // its request has given its answer already
		}
		wait := time.Since(j.arrived)
		o := run(j)
		o.ranking.Phases.Queue = milliseconds(wait)
		j.done <- o
	}
}

// run ranks one slate. A panic of the policy costs this slate, not the server.
func run(j *job) (o outcome) {
	defer func() {
		if p := recover(); p != nil {
			o = outcome{err: &panicError{value: p, stack: debug.Stack()}}
		}
	}()
	o.ranking, o.err = j.rank(j.ctx)
	return o
}

type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.value, e.stack) }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
