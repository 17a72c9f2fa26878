package cli

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/config"
	"github.com/gr2/gr2/internal/eval"
)

// TestChangesOf: runs are compared with those of their seed, whatever the order of the
// flags, and a change that not all of them have names those that have it.
func TestChangesOf(t *testing.T) {
	root := t.TempDir()
	run := func(name string, seed uint64, settings ...string) eval.Run {
		o, err := config.Load("nano", "", settings)
		if err != nil {
			t.Fatal(err)
		}
		o.Seed = seed
		b, err := config.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		folder := filepath.Join(root, name)
		if err := os.MkdirAll(folder, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "config.yaml"), b, 0o666); err != nil {
			t.Fatal(err)
		}
		return eval.Run{Name: folder, Report: eval.NewReport(seed)}
	}
	runs := []eval.Run{run("q2", 2, "rl.reward=naive", "rl.kl=0"), run("q1", 1, "rl.reward=naive")}
	others := []eval.Run{run("p1", 1), run("p2", 2)}
	want := []string{"rl.kl: 0.1 -> 0 (" + runs[0].Name + ")", "rl.reward: a -> naive"}
	if have := changesOf(runs, others); !reflect.DeepEqual(have, want) {
		t.Errorf("changes %q, want %q", have, want)
	}
	if have := changesOf(others, others); have != nil {
		t.Errorf("changes %q of runs and themselves", have)
	}
}

// TestStoredConfigurationHolds: a configuration that was made wrong is refused where it
// is read to work with, with its file and key.
func TestStoredConfigurationHolds(t *testing.T) {
	run := t.TempDir()
	o, err := config.Load("nano", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	o.RL.Updates = o.RL.Prompts + 1
	b, err := config.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(run, "config.yaml")
	if err := os.WriteFile(file, b, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := runConfig(run); err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "rl.updates") {
		t.Errorf("error %v", err)
	}
}
