package eval

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// liftNames are the metrics whose lift a text table shows; JSON has all.
var liftNames = []string{"R@1", "R@3", "N@3"}

// WriteTable renders the rows of a report as aligned text: for each order,
// split and slice one table of means and one of lifts with intervals. Rows
// keep the report's order.
func WriteTable(w io.Writer, r *Report) error {
	var out strings.Builder
	for i, group := range groups(r.Rows) {
		if i > 0 {
			out.WriteByte('\n')
		}
		head := group[0]
		fmt.Fprintf(&out, "%s order, %s, %s, n=%d\n", head.Order, head.Split, strings.ReplaceAll(head.Slice, "_", " "), head.N)
		align(&out, means(group))
		if lifts := lifts(group); len(lifts) > 1 {
			fmt.Fprintf(&out, "lift over %s, 95%% interval\n", Incoming)
			align(&out, lifts)
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// groups collects rows of the same order, split and slice, by first
// appearance.
func groups(rows []Row) [][]Row {
	type key struct{ order, split, slice string }
	place := map[key]int{}
	var all [][]Row
	for _, row := range rows {
		k := key{row.Order, row.Split, row.Slice}
		at, seen := place[k]
		if !seen {
			at = len(all)
			place[k] = at
			all = append(all, nil)
		}
		all[at] = append(all[at], row)
	}
	return all
}

// means is a header and one line of cells per row; a metric that no row has
// gets no column.
func means(rows []Row) [][]string {
	header := []string{"policy"}
	for _, name := range MetricNames() {
		for _, row := range rows {
			if _, has := row.Metrics[name]; has {
				header = append(header, name)
				break
			}
		}
	}
	table := [][]string{header}
	for _, row := range rows {
		cells := []string{row.Policy}
		for _, name := range header[1:] {
			cell := "-"
			if v, has := row.Metrics[name]; has {
				cell = fmt.Sprintf("%.4f", v)
			}
			cells = append(cells, cell)
		}
		table = append(table, cells)
	}
	return table
}

// lifts is a header and one line of cells per row that has a lift.
func lifts(rows []Row) [][]string {
	table := [][]string{append([]string{"policy"}, liftNames...)}
	for _, row := range rows {
		if len(row.Lift) == 0 {
			continue
		}
		cells := []string{row.Policy}
		for _, name := range liftNames {
			cell := "-"
			if v, has := row.Lift[name]; has {
				cell = fmt.Sprintf("%+.1f%% [%+.1f, %+.1f]", 100*v.Value, 100*v.Low, 100*v.High)
			}
			cells = append(cells, cell)
		}
		table = append(table, cells)
	}
	return table
}

// align writes the table with the first column flush left and the others
// flush right, two spaces apart.
func align(out *strings.Builder, table [][]string) {
	width := make([]int, len(table[0]))
	for _, cells := range table {
		for c, cell := range cells {
			width[c] = max(width[c], utf8.RuneCountInString(cell))
		}
	}
	for _, cells := range table {
		for c, cell := range cells {
			pad := strings.Repeat(" ", width[c]-utf8.RuneCountInString(cell))
			if c == 0 {
				out.WriteString("  " + cell + pad)
			} else {
				out.WriteString("  " + pad + cell)
			}
		}
		out.WriteByte('\n')
	}
}
