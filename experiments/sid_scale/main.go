// Command sid_scale gives semantic IDs to a synthetic catalog of two million
// items: embedder and quantizer are fitted to a sample, all items are embedded
// and assigned, the index is written, mapped and asked. It prints a JSON object.
//
//	go run ./experiments/sid_scale -out runs/sid_scale
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/sid"
	"github.com/gr2/gr2/internal/sid/fit"
)

// result is what the experiment measures. Seconds are wall clock.
type result struct {
	Items      int                `json:"items"`
	Sample     int                `json:"sample"` // of the fit
	Dim        int                `json:"dim"`
	Threads    int                `json:"threads"`
	Seconds    map[string]float64 `json:"seconds"`
	Total      float64            `json:"total_seconds"`
	CPU        float64            `json:"cpu_seconds"` // of the whole process in that time, user and system
	PeakMiB    int64              `json:"peak_mib"`    // resident, of the whole process
	IndexBytes int64              `json:"index_bytes"`
	PerSecond  map[string]float64 `json:"items_per_second"`
	Nanos      map[string]float64 `json:"lookup_nanoseconds"` // mean over random items, of the mapped file
	Error      float64            `json:"relative_error"`     // of the nearest codes, on a part of the items
	Nearest    sid.Stats          `json:"nearest"`
	Index      sid.Stats          `json:"index"`
	Grown      growth             `json:"grown"`
}

// growth is what adding 5% new items did.
type growth struct {
	fit.Growth
	Changed    int     `json:"changed"` // old items whose code is another now
	Uniqueness float64 `json:"uniqueness"`
	Seconds    float64 `json:"seconds"`
}

type experiment struct {
	result
	seed  uint64
	out   string
	began time.Time
	lsa   *embed.LSA
}

func main() {
	log.SetFlags(0)
	e := experiment{result: result{Seconds: map[string]float64{}, PerSecond: map[string]float64{}, Nanos: map[string]float64{}}}
	flag.IntVar(&e.Items, "items", 2_000_000, "items of the catalog")
	flag.IntVar(&e.Sample, "sample", 200_000, "items that embedder and quantizer are fitted to")
	flag.IntVar(&e.Dim, "dim", 64, "length of the embedding")
	flag.Uint64Var(&e.seed, "seed", 1, "seed of everything random")
	flag.StringVar(&e.out, "out", "runs/sid_scale", "folder for index and embeddings")
	flag.Parse()
	debug.SetMemoryLimit(3 << 30)
	e.Threads = runtime.GOMAXPROCS(0)
	if err := e.run(context.Background()); err != nil {
		log.Fatal(err)
	}
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "  ")
	if err := enc.Encode(e.result); err != nil {
		log.Fatal(err)
	}
}

// time runs a step and notes what it took.
func (e *experiment) time(name string, step func() error) error {
	at := time.Now()
	err := step()
	e.Seconds[name] = time.Since(at).Seconds()
	log.Printf("%-16s %7.1f s", name, e.Seconds[name])
	return err
}

func (e *experiment) run(ctx context.Context) error {
	if err := os.MkdirAll(e.out, 0o777); err != nil {
		return err
	}
	e.began = time.Now()
	sample := fit.SampleRows(e.Items, e.Sample, e.seed)
	var vectors embed.Matrix
	var q *fit.Quantizer
	err := e.time("fit embedder", func() (err error) {
		e.lsa, err = embed.FitLSA(ctx, func(yield func(string) bool) {
			for _, i := range sample {
				if !yield(e.text(i)) {
					return
				}
			}
		}, embed.LSAOptions{Dim: e.Dim, Seed: e.seed})
		return err
	})
	if err != nil {
		return err
	}
	if err := e.time("embed", func() (err error) { vectors, err = e.embed(ctx, 0, e.Items); return err }); err != nil {
		return err
	}
	if err := e.time("fit quantizer", func() (err error) {
		q, err = fit.RQKMeans(vectors, fit.Options{Sample: e.Sample, Seed: e.seed})
		return err
	}); err != nil {
		return err
	}
	index, err := e.assign(q, vectors)
	if err != nil {
		return err
	}
	if err := e.store(index); err != nil {
		return err
	}
	e.Total = time.Since(e.began).Seconds() // up to here; what follows only measures
	if e.CPU, err = cpu(); err != nil {
		return err
	}
	if err := e.look(index); err != nil {
		return err
	}
	if err := e.grow(ctx, index, q); err != nil {
		return err
	}
	if err := e.measure(q, vectors); err != nil {
		return err
	}
	e.PeakMiB, err = peak()
	return err
}

func (e *experiment) ids(from, to int) []string {
	ids := make([]string, to-from)
	for i := range ids {
		ids[i] = fmt.Sprintf("item-%08d", from+i)
	}
	return ids
}

// text is what item i is called: words of its leaf category, one of 2,000 below
// 40 departments, of its brand, and words that any item may have, the frequent
// ones more often.
func (e *experiment) text(i int) string {
	r := rng.New(e.seed, rng.Key("sid_scale/item"), uint64(i))
	leaf := zipf(r, 2000)
	department := leaf % 40
	var s strings.Builder
	fmt.Fprintf(&s, "brand%d", zipf(r, 5000))
	for range 3 + r.IntN(4) {
		fmt.Fprintf(&s, " leaf%dword%d", leaf, zipf(r, 30))
	}
	for range 2 + r.IntN(3) {
		fmt.Fprintf(&s, " word%d", zipf(r, 30_000))
	}
	fmt.Fprintf(&s, " department%d leaf%d", department, leaf)
	return s.String()
}

// zipf draws below n, low numbers more often: uniform in the logarithm.
func zipf(r *rand.Rand, n int) int {
	return int(math.Pow(float64(n+1), r.Float64())) - 1
}

func (e *experiment) embed(ctx context.Context, from, to int) (embed.Matrix, error) {
	const block = 8192
	all := embed.NewMatrix(to-from, e.Dim)
	texts := make([]string, 0, block)
	for at := from; at < to; at += block {
		texts = texts[:0]
		for i := at; i < min(at+block, to); i++ {
			texts = append(texts, e.text(i))
		}
		m, err := e.lsa.Embed(ctx, texts)
		if err != nil {
			return all, err
		}
		copy(all.Data[(at-from)*e.Dim:], m.Data)
	}
	return all, nil
}

func (e *experiment) assign(q *fit.Quantizer, vectors embed.Matrix) (index *sid.Index, err error) {
	ids := e.ids(0, e.Items)
	var codes []uint8
	if err := e.time("assign", func() (err error) {
		codes, err = fit.Assign(q, vectors, ids, fit.AssignOptions{Rule: fit.Free, Seed: e.seed})
		return err
	}); err != nil {
		return nil, err
	}
	e.PerSecond["assign, rule free"] = float64(e.Items) / e.Seconds["assign"]
	err = e.time("index", func() (err error) {
		index, err = sid.New(ids, sid.Levels, sid.Width, codes)
		return err
	})
	if err == nil {
		e.Index = index.Stats()
	}
	return index, err
}

func (e *experiment) indexFile() string { return filepath.Join(e.out, "index.sid") }

func (e *experiment) store(index *sid.Index) error {
	err := e.time("write", func() error { return durable.Write(e.indexFile(), index.Write) })
	if err != nil {
		return err
	}
	info, err := os.Stat(e.indexFile())
	if err == nil {
		e.IndexBytes = info.Size()
	}
	return err
}

// look asks the mapped file for random items, both ways.
func (e *experiment) look(index *sid.Index) error {
	var x *sid.Index
	err := e.time("open", func() (err error) { x, err = sid.Open(e.indexFile()); return err })
	if err != nil {
		return err
	}
	const n = 2_000_000
	r := rng.New(e.seed, rng.Key("sid_scale/look"))
	ids, codes := make([]string, n), make([][]uint8, n)
	for i := range n {
		row := int32(r.IntN(e.Items))
		ids[i], codes[i] = index.ID(row), slices.Clone(index.Code(row))
	}
	missed := 0
	each := func(name string, ask func(i int) bool) {
		at := time.Now()
		for i := range n {
			if !ask(i) {
				missed++
			}
		}
		e.Nanos[name] = float64(time.Since(at).Nanoseconds()) / n
	}
	each("id to code", func(i int) bool { row, ok := x.Row(ids[i]); return ok && len(x.Code(row)) == sid.Levels })
	each("code to item", func(i int) bool { _, ok := x.Lookup(codes[i]); return ok })
	each("children of two codes", func(i int) bool { return len(x.Children(codes[i][:2])) > 0 })
	if missed > 0 {
		return fmt.Errorf("%d look-ups found nothing", missed)
	}
	return x.Close()
}

// grow adds 5% new items.
func (e *experiment) grow(ctx context.Context, old *sid.Index, q *fit.Quantizer) error {
	at := time.Now()
	ids := e.ids(0, e.Items+e.Items/20)
	index, g, err := fit.Grow(old, q, fit.AssignOptions{Rule: fit.Free, Seed: e.seed}, ids, func(items []int32) (embed.Matrix, error) {
		return e.embed(ctx, int(items[0]), int(items[0])+len(items)) // the new ones follow one another
	})
	if err != nil {
		return err
	}
	e.Grown = growth{Growth: g, Seconds: time.Since(at).Seconds(), Uniqueness: index.Stats().Uniqueness}
	for row := range int32(old.Len()) {
		now, _ := index.Row(old.ID(row))
		if !slices.Equal(index.Code(now), old.Code(row)) {
			e.Grown.Changed++
		}
	}
	return nil
}

// measure times the nearest codes alone and leaves sample and vectors for a peer.
func (e *experiment) measure(q *fit.Quantizer, vectors embed.Matrix) error {
	var codes []uint8
	if err := e.time("nearest alone", func() (err error) {
		codes, err = fit.Assign(q, vectors, e.ids(0, e.Items), fit.AssignOptions{Rule: fit.Nearest})
		return err
	}); err != nil {
		return err
	}
	e.PerSecond["assign, rule nearest"] = float64(e.Items) / e.Seconds["nearest alone"]
	part := min(e.Items, 100_000)
	e.Error = q.RelativeError(embed.Matrix{Rows: part, Cols: e.Dim, Data: vectors.Data[:part*e.Dim]}, codes[:part*sid.Levels])
	var err error
	if e.Nearest, err = sid.Measure(codes, sid.Levels, sid.Width); err != nil {
		return err
	}
	return durable.Write(filepath.Join(e.out, "vectors.f32"), func(w io.Writer) error { return writeFloats(w, vectors) })
}

// writeFloats writes a matrix row by row, little-endian.
func writeFloats(w io.Writer, m embed.Matrix) error {
	row := make([]byte, 4*m.Cols)
	for i := range m.Rows {
		for j, v := range m.Row(i) {
			bits := math.Float32bits(v)
			row[4*j], row[4*j+1], row[4*j+2], row[4*j+3] = byte(bits), byte(bits>>8), byte(bits>>16), byte(bits>>24)
		}
		if _, err := w.Write(row); err != nil {
			return err
		}
	}
	return nil
}

// peak is the process's largest resident size so far, in MiB.
func peak() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kib int64
	_, err = fmt.Sscan(rest, &kib)
	return kib / 1024, err
}

// cpu is the time that the process has had of all cores, in seconds.
func cpu() (float64, error) {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/self/stat: %q", stat)
	}
	var user, system float64
	_, err = fmt.Sscan(fields[11]+" "+fields[12], &user, &system)
	return (user + system) / 100, err // ticks of 10 ms
}
