package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/eval"
	"github.com/gr2/gr2/internal/fault"
)

const (
	// ConfigFile is the resolved configuration in the run folder. It also marks
	// the folder as a run.
	ConfigFile = "config.yaml"
	// ReportFile and PageFile are the results.
	ReportFile = "report.json"
	PageFile   = "report.html"
	// GainsFile stands in a synthetic dataset folder and holds the expected
	// gain of every candidate: the Bayes-optimal order.
	GainsFile = "gains.jsonl"
)

// Job is one run.
type Job struct {
	Root    string // run folder
	DataDir string // dataset folder
	Options Options
	Config  []byte // Options as YAML, stored in the run folder
	Command string // what makes the run again, for the report
	Until   string // last stage to run; empty runs all
	Notify  func(Progress)
}

// Run brings the run folder to its finished state, doing only what is left to
// do. It returns the report, or nil when Until ends the run before it.
func Run(ctx context.Context, job *Job) (*eval.Report, error) {
	if err := job.Options.Validate(); err != nil {
		return nil, err
	}
	if err := Claim(job); err != nil {
		return nil, err
	}
	unlock, err := lock(job.Root)
	if err != nil {
		return nil, err
	}
	defer unlock()
	g, err := assemble(job)
	if err != nil {
		return nil, err
	}
	if err := g.run(ctx, job.Until); err != nil {
		return nil, err
	}
	if job.Until != "" && job.Until != StageEval {
		return nil, nil
	}
	if err := publish(job.Root, job.Command); err != nil {
		return nil, err
	}
	return ReadReport(job.Root)
}

// Claim makes the run folder, or checks that it is one, and stores the
// configuration in it. Stages remove what they find in the way, so a folder
// with other things in it is refused.
func Claim(job *Job) error {
	path := filepath.Join(job.Root, ConfigFile)
	entries, err := os.ReadDir(job.Root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Usagef("run folder: %w", err)
	}
	if len(entries) > 0 {
		if _, err := os.Stat(path); err != nil {
			return fault.Usagef("run folder %s is not empty and holds no run (no %s): choose another --out", job.Root, ConfigFile)
		}
	}
	return durable.WriteBytes(path, job.Config)
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
