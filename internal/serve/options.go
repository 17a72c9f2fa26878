package serve

import (
	"log/slog"
	"net"
	"time"

	"github.com/gr2/gr2/api"
	"github.com/gr2/gr2/internal/fault"
)

// OnDeadline is what happens to a request whose deadline passes.
type OnDeadline string

const (
	// Fallback answers 200; unfinished slates keep their legacy order.
	Fallback OnDeadline = "fallback"
	// Refuse answers 504.
	Refuse OnDeadline = "error"
)

// Options configure a Server. No default depends on the machine.
type Options struct {
	Addr      string // host:port of the API; port 0 picks a free one
	PprofAddr string // host:port of net/http/pprof on its own listener; "" for none

	Limits  api.Limits // per request; what is over is refused with 400
	MaxBody int64      // bytes of a request body; larger ones are refused with 413

	Queue   int // slates that may wait; beyond it requests are refused with 429
	Workers int // slates ranked at the same time

	Timeout    time.Duration // deadline of a request from its arrival
	OnDeadline OnDeadline

	// DrainDelay is how long a stopping server still takes requests while
	// /readyz already says no, so that a load balancer can turn away.
	DrainDelay time.Duration
	// DrainTimeout is how long admitted requests may take to finish then.
	DrainTimeout time.Duration

	Log *slog.Logger // access and error log
}

// Defaults are the options of `gr2 serve` without flags; Log is discarded.
func Defaults() Options {
	return Options{
		Addr:         "127.0.0.1:8080",
		Limits:       api.Limits{Slates: 64, Candidates: 50, History: 1000},
		MaxBody:      4 << 20,
		Queue:        256,
		Workers:      2,
		Timeout:      2 * time.Second,
		OnDeadline:   Fallback,
		DrainTimeout: 10 * time.Second,
		Log:          slog.New(slog.DiscardHandler),
	}
}

// Validate says which option is wrong and what would be right.
func (o Options) Validate() error {
	if _, _, err := net.SplitHostPort(o.Addr); err != nil {
		return fault.Usagef("serve: address %q: give host:port, such as 127.0.0.1:8080", o.Addr)
	}
	if o.PprofAddr != "" {
		if _, _, err := net.SplitHostPort(o.PprofAddr); err != nil {
			return fault.Usagef("serve: pprof address %q: give host:port, such as 127.0.0.1:6060", o.PprofAddr)
		}
	}
	positive := []struct {
		name  string
		value int64
	}{
		{"slates per request", int64(o.Limits.Slates)},
		{"candidates per slate", int64(o.Limits.Candidates)},
		{"history per slate", int64(o.Limits.History)},
		{"body bytes", o.MaxBody},
		{"queue", int64(o.Queue)},
		{"workers", int64(o.Workers)},
		{"timeout", int64(o.Timeout)},
		{"drain timeout", int64(o.DrainTimeout)},
	}
	for _, p := range positive {
		if p.value <= 0 {
			return fault.Usagef("serve: %s is %d, it must be above 0", p.name, p.value)
		}
	}
	switch {
	case o.DrainDelay < 0:
		return fault.Usagef("serve: drain delay is %s, it must not be negative", o.DrainDelay)
	case o.Queue < o.Limits.Slates:
		return fault.Usagef("serve: the queue holds %d slates, a request may have %d and would never fit; make the queue at least as large", o.Queue, o.Limits.Slates)
	case o.OnDeadline != Fallback && o.OnDeadline != Refuse:
		return fault.Usagef("serve: on deadline %q; choose %q or %q", o.OnDeadline, Fallback, Refuse)
	case o.Log == nil:
		return fault.Usagef("serve: Log must be set; start from Defaults")
	}
	return nil
}
