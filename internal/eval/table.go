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
// split and slice a table of means, one of lifts over the incoming order, one
// of lifts over the rival, one of what each stage adds to the stage before and one
// over other runs, with intervals. Rows keep the report's order. Warnings stand in
// front of all.
func WriteTable(w io.Writer, r *Report) error {
	var out strings.Builder
	for _, warning := range r.Warnings {
		fmt.Fprintln(&out, warning)
	}
	for _, change := range r.Changes {
		fmt.Fprintf(&out, "differs from the other runs in %s\n", change)
	}
	if len(r.Warnings)+len(r.Changes) > 0 {
		out.WriteByte('\n')
	}
	if len(r.Seeds) > 0 {
		fmt.Fprintf(&out, "means over %d runs, seeds %v; intervals are over users, drawn for all runs at once, of these trained policies; ± is the standard deviation of the lift over the runs\n\n", len(r.Seeds), r.Seeds)
	}
	for i, group := range groups(r.Rows) {
		if i > 0 {
			out.WriteByte('\n')
		}
		head := group[0]
		name := head.Order + " order"
		if head.Order == AllOrders {
			name = "mean over the orders"
		}
		fmt.Fprintf(&out, "%s, %s, %s, n=%d\n", name, head.Split, strings.ReplaceAll(head.Slice, "_", " "), head.N)
		align(&out, means(group))
		for _, c := range []struct {
			over string
			of   func(*Row) (map[string]Lift, map[string]float64)
		}{
			{Incoming, func(r *Row) (map[string]Lift, map[string]float64) { return r.Lift, r.Spread }},
			{r.Rival, func(r *Row) (map[string]Lift, map[string]float64) { return r.OverRival, r.RivalSpread }},
			{"the stage before", func(r *Row) (map[string]Lift, map[string]float64) { return r.OverBefore, r.BeforeSpread }},
			{others(group), func(r *Row) (map[string]Lift, map[string]float64) { return r.OverOther, r.OtherSpread }},
		} {
			if lifts := lifts(group, c.of); len(lifts) > 1 {
				fmt.Fprintf(&out, "lift over %s, 95%% interval\n", c.over)
				align(&out, lifts)
			}
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// others says what the rows are compared with in other runs.
func others(group []Row) string {
	name := "the same policy in the other runs"
	for _, r := range group {
		if r.Other != "" {
			name += ", " + r.Policy + " over their " + r.Other
		}
	}
	return name
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

// lifts is a header and one line of cells per row that has such a lift.
func lifts(rows []Row, of func(*Row) (lift map[string]Lift, spread map[string]float64)) [][]string {
	table := [][]string{append([]string{"policy"}, liftNames...)}
	for i := range rows {
		lift, spread := of(&rows[i])
		if len(lift) == 0 {
			continue
		}
		cells := []string{rows[i].Policy}
		for _, name := range liftNames {
			cells = append(cells, liftCell(lift, spread, name))
		}
		table = append(table, cells)
	}
	return table
}

func liftCell(lift map[string]Lift, spread map[string]float64, name string) string {
	v, has := lift[name]
	if !has {
		return "-"
	}
	cell := fmt.Sprintf("%+.1f%% [%+.1f, %+.1f]", 100*v.Value, 100*v.Low, 100*v.High)
	if s, has := spread[name]; has {
		cell += fmt.Sprintf(" ±%.1f", 100*s)
	}
	return cell
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
