package report

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/eval"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/sid"
	"github.com/gr2/gr2/internal/sid/quality"
)

func lift(v, low, high float64) map[string]eval.Lift {
	return map[string]eval.Lift{"R@1": {Value: v, Low: low, High: high}, "N@3": {Value: v / 2, Low: low / 2, High: high / 2}}
}

func row(order, policy, slice string, r1 float64, l map[string]eval.Lift) eval.Row {
	return eval.Row{Order: order, Policy: policy, Slice: slice, Split: "test", N: 1847, Lift: l,
		Metrics: map[string]float64{"R@1": r1, "R@3": r1 * 2, "N@3": r1 * 1.6}}
}

func rivalled(r eval.Row, over eval.Lift) eval.Row {
	r.OverRival = map[string]eval.Lift{"R@1": over, "N@3": over}
	return r
}

func after(r eval.Row, before string, over eval.Lift) eval.Row {
	r.Before, r.OverBefore = before, map[string]eval.Lift{"R@1": over, "N@3": over}
	return r
}

// example is a run with everything in it.
func example() Data {
	var points []Point
	for i := range 3000 {
		points = append(points, Point{float64(i), 2 + 5*math.Exp(-float64(i)/400) + .1*math.Sin(float64(i))})
	}
	item := func(title string, grade uint8) SampleItem {
		return SampleItem{Title: title, Detail: "Brand · Hair care", Grade: grade}
	}
	return Data{
		Title:   "beauty-small",
		Summary: "Amazon Beauty, leave-one-out with a shuffle inside each day; decoder of 4.1M parameters.",
		Alarms:  []string{"ALARM of rl at step 150."},
		Limits:  []string{"One seed.", "The conditional slices hold one positive each."},
		Report: &eval.Report{Schema: 1, Seed: 7, Rival: "control/linear", Rows: []eval.Row{
			row("sasrec", "incoming", "conditional", .2523, nil),
			row("sasrec", "control/rrf-title", "conditional", .29, lift(.15, .08, .23)),
			rivalled(row("sasrec", "sft", "conditional", .3, lift(.18, .121, .249)), eval.Lift{Value: -.021, Low: -.06, High: .02}),
			row("sasrec", "oracle", "conditional", 1, lift(2.96, 2.7, 3.2)),
			row("bpr", "incoming", "conditional", .19, nil),
			row("bpr", "sft", "conditional", .18, lift(-.05, -.09, -.01)),
			after(row("bpr", "rl", "conditional", .19, lift(.01, -.03, .05)), "sft", eval.Lift{Value: .063, Low: .02, High: .11}),
			row("sasrec", "incoming", "end_to_end", .02, nil),
			row("sasrec", "sft", "end_to_end", .024, lift(.18, .12, .25)),
		}, Probes: map[string]any{
			"sft": map[string]any{"valid_rate": 1.0, "copy_rate": .031, "prompt_tokens": 412.3,
				"position": map[string]any{"n": 1847, "correlation": .12, "change": map[string]any{"R@1": eval.Lift{Value: -.01, Low: -.02, High: .001}}}},
			"id_order": eval.IDOrder{Leak: true, Rules: []eval.OrderRule{{Rule: "id_largest", N: 9, Leak: true}}},
		}},
		Baselines: &Table{Caption: "Full catalog, test", Columns: []string{"ranker", "R@10", "N@10"}, Rows: [][]string{{"item-kNN", ".0814", ".0499"}, {"SASRec", ".0826", ".0480"}}},
		Curves: []Curve{{"midtrain", "loss", points}, {"midtrain", "lr", points[:50]}, {"sft", "loss", points[100:1200]},
			{"sft", "constant", []Point{{1, 3}, {2, 3}}}, {"sft", "single", []Point{{1, 3}}}},
		Samples: []Sample{{ID: "u17/2014-05-02", Note: "largest gain", Policy: "sft", Order: "sasrec", Ranking: []int{2, 0, 1, 3},
			History:    []SampleItem{item("Argan Oil Shampoo, 16 oz", 0)},
			Candidates: []SampleItem{item("Nail polish, red", 0), item("Sun screen SPF 50 for the whole family with a very long name that does not fit", 1), item("Argan Oil Conditioner, 16 oz", 2), item("Brush", 0)},
			Trace:      "shampoo, hence conditioner"}},
		SID: &SIDs{
			Quality: quality.Report{
				Stats:        sid.Stats{Items: 12101, Uniqueness: .9991, Collisions: 11, Levels: []sid.LevelStats{{Used: 256, Perplexity: 201.4, Prefixes: 256, Largest: 120}}},
				Sharing:      []quality.Sharing{{Items: 1, Codes: 12090}, {Items: 11, Codes: 1}},
				Purity:       []quality.Purity{{Depth: 2, Items: 12000, Levels: []float64{.71}, Shuffled: []float64{.38}}},
				Errors:       []float64{.42},
				CoEngagement: []quality.Agreement{{Pairs: 131413, Shared: .0931, Chance: .0052}},
				Neighbours:   []quality.Sample{{Neighbour: quality.Neighbour{Item: "B1", Code: []int{17}, Title: "Hair <clip>"}, Near: []quality.Neighbour{{Item: "B2", Code: []int{17}, Title: "Barrette", Shared: 1}}}},
			},
			Nearest: sid.Stats{Items: 12101, Uniqueness: .9, Levels: []sid.LevelStats{{Used: 250, Perplexity: 188.5}}},
		},
		Facts:   []Fact{{"users", "22,363"}, {"machine", "2 cores, AVX2"}},
		Stages:  []Fact{{"midtrain", "3,000 steps, 31 min"}},
		Config:  "seed: 7\nmodel:\n  hidden: 256\n",
		Command: "gr2 run --data beauty --out runs/beauty --preset small --seed 7",
	}
}

func render(t *testing.T, d Data) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, d); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestShowsEverything(t *testing.T) {
	text := html.UnescapeString(render(t, example()))
	for _, want := range []string{
		"beauty-small", "One seed.",
		"sft over the sasrec order: R@1 +18.0% [12.1, 24.9], better (n = 1847).",
		"rl over the bpr order: R@1 +1.0% [−3.0, 5.0], cannot be told from no change",
		">0.2523<", `class="good">+18.0% [12.1, 24.9]<`, `class="bad">−5.0% [−9.0, −1.0]<`, `class="even">+1.0%`,
		"over the linear control: R@1 −2.1% [−6.0, 2.0], N@3 −2.1%", "over sft: R@1 +6.3% [2.0, 11.0]", "all events, also those", "rank fusion, nothing trained",
		"copy_rate", ">0.031<", "−0.01 [−0.02, 0.001]", `<td class="good">1<`, `<td class="bad">yes<`, "id_order / id_largest",
		"Full catalog, test", ".0814",
		"midtrain", `aria-label="loss of midtrain from 7 at step 0 to`,
		"largest gain", "Argan Oil Conditioner", "▲ 2", "▼ 1", "converted", "clicked", "shampoo, hence conditioner",
		"0.9991", "201.4", "2 cores, AVX2", "31 min", "hidden: 256", "gr2 run --data beauty",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	if strings.Contains(text, "ZgotmplZ") || strings.Contains(text, "NaN") {
		t.Error("a value was refused by the template or is not a number")
	}
	if n := strings.Count(text, `class="positive"`); n != 4 {
		t.Errorf("%d marked places, want 2 items in 2 orders", n)
	}
}

// An alarm of the training stands in front of every number.
func TestAlarmsComeFirst(t *testing.T) {
	page := render(t, example())
	_, body, _ := strings.Cut(page, "<body>")
	body = tags.ReplaceAllString(body, "")
	alarm, digit := strings.Index(body, "ALARM"), strings.IndexAny(body, "0123456789")
	if alarm < 0 || digit < alarm {
		t.Errorf("the alarm is at %d, the first digit at %d", alarm, digit)
	}
	d := example()
	d.Alarms = nil
	if strings.Contains(render(t, d), `class="alarms"`) {
		t.Error("a report without alarms has a list of them")
	}
}

// Curves of other runs stand in the charts of this one, in their own colours, and
// have charts of their own where this one has none.
func TestCurvesBeside(t *testing.T) {
	d := example()
	d.Beside = []Run{
		{Name: "other", Curves: []Curve{{"sft", "loss", []Point{{1, 4}, {9, 3.25}}}, {"rl", "reward", []Point{{1, .5}, {2, .75}}}}, Changes: []string{"rl.reward: a -> naive", "rl.kl: 0 -> 0.1"}},
		{Name: "third", Curves: []Curve{{"sft", "loss", []Point{{1, 4}, {9, 3.5}}}}},
	}
	page := html.UnescapeString(render(t, d))
	for _, want := range []string{
		`<b class="run0">A</b> beauty-small <b class="run1">B</b> other <b class="run2">C</b> third`, "of beauty-small alone",
		`aria-label="loss of sft; beauty-small: from`, `; third: from 4 at step 1 to 3.5 at step 9"`,
		`<span class="run1">B</span> 3.25 <span class="run2">C</span> 3.5</figcaption>`, `<h3>rl</h3>`,
		`<figcaption>reward: <span class="run1">B</span> 0.75</figcaption>`,
		`<b class="run1">B</b> rl.reward: a -> naive, rl.kl: 0 -> 0.1</li>`, `<b class="run2">C</b> has the same settings</li>`, `class="curve run2"`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	noisy := make([]Point, 300)
	for i := range noisy {
		noisy[i] = Point{float64(i + 1), float64(i % 7)}
	}
	for beside, want := range []int{len(noisy), stretches} { // alone each step, among others means
		d := example()
		d.Curves = []Curve{{"rl", "reward", noisy}}
		d.Beside = []Run{{Name: "other", Curves: d.Curves}}[:beside]
		chart := regexp.MustCompile(`<polyline class="curve run0" points="([^"]*)"`).FindStringSubmatch(render(t, d))
		if chart == nil || len(strings.Fields(chart[1])) != want {
			t.Errorf("beside %d runs: %q, want %d points", beside, chart, want)
		}
	}
	if alone := render(t, example()); strings.Contains(alone, "A</b> beauty-small") || strings.Contains(alone, `class="curve run1"`) {
		t.Error("a report of one run has a legend")
	}
	d.Beside = make([]Run, MaxBeside+1)
	if err := Write(&bytes.Buffer{}, d); err == nil || fault.KindOf(err) != fault.Usage {
		t.Errorf("too many runs: %v", err)
	}
}

func TestSameDataSameBytes(t *testing.T) {
	first := render(t, example())
	for range 5 { // maps would be walked in another order
		if render(t, example()) != first {
			t.Fatal("two renderings differ")
		}
	}
}

// The file stands alone: nothing in it makes a browser ask the network or run
// a script.
func TestSelfContained(t *testing.T) {
	page := render(t, example())
	if found := regexp.MustCompile(`(?i)https?:|src\s*=|url\(|@import|<link|<script|<iframe|<object|<embed|<base|\bon\w+\s*=`).FindString(page); found != "" {
		t.Errorf("found %q", found)
	}
	for _, href := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if !strings.HasPrefix(href[1], "#") || !strings.Contains(page, `id="`+href[1][1:]+`"`) {
			t.Errorf("the link %s leads nowhere in the file", href[1])
		}
	}
}

// Titles, names and settings come from strangers. Whatever they hold, the
// report has the elements it has without them.
func TestHostileText(t *testing.T) {
	hostile := []string{
		`<script>alert(1)</script>`, `</title></style><script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`,
		`' onmouseover='alert(1)`, `javascript:alert(1)`, `{{.Config}}`, `<!-- `, `</pre></svg></table>`, "\x00\u202e`${1}`",
	}
	for _, bad := range hostile {
		t.Run(bad, func(t *testing.T) {
			got := skeleton(render(t, poisoned(bad)))
			want := skeleton(render(t, poisoned("plain")))
			for i := range max(len(got), len(want)) {
				if i >= len(got) || i >= len(want) || got[i] != want[i] {
					t.Fatalf("element %d differs:\n%q\nwant\n%q", i, got[min(i, len(got)):min(i+3, len(got))], want[min(i, len(want)):min(i+3, len(want))])
				}
			}
		})
	}
}

// poisoned has text wherever a report shows text.
func poisoned(text string) Data {
	d := example()
	d.Title, d.Summary, d.Config, d.Command, d.Limits, d.Alarms = text, text, text, text, []string{text}, []string{text}
	rows := d.Report.Rows
	for i := range rows {
		if rows[i].Policy != eval.Incoming && rows[i].Policy != eval.Oracle {
			rows[i].Policy = fmt.Sprint(text, i)
		}
		rows[i].Order += text
	}
	d.Report.Probes["z"+text] = map[string]any{"z" + text: text, "note": text} // last in the order of names
	d.Baselines = &Table{Caption: text, Columns: []string{text}, Rows: [][]string{{text}}}
	for i := range d.Curves {
		d.Curves[i].Stage, d.Curves[i].Metric = text, text
	}
	d.Beside = []Run{{text, d.Curves[:1], []string{text}}}
	s := &d.Samples[0]
	s.ID, s.Note, s.Policy, s.Order, s.Trace = text, text, text, text, text
	for i := range s.Candidates {
		s.Candidates[i].Title, s.Candidates[i].Detail = text, text
	}
	s.History[0].Title, s.History[0].Detail = text, text
	d.Facts, d.Stages = []Fact{{text, text}}, []Fact{{text, text}}
	return d
}

var tags = regexp.MustCompile(`<[^>]*>`)
var values = regexp.MustCompile(`"[^"]*"`)

// skeleton is the sequence of tags without the values of their attributes.
func skeleton(page string) []string {
	found := tags.FindAllString(page, -1)
	for i := range found {
		found[i] = values.ReplaceAllString(found[i], `""`)
	}
	return found
}

func TestEmptyParts(t *testing.T) {
	page := render(t, Data{Title: "empty", Report: eval.NewReport(1)})
	if !strings.Contains(page, "There are no rows.") {
		t.Error("a report without rows does not say so")
	}
	for _, section := range []string{"Probes", "Baselines", "Training", "Sample slates", "Semantic IDs"} {
		if strings.Contains(page, section) {
			t.Errorf("the empty section %s is shown", section)
		}
	}
}

func TestRefuses(t *testing.T) {
	if err := Write(&bytes.Buffer{}, Data{}); err == nil || fault.KindOf(err) != fault.Input {
		t.Errorf("without a report: %v", err)
	}
	d := example()
	d.Samples[0].Ranking = []int{0, 0, 1, 2}
	if err := Write(&bytes.Buffer{}, d); err == nil || !strings.Contains(err.Error(), "u17/2014-05-02") {
		t.Errorf("a bad ranking: %v", err)
	}
	d = example()
	d.Report.Probes["x"] = math.NaN()
	if err := Write(&bytes.Buffer{}, d); err == nil || !strings.Contains(err.Error(), "probes") {
		t.Errorf("a probe that is not a number: %v", err)
	}
}

func TestSIDFigures(t *testing.T) {
	got := render(t, example())
	for _, want := range []string{
		"Perplexity of the codes", "nearest code, level 1: 188", "error, level 1: 0.42", "Purity of prefixes, category path to depth 2 (12000 items)",
		"codes shuffled, level 1: 0.38", "(131413 pairs)", "1 codes have 11 items", "used, level 1: 256", "codes, shared by 1: 12", "the last: 8 or more", "codes, shared by 8: 1", "Hair &lt;clip&gt;", "Barrette",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if n := strings.Count(got, "<rect class=\"series"); n != 17 {
		t.Errorf("%d bars, want 17", n)
	}
}

// A bar is as high as its value says.
func TestBarHeights(t *testing.T) {
	c := newBarChart("x", "level", []string{"a", "b"}, [][]float64{{1, 0}, {.5, .25}})
	var heights []float64
	for _, b := range c.Bars {
		h, err := strconv.ParseFloat(b.H, 64)
		if err != nil {
			t.Fatal(err)
		}
		heights = append(heights, h)
	}
	full := heights[0]
	for i, share := range []float64{1, .5, 0, .25} {
		if math.Abs(heights[i]-share*full) > .11 {
			t.Errorf("bar %d is %v high, want %v", i, heights[i], share*full)
		}
	}
	if full < 100 || len(newBarChart("none", "level", []string{"a"}, [][]float64{{0}}).Bars) != 1 {
		t.Errorf("the highest bar is %v high", full)
	}
}
