package decode

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/gr2/gr2/bench/compare/comparetest"
	"github.com/gr2/gr2/bench/reference"
	"github.com/gr2/gr2/internal/infer"
	"github.com/gr2/gr2/internal/lm"
)

func TestPeersUnderstandTasks(t *testing.T) {
	comparetest.ReadEveryField(t, tasks()[0], source, "llama.py", "transformers.py")
}

// What peers load is the model that gr2 decodes with.
func TestPeersLoadTheSameModel(t *testing.T) {
	dir := t.TempDir()
	if err := writeFiles(dir); err != nil {
		t.Fatal(err)
	}
	want := reference.Model()
	got, err := lm.Load(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	if got.Config != want.Config {
		t.Errorf("the model has the configuration %+v, want %+v", got.Config, want.Config)
	}
	for i, w := range want.Tensors() {
		g := got.Tensors()[i]
		for j, v := range w.Data {
			if g.Data[j] != v {
				t.Fatalf("%s: number %d is %v, want %v", w.Name, j, g.Data[j], v)
			}
		}
	}
	for _, name := range []string{"f16.gguf", "q8_0.gguf"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Tasks run, also those that share a prompt and those that read it anew.
func TestTasksRun(t *testing.T) {
	for _, c := range []task{{2, 5, 3, false, false}, {2, 5, 3, false, true}, {3, 5, 2, true, false}} {
		run := c.prepare(infer.NewInt8)
		run()
		run()
	}
}
