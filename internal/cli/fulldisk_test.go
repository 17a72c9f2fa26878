package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gr2/gr2/internal/cli"
	"github.com/gr2/gr2/internal/durable"
)

// disk is full for the first attempt to write each file.
type disk struct {
	seen   map[string]bool // files that were refused once
	failed string          // file refused in this run, "" for none yet
	before []byte          // its content until then; nil when it was not there
}

func (d *disk) intercept(path string, w io.Writer) io.Writer {
	if d.failed != "" || d.seen[path] {
		return w
	}
	d.seen[path], d.failed = true, path
	d.before, _ = os.ReadFile(path)
	return shortWriter{w}
}

// shortWriter takes half of what it is given, then the disk is full.
type shortWriter struct{ w io.Writer }

func (s shortWriter) Write(p []byte) (int, error) {
	n, err := s.w.Write(p[:len(p)/2])
	if err == nil {
		err = syscall.ENOSPC
	}
	return n, err
}

// inProcess runs a command line here, where the disk can be made full.
func inProcess(args ...string) (code int, message string) {
	var out, messages bytes.Buffer
	code = cli.Main(args, strings.NewReader(""), &out, &messages)
	return code, messages.String()
}

// untilDone repeats a command that fails at each file once, and checks every
// failure. It returns the files.
func (d *disk) untilDone(t *testing.T, args ...string) (files []string) {
	t.Helper()
	defer durable.SetIntercept(d.intercept)()
	for {
		d.failed = ""
		code, message := inProcess(args...)
		if d.failed == "" {
			if code != 0 {
				t.Fatalf("with room on the disk: %d, %s", code, message)
			}
			return files
		}
		files = append(files, d.failed)
		if code != 1 || strings.Count(message, "\n") != 1 || !strings.Contains(message, d.failed) || !strings.Contains(message, "no space left") {
			t.Errorf("%s does not fit: exit code %d, message %q", d.failed, code, message)
		}
		now, err := os.ReadFile(d.failed)
		if errors.Is(err, fs.ErrNotExist) {
			now = nil
		} else if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(now, d.before) {
			t.Errorf("%s is half written", d.failed)
		}
	}
}

func TestFullDiskNeverLeavesHalfAFile(t *testing.T) {
	dir := t.TempDir()
	data, whole, broken := filepath.Join(dir, "market"), filepath.Join(dir, "whole"), filepath.Join(dir, "broken")
	d := &disk{seen: map[string]bool{}}
	d.untilDone(t, "data", "synth", "--items", "80", "--users", "120", "--out", data)
	run := func(out string) []string {
		return []string{"-q", "run", "--data", data, "--out", out, "-c", filepath.Join("testdata", "tiny.yaml")}
	}
	if code, message := inProcess(run(whole)...); code != 0 {
		t.Fatal(message)
	}
	touched := map[string]bool{}
	for _, file := range d.untilDone(t, run(broken)...) {
		rel, err := filepath.Rel(broken, file)
		if err != nil {
			t.Fatal(err)
		}
		touched[strings.Split(filepath.ToSlash(rel), "/")[0]] = true
	}
	for _, part := range []string{"config.yaml", "catalog", "baseline", "evidence", "sid", "tokenizer", "midtrain", "sft", "eval", "prompt.json", "report.json", "report.html"} {
		if !touched[part] {
			t.Errorf("no write of %s was tried on a full disk", part)
		}
	}
	if tableOf(t, broken) != tableOf(t, whole) {
		t.Error("the run that met a full disk ends with another table")
	}
	if left, _ := filepath.Glob(filepath.Join(broken, "*gr2tmp*")); left != nil {
		t.Errorf("temporary files are left: %v", left)
	}
	model := filepath.Join(dir, "model")
	files := d.untilDone(t, "export", "hf", "--run", whole, "--out", model)
	if last := files[len(files)-1]; filepath.Base(last) != "model.safetensors" || len(files) != 5 {
		t.Errorf("a directory is written in the order %v; the weights have to be last, for they make it a model", files)
	}
	d.untilDone(t, "export", "gguf", "--model", model, "--out", filepath.Join(dir, "model.gguf"))
}

func TestFullDiskDuringImportLeavesNoDataSet(t *testing.T) {
	dir := t.TempDir()
	items, events := smallLog()
	for name, data := range map[string][]byte{"items": items, "events": events} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "shop")
	d := &disk{seen: map[string]bool{}}
	files := d.untilDone(t, "data", "import", "jsonl", "--items", filepath.Join(dir, "items"), "--events", filepath.Join(dir, "events"), "--out", out)
	if last := files[len(files)-1]; filepath.Base(last) != "manifest.json" {
		t.Errorf("%s is written last; the manifest has to be, for it makes the data set", last)
	}
}

// tableOf is the rows of a run's report.json, byte for byte.
func tableOf(t *testing.T, run string) string {
	t.Helper()
	var report struct {
		Rows json.RawMessage `json:"rows"`
	}
	b, err := os.ReadFile(filepath.Join(run, "report.json"))
	if err == nil {
		err = json.Unmarshal(b, &report)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(report.Rows)
}
