package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/fault"
)

const (
	manifestName = "stage.json"
	startedName  = "started.json"
	// manifestSchema is raised when the meaning of any stage's files changes,
	// so that runs of older versions are made again and not misread.
	manifestSchema = 2
)

// stage is one node of the graph. Its folder is RUN/name.
type stage struct {
	name  string
	needs []string // stages whose files it reads
	// config is what of the options the stage depends on; it enters the
	// fingerprint as JSON.
	config any
	run    func(ctx context.Context, dir string) error
}

// Manifest says that a stage is finished, what it was made from and which
// files it left.
type Manifest struct {
	Schema      int             `json:"schema"`
	Stage       string          `json:"stage"`
	Fingerprint string          `json:"fingerprint"`
	Files       map[string]File `json:"files"`
	Seconds     float64         `json:"seconds"` // of the last unbroken stretch
}

// File is one artifact of a stage.
type File struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// graph runs stages in order over a run folder.
type graph struct {
	root   string
	stages []stage
	marks  map[string]string // fingerprints of the stages seen so far
	notify func(Progress)
	begin  func() error // called before a stage is made; nil for nothing
}

// run brings every stage up to and including the last named one (all when
// last is empty) to its finished state.
func (g *graph) run(ctx context.Context, last string) error {
	if last != "" && !slices.ContainsFunc(g.stages, func(s stage) bool { return s.name == last }) {
		return fault.Usagef("this run has no stage %q; it has %v", last, g.names())
	}
	if err := durable.Sweep(g.root); err != nil {
		return err
	}
	g.marks = map[string]string{}
	for i, s := range g.stages {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := g.bring(ctx, i, s); err != nil {
			return fmt.Errorf("stage %s: %w", s.name, err)
		}
		if s.name == last {
			return nil
		}
	}
	return nil
}

// unfinished names the first stage that is not there as this graph would make it;
// "" where all are. It changes nothing.
func (g *graph) unfinished() (string, error) {
	g.marks = map[string]string{}
	for _, s := range g.stages {
		mark, err := g.fingerprint(s)
		if err != nil {
			return "", err
		}
		g.marks[s.name] = mark
		if !finished(filepath.Join(g.root, s.name), mark) {
			return s.name, nil
		}
	}
	return "", nil
}

// keepFor drops the stages that the named one does not need.
func (g *graph) keepFor(name string) {
	needed := map[string]bool{name: true}
	var kept []stage
	for _, s := range slices.Backward(g.stages) {
		if needed[s.name] {
			kept = append(kept, s)
			for _, n := range s.needs {
				needed[n] = true
			}
		}
	}
	slices.Reverse(kept)
	g.stages = kept
}

func (g *graph) names() []string {
	var names []string
	for _, s := range g.stages {
		names = append(names, s.name)
	}
	return names
}

func (g *graph) bring(ctx context.Context, at int, s stage) error {
	mark, err := g.fingerprint(s)
	if err != nil {
		return err
	}
	g.marks[s.name] = mark
	dir := filepath.Join(g.root, s.name)
	progress := Progress{Stage: s.name, Index: at + 1, Stages: len(g.stages)}
	if finished(dir, mark) {
		progress.Event = StageSkipped
		g.notify(progress)
		return nil
	}
	again, err := prepare(dir, mark)
	if err != nil {
		return err
	}
	if g.begin != nil {
		if err := g.begin(); err != nil {
			return err
		}
	}
	progress.Event = StageStarted
	g.notify(progress)
	if again {
		progress.Event, progress.Note = Said, "made again: its configuration, its inputs or its files have changed"
		g.notify(progress)
		progress.Note = ""
	}
	began := time.Now()
	if err := s.run(ctx, dir); err != nil {
		return err
	}
	took := time.Since(began)
	if err := finish(dir, Manifest{Schema: manifestSchema, Stage: s.name, Fingerprint: mark, Seconds: took.Seconds()}); err != nil {
		return err
	}
	progress.Event, progress.Took = StageFinished, took
	g.notify(progress)
	return nil
}

// fingerprint covers the stage, its configuration and, through the
// fingerprints of its needs, all that lies before it.
func (g *graph) fingerprint(s stage) (string, error) {
	needs := map[string]string{}
	for _, n := range s.needs {
		mark, ok := g.marks[n]
		if !ok {
			return "", fmt.Errorf("needs stage %s, which does not stand before it", n)
		}
		needs[n] = mark
	}
	b, err := json.Marshal(struct {
		Schema int
		Stage  string
		Config any
		Needs  map[string]string
	}{manifestSchema, s.name, s.config, needs})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// finished reports whether the stage's manifest carries this fingerprint and
// its files are those that it lists.
func finished(dir, mark string) bool {
	m, err := readManifest(dir)
	return err == nil && m.Schema == manifestSchema && m.Fingerprint == mark && m.check(dir, "") == nil
}

// check compares the files whose names begin with prefix with their hashes.
func (m *Manifest) check(dir, prefix string) error {
	for _, name := range slices.Sorted(maps.Keys(m.Files)) {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		have, err := hashFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fault.Corruptf("%s is missing; gr2 run makes it again", path)
		case err != nil:
			return err
		case have != m.Files[name]:
			return fault.Corruptf("%s was changed or damaged: it does not match %s; gr2 run makes it again", path, filepath.Join(dir, manifestName))
		}
	}
	return nil
}

func readManifest(dir string) (Manifest, error) {
	var m Manifest
	b, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(b, &m)
}

// prepare makes the stage's folder ready: work begun under the same
// fingerprint and not finished is kept for resuming. Anything else is removed:
// the state of a stage that was finished may be as damaged as what it left.
// again says that something was. A folder that no stage made is left alone.
func prepare(dir, mark string) (again bool, err error) {
	var started struct {
		Fingerprint string `json:"fingerprint"`
	}
	path := filepath.Join(dir, startedName)
	manifest := filepath.Join(dir, manifestName)
	b, err := os.ReadFile(path)
	if err == nil && json.Unmarshal(b, &started) == nil && started.Fingerprint == mark && !exists(manifest) {
		return false, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if len(entries) > 0 && !exists(path) && !exists(manifest) {
		return false, fault.Usagef("%s was not made by a run: move it away or choose another --out", dir)
	}
	// First a mark that nobody resumes, so that a folder that is half emptied is
	// known for what it is.
	started.Fingerprint = ""
	if err := durable.WriteJSON(path, started); err != nil {
		return false, err
	}
	for _, e := range entries {
		if e.Name() == startedName {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return false, err
		}
	}
	started.Fingerprint = mark
	return len(entries) > 0, durable.WriteJSON(path, started)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// finish hashes the stage's files and writes its manifest, last.
func finish(dir string, m Manifest) error {
	m.Files = map[string]File{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || name == startedName || name == manifestName {
			return err
		}
		m.Files[filepath.ToSlash(name)], err = hashFile(path)
		return err
	})
	if err != nil {
		return err
	}
	return durable.WriteJSON(filepath.Join(dir, manifestName), m)
}

func hashFile(path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return File{Bytes: n, SHA256: hex.EncodeToString(h.Sum(nil))}, err
}
