package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/gr2/gr2/internal/eval"
)

// A figure is geometry in the units of its SVG viewBox; the template draws it.
// Numbers are formatted here so that equal data gives equal bytes.

// lineChart is one metric of one stage.
type lineChart struct {
	Stage, Metric string
	Lines         []line
	X, Y          []tick
	Note          string // for readers who cannot see the lines
}

// runNumber is that of a run among several, 0 for the report's own: it has a colour.
type runNumber int

// Letter tells runs apart without their colours.
func (n runNumber) Letter() string { return string(rune('A' + n)) }

// line is the metric in one run.
type line struct {
	Run          runNumber
	Path         string // of an SVG polyline
	Last         string // the value at the end
	LastX, LastY string
}

// tick is a labelled place on an axis.
type tick struct{ At, Label string }

// Size of a line chart and of its plotting area.
const (
	chartW, chartH             = 360.0, 200.0
	plotL, plotR, plotT, plotB = 52.0, 348.0, 12.0, 172.0
	maxPoints                  = 400 // drawn points a curve; about one a pixel
)

// newLineChart draws a metric of a stage as the runs have it, by the number of the
// run, which has a name where there are several. Runs with fewer than two points of it
// have no line. The lines of several runs are means over stretches of steps: noise that
// crosses noise cannot be read.
func newLineChart(stage, metric string, runs [][]Point, names []string) (lineChart, bool) {
	drawn, all := make([][]Point, len(runs)), []Point(nil)
	for i, points := range runs {
		points = finite(points)
		if len(runs) > 1 {
			points = means(points, stretches)
		}
		if points = thin(points, maxPoints); len(points) > 1 {
			drawn[i], all = points, append(all, points...)
		}
	}
	if all == nil {
		return lineChart{}, false
	}
	xs, ys := spanOf(all, func(p Point) float64 { return p.X }), spanOf(all, func(p Point) float64 { return p.Y })
	xTicks, yTicks := niceTicks(xs, 5), niceTicks(ys, 5)
	ys = ys.include(yTicks)
	x := func(v float64) string { return coord(plotL + (plotR-plotL)*xs.share(v)) }
	y := func(v float64) string { return coord(plotB - (plotB-plotT)*ys.share(v)) }
	chart := lineChart{Stage: stage, Metric: metric, Note: fmt.Sprintf("%s of %s", metric, stage)}
	for i, points := range drawn {
		if points == nil {
			continue
		}
		var path []string
		for _, p := range points {
			path = append(path, x(p.X)+","+y(p.Y))
		}
		first, last := points[0], points[len(points)-1]
		if len(names) > 0 {
			chart.Note += fmt.Sprintf("; %s:", names[i])
		}
		chart.Note += fmt.Sprintf(" from %s at step %s to %s at step %s", short(first.Y), short(first.X), short(last.Y), short(last.X))
		chart.Lines = append(chart.Lines, line{Run: runNumber(i), Path: strings.Join(path, " "), Last: short(last.Y), LastX: x(last.X), LastY: y(last.Y)})
	}
	for _, v := range xTicks {
		chart.X = append(chart.X, tick{x(v), short(v)})
	}
	for _, v := range yTicks {
		chart.Y = append(chart.Y, tick{y(v), short(v)})
	}
	return chart, true
}

func finite(points []Point) []Point {
	return slices.DeleteFunc(slices.Clone(points), func(p Point) bool {
		s := p.X + p.Y
		return math.IsNaN(s) || math.IsInf(s, 0)
	})
}

// stretches are the points at most of a line among others.
const stretches = 50

// means are those of n equal stretches of the points, at the last place of each;
// the points themselves where there are no more.
func means(points []Point, n int) []Point {
	if len(points) <= n {
		return points
	}
	out := make([]Point, n)
	for i := range out {
		part := points[i*len(points)/n : (i+1)*len(points)/n]
		for _, p := range part {
			out[i].Y += p.Y / float64(len(part))
		}
		out[i].X = part[len(part)-1].X
	}
	return out
}

// thin keeps at most n points: the lowest and the highest of each of n/2 equal
// parts, so that no spike is lost, and both ends.
func thin(points []Point, n int) []Point {
	if len(points) <= n {
		return points
	}
	parts := n/2 - 1
	out := []Point{points[0]}
	inner := points[1 : len(points)-1]
	for i := range parts {
		part := inner[i*len(inner)/parts : (i+1)*len(inner)/parts]
		if len(part) == 0 {
			continue
		}
		low, high := 0, 0
		for j, p := range part {
			if p.Y < part[low].Y {
				low = j
			}
			if p.Y > part[high].Y {
				high = j
			}
		}
		out = append(out, part[min(low, high)])
		if low != high {
			out = append(out, part[max(low, high)])
		}
	}
	return append(out, points[len(points)-1])
}

// span is a closed interval of an axis; it is never empty.
type span struct{ low, high float64 }

func spanOf(points []Point, value func(Point) float64) span {
	s := span{value(points[0]), value(points[0])}
	for _, p := range points {
		s.low, s.high = min(s.low, value(p)), max(s.high, value(p))
	}
	return s.widen()
}

func (s span) widen() span {
	if s.high > s.low {
		return s
	}
	pad := max(math.Abs(s.low)/10, 1e-6)
	return span{s.low - pad, s.high + pad}
}

func (s span) include(values []float64) span {
	for _, v := range values {
		s.low, s.high = min(s.low, v), max(s.high, v)
	}
	return s
}

func (s span) share(v float64) float64 { return (v - s.low) / (s.high - s.low) }

// niceTicks are n/2 to n+1 round values within the span: two at least for n = 5.
func niceTicks(s span, n int) []float64 {
	raw := (s.high - s.low) / float64(n)
	unit := math.Pow(10, math.Floor(math.Log10(raw)))
	step := unit * 10
	for _, m := range []float64{1, 2, 5} {
		if raw <= m*unit {
			step = m * unit
			break
		}
	}
	var ticks []float64
	for i := math.Ceil(s.low / step); i*step <= s.high+step*1e-9 && len(ticks) < 4*n; i++ {
		ticks = append(ticks, i*step+0) // +0 turns -0 into 0
	}
	return ticks
}

// forest shows the lifts of one metric: a line per policy, order by order.
type forest struct {
	Metric string
	Height float64
	Rows   []forestRow
	Ticks  []tick
	Zero   string // x of no lift
	Bottom string // y of the axis
}

type forestRow struct {
	Label          string
	Text           string // the numbers
	Y, TextY       string
	Low, High, Dot string
	Verdict        string // class: good, bad or even
	Header         bool   // Label names an order and there is no line
}

// Size of a forest and of its plotting area.
const (
	forestW          = 760.0
	forestL, forestR = 210.0, 580.0
	forestRowH       = 24.0
)

// newForest draws the conditional lifts of metric in all orders.
func newForest(metric string, rows []eval.Row) (forest, bool) {
	f := forest{Metric: metric}
	var kept []eval.Row
	var lifts []eval.Lift
	for _, r := range rows {
		if lift, ok := r.Lift[metric]; ok && r.Slice == eval.Conditional && r.Policy != eval.Oracle {
			kept, lifts = append(kept, r), append(lifts, lift)
		}
	}
	if len(kept) == 0 {
		return f, false
	}
	xs := forestSpan(lifts)
	x := func(v float64) string { return coord(forestL + (forestR-forestL)*min(max(xs.share(v), 0), 1)) }
	at := 0.0
	order := ""
	for i, r := range kept {
		if name := tableName(r); name != order {
			order = name
			at += forestRowH
			f.Rows = append(f.Rows, forestRow{Header: true, Label: name, TextY: coord(at)})
		}
		at += forestRowH
		l := lifts[i]
		f.Rows = append(f.Rows, forestRow{Label: r.Policy, Text: liftText(l), Verdict: verdict(l),
			Y: coord(at - 4), TextY: coord(at), Low: x(l.Low), High: x(l.High), Dot: x(l.Value)})
	}
	f.Zero, f.Bottom, f.Height = x(0), coord(at+10), at+34
	for _, v := range niceTicks(xs, 5) {
		f.Ticks = append(f.Ticks, tick{x(v), percent(v)})
	}
	return f, true
}

// forestSpan covers zero, all values and the intervals, unless an interval of
// a tiny test set would squeeze everything else.
func forestSpan(lifts []eval.Lift) span {
	var values, bounds span
	for _, l := range lifts {
		values = values.include([]float64{l.Value})
		bounds = bounds.include([]float64{l.Low, l.High})
	}
	values = values.widen()
	room := 1.5 * (values.high - values.low)
	return span{max(bounds.low, values.low-room), min(bounds.high, values.high+room)}.widen()
}

func verdict(l eval.Lift) string {
	switch {
	case l.Low > 0:
		return "good"
	case l.High < 0:
		return "bad"
	}
	return "even"
}

func coord(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }

// short is a number in few characters.
func short(v float64) string {
	a := math.Abs(v)
	switch {
	case a >= 1e6 || (a < 1e-3 && v != 0):
		return strconv.FormatFloat(v, 'g', 3, 64)
	case a >= 1000 || v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return trim(strconv.FormatFloat(v, 'f', 2, 64))
	}
	return trim(strconv.FormatFloat(v, 'f', 4, 64))
}

func trim(s string) string { return strings.TrimRight(strings.TrimRight(s, "0"), ".") }

func percent(v float64) string {
	if math.Abs(v) < 5e-10 {
		return "0%"
	}
	return strings.Replace(fmt.Sprintf("%+.4g%%", 100*v), "-", "−", 1)
}

// liftText is a relative lift with its interval, in percent.
func liftText(l eval.Lift) string {
	return minus(fmt.Sprintf("%+.1f%% [%.1f, %.1f]", 100*l.Value, 100*l.Low, 100*l.High))
}

// minus writes the minus sign as such.
func minus(s string) string { return strings.ReplaceAll(s, "-", "−") }
