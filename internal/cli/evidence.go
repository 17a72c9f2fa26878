package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/gr2/gr2/internal/pipeline"
)

func newEvidence(e *env) *cobra.Command {
	var run, data string
	var names []string
	cmd := &cobra.Command{
		Use:   "evidence",
		Short: "What each value of evidence is worth to the controls",
		Long: `Fit linear controls on the training slates of a run, with a value of evidence more or
less than its prompts show, and boosted trees on what is shown and on all, and print
N@3 of their rankings on the validation slates of held-out users, beside that of the
values shown (paired 95% intervals). Choose
prompt.evidence_names by it: test slates are not read, and nothing of the run changes.
The run needs its slates and statistics only, which gr2 train evidence makes.`,
		Example: `  gr2 train evidence --data data/beauty --out runs/beauty
  gr2 evidence --run runs/beauty --data data/beauty
  gr2 evidence --run runs/beauty --data data/beauty --names co,titleDecay,pop`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := runConfig(run)
			if err != nil {
				return err
			}
			rows, err := pipeline.MeasureEvidence(cmd.Context(), &pipeline.Job{Root: run, DataDir: data, Options: *o}, names)
			if err != nil {
				return err
			}
			if e.json {
				return e.print(envelope{Schema: 1, Command: "evidence", Inputs: map[string]string{"run": run, "data": data}, Metrics: rows})
			}
			return e.worth(rows)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&run, "run", "", "run folder")
	flags.StringVar(&data, "data", "", "dataset folder of the run")
	flags.StringSliceVar(&names, "names", nil, "values to take for those shown (default prompt.evidence_names of the run)")
	must(cmd.MarkFlagRequired("run"))
	must(cmd.MarkFlagRequired("data"))
	return cmd
}

func (e *env) worth(rows []pipeline.EvidenceWorth) error {
	orders := slices.Sorted(maps.Keys(rows[0].Orders))
	w := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "values\tN@3\tover shown\t%s\n", strings.Join(orders, "\t"))
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%.4f\t%+.4f [%+.4f, %+.4f]", r.Values, r.N3, r.Over.Value, r.Over.Low, r.Over.High)
		for _, order := range orders {
			fmt.Fprintf(w, "\t%.4f", r.Orders[order])
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "%d validation slates\n", rows[0].Slates)
	return w.Flush()
}
