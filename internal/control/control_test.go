package control

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/evidence"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
	"pgregory.net/rapid"
)

var (
	coColumn    = columns("co")[0]
	titleColumn = columns("titleDecay")[0]
	popColumn   = columns("pop")[0]
)

// blank is a case of k candidates without evidence.
func blank(k int) Case {
	c := Case{Slate: &market.Slate{Candidates: make([]market.Candidate, k), Grades: make([]uint8, k)}}
	for range k {
		c.Evidence = append(c.Evidence, make([]float32, len(evidence.Names())))
	}
	return c
}

func drawCase(t *rapid.T) Case {
	c := blank(rapid.IntRange(1, 12).Draw(t, "k"))
	for _, row := range c.Evidence {
		for f := range row {
			row[f] = float32(rapid.IntRange(0, 4).Draw(t, "x"))
		}
	}
	return c
}

func identity(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// permuted moves candidate perm[i] to place i.
func (c Case) permuted(perm []int) Case {
	slate := *c.Slate
	slate.Candidates, slate.Grades = nil, nil
	out := Case{Slate: &slate}
	for _, from := range perm {
		slate.Candidates = append(slate.Candidates, c.Slate.Candidates[from])
		slate.Grades = append(slate.Grades, c.Slate.Grades[from])
		out.Evidence = append(out.Evidence, c.Evidence[from])
	}
	return out
}

func TestFusionByHand(t *testing.T) {
	c := blank(4)
	for i, title := range []float32{0.1, 0, 0.9, 0} {
		c.Evidence[i][titleColumn] = title
	}
	// 1/(3+order) + 1/(3+rank): 1/4+1/5, 1/5+1/6.5, 1/6+1/4, 1/7+1/6.5
	if got := RRFTitle().Rank(c); !slices.Equal(got, []int{0, 2, 1, 3}) {
		t.Errorf("ranking %v", got)
	}
	c.Evidence[3][coColumn] = 2 // 1/4 for it, 1/6 for the others: 1/7+1/6.5+1/4 is .547
	if got := RRFKNNTitle().Rank(c); !slices.Equal(got, []int{0, 2, 3, 1}) {
		t.Errorf("ranking with co-engagement %v", got)
	}
}

func TestEqualValuesShareTheirMeanRank(t *testing.T) {
	c := blank(5)
	for i, x := range []float32{3, 5, 3, 0, 3} {
		c.Evidence[i][coColumn] = x
	}
	for x, want := range map[float32]float64{5: 1, 3: 3, 0: 5} {
		if got := meanRank(c.Evidence, coColumn, x); got != want {
			t.Errorf("value %v has rank %v, want %v", x, got, want)
		}
	}
}

func TestFusionInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCase(t)
		n := len(c.Evidence)
		for _, f := range []*Fusion{RRFTitle(), RRFKNNTitle()} {
			ranking := f.Rank(c)
			sorted := slices.Clone(ranking)
			slices.Sort(sorted)
			if !slices.Equal(sorted, identity(n)) {
				t.Fatalf("%s: %v is no permutation of %d", f.Name(), ranking, n)
			}
			if got := f.Rank(blank(n)); !slices.Equal(got, identity(n)) {
				t.Fatalf("%s: without evidence the order became %v", f.Name(), got)
			}

			raised := c.permuted(identity(n))
			k := rapid.IntRange(0, n-1).Draw(t, "raised")
			raised.Evidence = slices.Clone(raised.Evidence)
			raised.Evidence[k] = slices.Clone(raised.Evidence[k])
			raised.Evidence[k][titleColumn]++
			if before, after := slices.Index(ranking, k), slices.Index(f.Rank(raised), k); after > before {
				t.Fatalf("%s: a better title moved candidate %d from place %d to %d", f.Name(), k, before, after)
			}
			for i := range raised.Evidence { // only the order of values counts
				raised.Evidence[i] = slices.Clone(c.Evidence[i])
				for j, x := range raised.Evidence[i] {
					raised.Evidence[i][j] = x*x + 2*x
				}
			}
			if got := f.Rank(raised); !slices.Equal(got, ranking) {
				t.Fatalf("%s: %v, after an increasing change of the values %v", f.Name(), ranking, got)
			}
		}
	})
}

func TestFusionKeepsWhatAllListsAgreeOn(t *testing.T) {
	c := blank(6)
	for i, row := range c.Evidence {
		row[coColumn], row[titleColumn] = float32(9-i), float32(90-i*i)
	}
	if got := RRFKNNTitle().Rank(c); !slices.Equal(got, identity(6)) {
		t.Errorf("ranking %v", got)
	}
}

// planted draws slates whose positive follows a softmax of known weights.
func planted(n int, weights map[int]float64, rankWeight float64) []Case {
	cases := make([]Case, n)
	for i := range cases {
		r := rng.New(11, uint64(i))
		c := blank(10)
		total, p := 0.0, make([]float64, 10)
		for k, row := range c.Evidence {
			u := rankWeight / float64(k+1)
			for _, f := range []int{coColumn, titleColumn, popColumn} {
				row[f] = float32(r.ExpFloat64())
				u += weights[f] * float64(row[f])
			}
			p[k] = math.Exp(u)
			total += p[k]
		}
		left := r.Float64() * total
		for k := range p {
			if left -= p[k]; left < 0 || k == 9 {
				c.Slate.Grades[k] = market.GradeClick
				break
			}
		}
		cases[i] = c
	}
	return cases
}

func (m *Linear) slope(feature string) float64 {
	for _, w := range m.Weights {
		if w.Feature == feature {
			return w.Value / w.Scale
		}
	}
	return math.NaN()
}

func TestLinearFindsPlantedWeights(t *testing.T) {
	want := map[int]float64{coColumn: 1.5, titleColumn: -0.8}
	m, err := FitLinear(planted(4000, want, 2), LinearOptions{L2: 1e-6, Features: []string{"order/rank", "co", "titleDecay", "pop"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, w := range map[string]float64{"co": 1.5, "titleDecay": -0.8, "pop": 0, "order/rank": 2} {
		if got := m.slope(name); math.Abs(got-w) > 0.12 {
			t.Errorf("%s has slope %.3f, planted %.3f", name, got, w)
		}
	}
	if m.Slates != 4000 || !(m.Loss > 0 && m.Loss < math.Log(10)) {
		t.Errorf("%d slates, loss %v", m.Slates, m.Loss)
	}
}

// The unit of a feature changes its slope but no ranking.
func TestLinearIgnoresUnits(t *testing.T) {
	opt := LinearOptions{Features: []string{"co", "titleDecay", "pop"}}
	cases, scaled := planted(200, map[int]float64{coColumn: 1, titleColumn: 1}, 0), planted(200, map[int]float64{coColumn: 1, titleColumn: 1}, 0)
	for _, c := range scaled {
		for _, row := range c.Evidence {
			row[coColumn] *= 1024
		}
	}
	a, err := FitLinear(cases, opt)
	if err != nil {
		t.Fatal(err)
	}
	b, err := FitLinear(scaled, opt)
	if err != nil {
		t.Fatal(err)
	}
	for i := range cases {
		if want, got := a.Rank(cases[i]), b.Rank(scaled[i]); !slices.Equal(want, got) {
			t.Fatalf("slate %d: ranking %v, in other units %v", i, want, got)
		}
	}
}

// The fit is the minimum: no small step in any direction lowers the objective.
func TestFitIsTheMinimum(t *testing.T) {
	cases := planted(300, map[int]float64{coColumn: 1}, 0.5)
	m, err := FitLinear(cases, LinearOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var groups []group
	w := make([]float64, len(m.Weights))
	for i := range w {
		w[i] = m.Weights[i].Value
	}
	for _, c := range cases {
		rows := m.rows(c)
		for _, row := range rows {
			for f := range row {
				row[f] /= m.Weights[f].Scale
			}
		}
		groups = append(groups, group{rows, gains(c.Slate.Grades)})
	}
	best := objective(groups, w, m.L2)
	r := rng.New(1)
	for range 200 {
		moved := slices.Clone(w)
		for i := range moved {
			moved[i] += 1e-3 * r.NormFloat64()
		}
		if got := objective(groups, moved, m.L2); got < best {
			t.Fatalf("objective %v at the fit, %v beside it", best, got)
		}
	}
}

// Without the features of the incoming order, the order in which a slate's
// candidates stand changes neither the fit nor who comes first.
func TestLinearWithoutOrderIgnoresOrder(t *testing.T) {
	cases := planted(200, map[int]float64{coColumn: 1, titleColumn: 1}, 0)
	moved, perms := make([]Case, len(cases)), make([][]int, len(cases))
	for i, c := range cases {
		perms[i] = rng.New(3, uint64(i)).Perm(10)
		moved[i] = c.permuted(perms[i])
	}
	opt := LinearOptions{Features: []string{"co", "titleDecay", "pop"}}
	a, err := FitLinear(cases, opt)
	if err != nil {
		t.Fatal(err)
	}
	b, err := FitLinear(moved, opt)
	if err != nil {
		t.Fatal(err)
	}
	for i := range a.Weights {
		if math.Abs(a.Weights[i].Value-b.Weights[i].Value) > 1e-9 {
			t.Errorf("%+v, after shuffling the slates %+v", a.Weights[i], b.Weights[i])
		}
	}
	for i := range cases {
		want, got := a.Rank(cases[i]), a.Rank(moved[i])
		for k := range got {
			if perms[i][got[k]] != want[k] {
				t.Fatalf("slate %d: ranking %v, shuffled by %v %v", i, want, perms[i], got)
			}
		}
	}
	full, err := FitLinear(planted(400, nil, 3), LinearOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if full.Rank(blank(5))[0] != 0 || full.slope("order/rank") < 1 {
		t.Errorf("a planted preference for the first place is not learned: %+v", full.Weights[:3])
	}
}

func TestLinearLearnsFromGradesAndScores(t *testing.T) {
	gap := columns("scoreGap")[0]
	two := blank(4)
	two.Slate.Grades = []uint8{0, 1, 2, 0}
	if got := gains(two.Slate.Grades); !slices.Equal(got, []float64{0, 0.25, 0.75, 0}) {
		t.Errorf("gains %v", got)
	}
	for i := range 4 {
		two.Evidence[i][gap] = 2 - float32(two.Slate.Grades[i])
	}
	m, err := FitLinear([]Case{two}, LinearOptions{Features: []string{"scoreGap"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Rank(two); !slices.Equal(got, []int{2, 1, 0, 3}) {
		t.Errorf("ranking %v", got)
	}
}

func TestConstantFeatureHasNoWeight(t *testing.T) {
	cases := planted(100, map[int]float64{coColumn: 1}, 0)
	for _, c := range cases {
		for _, row := range c.Evidence {
			row[popColumn] = 7
		}
	}
	m, err := FitLinear(cases, LinearOptions{Features: []string{"co", "pop"}})
	if err != nil {
		t.Fatal(err)
	}
	if m.slope("pop") != 0 || !(m.slope("co") > 0.5) {
		t.Errorf("weights %+v", m.Weights)
	}
}

func TestLinearSurvivesJSON(t *testing.T) {
	cases := planted(50, map[int]float64{coColumn: 1}, 1)
	m, err := FitLinear(cases, LinearOptions{})
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var back Linear
	if err := json.Unmarshal(data, &back); err != nil || back.Validate() != nil || !reflect.DeepEqual(*m, back) {
		t.Fatalf("%v: %+v became %+v", err, *m, back)
	}
	back.Weights[0].Feature = "colour"
	if back.Validate() == nil {
		t.Error("an unknown feature is accepted")
	}
	back.Weights[0] = Weight{"co", 0, 1}
	if fault.KindOf(back.Validate()) != fault.Corrupt {
		t.Error("a scale of 0 is accepted")
	}
}

func TestFitRefuses(t *testing.T) {
	good := planted(3, nil, 0)
	short := blank(3)
	short.Evidence = short.Evidence[:2]
	grades := blank(3)
	grades.Slate.Grades = []uint8{1}
	narrow := blank(2)
	narrow.Slate.Grades[0] = 1
	narrow.Evidence[1] = narrow.Evidence[1][:3]
	infinite := blank(2)
	infinite.Slate.Grades[0] = 1
	infinite.Slate.Candidates[0].Score = float32(math.Inf(1))
	none, all := blank(3), blank(2)
	all.Slate.Grades = []uint8{1, 2}
	for name, test := range map[string]struct {
		cases []Case
		opt   LinearOptions
		kind  fault.Kind
	}{
		"no cases":        {nil, LinearOptions{}, fault.Input},
		"nothing to rank": {[]Case{none, all}, LinearOptions{}, fault.Input},
		"short evidence":  {append(good, short), LinearOptions{}, fault.Input},
		"narrow evidence": {append(good, narrow), LinearOptions{}, fault.Input},
		"grades":          {append(good, grades), LinearOptions{}, fault.Input},
		"infinite score":  {append(good, infinite), LinearOptions{}, fault.Input},
		"feature":         {good, LinearOptions{Features: []string{"colour"}}, fault.Usage},
		"l2":              {good, LinearOptions{L2: -1}, fault.Usage},
		"l2 nan":          {good, LinearOptions{L2: math.NaN()}, fault.Usage},
	} {
		if _, err := FitLinear(test.cases, test.opt); err == nil || fault.KindOf(err) != test.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
}
