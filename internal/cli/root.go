package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/kernel"
)

// env is what a command works with; tests replace it.
type env struct {
	in       io.Reader
	out, err io.Writer
	json     bool
	quiet    bool
	log      *slog.Logger
	stopping *atomic.Value // how the command ends when it is interrupted; empty for at once
}

// Main runs one command line and returns its exit code. The first interrupt
// asks the command to checkpoint and stop, the second ends the process.
func Main(args []string, in io.Reader, out, errw io.Writer) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var stopping atomic.Value // of string
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	go func() {
		if _, ok := <-signals; !ok {
			return
		}
		how, _ := stopping.Load().(string)
		if how == "" {
			fmt.Fprintln(errw, "gr2: interrupted")
			os.Exit(1)
		}
		fmt.Fprintf(errw, "gr2: %s; interrupt again to end at once\n", how)
		cancel()
		<-signals
		os.Exit(1)
	}()

	stdout := &checkedWriter{w: out}
	e := &env{in: in, out: stdout, err: errw, stopping: &stopping}
	root := newRoot(e)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = stdout.err
	}
	if err == nil {
		return 0
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		fmt.Fprintln(errw, "gr2: interrupted; the same command goes on from here")
		return 1
	}
	fmt.Fprintf(errw, "gr2: %s\n", oneLine(err))
	return fault.Exit(err)
}

// checkedWriter remembers the first error, so that results which did not reach
// a full disk never end with exit code 0.
type checkedWriter struct {
	w   io.Writer
	err error
}

func (c *checkedWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if err != nil && c.err == nil {
		c.err = fmt.Errorf("write results: %w", err)
	}
	return n, err
}

func oneLine(err error) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", " ")), " ")
}

// onInterrupt is the annotation of commands that end in order when interrupted.
const onInterrupt = "interrupt"

// ends says how a command ends when it is interrupted.
func ends(how string) map[string]string { return map[string]string{onInterrupt: how} }

func newRoot(e *env) *cobra.Command {
	var cpu string
	var threads int
	root := &cobra.Command{
		Use:   "gr2",
		Short: "An end-to-end generative reasoning re-ranker",
		Long: `gr2 turns logs and a catalog into a re-ranker of ten or so candidates: semantic IDs,
a mid-trained language model, supervised fine-tuning, an honest evaluation
against the order you have today, and an HTTP server.`,
		Example: `  gr2 demo --out runs/demo                                   the whole pipeline on a synthetic market
  gr2 data import amazon --reviews R.json.gz --meta M.json.gz --out data/beauty
  gr2 run --data data/beauty --out runs/beauty --preset small
  gr2 rerank --run runs/beauty < slates.jsonl > rankings.jsonl
  gr2 serve --run runs/beauty --addr 127.0.0.1:8080`,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if how := cmd.Annotations[onInterrupt]; how != "" && e.stopping != nil {
				e.stopping.Store(how)
			}
			e.log = slog.New(slog.NewTextHandler(e.err, &slog.HandlerOptions{Level: logLevel(e.quiet)}))
			if cpu == "" {
				cpu = os.Getenv("GR2_CPU")
			}
			if cpu != "" {
				if err := kernel.Use(cpu); err != nil {
					return fault.Usagef("--cpu: %w", err)
				}
			}
			if threads > 0 {
				kernel.SetThreads(threads)
			}
			return nil
		},
	}
	root.SetIn(e.in)
	root.SetOut(e.out)
	root.SetErr(e.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fault.Usagef("%w (see %s --help)", err, cmd.CommandPath())
	})
	flags := root.PersistentFlags()
	flags.BoolVar(&e.json, "json", false, "print one JSON envelope on stdout")
	flags.BoolVarP(&e.quiet, "quiet", "q", false, "no progress on stderr")
	flags.StringVar(&cpu, "cpu", "", "kernels to use, of: "+strings.Join(kernel.Available(), ", ")+" (default the fastest; also GR2_CPU)")
	flags.IntVar(&threads, "threads", 0, "threads of the engine (default all cores; results do not depend on it)")
	root.AddCommand(
		newDemo(e), newRun(e), newData(e), newTrain(e), newEvidence(e), newEval(e), newRerank(e), newServe(e),
		newReport(e), newSID(e), newExport(e), newConfig(e), newVersion(e),
	)
	strict(root)
	return root
}

func logLevel(quiet bool) slog.Level {
	if quiet {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// strict makes every usage mistake an error of kind Usage: unknown commands,
// stray arguments, missing required flags.
func strict(cmd *cobra.Command) {
	if cmd.HasSubCommands() && cmd.RunE == nil {
		cmd.Args, cmd.SuggestionsMinimumDistance = cobra.ArbitraryArgs, 2
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			hint := ""
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				hint = fmt.Sprintf("; did you mean %q?", near[0])
			}
			return fault.Usagef("%s has no command %q%s (see %s --help)", cmd.CommandPath(), args[0], hint, cmd.CommandPath())
		}
	} else {
		check := cmd.Args
		if check == nil {
			check = cobra.NoArgs
		}
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return fault.Usagef("%s: %w (see --help)", cmd.CommandPath(), err)
			}
			if err := cmd.ValidateRequiredFlags(); err != nil {
				return fault.Usagef("%s: %w (see --help)", cmd.CommandPath(), err)
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		strict(sub)
	}
}
