// Command sid_catalogs takes items out of a data set and checks that semantic IDs
// stood when they came back:
//
//	sid_catalogs -data DATASET -out DATASET -share .05   # leaves out a share of the items
//	sid_catalogs -full RUN -before RUN -after RUN         # prints a JSON object
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/sid"
)

func main() {
	log.SetFlags(0)
	data := flag.String("data", "", "data set")
	out := flag.String("out", "", "the data set with fewer items")
	share := flag.Float64("share", .05, "of the items to leave out")
	full := flag.String("full", "", "folder with semantic IDs fitted to all items")
	before := flag.String("before", "", "folder with the semantic IDs of fewer items")
	after := flag.String("after", "", "folder with those of all items, grown from it")
	flag.Parse()
	var err error
	if *data != "" {
		err = sample(*data, *out, *share)
	} else {
		err = compare(*full, *before, *after)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// sample saves a data set without a share of its items, and without the events
// that name them. Its slates are left out altogether.
func sample(data, out string, share float64) error {
	ds, err := market.Open(data)
	if err != nil {
		return err
	}
	r := rng.New(1, rng.Key("items left out"))
	var items []market.Item
	number := make([]int32, ds.Catalog.Len())
	for i, item := range ds.Catalog.Items {
		number[i] = -1
		if r.Float64() >= share {
			number[i] = int32(len(items))
			items = append(items, item)
		}
	}
	fewer := *ds
	if fewer.Catalog, err = market.NewCatalog(items); err != nil {
		return err
	}
	fewer.Events, fewer.Slates = nil, nil
	for _, e := range ds.Events {
		if e.Item = number[e.Item]; e.Item >= 0 {
			fewer.Events = append(fewer.Events, e)
		}
	}
	return market.Save(out, &fewer)
}

// growth is what came of items that a catalog did not have before.
type growth struct {
	Before int     `json:"items_before"`
	New    int     `json:"items_new"`
	Change int     `json:"codes_changed"` // of the items of before
	Unique float64 `json:"unique"`        // of all items, afterwards
}

// compare prints what the fit to all items gave, and how the codes of fewer have
// grown.
func compare(full, before, after string) error {
	var fit struct {
		Nearest sid.Stats `json:"nearest"`
		Index   sid.Stats `json:"index"`
	}
	file := filepath.Join(full, "sid", "stats.json")
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &fit); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	g, err := grown(before, after)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"items": fit.Index.Items, "unique_nearest": fit.Nearest.Uniqueness, "unique": fit.Index.Uniqueness, "grown": g,
	})
}

func grown(before, after string) (growth, error) {
	old, err := sid.Open(index(before))
	if err != nil {
		return growth{}, err
	}
	defer old.Close()
	now, err := sid.Open(index(after))
	if err != nil {
		return growth{}, err
	}
	defer now.Close()
	g := growth{Before: old.Len(), New: now.Len() - old.Len(), Unique: now.Stats().Uniqueness}
	for i := range int32(old.Len()) {
		row, ok := now.Row(old.ID(i))
		if !ok || !bytes.Equal(now.Code(row), old.Code(i)) {
			g.Change++
		}
	}
	return g, nil
}

func index(run string) string { return filepath.Join(run, "sid", "index.sid") }
