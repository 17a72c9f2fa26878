// Command sid_ablation measures tokenizers of items by the uniqueness of their
// semantic IDs and by a recommender of the next item that is trained on them:
//
//	sid_ablation [-data FOLDER] [-results FOLDER] [-work FOLDER] [-datasets A,B] [-variants A,B] [-seeds 1,2]
//	sid_ablation -table [-results FOLDER]
//
// A cell is one tokenizer on one data set with one seed. Each has a file in the
// results; cells that have one are skipped, so a run that was stopped goes on.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/train"
	"github.com/gr2/gr2/internal/train/nextitem"
)

// datasets are folders of the data folder, in the order of the table.
var datasets = []string{"beauty", "sports"}

// recommender is the same for all cells, and smaller than the default one, so
// that a cell takes minutes; it was set on the validation part of Beauty.
func recommender() nextitem.Options {
	o := nextitem.Default()
	o.Hidden, o.Layers, o.Heads, o.KVHeads, o.Intermediate = 64, 2, 2, 1, 192
	o.Epochs, o.LR, o.Dropout = 8, 6e-3, .1
	o.Beam, o.ValidTargets = 30, 2000
	return o
}

func main() {
	log.SetFlags(0)
	data := flag.String("data", "runs/sid_ablation/data", "folder of the imported data sets")
	results := flag.String("results", "experiments/sid_ablation/results", "folder of the cells")
	work := flag.String("work", "runs/sid_ablation/work", "folder of the training under way")
	names := flag.String("datasets", strings.Join(datasets, ","), "data sets")
	only := flag.String("variants", "", "variants; default all")
	seeds := flag.String("seeds", "1,2,3", "seeds")
	threads := flag.Int("threads", 0, "threads; 0 is all cores")
	onlyTable := flag.Bool("table", false, "print the table of the cells there are")
	flag.Parse()

	if *onlyTable {
		if err := printTable(os.Stdout, *results); err != nil {
			log.Fatal(err)
		}
		return
	}
	kernel.SetThreads(*threads)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	plan, err := newPlan(*names, *only, *seeds)
	if err != nil {
		log.Fatal(err)
	}
	if err := plan.run(ctx, *data, *results, *work); err != nil {
		log.Fatal(err)
	}
}

// plan is cells to measure, in order.
type plan []settings

// newPlan lists the cells seed by seed, so that an unfinished run has every row
// with few seeds rather than few rows.
func newPlan(names, only, seeds string) (plan, error) {
	chosen, err := choose(only)
	if err != nil {
		return nil, err
	}
	var p plan
	for _, dataset := range strings.Split(names, ",") {
		for _, text := range strings.Split(seeds, ",") {
			seed, err := strconv.ParseUint(text, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("-seeds: %w", err)
			}
			for _, v := range chosen {
				p = append(p, settings{dataset, v, seed, recommender()})
			}
		}
	}
	return p, nil
}

// choose is the variants with these names, or all.
func choose(only string) ([]variant, error) {
	if only == "" {
		return variants, nil
	}
	var out []variant
	for _, name := range strings.Split(only, ",") {
		at := slices.IndexFunc(variants, func(v variant) bool { return v.Name == name })
		if at < 0 {
			return nil, fmt.Errorf("-variants: there is no %q", name)
		}
		out = append(out, variants[at])
	}
	return out, nil
}

// run measures the cells that have no file.
func (p plan) run(ctx context.Context, data, results, work string) error {
	var b *bench
	for _, s := range p {
		done, err := readCell(results, s)
		if err != nil {
			return err
		}
		if done != nil {
			continue
		}
		if b == nil || b.name != s.Dataset {
			if b, err = openBench(s.Dataset, filepath.Join(data, s.Dataset)); err != nil {
				return err
			}
		}
		c, err := b.measure(ctx, work, s, func(t train.Status) {
			if t.Validation != nil {
				log.Printf("  %3.0f%%  validation R@10 %.4f  %.0f tokens/s", 100*t.Done, t.Validation.Score, t.TokensPerSecond)
			}
		})
		if err != nil {
			return fmt.Errorf("%s: %w", s.path(""), err)
		}
		if err := c.write(results); err != nil {
			return err
		}
		log.Printf("%s: uniqueness %.4f of nearest codes, %.4f assigned; R@10 %.4f of validation, %.4f of test; %.0f s", s.path(""),
			c.Uniqueness.Nearest, c.Uniqueness.Assigned, c.Validation.R10, c.Test.R10, c.Seconds.Tokenizer+c.Seconds.Training+c.Seconds.Evaluation)
	}
	return nil
}
