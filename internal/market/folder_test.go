package market

import (
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/fault"
)

func savedDataset(t *testing.T, seed uint64) (string, *Dataset) {
	t.Helper()
	ds := randomDataset(t, rand.New(rand.NewPCG(seed, 6)), 4, 6, 20)
	ds.Catalog.Items[1].Attributes = map[string]string{"colour": "red & <blue>"}
	ds.Source = &Summary{Source: "test", Files: []FileSummary{{Name: "f", Lines: 3, Kept: 2, Dropped: map[string]int{"why": 1}}}}
	dir := filepath.Join(t.TempDir(), "data")
	if err := Save(dir, ds); err != nil {
		t.Fatal(err)
	}
	return dir, ds
}

func TestSaveOpen(t *testing.T) {
	dir, ds := savedDataset(t, 1)
	got, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, ds) {
		t.Errorf("read back as\n%+v\nwas\n%+v", got, ds)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 5 {
		t.Errorf("%d files in the folder, %v", len(entries), err)
	}
}

func TestSaveIsDeterministic(t *testing.T) {
	dir, ds := savedDataset(t, 1)
	first, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := Save(dir, ds); err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if err != nil || string(first) != string(second) {
		t.Errorf("the same data set gives another manifest: %v\n%s\n%s", err, first, second)
	}
}

func TestSaveRefusesWhatOpenWould(t *testing.T) {
	for name, spoil := range map[string]func(*Dataset){
		"item out of range": func(ds *Dataset) { ds.Events[0].Item = 99 },
		"user out of range": func(ds *Dataset) { ds.Events[0].User = -1 },
		"slate item":        func(ds *Dataset) { ds.Slates[0].Candidates[0].Item = -1 },
		"slate user":        func(ds *Dataset) { ds.Slates[0].User = 99 },
		"empty slate":       func(ds *Dataset) { ds.Slates[0].Candidates = nil },
		"future history":    func(ds *Dataset) { ds.Slates[1].History[0].Time = 1e9 },
	} {
		dir, ds := savedDataset(t, 1)
		spoil(ds)
		if err := Save(dir, ds); err == nil {
			t.Errorf("%s: no error", name)
		}
		if _, err := Open(dir); err != nil {
			t.Errorf("%s: the old data set is gone: %v", name, err)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	edit := func(change func(m map[string]any)) func(string) {
		return func(dir string) {
			path := filepath.Join(dir, manifestFile)
			data, _ := os.ReadFile(path)
			var m map[string]any
			_ = json.Unmarshal(data, &m)
			change(m)
			data, _ = json.Marshal(m)
			_ = os.WriteFile(path, data, 0o644)
		}
	}
	for name, c := range map[string]struct {
		spoil func(dir string)
		want  string
		kind  fault.Kind
	}{
		"no folder":        {func(d string) { os.RemoveAll(d) }, "not a dataset folder", fault.Input},
		"no manifest":      {func(d string) { os.Remove(filepath.Join(d, manifestFile)) }, "did not finish", fault.Input},
		"missing file":     {func(d string) { os.Remove(filepath.Join(d, usersFile)) }, "users.jsonl.gz is missing", fault.Corrupt},
		"flipped bit":      {flip(eventsFile), "events.jsonl.gz was changed or damaged", fault.Corrupt},
		"truncated":        {func(d string) { os.Truncate(filepath.Join(d, itemsFile), 40) }, "items.jsonl.gz was changed or damaged", fault.Corrupt},
		"bad manifest":     {func(d string) { os.WriteFile(filepath.Join(d, manifestFile), []byte("{"), 0o644) }, manifestFile, fault.Corrupt},
		"other schema":     {edit(func(m map[string]any) { m["schema"] = 2 }), "schema 2, this program reads 1", fault.Input},
		"wrong counts":     {edit(func(m map[string]any) { m["counts"].(map[string]any)["events"] = 1 }), "import the data again", fault.Corrupt},
		"counts are text":  {edit(func(m map[string]any) { m["counts"] = "many" }), manifestFile, fault.Corrupt},
		"file not claimed": {edit(func(m map[string]any) { delete(m["files"].(map[string]any), slatesFile) }), slatesFile, fault.Corrupt},
	} {
		dir, _ := savedDataset(t, 2)
		c.spoil(dir)
		_, err := Open(dir)
		if err == nil || !strings.Contains(err.Error(), c.want) || fault.KindOf(err) != c.kind {
			t.Errorf("%s: error %v (kind %d), want one with %q", name, err, fault.KindOf(err), c.want)
		}
	}
}

func flip(file string) func(string) {
	return func(dir string) {
		path := filepath.Join(dir, file)
		data, _ := os.ReadFile(path)
		data[len(data)/2] ^= 1
		_ = os.WriteFile(path, data, 0o644)
	}
}

// A file that matches its mark but not the other files is named by line.
func TestOpenNamesTheLine(t *testing.T) {
	dir, _ := savedDataset(t, 3)
	mark, err := saveLines(filepath.Join(dir, eventsFile), func(enc *json.Encoder) error {
		return errors.Join(enc.Encode(wireEvent{"u0", "a", 1, "click", 0}), enc.Encode(wireEvent{"u0", "zz", 1, "click", 0}))
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := readManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	m.Files[eventsFile] = mark
	if err := durable.WriteJSON(filepath.Join(dir, manifestFile), m); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || !containsAll(err.Error(), "events.jsonl.gz:2:", `"zz"`) {
		t.Errorf("error %v", err)
	}
}

// crashing stops after a number of bytes over all files: a full disk (an
// error) or a killed process (a panic that nothing of the writer survives).
type crashing struct {
	w    io.Writer
	left *int
	kill bool
}

var errFull = errors.New("no space left on device")

func (c crashing) Write(p []byte) (int, error) {
	if n := *c.left; len(p) > n {
		_, _ = c.w.Write(p[:n])
		*c.left = 0
		if c.kill {
			panic(errFull)
		}
		return n, errFull
	}
	*c.left -= len(p)
	return c.w.Write(p)
}

// Replacing one data set by another may stop at any byte: what opens
// afterwards is the new one whole, or nothing.
func TestCrashWhileReplacing(t *testing.T) {
	_, next := savedDataset(t, 8)
	for _, kill := range []bool{false, true} {
		finished := false
		for budget := 0; !finished; budget += 199 {
			dir, _ := savedDataset(t, 7)
			left := budget
			restore := durable.SetIntercept(func(_ string, w io.Writer) io.Writer { return crashing{w, &left, kill} })
			err := saveUnlessKilled(dir, next)
			restore()
			finished = err == nil
			got, openErr := Open(dir)
			switch {
			case finished && !reflect.DeepEqual(got, next):
				t.Fatalf("the finished data set does not open: %v", openErr)
			case !finished && openErr == nil:
				t.Fatalf("stopped at byte %d, a data set with users %v opens", budget, got.Users)
			case !finished && fault.KindOf(openErr) != fault.Input:
				t.Fatalf("stopped at byte %d: %v", budget, openErr)
			}
		}
	}
}

func saveUnlessKilled(dir string, ds *Dataset) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errFull
		}
	}()
	return Save(dir, ds)
}
