package durable_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gr2/gr2/internal/durable"
)

// limited plays a disk that is full after n bytes.
type limited struct {
	w io.Writer
	n int
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.n {
		n, _ := l.w.Write(p[:l.n])
		l.n = 0
		return n, syscall.ENOSPC
	}
	l.n -= len(p)
	return l.w.Write(p)
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestFullDiskKeepsTheOldFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.json")
	old := strings.Repeat("old", 1000)
	if err := durable.WriteBytes(path, []byte(old)); err != nil {
		t.Fatal(err)
	}
	for _, room := range []int{0, 1, 999, 2999} {
		restore := durable.SetIntercept(func(_ string, w io.Writer) io.Writer { return &limited{w, room} })
		err := durable.WriteBytes(path, []byte(strings.Repeat("new", 1000)))
		restore()
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), path) {
			t.Fatalf("room %d: error %v must name the file and say that the disk is full", room, err)
		}
		if got, _ := os.ReadFile(path); string(got) != old {
			t.Fatalf("room %d: the old file changed", room)
		}
		if got := names(t, dir); len(got) != 1 {
			t.Fatalf("room %d: left behind %v", room, got)
		}
	}
}

func TestErrorInFillLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	want := errors.New("bad row")
	err := durable.Write(filepath.Join(dir, "x"), func(w io.Writer) error {
		fmt.Fprint(w, "half")
		return want
	})
	if !errors.Is(err, want) {
		t.Fatalf("error %v", err)
	}
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("left behind %v", got)
	}
}

func TestSweepRemovesOnlyLeftovers(t *testing.T) {
	dir := t.TempDir()
	os.MkdirAll(filepath.Join(dir, "sub"), 0o777)
	for _, n := range []string{"keep.json", "sub/keep.bin", "x.gr2tmp-1", "sub/y.json.gr2tmp-99"} {
		os.WriteFile(filepath.Join(dir, n), []byte("x"), 0o644)
	}
	if err := durable.Sweep(dir); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(names(t, dir), names(t, filepath.Join(dir, "sub"))); got != "[keep.json sub] [keep.bin]" {
		t.Errorf("left %s", got)
	}
	if err := durable.Sweep(filepath.Join(dir, "missing")); err != nil {
		t.Errorf("missing folder: %v", err)
	}
}

func TestLogIsCutBackToTheCheckpoint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stage", "metrics.jsonl")
	log, err := durable.OpenLog(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	log.Append(map[string]int{"step": 1})
	at := log.Size()
	log.Append(map[string]int{"step": 2})
	log.Close()

	log, err = durable.OpenLog(path, at)
	if err != nil {
		t.Fatal(err)
	}
	log.Append(map[string]int{"step": 3})
	log.Close()
	if got, _ := os.ReadFile(path); string(got) != "{\"step\":1}\n{\"step\":3}\n" {
		t.Errorf("log holds %q", got)
	}
	if _, err := durable.OpenLog(path, 1<<20); err == nil {
		t.Error("a log shorter than its checkpoint was accepted")
	}
}

// A device stays one: whoever writes to /dev/null, root even, must find it there
// the next time. The test writes to a link to it.
func TestWriteLeavesDevicesAlone(t *testing.T) {
	if _, err := os.Stat("/dev/null"); err != nil {
		t.Skip("no /dev/null")
	}
	path := filepath.Join(t.TempDir(), "device")
	if err := os.Symlink("/dev/null", path); err != nil {
		t.Skip(err)
	}
	if err := durable.Write(path, func(w io.Writer) error { _, err := io.WriteString(w, "gone"); return err }); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link to the device is %v now, %v", info.Mode(), err)
	}
	if err := durable.Write(path, func(io.Writer) error { return io.ErrUnexpectedEOF }); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an error of the writer became %v", err)
	}
}
