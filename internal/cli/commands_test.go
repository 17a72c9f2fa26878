package cli_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gr2/gr2/internal/market"
)

// arguments demands n of them, unnegated.
func arguments(ts *testscript.TestScript, neg bool, args []string, n int, usage string) {
	if neg || len(args) != n {
		ts.Fatalf("usage: %s", usage)
	}
}

func write(ts *testscript.TestScript, name string, data []byte) {
	ts.Check(os.WriteFile(ts.MkAbs(name), data, 0o644))
}

// gzip FROM TO
func gzipFile(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 2, "gzip FROM TO")
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	_, err := io.WriteString(zip, ts.ReadFile(args[0]))
	ts.Check(err)
	ts.Check(zip.Close())
	write(ts, args[1], out.Bytes())
}

// gunzip FROM TO
func gunzipFile(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 2, "gunzip FROM TO")
	f, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	zip, err := gzip.NewReader(f)
	ts.Check(err)
	data, err := io.ReadAll(zip)
	ts.Check(err)
	write(ts, args[1], data)
}

// flip FILE AT inverts one byte; a negative AT counts from the end.
func flipByte(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 2, "flip FILE AT")
	data := []byte(ts.ReadFile(args[0]))
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	if at < 0 {
		at += len(data)
	}
	data[at] ^= 0xff
	write(ts, args[0], data)
}

// cut FILE BYTES drops that many bytes from the end.
func cutFile(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 2, "cut FILE BYTES")
	data := ts.ReadFile(args[0])
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	write(ts, args[0], []byte(data[:len(data)-n]))
}

// items DATASET sets $item0 to $item9 to the ids of its first items.
func nameItems(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 1, "items DATASET")
	ds, err := market.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	for i := range 10 {
		ts.Setenv(fmt.Sprintf("item%d", i), ds.Catalog.Items[i].ID)
	}
}

// expand FILE replaces $variables in it.
func expandFile(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 1, "expand FILE")
	write(ts, args[0], []byte(os.Expand(ts.ReadFile(args[0]), ts.Getenv)))
}

// rows FILE ORDER POLICY... demands that FILE is a report in the documented
// schema with exactly these policies on the order, in both slices.
func wantRows(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: rows FILE ORDER POLICY...")
	}
	var report reportJSON
	dec := json.NewDecoder(bytes.NewReader([]byte(ts.ReadFile(args[0]))))
	dec.DisallowUnknownFields()
	ts.Check(dec.Decode(&report))
	if report.Schema != 1 || len(report.Probes) == 0 {
		ts.Fatalf("schema %d, probes %v", report.Schema, report.Probes)
	}
	found := map[string][]string{}
	for _, row := range report.Rows {
		if row.Order != args[1] {
			ts.Fatalf("row of order %q", row.Order)
		}
		found[row.Slice] = append(found[row.Slice], row.Policy)
		ts.Check(row.check())
	}
	for _, slice := range []string{"conditional", "end_to_end"} {
		if got, want := slices.Sorted(slices.Values(found[slice])), slices.Sorted(slices.Values(args[2:])); !slices.Equal(got, want) {
			ts.Fatalf("%s has policies %v, want %v", slice, got, want)
		}
	}
}

// reportJSON is report.json as its readers know it.
type reportJSON struct {
	Schema int                        `json:"schema"`
	Seed   *uint64                    `json:"seed"`
	Rival  string                     `json:"rival"`
	Probes map[string]json.RawMessage `json:"probes"`
	Rows   []rowJSON                  `json:"rows"`
}

type rowJSON struct {
	Order   string                        `json:"order"`
	Policy  string                        `json:"policy"`
	Slice   string                        `json:"slice"`
	Split   string                        `json:"split"`
	N       int                           `json:"n"`
	Metrics map[string]float64            `json:"metrics"`
	Lift    map[string]map[string]float64 `json:"lift"`
	Rival   map[string]map[string]float64 `json:"over_rival"`
}

func (r *rowJSON) check() error {
	if r.Split != "test" || r.N < 1 {
		return fmt.Errorf("row %s/%s: split %q, n %d", r.Policy, r.Slice, r.Split, r.N)
	}
	for _, name := range []string{"R@1", "R@3", "N@3"} {
		v, ok := r.Metrics[name]
		if !ok || v < 0 || v > 1 {
			return fmt.Errorf("row %s/%s: %s is %v", r.Policy, r.Slice, name, r.Metrics)
		}
	}
	if (len(r.Lift) == 0) != (r.Policy == "incoming") {
		return fmt.Errorf("row %s/%s: lift %v", r.Policy, r.Slice, r.Lift)
	}
	for name, l := range r.Lift {
		if len(l) != 3 || !(l["low"] <= l["value"] && l["value"] <= l["high"]) {
			return fmt.Errorf("row %s/%s: lift of %s is %v", r.Policy, r.Slice, name, l)
		}
	}
	return nil
}

// eventlog ITEMS EVENTS writes a small log of users who stay with one kind of
// item: enough for a legacy ranker and its folds.
func eventLog(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 2, "eventlog ITEMS EVENTS")
	items, events := smallLog()
	write(ts, args[0], items)
	write(ts, args[1], events)
}

func smallLog() (items, events []byte) {
	const catalog, users, day = 60, 80, 86400
	var a, b bytes.Buffer
	for i := range catalog {
		fmt.Fprintf(&a, `{"id":"i%02d","title":"thing %d %d","brand":"b%d"}`+"\n", i, i%7, i%5, i%4)
	}
	draw := rand.New(rand.NewPCG(1, 2))
	for u := range users {
		time, kind := 1_000_000+draw.IntN(1000)*day, draw.IntN(4)
		for range 5 + draw.IntN(4) {
			time += draw.IntN(3) * day
			fmt.Fprintf(&b, `{"user":"u%d","item":"i%02d","time":%d}`+"\n", u, 4*draw.IntN(catalog/4)+kind, time)
		}
	}
	return a.Bytes(), b.Bytes()
}
