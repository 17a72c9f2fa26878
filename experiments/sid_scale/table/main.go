// Command table prints what experiments/sid_scale measured.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"

	"github.com/gr2/gr2/internal/sid"
)

const folder = "experiments/sid_scale/"

func main() {
	log.SetFlags(0)
	var r struct {
		Items, Sample, Threads int
		Seconds                map[string]float64
		Total                  float64            `json:"total_seconds"`
		CPU                    float64            `json:"cpu_seconds"`
		PeakMiB                int64              `json:"peak_mib"`
		IndexBytes             int64              `json:"index_bytes"`
		PerSecond              map[string]float64 `json:"items_per_second"`
		Nanos                  map[string]float64 `json:"lookup_nanoseconds"`
		Error                  float64            `json:"relative_error"`
		Nearest, Index         sid.Stats
		Grown                  struct {
			Added, Changed      int
			Uniqueness, Seconds float64
		}
	}
	if err := read("result.json", &r); err != nil {
		log.Fatal(err)
	}
	line := func(name, format string, values ...any) {
		fmt.Printf("%-34s %s\n", name, fmt.Sprintf(format, values...))
	}
	line("items, sample of the fit, threads", "%d, %d, %d", r.Items, r.Sample, r.Threads)
	for _, step := range []string{"fit embedder", "embed", "fit quantizer", "assign", "index", "write"} {
		line(step, "%.1f s", r.Seconds[step])
	}
	line("together", "%.1f min", r.Total/60)
	if r.CPU > 0 {
		line("of that, processor time", "%.1f min", r.CPU/60)
	}
	line("open and verify the index", "%.3f s", r.Seconds["open"])
	line("peak resident memory", "%d MiB", r.PeakMiB)
	line("index file", "%.1f MiB, %.1f bytes an item", float64(r.IndexBytes)/(1<<20), float64(r.IndexBytes)/float64(r.Items))
	line("unique, nearest codes", "%.2f%%", 100*r.Nearest.Uniqueness)
	line("unique, rule free", "%.2f%%", 100*r.Index.Uniqueness)
	for _, way := range []string{"id to code", "code to item", "children of two codes"} {
		line("look-up, "+way, "%.0f ns, mean", r.Nanos[way])
	}
	if lookups, err := os.ReadFile(folder + "lookups.txt"); err == nil {
		fmt.Printf("%s", lookups)
	}
	line("5% new items", "%d added in %.1f s, %d old codes changed, %.2f%% unique", r.Grown.Added, r.Grown.Seconds, r.Grown.Changed, 100*r.Grown.Uniqueness)
	for _, rule := range []string{"assign, rule nearest", "assign, rule free"} {
		line(rule, "%.0f items/s", r.PerSecond[rule])
	}
	line("relative error", "%.4f", r.Error)

	var peer struct {
		Version   string             `json:"faiss"`
		PerSecond map[string]float64 `json:"items_per_second"`
		Error     map[string]float64 `json:"relative_error"`
	}
	err := read("faiss.json", &peer)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		log.Fatal(err)
	}
	for _, method := range []string{"residual quantiser", "k-means, one level"} {
		line("FAISS "+peer.Version+", "+method, "%.0f items/s", peer.PerSecond[method])
	}
	line("FAISS relative error", "%.4f", peer.Error["residual quantiser"])
}

func read(name string, v any) error {
	b, err := os.ReadFile(folder + name)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}
