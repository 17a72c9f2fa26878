package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/gr2/gr2/internal/eval"
)

// The README's table stands between these lines.
const begin, end = "<!-- go run ./experiments/rl_lift -->\n", "\n<!-- end -->"

// updateReadme writes the rows of all incoming orders together into the file.
func updateReadme(file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, opened := strings.Cut(string(content), begin)
	_, after, closed := strings.Cut(rest, end)
	if !opened || !closed {
		return fmt.Errorf("%s: no place for the table between %q and %q", file, begin, end)
	}
	table, err := summary()
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(before+begin+table+end+after), 0o644)
}

// summary is the table of what the data sets with several orders have of them all.
func summary() (string, error) {
	rows := []string{
		"| data | policy | R@1 | R@3 | N@3 | N@3 over the linear control | over that on what prompts show | N@3 over SFT |",
		"|---|---|---|---|---|---|---|---|",
	}
	for _, d := range datasets {
		for _, l := range lines {
			r, err := read(d.name, l.cell)
			if err != nil {
				return "", err
			}
			if r == nil {
				continue
			}
			row := r.Find(eval.AllOrders, l.policy, eval.Conditional, "test")
			if row == nil {
				continue
			}
			title, err := l.keptTitle(d.name, r)
			if err != nil {
				return "", err
			}
			cells := []string{d.title, title}
			for _, m := range metrics {
				cells = append(cells, cellOf(row.Lift, nil, m))
			}
			shown, err := read(d.name, l.cell+"-shown")
			if err != nil {
				return "", err
			}
			cells = append(cells, cellOf(row.OverRival, nil, "N@3"), cellOf(sameRow(shown, row).OverRival, nil, "N@3"), cellOf(row.OverBefore, nil, "N@3"))
			rows = append(rows, "| "+strings.Join(cells, " | ")+" |")
		}
	}
	return strings.Join(rows, "\n"), nil
}
