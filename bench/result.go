package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/kernel"
)

// result is bench/results/SUITE.json.
type result struct {
	Schema   int       `json:"schema"`
	Suite    string    `json:"suite"`
	Machine  string    `json:"machine"`
	Kernels  string    `json:"kernels"`
	Threads  int       `json:"threads"`
	Go       string    `json:"go"`
	Commit   string    `json:"commit"`
	Date     string    `json:"date"`
	Rounds   int       `json:"rounds"`
	Contests []outcome `json:"contests"`
}

func newResult(suite string, threads, rounds int) *result {
	return &result{Schema: 1, Suite: suite, Machine: machine(), Kernels: kernel.Active(), Threads: threads,
		Go: runtime.Version(), Commit: commit(), Date: time.Now().UTC().Format(time.DateOnly), Rounds: rounds}
}

// machine names the processor, as far as the system says.
func machine() string {
	name := runtime.GOARCH
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				name = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%s, %d cores", name, runtime.NumCPU())
}

func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// write stores the result as JSON and as a table.
func (r *result) write() error {
	base := filepath.Join("bench", "results", r.Suite)
	if err := durable.WriteJSON(base+".json", r); err != nil {
		return err
	}
	if err := durable.Write(base+".txt", r.table); err != nil {
		return err
	}
	return r.table(os.Stdout)
}

func (r *result) table(w io.Writer) error {
	fmt.Fprintf(w, "%s: %s, %d threads, %s, kernels %s, commit %s, %s, medians of %d rounds\n",
		r.Suite, r.Machine, r.Threads, r.Go, r.Kernels, r.Commit, r.Date, r.Rounds)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "task\tentrant\tmedian\tunit\tgr2 / entrant")
	for _, c := range r.Contests {
		for i, s := range c.Entrants {
			ratio := ""
			if i > 0 {
				ratio = fmt.Sprintf("%.2f", s.Ratio)
			}
			fmt.Fprintf(t, "%s\t%s\t%.4g\t%s\t%s\n", c.Name, s.Name, s.Median, c.Unit, ratio)
		}
	}
	return t.Flush()
}
