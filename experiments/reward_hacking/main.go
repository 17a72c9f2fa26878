// Command reward_hacking puts the curves of the rewards side by side: a table on
// standard output and experiments/reward_hacking/curves.svg.
//
//	go run ./experiments/reward_hacking
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
)

const folder = "experiments/reward_hacking"

var variants = []string{"naive", "a", "b", "c"}

// step is the part of a row of metrics.jsonl that is shown.
type step struct {
	Step    int
	Draws   int // 0 in rows of validations
	Valid   float64
	Reward  struct{ Total float64 }
	Ranking struct{ AUC, N3, Copied, Echoed float64 }
}

// curves are the figures, each a number of a step.
var curves = []struct {
	name string
	of   func(*step) float64
}{
	{"copy rate (valid answers)", func(s *step) float64 { return s.Ranking.Copied }},
	{"valid answers", func(s *step) float64 { return s.Valid }},
	{"AUC (valid answers)", func(s *step) float64 { return s.Ranking.AUC }},
	{"reward", func(s *step) float64 { return s.Reward.Total }},
}

func main() {
	log.SetFlags(0)
	runs := map[string][][]step{}
	for _, v := range variants {
		files, err := filepath.Glob(filepath.Join(folder, "seed-*-"+v+".metrics.jsonl"))
		if err != nil {
			log.Fatal(err)
		}
		for _, file := range files {
			rows, err := read(file)
			if err != nil {
				log.Fatal(err)
			}
			runs[v] = append(runs[v], rows)
		}
		if len(files) == 0 {
			log.Fatalf("no %s/seed-*-%s.metrics.jsonl: run %s/run.sh, from the root of the repository", folder, v, folder)
		}
	}
	for _, c := range curves {
		fmt.Printf("%s, mean of %d steps and of the seeds\n%6s", c.name, width, "step")
		for _, v := range variants {
			fmt.Printf(" %8s", v)
		}
		fmt.Println()
		for i := range mean(runs[variants[0]], c.of) {
			fmt.Printf("%6d", (i+1)*width)
			for _, v := range variants {
				fmt.Printf(" %8.3f", mean(runs[v], c.of)[i])
			}
			fmt.Println()
		}
		fmt.Println()
	}
	if err := os.WriteFile(filepath.Join(folder, "curves.svg"), []byte(draw(runs)), 0o644); err != nil {
		log.Fatal(err)
	}
}

func read(file string) ([]step, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var rows []step
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var s step
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if s.Draws > 0 {
			rows = append(rows, s)
		}
	}
	return rows, nil
}

// width is the number of steps that share a point.
const width = 10

// mean is that of a number over the seeds and over each stretch of steps that all
// of them have.
func mean(runs [][]step, of func(*step) float64) []float64 {
	length := len(runs[0])
	for _, rows := range runs {
		length = min(length, len(rows))
	}
	points := make([]float64, length/width)
	for i := range points {
		for _, rows := range runs {
			for j := range width {
				points[i] += of(&rows[i*width+j]) / float64(width*len(runs))
			}
		}
	}
	return points
}

// draw is one panel a figure, one line a reward; all share the axis from 0 to the
// largest value, at least 1.
func draw(runs map[string][][]step) string {
	const w, h, left, top = 300.0, 180.0, 40.0, 40.0
	colours := []string{"#b3261e", "#1f5fbf", "#14713d", "#8a6d00"}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g 260" font-family="sans-serif" font-size="11">`+"\n", (w+left)*float64(len(curves))+20)
	for i, c := range curves {
		x0, most := left+float64(i)*(w+left), 1.0
		for _, v := range variants {
			for _, p := range mean(runs[v], c.of) {
				most = max(most, p)
			}
		}
		fmt.Fprintf(&b, `<text x="%g" y="24" font-weight="bold">%s</text><rect x="%g" y="%g" width="%g" height="%g" fill="none" stroke="#bbb"/>`+"\n", x0, c.name, x0, top, w, h)
		fmt.Fprintf(&b, `<text x="%g" y="%g" text-anchor="end">%.1f</text><text x="%g" y="%g" text-anchor="end">0</text>`+"\n", x0-4, top+8, most, x0-4, top+h)
		for k, v := range variants {
			points := mean(runs[v], c.of)
			fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="1.8" points="`, colours[k])
			for j, p := range points {
				fmt.Fprintf(&b, "%.1f,%.1f ", x0+w*float64(j)/float64(max(1, len(points)-1)), top+h*(1-max(0, p)/most))
			}
			fmt.Fprintf(&b, `"/><text x="%g" y="%g" fill="%s">%s</text>`+"\n", x0+float64(k)*60, top+h+18, colours[k], v)
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}
