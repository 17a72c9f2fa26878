package compare

import (
	"bytes"
	"embed"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gr2/gr2/internal/kernel"
)

//go:embed testdata
var scripts embed.FS

// suite counts gr2's repetitions beside the peer testdata/peer.py, which claims
// a quarter of a second each.
func suite(repeated *int) Suite {
	return Suite{
		Name: "count", Unit: "items/s",
		Peers: []Peer{
			{Name: "echo", Source: scripts, Script: "testdata/peer.py", Args: []string{"echo"}},
			{Name: "broken", Source: scripts, Script: "testdata/peer.py", Args: []string{"broken"}},
		},
		Cases: []Case{
			{Name: "one", Work: 1, Request: map[string]int{"items": 1}, Prepare: func() func() { return func() { *repeated++ } },
				Also: []Way{{"again", func() func() { return func() { *repeated++ } }}}},
			{Name: "two", Work: 2, Prepare: func() func() { panic("not selected") }},
		},
	}
}

func TestRun(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Log("without Python gr2 runs alone")
	}
	var repeated int
	report, err := Run(t.Context(), suite(&repeated), Options{
		Rounds: 5, Sample: time.Microsecond, Threads: 1, Python: python,
		Variants: []string{"portable"}, Cases: regexp.MustCompile("^one$"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Results) != 1 || repeated < 5+2 {
		t.Fatalf("%d results and %d repetitions, want one result of at least seven", len(report.Results), repeated)
	}
	contestants := []string{Ours("portable"), Ours("again")}
	if python != "" {
		contestants = append(contestants, "echo")
		if !strings.Contains(report.Missing["broken"], "ended early") {
			t.Errorf("missing peers: %v, want broken to have ended early", report.Missing)
		}
		if got := median(report.Results[0].Seconds["echo"]); got != 0.25 {
			t.Errorf("the peer took %g s, want 0.25", got)
		}
	}
	for _, name := range contestants {
		if got := len(report.Results[0].Seconds[name]); got != 5 {
			t.Errorf("%s has %d samples, want 5", name, got)
		}
	}
	var table bytes.Buffer
	if err := report.WriteTable(&table); err != nil || !strings.Contains(table.String(), "\n") {
		t.Errorf("table %q, error %v", table.String(), err)
	}
}

func TestRepetitionsMakeASlowOneOnce(t *testing.T) {
	asked := map[string]int{}
	takes := func(name string, seconds float64) contestant {
		return contestant{name, func(n int) (float64, error) { asked[name]++; return float64(n) * seconds, nil }}
	}
	n, err := repetitions([]contestant{takes("slow", 60), takes("quick", .25)}, time.Second)
	if err != nil || n != 4 {
		t.Errorf("%d repetitions, error %v, want 4", n, err)
	}
	if asked["slow"] != 1 || asked["quick"] != 2 {
		t.Errorf("asked %v, want the slow one once and the quick one warm", asked)
	}
}

func TestRunRestoresTheKernels(t *testing.T) {
	before := kernel.Active()
	var repeated int
	_, err := Run(t.Context(), suite(&repeated), Options{
		Rounds: 1, Threads: 1, Variants: []string{"portable"}, Cases: regexp.MustCompile("^one$"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if kernel.Active() != before {
		t.Errorf("%s is active, want %s", kernel.Active(), before)
	}
}

func TestRatioIsTheMedianOfPairs(t *testing.T) {
	r := Result{Seconds: map[string][]float64{"a": {1, 2, 4}, "b": {1, 4, 20}}}
	if got := r.Ratio("a", "b"); got != 2 {
		t.Errorf("ratio %g, want 2", got)
	}
}
