// Command rl_lift makes the tables of the experiment from the combined reports that
// run.sh and attribution.sh have left in its folder: table.md there, and in the README
// the rows of all incoming orders together.
//
//	go run ./experiments/rl_lift
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gr2/gr2/internal/eval"
)

const folder = "experiments/rl_lift"

// datasets are those of run.sh, with the lifts that its issue asks for.
var datasets = []struct {
	name, title string
	targets     []target
}{
	{"market", "Synthetic market, 6,000 users (G 4)", nil},
	{"beauty", "Amazon Beauty, leave-one-out", goals},
	{"sports", "Amazon Sports and Outdoors, leave-one-out", goals},
	{"beauty-time", "Amazon Beauty, global time split", goals},
}

// target is a lift over the incoming order in percent, R@1, R@3 and N@3: the
// gate, the aim, and what feature models reach with the same evidence on slates
// of their own, how many of these hold a positive, and the R@1 of their incoming
// order: the probe from which gates and aims were set.
type target struct {
	order              string
	gate, aim, ceiling [3]float64
	slates             int
	incoming           float64
}

var goals = []target{
	{"sasrec", [3]float64{18, 7, 10}, [3]float64{45, 17, 24}, [3]float64{52, 21, 29}, 1847, .252},
	{"blend", [3]float64{7, 7, 7}, [3]float64{18.7, 16, 17}, [3]float64{24, 20, 22}, 2134, .284},
	{"bpr", [3]float64{25, 12, 16}, [3]float64{86, 41, 53}, [3]float64{95, 46, 59}, 1166, .190},
}

var metrics = [3]string{"R@1", "R@3", "N@3"}

// line is a row of the table of a data set: a policy of a cell.
type line struct{ cell, policy, title string }

var lines = []line{
	{"rl-from-sft", "control/rrf-title", "untrained fusion, title"},
	{"rl-from-sft", "control/rrf-knn-title", "untrained fusion, item-kNN and title"},
	{"rl-from-sft", "control/linear", "linear control"},
	{"rl-from-sft", "control/linear-shown", "linear control on what prompts show"},
	{"rl-from-sft", "control/trees", "boosted trees"},
	{"rl-from-sft", "sft", "SFT"},
	{"rl-from-sft", "rl", "RL from SFT"},
	{"rl-from-trees", "sft", "SFT by trees"},
	{"rl-from-trees", "rl", "RL from SFT by trees, G 4"},
	{"rl-from-midtrain", "rl", "RL from mid-training, G 4"},
	{"sft-labels", "sft", "SFT with labels"},
	{"rl-from-sft", "bayes", "Bayes-optimal order"},
}

// overLabels is the comparison whose other runs have no RL.
const overLabels = "rl-over-labels"

// changes are the cells of attribution.sh, and what the teacher of run.sh's rl-from-trees and the labels of its sft-labels change, and rewards beside these.
var changes = []line{
	{"sft-labels", "sft", "labels too, of about as many slates as RL has rewards of"},
	{overLabels, "rl", "rewards, over SFT with such labels"},
	{"rl-from-trees", "sft", "trees for a teacher, not the linear controls"},
	{"rl-from-trees", "rl", "trees for a teacher, not the linear controls (both with G 4)"},
	{"sft-no-evidence", "sft", "no evidence tokens"},
	{"sft-text", "sft", "title and brand too, six items of history"},
	{"sft-no-score", "sft", "no legacy score"},
	{"sft-no-midtraining", "sft", "no mid-training"},
	{"sft-half-width", "sft", "half the width"},
	{"sft-double-width", "sft", "double the width"},
	{"sft-fifth-of-slates", "sft", "a fifth of the slates, and of the steps"},
	{"sft-fifth-five-times", "sft", "a fifth of the slates, five times"},
	{"sft-labels-alone", "sft", "labels alone, no teacher"},
	{"sft-no-pointer", "sft", "no head that points"},
	{"rl-group-4", "rl", "G 4 instead of 16"},
	{"rl-naive", "rl", "naive sum instead of `a` (both with G 4)"},
	{"rl-auc", "rl", "AUC instead of NDCG"},
	{"rl-credit-answer", "rl", "credit by answer"},
	{"rl-no-kl", "rl", "no KL"},
	{"rl-dr-grpo", "rl", "advantages not divided by the deviation (and KL .015, for they are smaller)"},
	{"rl-last", "rl", "the last weights instead of their mean, at a rate that falls to .02"},
	{"rl-cold", "rl", "sampled at temperature .5"},
}

func main() {
	log.SetFlags(0)
	var table strings.Builder
	fmt.Fprintln(&table, "Lift over the incoming order in percent, conditional, test: means over the seeds, paired 95% intervals over users drawn for all seeds and orders at once, of these trained policies; ± is the standard deviation over the seeds (trainings, shuffles): that of a mean of three is a root of three smaller. Steps are those whose weights validation kept, one a seed: 0 is the policy that RL began with.")
	for _, d := range datasets {
		if err := lifts(&table, d.name, d.title, d.targets); err != nil {
			log.Fatal(err)
		}
	}
	if err := inFirstPlace(&table); err != nil {
		log.Fatal(err)
	}
	for _, d := range datasets {
		if d.targets == nil { // the market has no such orders
			continue
		}
		if err := attribute(&table, d.name, d.title); err != nil {
			log.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "table.md"), []byte(table.String()), 0o644); err != nil {
		log.Fatal(err)
	}
	if err := updateReadme("README.md"); err != nil {
		log.Fatal(err)
	}
}

// read is the report of a cell, of all its seeds; nil where there is none.
func read(dataset, cell string) (*eval.Report, error) {
	file := filepath.Join(folder, dataset+"-"+cell+".json")
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var r eval.Report
	if err := json.Unmarshal(content, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &r, nil
}

// keptTitle is the line's title, of RL with the steps whose weights validation
// kept, one a seed: 0 is the policy that it began with.
func (l *line) keptTitle(dataset string, r *eval.Report) (string, error) {
	if l.policy != "rl" {
		return l.title, nil
	}
	var kept []string
	for _, seed := range r.Seeds {
		step, err := bestStep(filepath.Join(folder, fmt.Sprintf("%s-seed-%d-%s.metrics.jsonl", dataset, seed, l.cell)))
		if err != nil {
			return "", err
		}
		kept = append(kept, fmt.Sprint(step))
	}
	return fmt.Sprintf("%s (step %s)", l.title, strings.Join(kept, ", ")), nil
}

// bestStep is the step of the best validation of a run, the first among equals.
func bestStep(file string) (step int, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	best := -1.0
	for rows := json.NewDecoder(f); rows.More(); {
		var row struct {
			Step       int
			Validation map[string]float64
		}
		if err := rows.Decode(&row); err != nil {
			return 0, fmt.Errorf("%s: %w", file, err)
		}
		if n3, validated := row.Validation["N@3"]; validated && n3 > best {
			step, best = row.Step, n3
		}
	}
	return step, nil
}

// lifts writes the table of a data set, nothing where it has not been run.
func lifts(out io.Writer, dataset, title string, targets []target) error {
	first, err := read(dataset, "rl-from-sft")
	if first == nil || err != nil {
		return err
	}
	fmt.Fprintf(out, "\n## %s\n\n| incoming order | n | policy | seeds | %s |\n|---|---|---|---|---|---|---|---|---|---|\n", title, strings.Join(columns, " | "))
	for _, order := range orders(first) {
		rows, err := found(dataset, order)
		if err != nil {
			return err
		}
		for _, r := range rows {
			fmt.Fprintf(out, "| %s | %d | %s | %s | %s |\n", order, r.row.N, r.title, strings.Trim(fmt.Sprint(r.seeds), "[]"), strings.Join(r.numbers(r.row.Spread), " | "))
		}
		if err := trees(out, dataset, order); err != nil {
			return err
		}
		for _, t := range targets {
			if t.order == order {
				t.write(out)
			}
		}
	}
	return nil
}

// write writes the rows of a target.
func (t *target) write(out io.Writer) {
	for _, g := range []struct {
		name  string
		lifts [3]float64
	}{{"gate", t.gate}, {"aim", t.aim}, {"ceiling of feature models on Beauty, leave-one-out", t.ceiling}} {
		fmt.Fprintf(out, "| %s | | *%s* | | %+g | %+g | %+g | | | |\n", t.order, g.name, g.lifts[0], g.lifts[1], g.lifts[2])
	}
}

// inFirstPlace writes in how many slates of Beauty, whose users have one positive each,
// it comes first: what a lift over the incoming order does not say where slates
// hold a positive more or less often.
func inFirstPlace(out io.Writer) error {
	r, err := read("beauty", "rl-from-sft")
	if r == nil || err != nil {
		return err
	}
	fmt.Fprint(out, "\n## Amazon Beauty: test slates whose positive comes first, of those that hold it, means over the seeds\n\nGates, aims and ceilings were set from a probe with other baselines, one seed, whose slates hold a positive less often; its numbers here are made of rounded ones.\n\n| incoming order | incoming | RL from SFT | boosted trees | incoming order of the probe | its feature models |\n|---|---|---|---|---|---|\n")
	for _, t := range goals {
		fmt.Fprintf(out, "| %s |", t.order)
		for _, policy := range []string{"incoming", "rl", "control/trees"} {
			row := r.Find(t.order, policy, eval.Conditional, "test")
			if row == nil {
				return fmt.Errorf("beauty-rl-from-sft: no row of %s on the %s order", policy, t.order)
			}
			fmt.Fprintf(out, " %s |", share(row.Metrics["R@1"], row.N))
		}
		fmt.Fprintf(out, " %s | %s |\n", share(t.incoming, t.slates), share(t.incoming*(1+t.ceiling[0]/100), t.slates))
	}
	return nil
}

// share is how many of n that is.
func share(of float64, n int) string {
	return fmt.Sprintf("%.0f of %d, %.1f%%", of*float64(n), n, 100*of)
}

// result is a line of the table that has been measured.
type result struct {
	title string
	seeds []uint64
	row   *eval.Row
	shown eval.Row // over the control on what prompts show
}

// found are the lines that a data set has of an order.
func found(dataset, order string) (all []result, err error) {
	for _, l := range lines {
		r, err := read(dataset, l.cell)
		if err != nil {
			return nil, err
		}
		if r == nil {
			continue
		}
		row := r.Find(order, l.policy, eval.Conditional, "test")
		if row == nil {
			continue
		}
		title, err := l.keptTitle(dataset, r)
		if err != nil {
			return nil, err
		}
		shown, err := read(dataset, l.cell+"-shown")
		if err != nil {
			return nil, err
		}
		all = append(all, result{title, r.Seeds, row, sameRow(shown, row)})
	}
	return all, nil
}

// columns are what numbers gives.
var columns = []string{"R@1", "R@3", "N@3", "N@3 over the linear control", "over that on what prompts show", "N@3 over SFT"}

// numbers are the lifts of a result, with this spread over the seeds, and what it is
// over others, with theirs.
func (r *result) numbers(spread map[string]float64) (cells []string) {
	for _, m := range metrics {
		cells = append(cells, cellOf(r.row.Lift, spread, m))
	}
	return append(cells, cellOf(r.row.OverRival, r.row.RivalSpread, "N@3"), cellOf(r.shown.OverRival, r.shown.RivalSpread, "N@3"), cellOf(r.row.OverBefore, r.row.BeforeSpread, "N@3"))
}

// trees writes what trees.py measured on an order, as means over its seeds.
func trees(out io.Writer, dataset, order string) error {
	var trees struct {
		Seeds map[string]map[string]struct {
			Slates int
			Lift   map[string]float64
		}
	}
	file := filepath.Join(folder, dataset+"-trees.json")
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(content, &trees)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	seeds := slices.Sorted(maps.Keys(trees.Seeds))
	slates, lifts := 0, map[string][]float64{}
	for _, seed := range seeds {
		t, measured := trees.Seeds[seed][order]
		if !measured {
			return nil
		}
		slates += t.Slates
		for _, m := range metrics {
			lifts[m] = append(lifts[m], 100*t.Lift[m])
		}
	}
	fmt.Fprintf(out, "| %s | %d | LightGBM | %s |", order, (slates+len(seeds)/2)/len(seeds), strings.Join(seeds, " "))
	for _, m := range metrics {
		mean, spread := meanAndDeviation(lifts[m])
		fmt.Fprintf(out, " %+.1f ±%.1f |", mean, spread)
	}
	fmt.Fprint(out, " | | |\n")
	return nil
}

func meanAndDeviation(x []float64) (mean, deviation float64) {
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		deviation += (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(deviation / float64(max(1, len(x)-1)))
}

// orders are those of a report, in its order.
func orders(r *eval.Report) []string {
	var all []string
	for _, row := range r.Rows {
		if !slices.Contains(all, row.Order) {
			all = append(all, row.Order)
		}
	}
	return all
}

// sameRow is a row as another report of the same runs has it, empty without one.
func sameRow(r *eval.Report, like *eval.Row) (row eval.Row) {
	if r == nil {
		return row
	}
	if found := r.Find(like.Order, like.Policy, like.Slice, like.Split); found != nil {
		row = *found
	}
	return row
}

func cellOf(lifts map[string]eval.Lift, spread map[string]float64, metric string) string {
	l, known := lifts[metric]
	if !known {
		return ""
	}
	cell := fmt.Sprintf("%+.1f [%+.1f, %+.1f]", 100*l.Value, 100*l.Low, 100*l.High)
	if s := spread[metric]; s > 0 { // of several seeds
		cell += fmt.Sprintf(" ±%.1f", 100*s)
	}
	return cell
}

// compared reports whether a report has the policy beside that of other runs, which
// it has not where these were not there yet.
func compared(r *eval.Report, policy string) bool {
	row := r.Find(eval.AllOrders, policy, eval.Conditional, "test")
	return row == nil || row.OverOther != nil
}

// attribute writes what each change does to its policy: SFT, or RL where the
// change is one of RL. The runs it is compared with have the same seeds and slates.
func attribute(out io.Writer, dataset, title string) error {
	var rows strings.Builder
	for _, c := range changes {
		r, err := read(dataset, c.cell)
		if err != nil {
			return err
		}
		if r == nil || !compared(r, c.policy) {
			continue
		}
		fmt.Fprintf(&rows, "| %s | %s | %s |", strings.ToUpper(c.policy), c.title, strings.Trim(fmt.Sprint(r.Seeds), "[]"))
		for _, order := range []string{"sasrec", "bpr", "blend", eval.AllOrders} {
			row := r.Find(order, c.policy, eval.Conditional, "test")
			if row == nil {
				return fmt.Errorf("%s: no row of %s on the %s order", c.cell, c.policy, order)
			}
			if (row.Other != "") != (c.cell == overLabels) {
				return fmt.Errorf("%s: %s is compared with %q of the other runs", c.cell, c.policy, row.Other)
			}
			fmt.Fprintf(&rows, " %s |", cellOf(row.OverOther, row.OtherSpread, "N@3"))
		}
		rows.WriteByte('\n')
	}
	if rows.Len() > 0 {
		fmt.Fprintf(out, "\n## What moves it: %s, N@3 with one change over N@3 without it, percent\n\n| stage | change | seeds | sasrec | bpr | blend | all |\n|---|---|---|---|---|---|---|\n%s", title, rows.String())
	}
	return nil
}
