// Command bench runs gr2's engine beside its peers, in one run on one machine,
// and writes what it measured to bench/results:
//
//	go run ./bench -python PYTHON [-llama FOLDER] [-rounds 5] [step] [decode] ...
//
// Every round runs each entrant once, one after the other, so that a machine
// that slows down slows all of them; the ratio of two entrants is the median
// over the rounds of their ratio within a round. Peers that are not installed
// are left out and named. See bench/README.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"slices"
	"strings"
)

// suites are the groups of contests by name; each makes its contests when it
// is asked to run.
var suites = map[string]func(*setup) ([]contest, error){
	"step": stepContests,
}

// setup is where the peers are.
type setup struct {
	python  string // interpreter with torch and transformers; "" for none
	threads int
	scratch string // folder for models that peers read
}

func main() {
	log.SetFlags(0)
	s := setup{}
	flag.StringVar(&s.python, "python", "", "python with torch and transformers; empty leaves these peers out")
	flag.IntVar(&s.threads, "threads", 2, "threads of every entrant")
	rounds := flag.Int("rounds", 5, "rounds, at least 1")
	flag.Parse()
	names := flag.Args()
	if len(names) == 0 {
		names = sortedKeys(suites)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, &s, names, *rounds); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, s *setup, names []string, rounds int) error {
	dir, err := os.MkdirTemp("", "gr2-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s.scratch = dir
	for _, name := range names {
		suite, known := suites[name]
		if !known {
			return fmt.Errorf("there is no suite %q; choose among %s", name, strings.Join(sortedKeys(suites), ", "))
		}
		contests, err := suite(s)
		if err != nil {
			return err
		}
		result := newResult(name, s.threads, rounds)
		for _, c := range contests {
			outcome, err := c.hold(ctx, rounds)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			result.Contests = append(result.Contests, outcome)
		}
		if err := result.write(); err != nil {
			return err
		}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
