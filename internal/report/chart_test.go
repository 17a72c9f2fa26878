package report

import (
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gr2/gr2/internal/eval"
	"github.com/gr2/gr2/internal/fault"
)

func TestReadCurves(t *testing.T) {
	log := `{"step":2,"loss":3,"lr":0.1,"task":{"sid":1.5}}
{"step":1,"loss":4,"phase":"warmup"}
{"step":3,"loss":2.5,"task":{"sid":1}}
`
	got, err := ReadCurves("sft", strings.NewReader(log+`{"step":4,"lo`)) // a line under way
	if err != nil {
		t.Fatal(err)
	}
	want := []Curve{
		{"sft", "loss", []Point{{1, 4}, {2, 3}, {3, 2.5}}},
		{"sft", "lr", []Point{{2, .1}}},
		{"sft", "task.sid", []Point{{2, 1.5}, {3, 1}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestReadCurvesRefuses(t *testing.T) {
	for _, c := range []struct{ log, want string }{
		{"{\"step\":1,\"loss\":2}\n{\"step\":\n", "line 2: not a JSON object"},
		{"{\"loss\":2}\n", `line 1: no number "step"`},
		{"[1]\n", "line 1: not a JSON object"},
		{strings.Repeat("x", 2<<20), "bufio.Scanner: token too long"},
	} {
		_, err := ReadCurves("sft", strings.NewReader(c.log))
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || fault.KindOf(err) != fault.Corrupt {
			t.Errorf("want %q, got %v", c.want, err)
		}
	}
}

// Every drawn point lies inside the plot, whatever the numbers.
func TestChartStaysInside(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 900).Draw(t, "n")
		scale := rapid.SampledFrom([]float64{1e-12, 1, 1e12}).Draw(t, "scale")
		runs := make([][]Point, rapid.IntRange(1, 1+MaxBeside).Draw(t, "runs"))
		for k := range runs {
			for i := range n / (k + 1) { // one of them may have none
				runs[k] = append(runs[k], Point{float64(i), scale * rapid.Float64Range(-1, 1).Draw(t, "y")})
			}
		}
		chart, ok := newLineChart("s", "m", runs, nil)
		if !ok {
			t.Fatal("not drawn")
		}
		for _, line := range chart.Lines {
			pairs := strings.Fields(line.Path)
			if len(pairs) > maxPoints {
				t.Fatalf("%d points", len(pairs))
			}
			for _, pair := range pairs {
				x, y, _ := strings.Cut(pair, ",")
				inside(t, x, plotL, plotR)
				inside(t, y, plotT, plotB)
			}
		}
		if len(chart.Y) < 2 || len(chart.X) < 1 {
			t.Fatalf("ticks %v %v", chart.X, chart.Y)
		}
		for _, tk := range chart.Y {
			inside(t, tk.At, plotT, plotB)
		}
	})
}

func inside(t *rapid.T, text string, low, high float64) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) || v < low-.1 || v > high+.1 {
		t.Fatalf("%s is not within %g..%g", text, low, high)
	}
}

// Thinning keeps both ends and the extremes, in order.
func TestThinKeepsSpikes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 3000).Draw(t, "n")
		points := make([]Point, n)
		for i := range points {
			points[i] = Point{float64(i), math.Sin(float64(i))}
		}
		spike := rapid.IntRange(0, n-1).Draw(t, "spike")
		points[spike].Y = 9
		out := thin(points, maxPoints)
		found := false
		for i, p := range out {
			found = found || p.Y == 9
			if i > 0 && p.X <= out[i-1].X {
				t.Fatalf("point %d is out of order", i)
			}
		}
		if !found || out[0] != points[0] || out[len(out)-1] != points[n-1] {
			t.Fatalf("lost the spike at %d or an end", spike)
		}
	})
}

// Lines of several runs are means of stretches, which leave the mean of all as it is,
// and end where the run ends.
func TestMeansOfStretches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 7*stretches).Draw(t, "n")
		points, want := make([]Point, n), 0.0
		for i := range points {
			points[i] = Point{float64(i + 1), rapid.Float64Range(-1, 1).Draw(t, "y")}
			want += points[i].Y
		}
		got, sum, last := means(points, stretches), 0.0, 0.0
		for _, p := range got {
			sum, last = sum+p.Y*(p.X-last), p.X // as many steps as the stretch has
		}
		if len(got) != min(n, stretches) || math.Abs(sum-want) > 1e-9 || last != float64(n) {
			t.Fatalf("%d points of %d with sum %g, want %g; the last at %g", len(got), n, sum, want, last)
		}
	})
}

func TestNotNumbersAreLeftOut(t *testing.T) {
	nan := math.NaN()
	chart, ok := newLineChart("s", "m", [][]Point{{{1, nan}, {2, 5}, {3, math.Inf(1)}, {4, 6}}}, nil)
	if !ok || len(chart.Lines) != 1 || len(strings.Fields(chart.Lines[0].Path)) != 2 {
		t.Errorf("got %v %+v", ok, chart)
	}
	if _, ok := newLineChart("s", "m", [][]Point{{{1, nan}, {2, 5}}, {{1, 1}}}, nil); ok {
		t.Error("one point was drawn")
	}
}

// One wild interval does not squeeze the others to nothing.
func TestForestSpan(t *testing.T) {
	rows := []eval.Row{
		row("a", "x", eval.Conditional, .2, lift(.10, .05, .15)),
		row("a", "y", eval.Conditional, .2, lift(.12, -30, 40)),
		row("a", eval.Oracle, eval.Conditional, 1, lift(3, 2, 4)),
		row("a", "x", eval.EndToEnd, .2, lift(5, 4, 6)),
	}
	f, ok := newForest("R@1", rows)
	if !ok || len(f.Rows) != 3 || !f.Rows[0].Header {
		t.Fatalf("got %v %+v", ok, f)
	}
	low, _ := strconv.ParseFloat(f.Rows[1].Low, 64)
	high, _ := strconv.ParseFloat(f.Rows[1].High, 64)
	if high-low < 30 {
		t.Errorf("the interval of x is %g wide", high-low)
	}
	if f.Rows[1].Verdict != "good" || f.Rows[2].Verdict != "even" {
		t.Errorf("verdicts %q %q", f.Rows[1].Verdict, f.Rows[2].Verdict)
	}
	if _, ok := newForest("AUC", rows); ok {
		t.Error("a forest without lifts was drawn")
	}
}

func TestShort(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 3: "3", 1234.5: "1234", .25: "0.25", 12.345: "12.35", 1e-5: "1e-05", 3e7: "3e+07", -.5: "-0.5", 100: "100", 2000: "2000"} {
		if got := short(v); got != want {
			t.Errorf("short(%g) = %q, want %q", v, got, want)
		}
	}
}
