package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/rng"
)

// hashed is an embedder of random vectors that follow the text, and it counts
// what it is asked.
type hashed struct {
	name string
	dim  int

	mu    sync.Mutex
	asked []string
	fail  string // refuse this text
}

func (h *hashed) Name() string { return h.name }

func (h *hashed) Embed(ctx context.Context, texts []string) (embed.Matrix, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := embed.NewMatrix(len(texts), h.dim)
	for i, t := range texts {
		if t == h.fail && t != "" {
			return m, errors.New("refused " + t)
		}
		h.asked = append(h.asked, t)
		copy(m.Row(i), vectorOf(h.name, t, h.dim))
	}
	return m, ctx.Err()
}

func vectorOf(name, text string, dim int) []float32 {
	r := rng.New(rng.Key(name), rng.Key(text))
	row := make([]float32, dim)
	for j := range row {
		row[j] = float32(r.NormFloat64())
	}
	embed.Normalize(row)
	return row
}

func open(t testing.TB, dir string, inner embed.Embedder) *Cache {
	t.Helper()
	c, err := Open(dir, inner)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() }) // again, where the test has closed it
	return c
}

// check embeds texts and compares every vector with the embedder's own.
func check(t testing.TB, c *Cache, dim int, texts ...string) {
	t.Helper()
	got, err := c.Embed(t.Context(), texts)
	if err != nil {
		t.Fatal(err)
	}
	if got.Rows != len(texts) || got.Cols != dim {
		t.Fatalf("%d x %d for %d texts", got.Rows, got.Cols, len(texts))
	}
	for i, text := range texts {
		if !slices.Equal(got.Row(i), vectorOf(c.Name(), text, dim)) {
			t.Fatalf("another vector for %q", text)
		}
	}
}

func numbered(from, to int) []string {
	var texts []string
	for i := from; i < to; i++ {
		texts = append(texts, fmt.Sprint("text ", i))
	}
	return texts
}

func TestNothingIsEmbeddedTwice(t *testing.T) {
	dir := t.TempDir()
	inner := &hashed{name: "a", dim: 5}
	c := open(t, dir, inner)
	check(t, c, 5, "x", "y", "x", "")
	check(t, c, 5, "z", "y")
	if want := []string{"x", "y", "", "z"}; !slices.Equal(inner.asked, want) {
		t.Errorf("asked for %q, want %q", inner.asked, want)
	}
	if hits, misses := c.Counts(); hits != 2 || misses != 4 {
		t.Errorf("%d hits, %d misses", hits, misses)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}

	again := &hashed{name: "a", dim: 5}
	c = open(t, dir, again)
	check(t, c, 5, "z", "", "y", "x")
	check(t, c, 5)
	if len(again.asked) > 0 {
		t.Errorf("asked again for %q", again.asked)
	}
	other := &hashed{name: "b", dim: 3} // has a file of its own
	check(t, open(t, dir, other), 3, "x", "y")
	if len(other.asked) != 2 {
		t.Errorf("asked for %q", other.asked)
	}
}

// What was embedded before a failure is kept.
func TestBlocksBeforeAFailureAreKept(t *testing.T) {
	dir := t.TempDir()
	texts := numbered(0, 3*block)
	inner := &hashed{name: "a", dim: 4, fail: texts[2*block+7]}
	c := open(t, dir, inner)
	if _, err := c.Embed(t.Context(), texts); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Fatalf("error %v", err)
	}
	c.Close()
	inner.fail, inner.asked = "", nil
	check(t, open(t, dir, inner), 4, texts...)
	if !slices.Equal(inner.asked, texts[2*block:]) {
		t.Errorf("asked for %d texts, want the last block alone", len(inner.asked))
	}
}

func TestConcurrentCallers(t *testing.T) {
	c := open(t, t.TempDir(), &hashed{name: "a", dim: 6})
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() {
			for i := range 40 {
				texts := numbered(i, i+10+g)
				got, err := c.Embed(t.Context(), texts)
				for j := range texts {
					if err != nil || !slices.Equal(got.Row(j), vectorOf("a", texts[j], 6)) {
						t.Errorf("%q: %v", texts[j], err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// filled is a cache file of 4 texts and its content.
func filled(t *testing.T) (dir, path string, content []byte) {
	t.Helper()
	dir = t.TempDir()
	c := open(t, dir, &hashed{name: "a", dim: 3})
	check(t, c, 3, numbered(0, 4)...)
	c.Close()
	content, err := os.ReadFile(c.path)
	if err != nil {
		t.Fatal(err)
	}
	return dir, c.path, content
}

// Cut at any byte the file still serves all whole records, and grows on.
func TestTornTail(t *testing.T) {
	dir, path, whole := filled(t)
	head, record := len(header("a", 3)), keyLen+4*3+4
	if len(whole) != head+4*record {
		t.Fatalf("%d bytes", len(whole))
	}
	for n := head; n <= len(whole); n++ {
		if err := os.WriteFile(path, whole[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		inner := &hashed{name: "a", dim: 3}
		c := open(t, dir, inner)
		check(t, c, 3, numbered(0, 6)...)
		if want := numbered((n-head)/record, 6); !slices.Equal(inner.asked, want) {
			t.Fatalf("cut to %d bytes: asked for %q, want %q", n, inner.asked, want)
		}
		c.Close()
		c = open(t, dir, &hashed{name: "a", dim: 3, fail: "text 5"})
		check(t, c, 3, numbered(0, 6)...)
		c.Close()
	}
}

// No flipped bit is ever served: in the header it is refused by name, in a record
// the text is embedded again, for good.
func TestDamage(t *testing.T) {
	dir, path, whole := filled(t)
	head := len(header("a", 3))
	for n := range whole {
		bad := bytes.Clone(whole)
		bad[n] ^= 0x20
		if err := os.WriteFile(path, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		inner := &hashed{name: "a", dim: 3}
		c, err := Open(dir, inner)
		if n < head {
			if fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), path) {
				t.Fatalf("byte %d of the header: %v", n, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		check(t, c, 3, numbered(0, 4)...)
		if len(inner.asked) != 1 {
			t.Fatalf("byte %d: asked for %q", n, inner.asked)
		}
		c.Close()
		healed := &hashed{name: "a", dim: 3}
		c = open(t, dir, healed)
		check(t, c, 3, numbered(0, 4)...)
		if len(healed.asked) > 0 {
			t.Fatalf("byte %d: asked again for %q", n, healed.asked)
		}
		c.Close()
	}
	for _, n := range []int{0, 5, head - 1} {
		os.WriteFile(path, whole[:n], 0o644)
		if _, err := Open(dir, &hashed{name: "a"}); fault.KindOf(err) != fault.Corrupt {
			t.Errorf("header cut to %d bytes: %v", n, err)
		}
	}
}

// A power failure may leave zeros where the last records were to be.
func TestZerosAtTheEnd(t *testing.T) {
	dir, path, whole := filled(t)
	clear(whole[len(whole)-40:])
	os.WriteFile(path, append(whole, make([]byte, 1000)...), 0o644)
	inner := &hashed{name: "a", dim: 3}
	check(t, open(t, dir, inner), 3, numbered(0, 4)...)
	if want := numbered(2, 4); !slices.Equal(inner.asked, want) {
		t.Errorf("asked for %q, want %q", inner.asked, want)
	}
}

func TestAnotherModelUnderTheSameName(t *testing.T) {
	dir, path, _ := filled(t)
	c := open(t, dir, &hashed{name: "a", dim: 4})
	_, err := c.Embed(t.Context(), []string{"new"})
	if fault.KindOf(err) != fault.Input || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir, path, _ := filled(t)
	open(t, dir, &hashed{name: "a", dim: 3})
	if _, err := Open(dir, &hashed{name: "a", dim: 3}); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), path) {
		t.Errorf("a second user of the file: %v", err)
	}
}

const writerDir = "GR2_TEST_CACHE_WRITER"

// TestMain is also the process that TestKilledWriter kills.
func TestMain(m *testing.M) {
	dir := os.Getenv(writerDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	c, err := Open(dir, &hashed{name: "a", dim: 2000})
	for i := 0; err == nil; i++ {
		_, err = c.Embed(context.Background(), numbered(50*i, 50*(i+1)))
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// A writer that is killed at any moment leaves a cache that serves what it had
// written and nothing wrong.
func TestKilledWriter(t *testing.T) {
	dir := t.TempDir()
	kept := 0
	for i := range 8 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), writerDir+"="+dir)
		var messages bytes.Buffer
		cmd.Stderr = &messages
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		grows(t, dir, &messages)
		time.Sleep(time.Duration(i) * 7 * time.Millisecond)
		cmd.Process.Kill()
		cmd.Wait()
		if messages.Len() > 0 {
			t.Fatalf("the writer failed: %s", &messages)
		}
		inner := &hashed{name: "a", dim: 2000}
		c := open(t, dir, inner)
		count := int(c.store.count)
		if count < kept {
			t.Fatalf("%d vectors after %d", count, kept)
		}
		kept = count
		check(t, c, 2000, numbered(0, count)...)
		if len(inner.asked) > 0 {
			t.Fatalf("%d of %d vectors were not sound", len(inner.asked), count)
		}
		c.Close()
	}
	if kept == 0 {
		t.Error("no writer wrote anything")
	}
}

// grows waits until the only file of the folder has become longer.
func grows(t *testing.T, dir string, messages *bytes.Buffer) {
	t.Helper()
	size := func() (n int64) {
		files, _ := filepath.Glob(filepath.Join(dir, "*.vectors"))
		for _, f := range files {
			if info, err := os.Stat(f); err == nil {
				n = info.Size()
			}
		}
		return n
	}
	for before, deadline := size(), time.Now().Add(20*time.Second); size() <= before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the writer writes nothing: %s", messages)
		}
	}
}

func BenchmarkHits(b *testing.B) {
	c := open(b, b.TempDir(), &hashed{name: "a", dim: 128})
	texts := numbered(0, 20_000)
	check(b, c, 128, texts...)
	for b.Loop() {
		if _, err := c.Embed(b.Context(), texts); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(texts)*b.N)/b.Elapsed().Seconds(), "texts/s")
}
