package pipeline

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/report"
)

// TestAlarmsOfTheLogs: where reward and validation part, the page is told so, a line
// a kind and run.
func TestAlarmsOfTheLogs(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, StageRL, stateDir)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("metrics.jsonl", `{"step":1,"draws":4,"reward":{"total":0.5}}
{"step":2,"draws":8,"reward":{"total":0.7}}
{"step":2,"validation":{"N@3":0.4},"alarm":2}
{"step":4,"validation":{"N@3":0.4},"alarm":1}
{"step":6,"validation":{"N@3":0.4},"alarm":2}
`)
	write("speed.jsonl", `{"step":1,"rollout_tokens_per_second":10}`+"\n")
	var d report.Data
	if err := addCurves(root, &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Alarms) != 2 || !strings.Contains(d.Alarms[0], "ALARM of rl at step 4: the reward rose while the validation fell") ||
		!strings.Contains(d.Alarms[1], "ALARM of rl at step 2, 6: fewer answers are rankings and the reward is no lower") {
		t.Errorf("alarms %q", d.Alarms)
	}
	var names []string
	for _, c := range d.Curves {
		names = append(names, c.Metric)
	}
	for _, want := range []string{"reward.total", "validation.N@3", "rollout_tokens_per_second"} {
		if !slices.Contains(names, want) {
			t.Errorf("no curve of %s in %v", want, names)
		}
	}
	if err := addBeside(&d, "runs/naive", []Beside{{Root: root}}); err != nil {
		t.Fatal(err)
	}
	if len(d.Alarms) != 4 || !strings.HasPrefix(d.Alarms[2], "ALARM of rl of "+filepath.Base(root)+" at step 4") || len(d.Beside) != 1 || len(d.Beside[0].Curves) != len(d.Curves) {
		t.Errorf("beside another run: alarms %q, runs %+v", d.Alarms, d.Beside)
	}
	if err := addBeside(&d, root, []Beside{{Root: t.TempDir()}}); err == nil {
		t.Error("a folder without training logs stands beside a run")
	}
	for _, not := range []string{"alarm", "draws"} {
		if slices.Contains(names, not) {
			t.Errorf("%s is shown as a curve", not)
		}
	}
}
