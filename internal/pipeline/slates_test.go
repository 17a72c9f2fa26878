package pipeline

import (
	"os"
	"reflect"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/prompt"
	"github.com/gr2/gr2/internal/rerank"
)

// What the baseline stage stores is what later stages read.
func TestStoredSlatesAreRead(t *testing.T) {
	w := newTestWorld(t, nil)
	want := w.orders["bpr"]
	want.test = part{Slates: slices.Clone(want.valid.Slates[:3]), Positives: []int{1, 2, 1}, Events: 40}
	want.test.Slates[1].User = -1
	want.test.Slates[2].History = nil
	dir := w.path(StageBaseline)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := w.saveOrder(dir, "bpr", want); err != nil {
		t.Fatal(err)
	}
	delete(w.orders, "bpr")
	got, err := w.slates("bpr")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, want %+v", got.test, want.test)
	}
	if again, err := w.slates("bpr"); err != nil || again != got {
		t.Errorf("asked again, the slates are read again (%v)", err)
	}
	if _, err := w.slates("sasrec2"); err == nil {
		t.Error("an order that was not stored is read")
	}
}

func TestDamagedSlatesAreCorrupt(t *testing.T) {
	w := newTestWorld(t, nil)
	dir := w.path(StageBaseline)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(path string, file []byte) error{
		"cut":     func(path string, file []byte) error { return os.WriteFile(path, file[:len(file)/2], 0o666) },
		"no gzip": func(path string, file []byte) error { return os.WriteFile(path, []byte("{}\n"), 0o666) },
		"too few": func(path string, _ []byte) error { return w.writeSlates(path, w.orders["sasrec"].valid.Slates[:5]) },
		"too many": func(path string, _ []byte) error {
			return w.writeSlates(path, append(w.orders["sasrec"].valid.Slates, w.orders["sasrec"].train.Slates...))
		},
	} {
		if err := w.saveOrder(dir, "bpr", w.orders["sasrec"]); err != nil {
			t.Fatal(err)
		}
		delete(w.orders, "bpr")
		path := slateFile(dir, "bpr", "valid")
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := spoil(path, file); err != nil {
			t.Fatal(err)
		}
		if _, err := w.slates("bpr"); fault.KindOf(err) != fault.Corrupt {
			t.Errorf("%s: %v, want a corrupt artifact", name, err)
		}
	}
}

func TestMissingPositives(t *testing.T) {
	p := part{Slates: []market.Slate{{Grades: []uint8{0, 1}}, {Grades: []uint8{2, 0, 1}}, {Grades: []uint8{0, 2}}}, Positives: []int{1, 3, 4}}
	if got, want := p.missing(), [][]uint8{nil, {2}, {2, 2, 2}}; !reflect.DeepEqual(got, want) {
		t.Errorf("missing %v, want %v", got, want)
	}
}

// Impressions without a positive count as requests and are not ranked; those
// that a prompt cannot show do not count.
func TestLoggedImpressions(t *testing.T) {
	long := market.Slate{Candidates: make([]market.Candidate, prompt.SlateMax+1), Grades: make([]uint8, prompt.SlateMax+1)}
	long.Grades[0] = 1
	p := logged([]market.Slate{
		{ID: "none", Candidates: make([]market.Candidate, 2), Grades: []uint8{0, 0}},
		{ID: "two", Candidates: make([]market.Candidate, 3), Grades: []uint8{0, 1, 2}},
		long,
	})
	if len(p.Slates) != 1 || p.Slates[0].ID != "two" || !slices.Equal(p.Positives, []int{2}) || p.Events != 2 {
		t.Errorf("%+v", p)
	}
}

func TestPlacesGained(t *testing.T) {
	for _, c := range []struct {
		grades []uint8
		order  []int
		want   float64
	}{
		{[]uint8{0, 0, 1}, []int{2, 0, 1}, 2},
		{[]uint8{1, 0, 0}, []int{1, 2, 0}, -2},
		{[]uint8{0, 1, 2}, []int{0, 2, 1}, 0},
		{[]uint8{0, 0}, []int{1, 0}, 0},
	} {
		if got := placesGained(c.grades, c.order); got != c.want {
			t.Errorf("grades %v in order %v: %g places gained, want %g", c.grades, c.order, got, c.want)
		}
	}
}

// testEvaluation has 9 test slates whose only positive moves from place 2 to
// place i%6: gains and losses.
func testEvaluation(t *testing.T) *evaluation {
	w := newTestWorld(t, nil)
	served := reading{name: StageSFT}
	e := &evaluation{world: w, order: "bpr", set: w.orders["bpr"]}
	e.set.test.Slates = slices.Clone(e.set.valid.Slates[:9])
	for i := range e.set.test.Slates {
		e.set.test.Slates[i].Grades = []uint8{0, 0, 2, 0, 0, 0}
		order := []int{0, 1, 3, 4, 5}
		served.answers = append(served.answers, rerank.Result{Order: slices.Insert(order, i%6, 2), PromptTokens: 100 + i, OutputTokens: i})
	}
	e.readings = []reading{served}
	return e
}

// Samples show the best and the worst alike, and no slate twice.
func TestSamplesShowWinsAndLosses(t *testing.T) {
	e := testEvaluation(t)
	for n, want := range map[int]int{0: 0, 1: 1, 4: 4, 5: 5, 9: 9, 100: 9} {
		seen := map[string]bool{}
		for _, s := range e.samples(n) {
			if seen[s.ID] || len(s.Candidates) != 6 {
				t.Errorf("%d samples: %s again or with %d candidates", n, s.ID, len(s.Candidates))
			}
			seen[s.ID] = true
		}
		if len(seen) != want {
			t.Errorf("%d samples asked, %d shown, want %d", n, len(seen), want)
		}
	}
	four := e.samples(4)
	for i, want := range []string{"gains 2 places", "gains 2 places", "loses 3 places", "loses 2 places"} {
		if four[i].Note != want {
			t.Errorf("sample %d %s, want %s", i, four[i].Note, want)
		}
	}
}

// The probes' sample is bounded, in the order of the slates, and does not
// depend on that order.
func TestProbeSample(t *testing.T) {
	e := testEvaluation(t)
	e.job.Options.Eval.ProbeSlates = 4
	ids := func() (out []string) {
		index := e.probeSample()
		if len(index) != 4 || !slices.IsSorted(index) {
			t.Fatalf("sample %v, want 4 of 9 in order", index)
		}
		for _, i := range index {
			out = append(out, e.set.test.Slates[i].ID)
		}
		slices.Sort(out)
		return out
	}
	before := ids()
	slices.Reverse(e.set.test.Slates)
	if after := ids(); !slices.Equal(before, after) {
		t.Errorf("sample %v, of reversed slates %v", before, after)
	}
	e.job.Options.Eval.ProbeSlates = 100
	if got := e.probeSample(); !slices.Equal(got, identity(9)) {
		t.Errorf("sample %v, want all", got)
	}
}

func TestCost(t *testing.T) {
	if c := costOf(testEvaluation(t).served().answers); c.PromptTokens != 104 || c.OutputTokens != 4 {
		t.Errorf("%+v, want means of 104 and 4 tokens", c)
	}
	if c := costOf(nil); c != (Cost{}) {
		t.Errorf("no answers cost %+v", c)
	}
}
