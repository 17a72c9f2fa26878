// Command reward_hacking puts the curves of the rewards side by side: tables in
// experiments/reward_hacking/table.txt, and a figure of each part beside it.
//
//	go run ./experiments/reward_hacking
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/gr2/gr2/internal/durable"
)

const folder = "experiments/reward_hacking"

var variants = []string{"naive", "a", "b", "c"}

// step is the part of a row of metrics.jsonl that is shown.
type step struct {
	Step    int
	Draws   int // 0 in rows of validations
	Valid   float64
	Length  float64
	Reward  struct{ Total float64 }
	Ranking struct{ AUC, Copied, Perfect, Idle float64 }
}

// curve is a figure: a number of a step, counted as much as the step weighs.
type curve struct {
	name   string
	of     func(*step) float64
	weight func(*step) float64
}

// Steps weigh the same, or as many as their valid answers are.
func same(*step) float64         { return 1 }
func ofTheValid(s *step) float64 { return s.Valid }

var (
	copied  = curve{"copy rate (valid answers)", func(s *step) float64 { return s.Ranking.Copied }, ofTheValid}
	perfect = curve{"a copy is right", func(s *step) float64 { return s.Ranking.Perfect }, ofTheValid}
	idle    = curve{"as it came, of what could be bettered", func(s *step) float64 { return s.Ranking.Idle / max(1e-9, 1-s.Ranking.Perfect) }, ofTheValid}
	length  = curve{"tokens of an answer", func(s *step) float64 { return s.Length }, same}
	valid   = curve{"valid answers", func(s *step) float64 { return s.Valid }, same}
	auc     = curve{"AUC (valid answers)", func(s *step) float64 { return s.Ranking.AUC }, ofTheValid}
	reward  = curve{"reward", func(s *step) float64 { return s.Reward.Total }, same}
)

// part is one setting of the experiment.
type part struct {
	name, title string
	width       int // steps that share a point
	curves      []curve
}

var parts = []part{
	{"form", "synthetic market, free decoding, slates of 5", 10, []curve{valid, length, copied, auc, reward}},
	{"copy", "synthetic market, under the grammar, slates of 10", 25, []curve{copied, perfect, idle, auc, reward}},
	{"form-beauty", "Amazon Beauty, free decoding", 10, []curve{valid, length, copied, auc, reward}},
	{"copy-beauty", "Amazon Beauty, under the grammar", 25, []curve{copied, perfect, idle, auc, reward}},
	{"form-sports", "Amazon Sports and Outdoors, free decoding", 10, []curve{valid, length, copied, auc, reward}},
	{"copy-sports", "Amazon Sports and Outdoors, under the grammar", 25, []curve{copied, perfect, idle, auc, reward}},
}

func main() {
	log.SetFlags(0)
	if err := write(); err != nil {
		log.Fatal(err)
	}
}

func write() error {
	var tables strings.Builder
	for _, p := range parts {
		runs, seeds, err := p.read()
		if err != nil {
			return err
		}
		if seeds == 0 {
			fmt.Fprintf(&tables, "%s: not run\n\n", p.title)
			continue
		}
		p.print(&tables, runs, seeds)
		if err := save(p.name+".svg", p.draw(runs)); err != nil {
			return err
		}
	}
	return save("table.txt", tables.String())
}

func save(name, text string) error {
	return durable.Write(filepath.Join(folder, name), func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
}

// read is the rows of each reward's runs, and how many seeds all rewards have: 0
// where the part has not been run.
func (p *part) read() (runs map[string][][]step, seeds int, err error) {
	runs = map[string][][]step{}
	expected := "" // the files of the first reward
	for _, v := range variants {
		pattern := filepath.Join(folder, p.name+"-seed-*-"+v+".metrics.jsonl")
		files, err := filepath.Glob(pattern)
		if err != nil {
			return nil, 0, err
		}
		counterparts := strings.ReplaceAll(strings.Join(files, " "), "-"+v+".", "-"+variants[0]+".")
		if v == variants[0] {
			seeds, expected = len(files), counterparts
		}
		if counterparts != expected {
			return nil, 0, fmt.Errorf("%s: other seeds than those of %s: run %s/run.sh to the end", pattern, variants[0], folder)
		}
		for _, file := range files {
			rows, err := read(file)
			if err != nil {
				return nil, 0, err
			}
			if first := runs[variants[0]]; len(first) > 0 && len(rows) != len(first[0]) {
				return nil, 0, fmt.Errorf("%s: %d steps, the first run of the part has %d: run %s/run.sh to the end", file, len(rows), len(first[0]), folder)
			}
			runs[v] = append(runs[v], rows)
		}
	}
	return runs, seeds, nil
}

func (p *part) print(w io.Writer, runs map[string][][]step, seeds int) {
	for _, c := range p.curves {
		fmt.Fprintf(w, "%s: %s, mean of %d steps and of %d seeds\n%6s", p.title, c.name, p.width, seeds, "step")
		for _, v := range variants {
			fmt.Fprintf(w, " %8s", v)
		}
		fmt.Fprintln(w)
		for i := range p.mean(runs[variants[0]], c) {
			fmt.Fprintf(w, "%6d", (i+1)*p.width)
			for _, v := range variants {
				if y := p.mean(runs[v], c)[i]; math.IsNaN(y) {
					fmt.Fprintf(w, " %8s", "-")
				} else {
					fmt.Fprintf(w, " %8.3f", y)
				}
			}
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w)
	}
}

func read(file string) ([]step, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var rows []step
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var s step
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if s.Draws > 0 {
			rows = append(rows, s)
		}
	}
	return rows, lines.Err()
}

// mean is that of a curve over the seeds, which have the same steps, and over each
// stretch of steps: no number where nothing has weight.
func (p *part) mean(runs [][]step, c curve) []float64 {
	points := make([]float64, len(runs[0])/p.width)
	for i := range points {
		sum, weight := 0.0, 0.0
		for _, rows := range runs {
			for j := range p.width {
				s := &rows[i*p.width+j]
				sum, weight = sum+c.weight(s)*c.of(s), weight+c.weight(s)
			}
		}
		points[i] = sum / weight
	}
	return points
}

// draw is one panel a figure, one line a reward; all share the axis from 0 to the
// largest value, at least 1.
func (p *part) draw(runs map[string][][]step) string {
	const w, h, left, top = 300.0, 180.0, 40.0, 40.0
	colours := []string{"#b3261e", "#1f5fbf", "#14713d", "#8a6d00"}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g 260" font-family="sans-serif" font-size="11">`+"\n", (w+left)*float64(len(p.curves))+20)
	for i, c := range p.curves {
		x0, most := left+float64(i)*(w+left), 1.0
		for _, v := range variants {
			for _, y := range p.mean(runs[v], c) {
				if !math.IsNaN(y) {
					most = max(most, y)
				}
			}
		}
		fmt.Fprintf(&b, `<text x="%g" y="24" font-weight="bold">%s</text><rect x="%g" y="%g" width="%g" height="%g" fill="none" stroke="#bbb"/>`+"\n", x0, c.name, x0, top, w, h)
		fmt.Fprintf(&b, `<text x="%g" y="%g" text-anchor="end">%.1f</text><text x="%g" y="%g" text-anchor="end">0</text>`+"\n", x0-4, top+8, most, x0-4, top+h)
		for k, v := range variants {
			points := p.mean(runs[v], c)
			fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="1.8" points="`, colours[k])
			for j, y := range points {
				if math.IsNaN(y) {
					continue
				}
				fmt.Fprintf(&b, "%.1f,%.1f ", x0+w*float64(j)/float64(max(1, len(points)-1)), top+h*(1-max(0, y)/most))
			}
			fmt.Fprintf(&b, `"/><text x="%g" y="%g" fill="%s">%s</text>`+"\n", x0+float64(k)*60, top+h+18, colours[k], v)
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}
