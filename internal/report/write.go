package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"github.com/gr2/gr2/internal/eval"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/sid"
)

//go:embed report.html
var pageText string

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"letter": func(run int) string { return runNumber(run).Letter() },
	"next":   func(run int) int { return run + 1 },
}).Parse(pageText))

// page is what the template sees.
type page struct {
	Data
	Headline []string
	Forests  []forest
	Tables   []resultTable
	Meanings []Fact
	Probes   []probeGroup
	Runs     []string // whose curves are drawn, A first; nil where it is one
	Training []stageCharts
	Slates   []slateView
	SIDRows  []sidRow
	SIDBars  []barChart
}

// stageCharts are the curves of one stage.
type stageCharts struct {
	Name   string
	Charts []lineChart
}

type sidRow struct {
	Level int
	sid.LevelStats
}

// slateView is a sample with every candidate in both orders.
type slateView struct {
	Sample
	Before, After []place
}

// place is a candidate at a rank. Moved is how many places up the policy took
// it, negative for down.
type place struct {
	Rank  int
	Moved int
	Item  SampleItem
}

// Up and Down are the distance, 0 when the item did not go that way.
func (p place) Up() int   { return max(p.Moved, 0) }
func (p place) Down() int { return max(-p.Moved, 0) }

// Outcome says in a word what the user did.
func (p place) Outcome() string {
	switch p.Item.Grade {
	case market.GradeNone:
		return ""
	case market.GradeClick:
		return "clicked"
	}
	return "converted"
}

// Write renders the report.
func Write(w io.Writer, d Data) error {
	p, err := newPage(d)
	if err != nil {
		return err
	}
	return pageTemplate.Execute(w, p)
}

func newPage(d Data) (*page, error) {
	if d.Report == nil {
		return nil, fault.Inputf("report: Data.Report is missing; evaluate the run first")
	}
	p := &page{Data: d, Tables: resultTables(d.Report.Rows), Meanings: metricMeanings(), Headline: headline(d.Report.Rows)}
	for _, m := range []string{"R@1", "R@3", "N@3"} {
		if f, ok := newForest(m, d.Report.Rows); ok {
			p.Forests = append(p.Forests, f)
		}
	}
	var err error
	if p.Probes, err = probeGroups(d.Report.Probes); err != nil {
		return nil, err
	}
	if len(d.Beside) > 0 {
		p.Runs = []string{d.Title}
		for _, run := range d.Beside {
			p.Runs = append(p.Runs, run.Name)
		}
	}
	if p.Training, err = charts(d.Curves, d.Beside, p.Runs); err != nil {
		return nil, err
	}
	for _, s := range d.Samples {
		v, err := newSlateView(s)
		if err != nil {
			return nil, err
		}
		p.Slates = append(p.Slates, v)
	}
	if d.SID != nil {
		for i, l := range d.SID.Quality.Levels {
			p.SIDRows = append(p.SIDRows, sidRow{i + 1, l})
		}
		p.SIDBars = sidBars(d.SID)
	}
	return p, nil
}

// headline says for each order what the last trained policy does to R@1:
// stages are reported in the order they were trained.
func headline(rows []eval.Row) []string {
	var orders []string
	last := map[string]eval.Row{}
	for _, r := range rows {
		if r.Slice != eval.Conditional || r.Policy == eval.Oracle || r.Policy == eval.Bayes || r.Split != "test" {
			continue
		}
		if strings.HasPrefix(r.Policy, "control/") || strings.HasSuffix(r.Policy, writtenSuffix) {
			continue // another reading of a policy is not the policy
		}
		if _, ok := r.Lift["R@1"]; !ok {
			continue
		}
		if !slices.Contains(orders, r.Order) {
			orders = append(orders, r.Order)
		}
		last[r.Order] = r
	}
	var out []string
	for _, o := range orders {
		r := last[o]
		l := r.Lift["R@1"]
		word := "cannot be told from no change"
		switch verdict(l) {
		case "good":
			word = "better"
		case "bad":
			word = "worse"
		}
		out = append(out, fmt.Sprintf("%s over the %s order: R@1 %s, %s (n = %d).", r.Policy, o, liftText(l), word, r.N))
	}
	return out
}

func charts(own []Curve, beside []Run, names []string) ([]stageCharts, error) {
	if len(beside) > MaxBeside {
		return nil, fault.Usagef("--beside names %d runs; name at most %d, for more cannot be told apart in a chart", len(beside), MaxBeside)
	}
	runs := append([]Run{{Curves: own}}, beside...)
	var stages []stageCharts
	drawn := map[[2]string]bool{}
	for _, run := range runs {
		for _, c := range run.Curves {
			key := [2]string{c.Stage, c.Metric}
			if drawn[key] {
				continue
			}
			drawn[key] = true
			chart, ok := newLineChart(c.Stage, c.Metric, pointsOf(runs, c.Stage, c.Metric), names)
			if !ok {
				continue
			}
			i := slices.IndexFunc(stages, func(s stageCharts) bool { return s.Name == c.Stage })
			if i < 0 {
				i = len(stages)
				stages = append(stages, stageCharts{Name: c.Stage})
			}
			stages[i].Charts = append(stages[i].Charts, chart)
		}
	}
	return stages, nil
}

// pointsOf is a metric of a stage as each of the runs has it, nil where one has not.
func pointsOf(runs []Run, stage, metric string) [][]Point {
	points := make([][]Point, len(runs))
	for i, run := range runs {
		for _, c := range run.Curves {
			if c.Stage == stage && c.Metric == metric {
				points[i] = c.Points
			}
		}
	}
	return points
}

func newSlateView(s Sample) (slateView, error) {
	v := slateView{Sample: s}
	if !eval.IsPermutation(s.Ranking, len(s.Candidates)) {
		return v, fault.Inputf("report: sample %q: the ranking %v is not a permutation of its %d candidates", s.ID, s.Ranking, len(s.Candidates))
	}
	v.Before = make([]place, len(s.Candidates))
	for rank, c := range s.Ranking {
		item := s.Candidates[c]
		v.After = append(v.After, place{Rank: rank + 1, Moved: c - rank, Item: item})
		v.Before[c] = place{Rank: c + 1, Item: item}
	}
	return v, nil
}
