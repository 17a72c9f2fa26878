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
	rows := []string{"| data | policy | " + strings.Join(columns, " | ") + " |", "|---|---|---|---|---|---|---|---|"}
	for _, d := range datasets {
		results, err := found(d.name, eval.AllOrders)
		if err != nil {
			return "", err
		}
		for _, r := range results {
			rows = append(rows, "| "+d.title+" | "+r.title+" | "+strings.Join(r.numbers(nil), " | ")+" |")
		}
	}
	return strings.Join(rows, "\n"), nil
}
