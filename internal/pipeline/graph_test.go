package pipeline

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/fault"
)

// bench is a graph of three stages that count their runs.
type bench struct {
	g    *graph
	runs map[string]int
	fail string
}

func newBench(t *testing.T, configs ...any) *bench {
	b := &bench{runs: map[string]int{}}
	b.g = &graph{root: t.TempDir(), notify: func(Progress) {}}
	b.configure(configs...)
	return b
}

func (b *bench) configure(configs ...any) {
	b.g.stages = nil
	for i, name := range []string{"a", "b", "c"} {
		var needs []string
		if i > 0 {
			needs = []string{string(rune('a' + i - 1))}
		}
		b.g.stages = append(b.g.stages, stage{name: name, needs: needs, config: configs[i], run: func(_ context.Context, dir string) error {
			b.runs[name]++
			if err := os.WriteFile(filepath.Join(dir, "half"), []byte("x"), 0o644); err != nil {
				return err
			}
			if b.fail == name {
				return errors.New("killed")
			}
			return os.WriteFile(filepath.Join(dir, "out"), []byte(name), 0o644)
		}})
	}
}

func (b *bench) want(t *testing.T, a, bb, c int) {
	t.Helper()
	if b.runs["a"] != a || b.runs["b"] != bb || b.runs["c"] != c {
		t.Errorf("ran %v, want a=%d b=%d c=%d", b.runs, a, bb, c)
	}
}

func TestFinishedStagesAreSkipped(t *testing.T) {
	b := newBench(t, 1, 1, 1)
	for range 2 {
		if err := b.g.run(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
	}
	b.want(t, 1, 1, 1)
}

func TestChangedConfigurationRepeatsTheStageAndAllBehindIt(t *testing.T) {
	b := newBench(t, 1, 1, 1)
	if err := b.g.run(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	stale := filepath.Join(b.g.root, "b", "stale")
	os.WriteFile(stale, nil, 0o644)
	b.configure(1, 2, 1)
	if err := b.g.run(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	b.want(t, 1, 2, 2)
	if _, err := os.Stat(stale); err == nil {
		t.Error("files of the old configuration are still there")
	}
}

func TestKilledStageKeepsItsStateForTheSameConfiguration(t *testing.T) {
	b := newBench(t, 1, 1, 1)
	b.fail = "b"
	if err := b.g.run(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "stage b") {
		t.Fatalf("error %v must name the stage", err)
	}
	half := filepath.Join(b.g.root, "b", "half")
	os.WriteFile(half+".gr2tmp-1", nil, 0o644)
	b.fail = ""
	b.g.stages[1].run = func(_ context.Context, dir string) error {
		if _, err := os.Stat(half); err != nil {
			t.Error("the state of the killed stage is gone")
		}
		if _, err := os.Stat(half + ".gr2tmp-1"); err == nil {
			t.Error("a temporary file of the killed process is still there")
		}
		return nil
	}
	if err := b.g.run(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedStageIsMadeAgain(t *testing.T) {
	b := newBench(t, 1, 1, 1)
	if err := b.g.run(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	os.Truncate(filepath.Join(b.g.root, "b", "out"), 0)
	if err := b.g.run(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	b.want(t, 1, 2, 1)
}

func TestRunStopsAtTheNamedStage(t *testing.T) {
	b := newBench(t, 1, 1, 1)
	if err := b.g.run(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	b.want(t, 1, 1, 0)
	if err := b.g.run(t.Context(), "z"); fault.Exit(err) != 2 {
		t.Errorf("unknown stage: %v", err)
	}
}

func TestManifestListsFilesWithHashes(t *testing.T) {
	b := newBench(t, 1, 1, 1)
	if err := b.g.run(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	m, err := readManifest(filepath.Join(b.g.root, "a"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for n := range m.Files {
		names = append(names, n)
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"half", "out"}) || m.Files["out"].Bytes != 1 || len(m.Files["out"].SHA256) != 64 {
		t.Errorf("manifest %+v", m)
	}
}
