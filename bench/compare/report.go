package compare

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gr2/gr2/internal/kernel"
)

// Report is everything a run measured.
type Report struct {
	Suite   string            `json:"suite"`
	Unit    string            `json:"unit"`
	Date    time.Time         `json:"date"`
	Machine Machine           `json:"machine"`
	Threads int               `json:"threads"`
	Peers   map[string]string `json:"peers"`   // versions
	Missing map[string]string `json:"missing"` // peers that did not start, and why
	Ours    []string          `json:"ours"`
	Results []Result          `json:"results"`
}

// Machine is where a run took place.
type Machine struct {
	Go       string   `json:"go"`
	Arch     string   `json:"arch"`
	CPU      string   `json:"cpu,omitempty"`
	CPUs     int      `json:"cpus"`
	Variants []string `json:"variants"`       // of the kernels, that the CPU can run
	Load     string   `json:"load,omitempty"` // averages over minutes, before the run
}

// inspect describes this machine, as far as it says; what Linux tells in files
// stays empty elsewhere.
func inspect() Machine {
	load, _ := os.ReadFile("/proc/loadavg")
	info, _ := os.ReadFile("/proc/cpuinfo")
	m := Machine{
		Go: runtime.Version(), Arch: runtime.GOARCH, CPUs: runtime.NumCPU(),
		Variants: kernel.Available(), Load: strings.TrimSpace(string(load)),
	}
	for line := range strings.Lines(string(info)) {
		if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	return m
}

// Result has the samples of a case: seconds of one repetition, by contestant
// and round.
type Result struct {
	Case    string               `json:"case"`
	Work    float64              `json:"work"`
	Seconds map[string][]float64 `json:"seconds"`
}

func newReport(s Suite, o Options) *Report {
	r := &Report{
		Suite: s.Name, Unit: s.Unit, Date: time.Now().UTC(), Threads: o.Threads,
		Machine: inspect(),
		Peers:   map[string]string{}, Missing: map[string]string{},
	}
	for _, v := range o.Variants {
		r.Ours = append(r.Ours, Ours(v))
	}
	for _, w := range s.Cases[0].Also {
		r.Ours = append(r.Ours, Ours(w.Name))
	}
	return r
}

// WriteJSON writes the report to a file.
func (r *Report) WriteJSON(path string) error {
	out, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(out, '\n'), 0o644)
}

// Ratio is how much faster ours was than the other contestant: the median over
// rounds of the quotient of their times.
func (r Result) Ratio(ours, other string) float64 {
	var quotients []float64
	for i, s := range r.Seconds[ours] {
		quotients = append(quotients, r.Seconds[other][i]/s)
	}
	return median(quotients)
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	n := len(x)
	if n == 0 {
		return 0
	}
	return (x[(n-1)/2] + x[n/2]) / 2
}

// WriteTable writes median rates, ratios of gr2's last variant or way to its
// others, and of all of them to the peers.
func (r *Report) WriteTable(w io.Writer) error {
	m := r.Machine
	fmt.Fprintf(w, "%s: %d threads on %d CPUs (%s), %s, load %s\n", r.Suite, r.Threads, m.CPUs, m.CPU, m.Go, m.Load)
	peers := slices.Sorted(maps.Keys(r.Peers))
	names := slices.Concat(r.Ours, peers)
	for _, p := range peers {
		fmt.Fprintf(w, "%s: %s\n", p, r.Peers[p])
	}
	for _, p := range slices.Sorted(maps.Keys(r.Missing)) {
		fmt.Fprintf(w, "%s is missing: %s\n", p, r.Missing[p])
	}
	pairs := r.pairs(peers)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(tw, "%s\t", r.Unit)
	for _, name := range names {
		fmt.Fprintf(tw, "%s\t", name)
	}
	for _, p := range pairs {
		fmt.Fprintf(tw, "%s : %s\t", p[0], p[1])
	}
	for _, result := range r.Results {
		fmt.Fprintf(tw, "\n%s\t", result.Case)
		for _, name := range names {
			fmt.Fprintf(tw, "%.1f\t", result.Work/median(result.Seconds[name]))
		}
		for _, p := range pairs {
			fmt.Fprintf(tw, "%.2f\t", result.Ratio(p[0], p[1]))
		}
	}
	fmt.Fprintln(tw)
	return tw.Flush()
}

// pairs are the contestants to compare.
func (r *Report) pairs(peers []string) (pairs [][2]string) {
	last := len(r.Ours) - 1
	for _, other := range r.Ours[:last] {
		pairs = append(pairs, [2]string{r.Ours[last], other})
	}
	for _, ours := range r.Ours {
		for _, peer := range peers {
			pairs = append(pairs, [2]string{ours, peer})
		}
	}
	return pairs
}
