package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gr2/gr2/internal/config"
	"github.com/gr2/gr2/internal/eval"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market/synth"
	"github.com/gr2/gr2/internal/pipeline"
	page "github.com/gr2/gr2/internal/report"
)

// runFlags name the folders of a run and its configuration.
type runFlags struct {
	configFlags
	data, out string
}

func (f *runFlags) add(cmd *cobra.Command, preset string) {
	f.configFlags.add(cmd, preset)
	cmd.Flags().StringVar(&f.out, "out", "", "run folder; an unfinished run in it goes on")
}

// job is the run that the flags describe.
func (e *env) job(cmd *cobra.Command, f *runFlags) (*pipeline.Job, error) {
	o, stored, err := f.load(cmd, f.out)
	if err != nil {
		return nil, err
	}
	var changed []string
	if stored != nil {
		if changed, err = config.Differences(*stored, o); err != nil {
			return nil, err
		}
	}
	resolved, err := config.Marshal(o)
	if err != nil {
		return nil, err
	}
	return &pipeline.Job{
		Root: f.out, DataDir: f.data, Options: o, Config: resolved, Command: commandLine(cmd), Notify: e.watch(),
		Begun: func() {
			if len(changed) > 0 {
				e.log.Info("the configuration of the run changes", "run", f.out, "keys", strings.Join(changed, ", "))
			}
		},
	}, nil
}

// commandLine spells the command with the flags that were set.
func commandLine(cmd *cobra.Command) string {
	parts := []string{cmd.CommandPath()}
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		if values, ok := flag.Value.(pflag.SliceValue); ok {
			for _, v := range values.GetSlice() {
				parts = append(parts, "--"+flag.Name, quote(v))
			}
			return
		}
		parts = append(parts, "--"+flag.Name+"="+quote(flag.Value.String()))
	})
	return strings.Join(parts, " ")
}

func quote(s string) string {
	if strings.ContainsAny(s, " \t'\"$[]{}*?") {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}

// finish runs the job and prints its table.
func (e *env) finish(cmd *cobra.Command, job *pipeline.Job) error {
	report, err := pipeline.Run(cmd.Context(), job)
	if err != nil {
		return err
	}
	return e.results(cmd.CommandPath(), job.Root, report)
}

func (e *env) results(command, root string, report *eval.Report) error {
	if e.json {
		return e.print(envelope{Schema: 1, Command: strings.TrimPrefix(command, "gr2 "), Metrics: report, Warnings: report.Warnings, Artifacts: map[string]string{
			"run": root, "report": filepath.Join(root, pipeline.ReportFile), "page": filepath.Join(root, pipeline.PageFile),
		}})
	}
	if err := eval.WriteTable(e.out, report); err != nil {
		return err
	}
	_, err := fmt.Fprintf(e.out, "\n%s\n", filepath.Join(root, pipeline.PageFile))
	return err
}

func newRun(e *env) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:         "run",
		Annotations: ends("stopping at the next checkpoint"),
		Short:       "Run every stage on a data set, from slates to the report",
		Long: `Run every stage on a data set. Finished stages are kept while their configuration
and inputs stand; a run that was stopped, or killed, goes on where it was.`,
		Example: `  gr2 run --data data/beauty --out runs/beauty --preset small --seed 1
  gr2 run --data data/beauty --out runs/no-evidence --set prompt.evidence=false`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			job, err := e.job(cmd, &f)
			if err != nil {
				return err
			}
			return e.finish(cmd, job)
		},
	}
	f.add(cmd, "small")
	cmd.Flags().StringVar(&f.data, "data", "", "dataset folder, see gr2 data import")
	must(cmd.MarkFlagRequired("data"))
	must(cmd.MarkFlagRequired("out"))
	return cmd
}

func newDemo(e *env) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:         "demo",
		Annotations: ends("stopping at the next checkpoint"),
		Short:       "The whole pipeline on an embedded synthetic market, in minutes",
		Long: `Generate a synthetic market, run every stage on it and print the table: the logged
order, the controls, the policy, and the Bayes-optimal order, which nothing can beat.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.out == "" {
				f.out = filepath.Join("runs", "demo")
			}
			job, err := e.job(cmd, &f)
			if err != nil {
				return err
			}
			job.DataDir = filepath.Join(f.out, fmt.Sprintf("market-%d", job.Options.Seed))
			job.Make = func() error { return demoMarket(job) }
			return e.finish(cmd, job)
		},
	}
	f.add(cmd, "nano")
	return cmd
}

// demoMarket generates the demo's data set unless it stands.
func demoMarket(job *pipeline.Job) error {
	if _, err := os.Stat(filepath.Join(job.DataDir, pipeline.GainsFile)); err == nil {
		return nil
	}
	_, err := synthesise(job.DataDir, "synthetic market", synth.DefaultParams(), job.Options.Seed)
	return err
}

func newTrain(e *env) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:         "train STAGE",
		Annotations: ends("stopping at the next checkpoint"),
		Short:       "Bring a run up to one stage: " + strings.Join(pipeline.Stages(), ", "),
		Args:        cobra.ExactArgs(1),
		ValidArgs:   pipeline.Stages(),
		RunE: func(cmd *cobra.Command, args []string) error {
			job, err := e.job(cmd, &f)
			if err != nil {
				return err
			}
			if !slices.Contains(pipeline.Stages(), args[0]) {
				return fault.Usagef("there is no stage %q; use one of %s", args[0], strings.Join(pipeline.Stages(), ", "))
			}
			job.Until = args[0]
			if _, err = pipeline.Run(cmd.Context(), job); err != nil || !e.json {
				return err
			}
			return e.stage(job)
		},
	}
	f.add(cmd, "small")
	cmd.Flags().StringVar(&f.data, "data", "", "dataset folder")
	must(cmd.MarkFlagRequired("data"))
	must(cmd.MarkFlagRequired("out"))
	return cmd
}

// stage prints what there is to say of a finished stage.
func (e *env) stage(job *pipeline.Job) error {
	var warnings []string
	if job.Until == pipeline.StageRL {
		var err error
		if warnings, err = pipeline.Warnings(job.Root); err != nil {
			return err
		}
	}
	return e.print(envelope{
		Schema: 1, Command: "train", Inputs: map[string]string{"data": job.DataDir}, Warnings: warnings,
		Artifacts: map[string]string{"run": job.Root, "stage": filepath.Join(job.Root, job.Until)},
	})
}

func newEval(e *env) *cobra.Command {
	var runs, against []string
	var over string
	var probe bool
	cmd := &cobra.Command{
		Use:   "eval",
		Short: "Print the results of finished runs",
		Long: `Print the results of a finished run. Of several runs, which differ in their seeds,
print means over the runs, with intervals over the users that they share, and how
much the lifts vary between them.

--against compares every policy with itself in runs of another configuration, on
the same test slates, by seed: what a change of the recipe did in these runs. Where
they have no rl, rl is compared with their sft.

--over compares every policy with another policy of the runs than the linear control.
Like several runs, it has intervals over users.

--probe prints what a good table can hide instead: how often the policy copies the
order shown, what shuffling and reversing it changes, what partial credit would pay
for invalid answers, and whether labels or item numbers leak.`,
		Example: `  gr2 eval --run runs/beauty
  gr2 eval --run runs/beauty --probe
  gr2 eval --run runs/beauty-1 --run runs/beauty-2 --run runs/beauty-3
  gr2 eval --run runs/no-evidence --against runs/beauty
  gr2 eval --run runs/beauty --over control/linear-shown`,
		RunE: func(*cobra.Command, []string) error {
			if probe && (len(against) > 0 || over != "") {
				return fault.Usagef("--probe prints no comparison: leave out --against and --over")
			}
			report, err := readReports(runs, against, over)
			if err != nil {
				return err
			}
			switch {
			case e.json:
				return e.print(report)
			case probe:
				for _, warning := range report.Warnings {
					fmt.Fprintln(e.out, warning)
				}
				return page.WriteProbes(e.out, report.Probes)
			}
			return eval.WriteTable(e.out, report)
		},
	}
	cmd.Flags().BoolVar(&probe, "probe", false, "print the probes of the policy")
	cmd.Flags().StringArrayVar(&runs, "run", nil, "run folder; repeat it for runs of other seeds")
	cmd.Flags().StringArrayVar(&against, "against", nil, "run folder of another configuration to compare with; repeat it as --run")
	cmd.Flags().StringVar(&over, "over", "", "policy that the others are compared with (default control/linear)")
	must(cmd.MarkFlagRequired("run"))
	return cmd
}

// readReports reads one report, or puts together what takes the rankings behind
// them: several runs, or other comparisons.
func readReports(runs, against []string, over string) (*eval.Report, error) {
	if len(runs) == 1 && len(against) == 0 && over == "" {
		return pipeline.ReadReport(runs[0])
	}
	read, err := readRuns(runs)
	if err != nil {
		return nil, err
	}
	others, err := readRuns(against)
	if err != nil {
		return nil, err
	}
	all, err := eval.Combine(read, others, over)
	if err == nil && len(others) > 0 {
		all.Changes = changesOf(read, others)
	}
	return all, err
}

// changesOf are the settings in which runs differ from others of the same seed; those
// that not all of them do, with the run.
func changesOf(runs, others []eval.Run) []string {
	pairs, in := 0, map[string][]string{} // the runs that have a change
	var order []string
	for _, run := range runs {
		for _, other := range others {
			if other.Report.Seed != run.Report.Seed {
				continue
			}
			pairs++
			for _, change := range changes(other.Name, run.Name) {
				if in[change] == nil {
					order = append(order, change)
				}
				in[change] = append(in[change], run.Name)
			}
		}
	}
	for i, change := range order {
		if of := in[change]; len(of) < pairs {
			order[i] += " (" + strings.Join(of, ", ") + ")"
		}
	}
	return order
}

// changes are the settings in which a run differs from another but the seed, as far as
// this version can read them.
func changes(other, run string) []string {
	var read [2]pipeline.Options
	for i, root := range []string{other, run} {
		o, err := storedConfig(root)
		switch {
		case err != nil:
			return []string{"settings that cannot be read: " + err.Error()}
		case o == nil:
			return []string{fmt.Sprintf("settings that cannot be read: %s has no %s", root, pipeline.ConfigFile)}
		}
		read[i] = *o
		read[i].Seed = 0
	}
	list, err := config.Differences(read[0], read[1])
	if err != nil {
		return []string{err.Error()}
	}
	return list
}

func readRuns(roots []string) ([]eval.Run, error) {
	runs := make([]eval.Run, len(roots))
	for i, root := range roots {
		var err error
		if runs[i], err = pipeline.ReadRun(root); err != nil {
			return nil, err
		}
	}
	return runs, nil
}

// writeReport renders a report and returns its file.
func writeReport(run, out string, beside []string) (string, error) {
	own := filepath.Join(run, pipeline.PageFile)
	command := "gr2 run --data DATASET --out NEW -c " + quote(filepath.Join(run, pipeline.ConfigFile))
	switch {
	case out != "" && !sameFile(out, own):
		if err := replaceable(out); err != nil {
			return "", err
		}
		var others []pipeline.Beside
		for _, root := range beside {
			others = append(others, pipeline.Beside{Root: root, Changes: changes(run, root)})
		}
		return out, pipeline.WritePageBeside(out, run, command, others)
	case len(beside) > 0:
		return "", fault.Usagef("--beside puts other runs into the report: name another file than the run's own, %s, with --out", own)
	}
	err := pipeline.WritePage(run, command)
	if errors.Is(err, fs.ErrPermission) {
		err = fault.Usagef("%w; name a file elsewhere with --out", err)
	}
	return own, err
}

// replaceable refuses a file that is no page, or that of another run: a report in its
// place would destroy it.
func replaceable(file string) error {
	if _, err := os.Stat(filepath.Join(filepath.Dir(file), pipeline.ConfigFile)); err == nil && filepath.Base(file) == pipeline.PageFile {
		return fault.Usagef("%s is the page of the run there: name another file with --out", file)
	}
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return nil // what cannot be written says so then
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, len(pageBegins))
	if _, err := io.ReadFull(f, head); err != nil || !strings.EqualFold(string(head), pageBegins) {
		return fault.Usagef("%s exists and is no HTML page: name another file with --out", file)
	}
	return nil
}

// pageBegins is what a page begins with, in any case.
const pageBegins = "<!doctype html"

// sameFile reports whether two paths, either of them relative or absolute, are of
// one file, which need not exist.
func sameFile(a, b string) bool {
	if x, err := filepath.Abs(a); err == nil {
		if y, err := filepath.Abs(b); err == nil && x == y {
			return true
		}
	}
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

func newReport(e *env) *cobra.Command {
	var run, out string
	var beside []string
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Render the report of a finished run again, or with the curves of others",
		Long: `Render report.html of a finished run again.

--beside writes a report with the training curves of other runs in the same charts,
such as one run a reward, to the file that --out names. The others may still be under way.`,
		Example: `  gr2 report --run runs/beauty
  gr2 report --run runs/naive --beside runs/a --beside runs/b --out rewards.html`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			page, err := writeReport(run, out, beside)
			if err != nil {
				return err
			}
			if e.json {
				return e.print(envelope{Schema: 1, Command: "report", Inputs: map[string]string{"run": run}, Artifacts: map[string]string{"page": page}})
			}
			_, err = fmt.Fprintln(e.out, page)
			return err
		},
	}
	cmd.Flags().StringVar(&run, "run", "", "run folder")
	cmd.Flags().StringVar(&out, "out", "", "file to write (default report.html in the run folder)")
	cmd.Flags().StringArrayVar(&beside, "beside", nil, fmt.Sprintf("run folder whose training curves stand beside those of the run; repeat it, at most %d", page.MaxBeside))
	must(cmd.MarkFlagRequired("run"))
	return cmd
}
