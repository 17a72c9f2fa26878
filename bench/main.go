// Command bench measures gr2 beside its peers, in the same run. See README.md.
//
//	go run ./bench -python ~/venv/bin/python -json gemm.json gemm
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gr2/gr2/bench/compare"
	"github.com/gr2/gr2/bench/decode"
	"github.com/gr2/gr2/bench/gemm"
	"github.com/gr2/gr2/bench/packing"
	"github.com/gr2/gr2/bench/rl"
	"github.com/gr2/gr2/bench/step"
	"github.com/gr2/gr2/internal/kernel"
)

// suites are what can be measured, by name.
var suites = map[string]func() compare.Suite{
	"decode":  decode.Suite,
	"gemm":    gemm.Suite,
	"packing": packing.Suite,
	"rl":      rl.Suite,
	"step":    step.Suite,
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	var o compare.Options
	flag.IntVar(&o.Rounds, "rounds", 7, "samples of each contestant")
	flag.DurationVar(&o.Sample, "sample", 60*time.Millisecond, "about how long a sample takes")
	flag.DurationVar(&o.Pause, "pause", 250*time.Millisecond, "before a sample, until the threads of the last contestant sleep")
	flag.IntVar(&o.Threads, "threads", 2, "threads of each contestant")
	flag.StringVar(&o.Python, "python", "", "Python that has the peers' libraries; without it, gr2 runs alone")
	only := flag.String("cases", "", "measure cases that match this regular expression")
	variants := flag.String("cpu", kernel.Active(), "kernels to measure, separated by commas")
	path := flag.String("json", "", "write all samples to this file")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: bench [flags] suite\nsuites: %s\n", strings.Join(names(), ", "))
		flag.PrintDefaults()
	}
	flag.Parse()
	suite, ok := suites[flag.Arg(0)]
	if !ok || flag.NArg() != 1 {
		flag.Usage()
		return fmt.Errorf("name one suite")
	}
	var err error
	if o.Cases, err = regexp.Compile(*only); err != nil {
		return err
	}
	o.Variants = strings.Split(*variants, ",")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	report, err := compare.Run(ctx, suite(), o)
	if err != nil {
		return err
	}
	if *path != "" {
		if err := report.WriteJSON(*path); err != nil {
			return err
		}
	}
	return report.WriteTable(os.Stdout)
}

func names() []string {
	var out []string
	for name := range suites {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
