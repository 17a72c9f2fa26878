package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/gr2/gr2/internal/baseline"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/metric"
	"github.com/gr2/gr2/internal/sid"
	"github.com/gr2/gr2/internal/train"
	"github.com/gr2/gr2/internal/train/nextitem"
)

// sidEval is the flags of gr2 sid eval.
type sidEval struct {
	run, data, part, work string
	options               nextitem.Options
}

func newSIDEval(e *env) *cobra.Command {
	f := sidEval{options: nextitem.Default()}
	cmd := &cobra.Command{
		Use:         "eval",
		Annotations: ends("stopping at the next checkpoint"),
		Short:       "How well the next item can be predicted by semantic IDs",
		Long: `Train a small decoder that writes the semantic ID of the next item, search it over the
catalog, and print how often the item that followed is among the first (docs/next-item.md).
Each user's last event is the test part, the one before the valid part, in the order within
days that the run has drawn: choose between tokenizers by valid, and read test once.`,
		Example: `  gr2 sid eval --run runs/beauty --data data/beauty
  gr2 sid eval --run runs/beauty --data data/beauty --part test --work runs/beauty-next`,
		RunE: func(cmd *cobra.Command, _ []string) error { return e.evalSIDs(cmd.Context(), &f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.run, "run", "", "run folder, whose semantic IDs are measured")
	flags.StringVar(&f.data, "data", "", "dataset folder with the events")
	flags.StringVar(&f.part, "part", "valid", "part that is measured: valid or test")
	flags.StringVar(&f.work, "work", "", "folder of the training, which can then be stopped and go on (default none)")
	flags.Uint64Var(&f.options.Seed, "seed", 1, "seed of the training")
	flags.IntVar(&f.options.Epochs, "epochs", f.options.Epochs, "epochs, at most; it stops early")
	must(cmd.MarkFlagRequired("run"))
	must(cmd.MarkFlagRequired("data"))
	return cmd
}

// nextItemResult is what gr2 sid eval measures.
type nextItemResult struct {
	Part     string            `json:"part"`
	Unique   float64           `json:"uniqueness"`
	Measures baseline.Measures `json:"measures"`
	R10      metric.Interval   `json:"R@10_interval"` // 95%, over the targets
	N10      metric.Interval   `json:"N@10_interval"`
	Training train.Result      `json:"training"`
}

func (e *env) evalSIDs(ctx context.Context, f *sidEval) error {
	if f.part != "valid" && f.part != "test" {
		return fault.Usagef("--part %q: use valid or test", f.part)
	}
	if err := f.options.Validate(); err != nil {
		return err
	}
	index, split, warnings, err := f.open()
	if err != nil {
		return err
	}
	if f.work == "" {
		if f.work, err = os.MkdirTemp("", "gr2-next-item"); err != nil {
			return err
		}
		defer os.RemoveAll(f.work)
	}
	recommender, training, err := nextitem.Fit(ctx, f.work, index, split, f.options, func(s train.Status) {
		if s.Validation != nil {
			e.log.Info("next item", "done", fmt.Sprintf("%.0f%%", 100*s.Done), "valid R@10", fmt.Sprintf("%.4f", s.Validation.Score))
		}
	})
	if err != nil {
		return err
	}
	targets := split.Valid
	if f.part == "test" {
		targets = split.Test
	}
	each, err := recommender.Evaluate(ctx, targets, false)
	if err != nil {
		return err
	}
	result := nextItemResult{Part: f.part, Unique: index.Stats().Uniqueness, Measures: baseline.Mean(each), Training: training}
	result.R10 = meanInterval(each, func(m baseline.Measures) float64 { return m.R10 }, f.options.Seed)
	result.N10 = meanInterval(each, func(m baseline.Measures) float64 { return m.N10 }, f.options.Seed)
	return e.nextItem(f, &result, warnings)
}

// open is the index of the run, and the events of the data set on its catalog.
func (f *sidEval) open() (*sid.Index, *market.Split, []string, error) {
	index, catalog, err := openSIDs(f.run)
	if err != nil {
		return nil, nil, nil, err
	}
	ds, err := market.Open(f.data)
	if err != nil {
		return nil, nil, nil, err
	}
	run, err := runConfig(f.run)
	if err != nil {
		return nil, nil, nil, err
	}
	var warnings []string
	if p := run.Protocol(ds); p != market.ProtocolLeaveOneOut && run.SID.LearnsPairs() {
		warnings = append(warnings, fmt.Sprintf("the codes were taught by pairs of events before the cut of the run (data.protocol %s); targets among them flatter the measure: make the run with data.protocol %s", p, market.ProtocolLeaveOneOut))
	}
	lost := onCatalog(ds, catalog)
	if lost > 0 {
		warnings = append(warnings, fmt.Sprintf("%d events of items that the run does not have are left out", lost))
	}
	if len(ds.Events) == 0 {
		return nil, nil, nil, fault.Inputf("%s has no events of items of %s: give the data set that the run was made from", f.data, f.run)
	}
	split, err := market.LeaveOneOut(ds, run.Seed) // the run's order within days
	if err == nil && len(split.Test) == 0 {
		err = fault.Inputf("%s: no user has three events, so none can be held out", f.data)
	}
	return index, split, warnings, err
}

// onCatalog renumbers the events of a data set for another catalog and returns
// how many it drops, because their items are not there.
func onCatalog(ds *market.Dataset, catalog *market.Catalog) (lost int) {
	var events []market.Event
	for _, event := range ds.Events {
		item, ok := catalog.Lookup(ds.Catalog.Items[event.Item].ID)
		if !ok {
			lost++
			continue
		}
		event.Item = item
		events = append(events, event)
	}
	ds.Events, ds.Catalog, ds.Slates = events, catalog, nil
	return lost
}

// meanInterval is the mean over the targets with its 95% interval.
func meanInterval(each []baseline.Measures, of func(baseline.Measures) float64, seed uint64) metric.Interval {
	values := make([]float64, len(each))
	for i, m := range each {
		values[i] = of(m)
	}
	return metric.PairedDifference(make([]float64, len(values)), values, 0, seed)
}

func (e *env) nextItem(f *sidEval, r *nextItemResult, warnings []string) error {
	if e.json {
		return e.print(envelope{Schema: 1, Command: "sid eval", Inputs: map[string]string{"run": f.run, "data": f.data}, Metrics: r, Warnings: warnings})
	}
	for _, w := range warnings {
		e.log.Warn(w)
	}
	_, err := fmt.Fprintf(e.out, "%s, %d targets: R@1 %.4f  R@5 %.4f  R@10 %.4f (%.4f to %.4f)  N@10 %.4f (%.4f to %.4f); %.2f%% of the codes unique\n",
		r.Part, r.Measures.Targets, r.Measures.R1, r.Measures.R5, r.R10.Value, r.R10.Low, r.R10.High, r.N10.Value, r.N10.Low, r.N10.High, 100*r.Unique)
	return err
}
