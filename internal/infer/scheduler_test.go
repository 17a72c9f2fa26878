package infer

import (
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/gr2/gr2/internal/lm"
)

// gate is a grammar of choices whose first one waits until the gate is opened.
type gate struct {
	at            int
	entered, open chan struct{}
	panics        bool
}

func newGate(panics bool) *gate {
	return &gate{entered: make(chan struct{}), open: make(chan struct{}), panics: panics}
}

func (g *gate) Done() bool                  { return g.at == 5 }
func (g *gate) Allowed(dst []int32) []int32 { return append(dst, 3, 4) }

func (g *gate) Advance(int32) error {
	if g.at == 0 {
		close(g.entered)
		<-g.open
		if g.panics {
			panic("a grammar broke")
		}
	}
	g.at++
	return nil
}

// dead is a grammar that allows nothing and is not done.
type dead struct{}

func (dead) Done() bool                  { return false }
func (dead) Allowed(dst []int32) []int32 { return dst }
func (dead) Advance(int32) error         { return nil }

// schedulerAndRequests makes requests for the scheduler, each with a sequence of
// its own.
func schedulerAndRequests(t *testing.T) (*Scheduler, func(Grammar) Request) {
	t.Helper()
	m, err := lm.New(lm.Config{Architecture: lm.Llama, VocabSize: 30, Hidden: 8, Layers: 1, Heads: 1, KVHeads: 1, HeadDim: 8,
		Intermediate: 8, MaxPositions: 200, RopeTheta: 1e4, NormEps: 1e-6, BOS: lm.NoToken, EOS: lm.NoToken, PAD: lm.NoToken}, 1)
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(m)
	if err != nil {
		t.Fatal(err)
	}
	return e.NewScheduler(), func(g Grammar) Request {
		s := e.NewSession()
		if _, err := s.Feed([]int32{1, 2, 3}); err != nil {
			t.Fatal(err)
		}
		return Request{Session: s, Grammar: g, Stop: -1, Max: 20}
	}
}

// queued waits until n callers wait for room in the batch.
func queued(s *Scheduler, n int) {
	for {
		s.mu.Lock()
		waiting := len(s.waiting)
		s.mu.Unlock()
		if waiting == n {
			return
		}
		runtime.Gosched()
	}
}

// A panic is raised in the caller who leads; those in its batch get an error,
// those behind it are decoded, and the scheduler goes on.
func TestSchedulerSurvivesPanics(t *testing.T) {
	s, request := schedulerAndRequests(t)
	leader, broken, behind := newGate(false), newGate(true), newGate(false)
	var callers sync.WaitGroup
	callers.Go(func() {
		defer func() {
			if p := recover(); p != "a grammar broke" {
				t.Errorf("the leader sees %v", p)
			}
		}()
		out, err := s.Generate(request(leader))
		t.Errorf("the leader got %+v, %v", out, err)
	})
	<-leader.entered
	callers.Go(func() {
		if _, err := s.Generate(request(broken)); err == nil || !strings.Contains(err.Error(), "panicked") {
			t.Errorf("a companion of a panic: %v", err)
		}
	})
	queued(s, 1)
	close(leader.open)
	<-broken.entered
	callers.Go(func() {
		if out, err := s.Generate(request(behind)); err != nil || out.Finish != FinishGrammar {
			t.Errorf("behind a panic: %+v, %v", out, err)
		}
	})
	queued(s, 1)
	close(behind.open)
	close(broken.open)
	callers.Wait()
	if s.led || len(s.riding) > 0 || s.batch.Len() > 0 {
		t.Error("the scheduler is not at rest")
	}
}

// A failure of one request is its own, and so is a request that cannot join.
func TestSchedulerKeepsFailuresApart(t *testing.T) {
	s, request := schedulerAndRequests(t)
	leader, other := newGate(false), newGate(false)
	close(other.open)
	sound, hopeless, twice := request(other), request(dead{}), request(leader)
	var callers sync.WaitGroup
	ask := func(name string, r Request, fails string) {
		callers.Go(func() {
			switch out, err := s.Generate(r); {
			case fails == "" && (err != nil || out.Finish != FinishGrammar):
				t.Errorf("%s: %+v, %v", name, out, err)
			case fails != "" && (err == nil || !strings.Contains(err.Error(), fails)):
				t.Errorf("%s: error %v, want %q", name, err, fails)
			}
		})
	}
	ask("the leader", twice, "")
	<-leader.entered
	ask("sound", sound, "")
	ask("hopeless", hopeless, "allows no token")
	ask("twice", Request{Session: twice.Session, Stop: -1, Max: 1}, "same session")
	ask("invalid", Request{Session: request(nil).Session, Sampler: Sampler{TopP: 2}}, "top-p")
	queued(s, 4)
	close(leader.open)
	callers.Wait()
	if s.led || len(s.riding) > 0 || s.batch.Len() > 0 {
		t.Error("the scheduler is not at rest")
	}
}

// crowd is a gate that sees how many requests are decoded together.
type crowd struct {
	*gate
	s    *Scheduler
	most *int // the leader's
}

func (c crowd) Advance(tok int32) error {
	*c.most = max(*c.most, c.s.batch.Len())
	return c.gate.Advance(tok)
}

// More callers than the batch has room for: it is filled, not overfilled.
func TestSchedulerQueues(t *testing.T) {
	s, request := schedulerAndRequests(t)
	most := 0
	leader := newGate(false)
	requests := []Request{request(leader)}
	for range 2*maxLive + 5 {
		g := newGate(false)
		close(g.open)
		requests = append(requests, request(crowd{g, s, &most}))
	}
	var callers sync.WaitGroup
	for i, r := range requests {
		callers.Go(func() {
			if out, err := s.Generate(r); err != nil || len(out.Tokens) != 5 {
				t.Errorf("caller %d: %+v, %v", i, out, err)
			}
		})
		if i == 0 {
			<-leader.entered
		}
	}
	queued(s, len(requests)-1)
	close(leader.open)
	callers.Wait()
	if most != maxLive {
		t.Errorf("up to %d requests were decoded together, want %d", most, maxLive)
	}
}
