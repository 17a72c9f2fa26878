package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/eval"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/rerank"
)

const (
	// ConfigFile is the resolved configuration in the run folder. It also marks
	// the folder as a run.
	ConfigFile = "config.yaml"
	// ReportFile and PageFile are the results.
	ReportFile = "report.json"
	PageFile   = "report.html"
	lockFile   = ".lock"
	// GainsFile stands in a synthetic dataset folder and holds the expected
	// gain of every candidate: the Bayes-optimal order.
	GainsFile = "gains.jsonl"
)

// Job is one run.
type Job struct {
	Root    string // run folder
	DataDir string // dataset folder
	// Make generates the dataset folder where it is not there yet; nil when it
	// has to be.
	Make    func() error
	Options Options
	Config  []byte // Options as YAML, stored in the run folder
	Command string // what makes the run again, for the report
	Until   string // last stage to run; empty runs all
	Only    bool   // of the stages before Until, run those alone that it needs
	Notify  func(Progress)
	// Begun is called when the folder is locked for this job, before anything in it
	// changes; may be nil.
	Begun func()
}

// Run brings the run folder to its finished state, doing only what is left to
// do. It returns the report, or nil when Until ends the run before it.
func Run(ctx context.Context, job *Job) (*eval.Report, error) {
	if err := job.Options.Validate(); err != nil {
		return nil, err
	}
	if job.Make == nil {
		if _, err := dataMark(job.DataDir); err != nil {
			return nil, err // before there is a run folder
		}
	}
	embedder, err := job.Options.Embed.Mark()
	if err != nil {
		return nil, err
	}
	if job.Until == StageRL && job.Options.RL.Steps == 0 {
		return nil, fault.Usagef("rl.steps is 0, so that there is no stage %s: say how many, --set rl.steps=375 for instance (docs/rl.md)", StageRL)
	}
	if err := claim(job.Root); err != nil {
		return nil, err
	}
	unlock, err := lock(job.Root)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if job.Begun != nil {
		job.Begun()
	}
	if err := job.begin(); err != nil {
		return nil, err
	}
	job.advise()
	if err := durable.Sweep(job.Root); err != nil {
		return nil, err
	}
	g, err := assemble(job, embedder)
	if err != nil {
		return nil, err
	}
	if job.Only {
		g.keepFor(job.Until)
	}
	g.begin = func() error { return withdraw(job.Root) }
	if err := g.run(ctx, job.Until); err != nil {
		return nil, err
	}
	if job.Until != "" && job.Until != StageEval {
		return nil, nil
	}
	if err := sealLast(job); err != nil {
		return nil, err
	}
	if err := publish(job.Root, job.Command); err != nil {
		return nil, err
	}
	return ReadReport(job.Root)
}

// standsFor says what is missing where a stage and those that it needs are not
// there as the job would make them. It changes nothing.
func (job *Job) standsFor(stage string) error {
	embedder, err := job.Options.Embed.Mark()
	if err != nil {
		return err
	}
	g, err := assemble(job, embedder)
	if err != nil {
		return err
	}
	g.keepFor(stage)
	missing, err := g.unfinished()
	if err == nil && missing != "" {
		err = fault.Inputf("%s has no stage %s of %s: make it with gr2 train %s, or give the data set that the run was made from", job.Root, missing, job.DataDir, stage)
	}
	return err
}

// advise says what is questionable about the settings before they cost time.
func (job *Job) advise() {
	if job.Notify == nil || job.Options.RL.Steps == 0 || job.Until != "" && job.Until != StageRL && job.Until != StageEval {
		return
	}
	for _, a := range job.Options.rlAdvice() {
		job.Notify(Progress{Event: Said, Note: "WARNING: " + a})
	}
}

// begin stores the configuration and sees to the data set.
func (job *Job) begin() error {
	if err := durable.WriteBytes(filepath.Join(job.Root, ConfigFile), job.Config); err != nil {
		return err
	}
	if job.Make != nil {
		return job.Make()
	}
	return nil
}

// withdraw removes the published results: the stages behind them are about to
// be made again.
func withdraw(root string) error {
	for _, name := range []string{ReportFile, PageFile, rerank.CardFile} {
		if err := os.Remove(filepath.Join(root, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// claim makes the run folder. It refuses a folder with other things in it, for
// stages remove what they find in the way. What holds only the lock and a half
// written configuration is a run that was killed in its first moments.
func claim(root string) error {
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return os.MkdirAll(root, 0o777)
	}
	if err != nil {
		return fault.Usagef("run folder: %w", err)
	}
	if _, err := os.Stat(filepath.Join(root, ConfigFile)); err == nil {
		return nil
	}
	for _, e := range entries {
		if e.Name() != lockFile && !strings.HasPrefix(e.Name(), ConfigFile) {
			return fault.Usagef("run folder %s is not empty and holds no run (no %s): choose another --out", root, ConfigFile)
		}
	}
	return nil
}

// ReadReport reads the results of a finished run.
func ReadReport(root string) (*eval.Report, error) {
	path := filepath.Join(root, ReportFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Inputf("%s has no %s: the run is not finished; gr2 run goes on with it", root, ReportFile)
	}
	if err != nil {
		return nil, err
	}
	var r eval.Report
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fault.Corruptf("%s: %w", path, err)
	}
	return &r, nil
}

// ReadRun reads the results of a finished run with the rankings behind them.
func ReadRun(root string) (eval.Run, error) {
	r := eval.Run{Name: root}
	var err error
	if r.Report, err = ReadReport(root); err != nil {
		return r, err
	}
	path := filepath.Join(root, StageEval, rankingsFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return r, fault.Inputf("%s has no %s: an earlier version evaluated it; remove %s and let gr2 run make it again", root, rankingsFile, filepath.Join(root, StageEval))
	}
	err = readFile(path, func(in io.Reader) (err error) {
		r.Slates, err = eval.ReadRanked(in)
		return err
	})
	return r, err
}
