// Package compare times gr2 and its peers in turn, so that whatever else the
// machine does falls on all of them alike.
package compare

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"time"

	"github.com/gr2/gr2/internal/kernel"
)

// Suite is a set of cases and the peers that know them.
type Suite struct {
	Name  string
	Unit  string // of a case's Work, per second: "GFLOP/s"
	Peers []Peer
	Cases []Case
	// Files writes what peers read, a model say, into a directory that they find
	// in the environment variable BENCH_FILES; nil when they need nothing.
	Files func(dir string) error
}

// Case is one thing to measure.
type Case struct {
	Name string
	Work float64 // in units of the suite, of one repetition
	// Request is what peers are told about the case; it becomes JSON.
	Request any
	// Prepare returns gr2's repetition. Its inputs live as long as it does.
	Prepare func() func()
	// Also are other ways that gr2 has to do it, the same ones in all cases.
	Also []Way
}

// Way is a way of gr2's own, measured with the last of the kernel variants.
type Way struct {
	Name    string
	Prepare func() func() // as that of Case
}

// Options of a run.
type Options struct {
	Rounds   int            // samples of each contestant; at least 5 for a median worth quoting
	Sample   time.Duration  // about how long a sample takes
	Pause    time.Duration  // before a sample: idle threads of the last contestant spin for a while
	Threads  int            // of each contestant
	Python   string         // interpreter for the peers; empty: no peers
	Variants []string       // kernel variants to measure
	Cases    *regexp.Regexp // names of the cases to measure
}

// contestant times n repetitions of the case under way.
type contestant struct {
	name   string
	sample func(n int) (seconds float64, err error)
}

// settled is sample with the caches warm, after a pause.
func (c contestant) settled(n int, pause time.Duration) (seconds float64, err error) {
	time.Sleep(pause)
	if _, err := c.sample(1); err != nil {
		return 0, err
	}
	return c.sample(n)
}

// Run measures the suite. A peer that does not start is left out and named in
// the report.
func Run(ctx context.Context, s Suite, o Options) (*Report, error) {
	kernel.SetThreads(o.Threads)
	defer kernel.SetThreads(0)
	defer kernel.Use(kernel.Active()) //nolint:errcheck // it was active
	r := newReport(s, o)
	files, err := writeFiles(s, o)
	defer os.RemoveAll(files) //nolint:errcheck // it is temporary
	if err != nil {
		return nil, err
	}
	peers, err := startPeers(ctx, s, o, files, r)
	defer func() {
		for _, p := range peers {
			p.stop()
		}
	}()
	if err != nil {
		return nil, err
	}
	for _, c := range s.Cases {
		if !o.Cases.MatchString(c.Name) {
			continue
		}
		result, err := measure(ctx, c, o, peers)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
		r.Results = append(r.Results, result)
	}
	return r, nil
}

// writeFiles returns the directory of the peers' files; empty when they need none.
func writeFiles(s Suite, o Options) (string, error) {
	if o.Python == "" || s.Files == nil {
		return "", nil
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return "", err
	}
	return dir, s.Files(dir)
}

func startPeers(ctx context.Context, s Suite, o Options, files string, r *Report) ([]*process, error) {
	if o.Python == "" {
		return nil, nil
	}
	var started []*process
	for _, p := range s.Peers {
		proc, err := p.start(ctx, o, files)
		if err != nil {
			r.Missing[p.Name] = err.Error()
			continue
		}
		r.Peers[p.Name] = proc.version
		started = append(started, proc)
	}
	return started, ctx.Err()
}

// measure takes the samples of a case: in each round every contestant once.
func measure(ctx context.Context, c Case, o Options, peers []*process) (Result, error) {
	result := Result{Case: c.Name, Work: c.Work, Seconds: map[string][]float64{}}
	contestants, err := enter(c, o, peers)
	if err != nil {
		return result, err
	}
	n, err := repetitions(contestants, o.Sample)
	if err != nil {
		return result, err
	}
	for round := range o.Rounds {
		for i := range contestants {
			if err := ctx.Err(); err != nil {
				return result, err
			}
			con := contestants[(i+round)%len(contestants)]
			seconds, err := con.settled(n, o.Pause)
			if err != nil {
				return result, err
			}
			result.Seconds[con.name] = append(result.Seconds[con.name], seconds/float64(n))
		}
	}
	return result, nil
}

// slow is longer than peers take to be compiled, which they are before they are
// asked for a repetition.
const slow = 30 * time.Second

// repetitions warms the contestants up and returns how often the quickest one
// fits into a sample, of those that are not slow.
func repetitions(contestants []contestant, sample time.Duration) (int, error) {
	n := 1
	for _, c := range contestants {
		cold, err := c.sample(1)
		if err != nil {
			return 0, err
		}
		if cold > max(10*sample, slow).Seconds() {
			continue // once is a sample, however much quicker it is warm
		}
		once, err := c.sample(1)
		if err != nil {
			return 0, err
		}
		n = max(n, int(sample.Seconds()/once))
	}
	return n, nil
}

// enter prepares the case with gr2's variants and the peers.
func enter(c Case, o Options, peers []*process) ([]contestant, error) {
	var all []contestant
	do := c.Prepare()
	for _, variant := range o.Variants {
		all = append(all, ours(variant, variant, do))
	}
	for _, w := range c.Also {
		all = append(all, ours(w.Name, o.Variants[len(o.Variants)-1], w.Prepare()))
	}
	for _, p := range peers {
		if err := p.prepare(c.Request); err != nil {
			return nil, err
		}
		all = append(all, contestant{p.name, p.sample})
	}
	if len(all) == 0 {
		return nil, errors.New("nobody to measure")
	}
	return all, nil
}

// ours is gr2 as a contestant.
func ours(name, variant string, do func()) contestant {
	return contestant{Ours(name), func(n int) (float64, error) {
		if err := kernel.Use(variant); err != nil {
			return 0, err
		}
		start := time.Now()
		for range n {
			do()
		}
		return time.Since(start).Seconds(), nil
	}}
}

// Ours is the name of gr2 as a contestant: with a kernel variant, or in a way.
func Ours(name string) string { return "gr2/" + name }
