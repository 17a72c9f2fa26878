package kernel

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
)

// workers is the process-wide worker pool. Helpers are goroutines that live
// while there is work and for a moment longer; whoever calls Parallel works too,
// so progress never depends on a helper and nested calls cannot deadlock.
var workers pool

// spins is how often one looks for what is about to come before going to sleep,
// some 100 microseconds: work follows work within less, and to wake a thread,
// in a virtual machine above all, takes longer than many a task.
const spins = 4000

type pool struct {
	limit  atomic.Int64 // Threads; 0 = GOMAXPROCS
	offers atomic.Int64 // jobs published so far
	idle   atomic.Int64 // helpers awake that have no job

	mu      sync.Mutex
	open    []*job // jobs that may have unclaimed indices, oldest first
	helpers int    // helper goroutines alive
	start   func() // p.help, bound once so that starting a helper allocates nothing

	recycled freelist[job]
}

// job is one call of Parallel.
type job struct {
	body    func(i int)
	n       int64
	next    atomic.Int64 // first unclaimed index
	pending atomic.Int64 // indices not finished
	refs    atomic.Int64 // holders of the pointer; the last one recycles the job
	done    chan struct{}
	failure atomic.Pointer[string] // first panic of body
}

// Threads is the number of goroutines that may compute at once for one caller.
func Threads() int {
	if n := workers.limit.Load(); n > 0 {
		return int(n)
	}
	return runtime.GOMAXPROCS(0)
}

// SetThreads bounds the pool: Parallel uses its caller and at most n-1 helpers,
// which all callers share. n < 1 restores the default, GOMAXPROCS.
func SetThreads(n int) { workers.limit.Store(int64(max(n, 0))) }

// Multiply-adds that are worth handing out in parts: to helpers that sleep, and
// to those that are awake and look for work.
const (
	wakingWork = 1 << 19
	sharedWork = 1 << 15
)

// WorthSharing reports whether so many multiply-adds are done sooner by Parallel
// than by the caller alone. What a caller makes of it must not show in results.
func WorthSharing(work int) bool {
	return work >= wakingWork || work >= sharedWork && workers.idle.Load() > 0
}

// Parallel runs body(0) .. body(n-1), each once, in any order, on the caller
// and the pool's helpers, and returns when all are done. It may be called from
// several goroutines and from within body. A panic in body is raised again in
// the caller once the other indices have finished.
//
// It does not allocate, but a closure made for the call does: bind body once
// where that matters.
func Parallel(n int, body func(i int)) {
	if n <= 1 || Threads() == 1 {
		for i := range n {
			body(i)
		}
		return
	}
	workers.run(n, body)
}

func (p *pool) run(n int, body func(i int)) {
	j := p.recycled.get()
	if j == nil {
		j = &job{done: make(chan struct{}, 1)}
	}
	j.body, j.n = body, int64(n)
	j.next.Store(0)
	j.pending.Store(int64(n))
	j.refs.Store(1)
	p.publish(j)
	j.work()
	p.retract(j)
	spin(func() bool { return len(j.done) > 0 }) // lest <- sends the caller to sleep
	<-j.done
	failure := j.failure.Swap(nil)
	j.body = nil
	p.release(j)
	if failure != nil {
		panic(*failure)
	}
}

// publish offers j to the helpers and starts as many as j can use.
func (p *pool) publish(j *job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.start == nil {
		p.start = p.help
	}
	p.open = append(p.open, j)
	p.offers.Add(1)
	for want := min(int(j.n), Threads()) - 1; p.helpers < want; {
		p.helpers++
		go p.start()
	}
}

// retract withdraws j, whose indices are all claimed.
func (p *pool) retract(j *job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.open, j); i >= 0 {
		p.open = slices.Delete(p.open, i, i+1)
	}
}

// help works on open jobs until there have been none for a while.
func (p *pool) help() {
	p.idle.Add(1)
	defer p.idle.Add(-1)
	for {
		seen := p.offers.Load()
		if j := p.pick(); j != nil {
			p.idle.Add(-1)
			j.work()
			p.idle.Add(1)
			p.release(j)
			continue
		}
		if !spin(func() bool { return p.offers.Load() != seen }) && p.signOff(seen) {
			return
		}
	}
}

// spin waits for a condition, but not long. Others get the processor meanwhile.
func spin(until func() bool) bool {
	for i := range spins {
		if until() {
			return true
		}
		if i%16 == 15 {
			runtime.Gosched()
		}
	}
	return false
}

// pick returns an open job with unclaimed indices, if there is one for so many
// helpers.
func (p *pool) pick() *job {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.helpers < Threads() {
		for _, j := range p.open {
			if j.next.Load() < j.n {
				j.refs.Add(1)
				return j
			}
		}
	}
	return nil
}

// signOff takes a helper off the list unless something was published since it
// looked. A job published later starts a new helper.
func (p *pool) signOff(seen int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.offers.Load() != seen {
		return false
	}
	p.helpers--
	return true
}

func (p *pool) release(j *job) {
	if j.refs.Add(-1) == 0 {
		p.recycled.put(j)
	}
}

// work claims indices until none is left.
func (j *job) work() {
	for {
		i := j.next.Add(1) - 1
		if i >= j.n {
			return
		}
		j.one(int(i))
	}
}

func (j *job) one(i int) {
	defer j.finish()
	j.body(i)
}

// finish counts one index as done; the last one wakes the caller.
func (j *job) finish() {
	if r := recover(); r != nil {
		text := fmt.Sprintf("%v\n%s", r, debug.Stack())
		j.failure.CompareAndSwap(nil, &text)
	}
	if j.pending.Add(-1) == 0 {
		j.done <- struct{}{}
	}
}
