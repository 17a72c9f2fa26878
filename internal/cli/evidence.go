package cli

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/gr2/gr2/internal/pipeline"
)

func newEvidence(e *env) *cobra.Command {
	var f runFlags
	var names []string
	cmd := &cobra.Command{
		Use:         "evidence",
		Annotations: ends("stopping at the next checkpoint"),
		Short:       "What each value of evidence is worth to a linear control",
		Long: `Fit linear controls on the training slates of a run, with a value of evidence more or
less than its prompts show, and print N@3 of their rankings on the validation slates
that choose weights, beside that of the values shown (paired 95% intervals). Choose
prompt.evidence_names by it; test slates are not read. Slates are made first, where
the run has none; --names tries other values and leaves the run as it is.`,
		Example: `  gr2 evidence --data data/beauty --out runs/beauty
  gr2 evidence --data data/beauty --out runs/beauty --names co,titleDecay,pop`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			job, err := e.job(cmd, &f)
			if err != nil {
				return err
			}
			rows, err := pipeline.MeasureEvidence(cmd.Context(), job, names)
			if err != nil {
				return err
			}
			if e.json {
				return e.print(envelope{Schema: 1, Command: "evidence", Inputs: map[string]string{"run": f.out, "data": f.data}, Metrics: rows})
			}
			return e.worth(rows)
		},
	}
	f.add(cmd, "small")
	cmd.Flags().StringVar(&f.data, "data", "", "dataset folder")
	cmd.Flags().StringSliceVar(&names, "names", nil, "values to take for those shown (default prompt.evidence_names of the run)")
	must(cmd.MarkFlagRequired("data"))
	must(cmd.MarkFlagRequired("out"))
	return cmd
}

// worth prints what is shown and all there is, then the others by what they add.
func (e *env) worth(rows []pipeline.EvidenceWorth) error {
	slices.SortStableFunc(rows[2:], func(a, b pipeline.EvidenceWorth) int {
		switch {
		case a.Over.Value > b.Over.Value:
			return -1
		case a.Over.Value < b.Over.Value:
			return 1
		}
		return strings.Compare(a.Values, b.Values)
	})
	var orders []string
	for order := range rows[0].Orders {
		orders = append(orders, order)
	}
	slices.Sort(orders)
	w := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "values\tN@3\tover shown\t%s\n", strings.Join(orders, "\t"))
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%.4f\t%+.4f [%+.4f, %+.4f]", r.Values, r.N3.Value, r.Over.Value, r.Over.Low, r.Over.High)
		for _, order := range orders {
			fmt.Fprintf(w, "\t%.4f", r.Orders[order])
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "%d validation slates\n", rows[0].Slates)
	return w.Flush()
}
