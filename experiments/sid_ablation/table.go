package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gr2/gr2/internal/metric"
)

// row is all cells of one variant on one data set, by seed.
type row struct {
	variant variant
	cells   []*cell
}

// readRows is the rows of a data set that have cells, in the order of variants.
func readRows(results, dataset string) ([]row, error) {
	var rows []row
	for _, v := range variants {
		files, err := filepath.Glob(filepath.Join(results, dataset, v.Name+"-*.json"))
		if err != nil {
			return nil, err
		}
		r := row{variant: v}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			c := new(cell)
			if err := json.Unmarshal(b, c); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			if c.Settings.Variant.Name == v.Name { // chosen-free-1.json is none of chosen
				r.cells = append(r.cells, c)
			}
		}
		slices.SortFunc(r.cells, func(a, b *cell) int { return int(a.Settings.Seed) - int(b.Settings.Seed) })
		if len(r.cells) > 0 {
			rows = append(rows, r)
		}
	}
	return rows, nil
}

// printTable writes the Markdown tables of the cells there are.
func printTable(w io.Writer, results string) error {
	for _, dataset := range datasets {
		rows, err := readRows(results, dataset)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			continue
		}
		fmt.Fprintf(w, "### %s, %d targets\n\n", dataset, rows[0].cells[0].Test.Targets)
		fmt.Fprintln(w, "| tokenizer | seeds | unique, nearest | unique, assigned | unique, repaired | error | dead codes | validation R@10 | R@10 | N@10 | R@10 to chosen | N@10 to chosen | order |")
		fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|---|---|---|---|")
		for _, r := range rows {
			fmt.Fprintln(w, r.line(rows))
		}
		fmt.Fprintln(w)
	}
	return nil
}

func (r *row) line(rows []row) string {
	fields := []string{
		fmt.Sprintf("%s: %s", r.variant.Name, r.variant.Meaning),
		fmt.Sprint(len(r.cells)),
		r.percent(func(c *cell) float64 { return c.Uniqueness.Nearest }),
		r.percent(func(c *cell) float64 { return c.Uniqueness.Assigned }),
		r.percent(func(c *cell) float64 { return c.Uniqueness.Repaired }),
		r.mean(func(c *cell) float64 { return c.Error }, 1, "%.3f"),
		r.mean(func(c *cell) float64 { return float64(c.dead()) }, 1, "%.0f"),
		r.validation(),
		r.mean(func(c *cell) float64 { return c.Test.R10 }, 1, "%.4f"),
		r.mean(func(c *cell) float64 { return c.Test.N10 }, 1, "%.4f"),
	}
	recall, ndcg := "", ""
	switch at := slices.IndexFunc(rows, func(o row) bool { return o.variant.Name == chosen }); {
	case r.variant.Name == chosen:
		recall, ndcg = "chosen", "chosen"
	case at >= 0:
		recall, ndcg = r.against(&rows[at])
	}
	order := "-"
	if slices.ContainsFunc(r.cells, func(c *cell) bool { return c.Order.Leak }) {
		order = "leaks"
	}
	return "| " + strings.Join(append(fields, recall, ndcg, order), " | ") + " |"
}

// validation is R@10 of the validation part, by which tokenizers are chosen.
func (r *row) validation() string {
	if slices.ContainsFunc(r.cells, func(c *cell) bool { return c.Validation == nil }) {
		return "-"
	}
	return r.mean(func(c *cell) float64 { return c.Validation.R10 }, 1, "%.4f")
}

// dead is the number of codes that no item has, over all levels.
func (c *cell) dead() (n int) {
	for _, l := range c.Codes.Levels {
		n += l.Dead
	}
	return n
}

// mean is the mean over the seeds with the range.
func (r *row) mean(of func(*cell) float64, scale float64, format string) string {
	values := make([]float64, len(r.cells))
	sum := 0.0
	for i, c := range r.cells {
		values[i] = scale * of(c)
		sum += values[i]
	}
	mean := fmt.Sprintf(format, sum/float64(len(values)))
	low, high := fmt.Sprintf(format, slices.Min(values)), fmt.Sprintf(format, slices.Max(values))
	if low == high {
		return mean
	}
	return fmt.Sprintf("%s (%s to %s)", mean, low, high)
}

func (r *row) percent(of func(*cell) float64) string { return r.mean(of, 100, "%.2f%%") }

// bootstrapSeed draws the resamples of all intervals.
const bootstrapSeed = 1

// against is the differences of R@10 and N@10 to another row with their paired
// 95% intervals, over the seeds that both have: a target's measure is its mean
// over the seeds, so the interval is that of the targets, not of the seeds.
func (r *row) against(base *row) (recall, ndcg string) {
	var mine, theirs [2][]float64
	n := 0 // seeds that both have
	for _, c := range r.cells {
		at := slices.IndexFunc(base.cells, func(o *cell) bool { return o.Settings.Seed == c.Settings.Seed })
		if at >= 0 {
			add(&mine, c)
			add(&theirs, base.cells[at])
			n++
		}
	}
	if n == 0 {
		return "", ""
	}
	show := func(i int) string {
		d := metric.PairedDifference(theirs[i], mine[i], 0, bootstrapSeed)
		scale := 1 / float64(n)
		return fmt.Sprintf("%+.4f (%+.4f to %+.4f)", scale*d.Value, scale*d.Low, scale*d.High)
	}
	return show(0), show(1)
}

// add sums the columns of a cell into those of a row.
func add(sums *[2][]float64, c *cell) {
	recall, ndcg := c.columns()
	for i, column := range [2][]float64{recall, ndcg} {
		if sums[i] == nil {
			sums[i] = make([]float64, len(column))
		}
		for t, v := range column {
			sums[i][t] += v
		}
	}
}
