package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/metric"
)

// saveMarket stores 300 items of 30 kinds and 150 users who stay with a kind.
func saveMarket(t *testing.T, dir string) {
	t.Helper()
	ds := &market.Dataset{Name: "small"}
	var items []market.Item
	for i := range 300 {
		items = append(items, market.Item{ID: fmt.Sprint("i", i), Title: fmt.Sprintf("kind%d make%d", i/10, i%7)})
	}
	catalog, err := market.NewCatalog(items)
	if err != nil {
		t.Fatal(err)
	}
	ds.Catalog = catalog
	for u := range int32(150) {
		ds.Users = append(ds.Users, fmt.Sprint("u", u))
		for at := range int32(6) {
			item := u%30*10 + (u/30+at)%10
			ds.Events = append(ds.Events, market.Event{User: u, Item: item, Time: int64(at) * 1e5, Kind: market.Purchase})
		}
	}
	if err := market.Save(dir, ds); err != nil {
		t.Fatal(err)
	}
}

func tinyPlan(t *testing.T) plan {
	t.Helper()
	p, err := newPlan("beauty", "random,all,rqkmeans-free", "1,2")
	if err != nil {
		t.Fatal(err)
	}
	for i := range p {
		if v := p[i].Variant.RQVAE; v != nil {
			short := *v
			short.Epochs = 5
			p[i].Variant.RQVAE = &short
		}
		o := &p[i].Recommender
		o.Hidden, o.Layers, o.Heads, o.KVHeads, o.Intermediate = 32, 1, 2, 1, 48
		o.Epochs, o.BatchTokens, o.LR, o.Dropout, o.Beam, o.ValidBeam, o.ValidTargets = 4, 512, 5e-3, 0, 20, 10, 50
	}
	return p
}

// A plan goes on from the cells there are, refuses cells of other settings, and
// its table has each row with its interval.
func TestPlan(t *testing.T) {
	dir := t.TempDir()
	data, results, work := filepath.Join(dir, "data"), filepath.Join(dir, "results"), filepath.Join(dir, "work")
	saveMarket(t, filepath.Join(data, "beauty"))
	p := tinyPlan(t)
	if err := p[:5].run(t.Context(), data, results, work); err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	if err := printTable(&table, results); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"### beauty, 150 targets", "| random: control, codes drawn at random, unique | 2 | ", "| all: ", "| 100.00% |"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("table has no %q:\n%s", want, table.String())
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p[:5].run(cancelled, "nowhere", results, work); err != nil {
		t.Errorf("cells that are there are made again: %v", err)
	}
	p[0].Recommender.Layers++
	if err := p[:1].run(t.Context(), data, results, work); err == nil || !strings.Contains(err.Error(), "random-1.json has other settings") {
		t.Errorf("cell of other settings: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(work, "*", "*")); len(left) > 0 {
		t.Errorf("finished trainings left %v", left)
	}
}

// The same cell twice is the same but for the seconds.
func TestCellsRepeat(t *testing.T) {
	dir := t.TempDir()
	saveMarket(t, filepath.Join(dir, "beauty"))
	var files [2]string
	for i := range files {
		p := tinyPlan(t)[2:3]
		results := filepath.Join(dir, fmt.Sprint(i))
		if err := p.run(t.Context(), dir, results, filepath.Join(dir, "work")); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(p[0].path(results))
		if err != nil {
			t.Fatal(err)
		}
		files[i], _, _ = strings.Cut(string(b), `"seconds"`)
	}
	if files[0] != files[1] {
		t.Errorf("%s\nthen\n%s", files[0], files[1])
	}
}

// Ranks come back from the file as they went in, and the interval of a row is
// that of the mean over its seeds.
func TestIntervals(t *testing.T) {
	of := func(seed uint64, ranks ...float64) *cell {
		c := &cell{Settings: settings{Seed: seed}}
		var each [][]float64
		for _, r := range ranks {
			each = append(each, []float64{r})
		}
		c.take(each)
		return c
	}
	inf := math.Inf(1)
	base := row{cells: []*cell{of(1, 1, inf, 10.5, 3), of(2, 1, 1, inf, inf)}}
	mine := row{cells: []*cell{of(1, 2, 1, 10, 3), of(2, inf, 1, 9.5, 7), of(3, 1, 1, 1, 1)}} // no seed 3 in base
	if m := base.cells[0].Test; m.R10 != .5 || m.Targets != 4 {
		t.Errorf("%+v", m)
	}
	d := metric.PairedDifference([]float64{1, .5, 0, .5}, []float64{.5, 1, 1, 1}, 0, bootstrapSeed)
	want := fmt.Sprintf("%+.4f (%+.4f to %+.4f)", d.Value, d.Low, d.High)
	if got, _ := mine.against(&base); got != want {
		t.Errorf("interval %s, want %s", got, want)
	}
}
