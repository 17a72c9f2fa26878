package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gr2/gr2/internal/control"
	"github.com/gr2/gr2/internal/eval"
)

// resultTable is one incoming order on one slice, a policy a row.
type resultTable struct {
	Caption string
	Metrics []string
	Rows    []resultRow
}

type resultRow struct {
	Policy  string
	Meaning string
	Against string // what it adds to the rival and to the stage before
	Class   string // base (incoming), limit (oracle) or ""
	N       int
	Cells   []cell
}

// cell is a metric with its lift. Value is a dash when the metric is undefined.
type cell struct{ Value, Lift, Verdict string }

// resultTables groups rows by slice (conditional first), split and order, each in
// the order of first appearance.
func resultTables(rows []eval.Row) []resultTable {
	type key struct{ slice, split, order string }
	var keys []key
	groups := map[key][]eval.Row{}
	for _, r := range rows {
		k := key{r.Slice, r.Split, r.Order}
		if groups[k] == nil {
			keys = append(keys, k)
		}
		groups[k] = append(groups[k], r)
	}
	slices.SortStableFunc(keys, func(a, b key) int { return sliceRank(a.slice) - sliceRank(b.slice) })
	tables := make([]resultTable, len(keys))
	for i, k := range keys {
		tables[i] = newResultTable(groups[k])
	}
	return tables
}

func sliceRank(slice string) int {
	if slice == eval.Conditional {
		return 0
	}
	return 1
}

func newResultTable(rows []eval.Row) resultTable {
	first := rows[0]
	t := resultTable{Caption: fmt.Sprintf("%s: %s", tableName(first), sliceMeaning(first.Slice))}
	for _, m := range eval.MetricNames() {
		if slices.ContainsFunc(rows, func(r eval.Row) bool { _, ok := r.Metrics[m]; return ok }) {
			t.Metrics = append(t.Metrics, m)
		}
	}
	for _, r := range rows {
		row := resultRow{Policy: r.Policy, Meaning: policyMeaning(r.Policy), Against: againstText(r), N: r.N}
		switch r.Policy {
		case eval.Incoming:
			row.Class = "base"
		case eval.Oracle:
			row.Class = "limit"
		}
		for _, m := range t.Metrics {
			row.Cells = append(row.Cells, newCell(r, m))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// writtenSuffix marks the row of a policy that is read by the ranking it writes.
const writtenSuffix = "/generate"

// againstText says what a policy adds to what a user would pick instead, and to
// the policy from which it was trained.
func againstText(r eval.Row) string {
	if strings.HasPrefix(r.Policy, "control/") {
		return ""
	}
	var parts []string
	for _, base := range []struct {
		name string
		lift map[string]eval.Lift
	}{{"the linear control", r.OverRival}, {r.Before, r.OverBefore}} {
		r1, known := base.lift["R@1"]
		if n3, also := base.lift["N@3"]; known && also {
			parts = append(parts, fmt.Sprintf("over %s: R@1 %s, N@3 %s", base.name, liftText(r1), liftText(n3)))
		}
	}
	return strings.Join(parts, "; ")
}

func newCell(r eval.Row, metric string) cell {
	v, ok := r.Metrics[metric]
	if !ok {
		return cell{Value: "–"}
	}
	c := cell{Value: fmt.Sprintf("%.4f", v)}
	if l, ok := r.Lift[metric]; ok {
		c.Lift, c.Verdict = liftText(l), verdict(l)
	}
	return c
}

func tableName(r eval.Row) string {
	name := r.Order + " order"
	if r.Split != "test" {
		name += ", " + r.Split
	}
	return name
}

func sliceMeaning(slice string) string {
	switch slice {
	case eval.Conditional:
		return "slates that hold a positive (only these can change)"
	case eval.EndToEnd:
		return "all events, also those whose positive is in no slate"
	}
	return slice
}

func policyMeaning(policy string) string {
	switch {
	case policy == eval.Incoming:
		return "the order as it came"
	case policy == eval.Oracle:
		return "perfect order in hindsight"
	case strings.HasPrefix(policy, "control/rrf"):
		return "rank fusion, nothing trained"
	case policy == control.LinearName:
		return "linear model on all evidence there is, unrounded"
	case policy == control.TreesName:
		return "boosted trees on all evidence there is, unrounded"
	case policy == control.ShownName:
		return "linear model on the evidence that prompts show, unrounded"
	case strings.HasSuffix(policy, writtenSuffix):
		return "the same policy, read by the ranking it writes under the grammar"
	case strings.HasPrefix(policy, "control/"):
		return "control"
	case policy == eval.Bayes:
		return "best order under the synthetic market's own model"
	}
	return ""
}

// metricMeanings explain the columns, in the order of the tables.
func metricMeanings() []Fact {
	return []Fact{
		{"R@k", "share of the positives among the first k (of at most k)"},
		{"N@k", "NDCG: gains 2^grade − 1, discounted by place, over the best possible"},
		{"MAP", "mean of the precision at each positive"},
		{"MRR", "1 / place of the first positive"},
		{"AUC", "share of pairs of a positive and a negative in the right order, per impression"},
	}
}
