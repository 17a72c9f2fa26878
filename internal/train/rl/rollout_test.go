package rl

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/nn"
	"github.com/gr2/gr2/internal/prompt"
)

// sampled draws n groups with the fixture's model.
func sampled(t *testing.T, o Options, n int) (*Run, []group) {
	t.Helper()
	w := newWorld(t)
	r := w.run(t, t.TempDir(), o)
	l, err := r.start()
	if err != nil {
		t.Fatal(err)
	}
	groups, err := l.sampler.draw(t.Context(), 0, n)
	if err != nil {
		t.Fatal(err)
	}
	return r, groups
}

// TestRolloutAndTrainingAgree: the log-probabilities kept from sampling are those
// that the surrogate computes from the packed trees, within 1e-4, at the
// temperature of sampling.
func TestRolloutAndTrainingAgree(t *testing.T) {
	for i := range 4 {
		free, temperature := i%2 == 1, []float64{1, .6}[i/2]
		o := options()
		o.Free, o.Temperature, o.BatchTokens = free, temperature, 400
		r, groups := sampled(t, o, 9)
		lots := o.pack(groups, o.weigh(groups, func(int) int { return 1 }))
		if len(lots) < 2 {
			t.Fatalf("free %t: %d micro-batches: this test packs too little", free, len(lots))
		}
		d, tape, choices := nn.NewDecoder(r.Model), nn.NewForwardTape(), 0
		for _, lot := range lots {
			if err := d.Check(&lot.batch); err != nil {
				t.Fatal(err)
			}
			tape.Reset()
			for i, p := range d.LogProbsAt(tape, &lot.batch, lot.surrogate.Temperature) {
				choices++
				if math.Abs(float64(p-lot.surrogate.Old[i])) > 1e-4 {
					t.Fatalf("free %t, temperature %g: choice %d has log-probability %g when sampled and %g when learnt", free, temperature, i, lot.surrogate.Old[i], p)
				}
			}
		}
		if want := 9 * 4 * 4; !free && choices != want {
			t.Errorf("%d choices, want %d: four for each answer about five candidates", choices, want)
		}
	}
}

// TestAnswersDependOnTheirNumberAlone: a group is the same drawn alone, in company
// and after others.
func TestAnswersDependOnTheirNumberAlone(t *testing.T) {
	o := options()
	w := newWorld(t)
	l, err := w.run(t, t.TempDir(), o).start()
	if err != nil {
		t.Fatal(err)
	}
	all, err := l.sampler.draw(t.Context(), 0, 30) // three passes over the cases
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{29, 0, 13} {
		one, err := l.sampler.draw(t.Context(), n, 1)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(one[0], all[n]) {
			t.Errorf("group %d differs when drawn alone", n)
		}
	}
	if reflect.DeepEqual(all[0].answers[0], all[0].answers[1]) && reflect.DeepEqual(all[0].answers[1], all[0].answers[2]) {
		t.Error("the answers of a group are all the same: this test sees nothing")
	}
}

// TestShuffledSlatesKeepTheirTruth: grades and incoming order follow the
// candidates to where they are shown.
func TestShuffledSlatesKeepTheirTruth(t *testing.T) {
	o := options()
	o.Shuffle = 1
	w := newWorld(t)
	l, err := w.run(t, t.TempDir(), o).start()
	if err != nil {
		t.Fatal(err)
	}
	moved := 0
	for n := range 24 {
		var g group
		if err := l.sampler.show(&g, n); err != nil {
			t.Fatal(err)
		}
		c := l.sampler.caseAt(n)
		if !slices.IsSorted(g.slate.Incoming) {
			moved++
		}
		for candidate, place := range g.slate.Incoming {
			if g.slate.Grades[place] != c.Slate.Grades[candidate] {
				t.Fatalf("prompt %d: candidate %d is shown at %d with another grade", n, candidate, place)
			}
		}
	}
	if moved < 20 {
		t.Errorf("%d of 24 slates are shown in another order", moved)
	}
}

// TestScrambledItems: prompts are scrambled in the share that was asked for, each in the same
// way whenever it is shown, and a scrambled prompt has the same slate and other tokens.
func TestScrambledItems(t *testing.T) {
	w := newCoded(t)
	show := func(share float64, n int) group {
		o := options()
		o.ScrambleIDs = share
		l, err := w.run(t, t.TempDir(), o).start()
		if err != nil {
			t.Fatal(err)
		}
		var g group
		if err := l.sampler.show(&g, n); err != nil {
			t.Fatal(err)
		}
		return g
	}
	half := 0
	for n := range 24 {
		plain, scrambled, some := show(0, n), show(1, n), show(.5, n)
		if slices.Equal(plain.trunk, scrambled.trunk) || len(plain.trunk) != len(scrambled.trunk) || !slices.Equal(plain.slate.Grades, scrambled.slate.Grades) {
			t.Fatalf("prompt %d: %v scrambled is %v", n, plain.trunk, scrambled.trunk)
		}
		if again := show(1, n); !slices.Equal(again.trunk, scrambled.trunk) {
			t.Errorf("prompt %d is scrambled in two ways", n)
		}
		switch {
		case slices.Equal(some.trunk, scrambled.trunk):
			half++
		case !slices.Equal(some.trunk, plain.trunk):
			t.Errorf("prompt %d with half of them scrambled is neither", n)
		}
	}
	if half < 5 || half > 19 {
		t.Errorf("%d of 24 prompts are scrambled, want about half", half)
	}
}

// TestForcedTokensAreNoChoices: an answer under the grammar ends, for the
// training, with its last choice; what is read of it is all of it.
func TestForcedTokensAreNoChoices(t *testing.T) {
	r, groups := sampled(t, options(), 6)
	whole, _, _ := r.Builder.Answer([]int{0, 1, 2, 3, 4}, "")
	for _, g := range groups {
		for _, a := range g.answers {
			if !a.parsed.Valid || a.choices() != 4 || !a.choice[len(a.choice)-1] {
				t.Fatalf("answer %v with choices %v, valid %t", a.tokens, a.choice, a.parsed.Valid)
			}
			for i, list := range a.allowed {
				if a.choice[i] != (len(list) > 1) || !slices.Contains(list, a.tokens[i]) || (a.choice[i] == (a.logProb[i] == 0)) {
					t.Fatalf("token %d of %v: allowed %v, choice %t, log-probability %g", i, a.tokens, list, a.choice[i], a.logProb[i])
				}
			}
			if want := len(whole); a.length != want || a.length <= len(a.tokens) {
				t.Fatalf("length %d of an answer of %d tokens, %d up to its last choice", a.length, want, len(a.tokens))
			}
		}
	}
}

// TestLimit: an answer may be as long as the longest trace and ranking, and a margin.
func TestLimit(t *testing.T) {
	limit := func(change func(*prompt.Options)) int {
		w, err := makeWorld(change)
		if err != nil {
			t.Fatal(err)
		}
		o := options()
		o.Margin = 7
		s := sampler{build: w.build, opt: &o}
		return s.limit(5)
	}
	answer := limit(func(*prompt.Options) {})
	short := limit(func(o *prompt.Options) { o.Mode, o.TraceMax = prompt.ModeTrace, 10 })
	long := limit(func(o *prompt.Options) { o.Mode, o.TraceMax = prompt.ModeTrace, 30 })
	if long-short != 20 || short < answer+10 {
		t.Errorf("limits of an answer %d, with traces of 10 tokens %d, of 30 %d", answer, short, long)
	}
}

// TestWeightsOfABatch: whatever a choice is learnt from, the one sampled or all that
// could be, it weighs what the normaliser says.
func TestWeightsOfABatch(t *testing.T) {
	for _, credit := range Credits() {
		for normalizer, want := range map[Normalizer]float64{ByToken: 6 * 4 * 4, ByAnswer: 6 * 4, Constant: 6 * 4 * 4} {
			o := options()
			o.Credit, o.Normalizer = credit, normalizer
			_, groups := sampled(t, o, 6)
			sum := 0.0
			for _, lot := range o.pack(groups, o.weigh(groups, func(int) int { return 1 })) {
				for _, w := range lot.batch.Weights {
					sum += float64(w)
				}
			}
			if math.Abs(sum-want) > 1e-3 {
				t.Errorf("credit by %s, divided by %s: the choices weigh %g, want %g", credit, normalizer, sum, want)
			}
		}
	}
}

// TestFreeAnswersOfANewModelAreInvalid: they are penalised for their length, and
// keep what a lenient reader finds.
func TestFreeAnswersOfANewModelAreInvalid(t *testing.T) {
	o := options()
	o.Free = true
	_, groups := sampled(t, o, 6)
	for _, g := range groups {
		for _, a := range g.answers {
			if a.parsed.Valid {
				t.Fatal("a random model wrote a valid answer")
			}
			if a.truncated != (a.overlong == -1) {
				t.Fatalf("%d tokens, truncated %t, penalty %g", a.length, a.truncated, a.overlong)
			}
			if len(a.tokens) != a.length || a.choices() != a.length {
				t.Fatalf("%d choices of %d tokens", a.choices(), a.length)
			}
		}
	}
}

// TestSamplingAtOneFollowsTheLogProbs: over many answers to one prompt, the mean
// of exp(-logprob) of the first choice is the number of its alternatives.
func TestSamplingAtOneFollowsTheLogProbs(t *testing.T) {
	o := options()
	o.Group = 4000
	_, groups := sampled(t, o, 1)
	sum := 0.0
	for _, a := range groups[0].answers {
		sum += math.Exp(-float64(a.logProb[0]))
	}
	if mean := sum / float64(o.Group); math.Abs(mean-5) > .35 {
		t.Errorf("the inverse probability of a first choice is %.2f on average, want 5", mean)
	}
}

func TestPromptThatDoesNotFitIsAnError(t *testing.T) {
	w := newWorld(t)
	r := w.run(t, t.TempDir(), options())
	r.Model.Config.MaxPositions = 60
	l, err := r.start()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.sampler.draw(t.Context(), 0, 1); err == nil {
		t.Error("a prompt and answer beyond the model's positions were sampled")
	}
}

// TestPicksAreAllThatCouldBeChosen: under credit by choice every place but the last
// has the candidates that were left, with a distribution over them in which the one
// chosen has the probability it was chosen with. A batch weighs them in its place.
func TestPicksAreAllThatCouldBeChosen(t *testing.T) {
	o := options()
	o.Credit, o.Temperature = ToChoice, 1.5
	_, groups := sampled(t, o, 6)
	weighed := 0
	for _, g := range groups {
		for i := range g.answers {
			a, k := &g.answers[i], len(g.slate.Grades)
			if len(a.picks) != k-1 {
				t.Fatalf("%d picks among %d candidates", len(a.picks), k)
			}
			for place, p := range a.picks {
				left, total := slices.Clone(a.parsed.Ranking[place:]), 0.0
				slices.Sort(left)
				candidates := slices.Clone(p.candidates)
				slices.Sort(candidates)
				for x, c := range p.candidates {
					total += math.Exp(float64(p.logProb[x]))
					if c == a.parsed.Ranking[place] && p.logProb[x] != a.logProb[p.token] {
						t.Errorf("place %d: candidate %d was chosen with %g and has %g", place, c, a.logProb[p.token], p.logProb[x])
					}
				}
				if p.place != place || !slices.Equal(candidates, left) || math.Abs(total-1) > 1e-5 {
					t.Fatalf("pick %d is at place %d among %v with probability %g, left are %v", place, p.place, p.candidates, total, left)
				}
			}
		}
		for _, lot := range o.pack([]group{g}, o.weigh([]group{g}, func(int) int { return 99 })) {
			shares := 0.0
			for _, share := range lot.surrogate.Share {
				shares += float64(share)
			}
			choices := 0
			for i := range g.answers {
				choices += g.answers[i].choices()
			}
			if n := len(lot.batch.Targets); len(lot.surrogate.Old) != n || len(lot.surrogate.Advantage) != n || len(lot.batch.Allowed) != n || math.Abs(shares-float64(choices)) > 1e-4*float64(choices) {
				t.Fatalf("%d predictions with %d advantages; they stand for %g of %d choices", n, len(lot.surrogate.Advantage), shares, choices)
			}
			weighed += len(lot.batch.Targets) - choices
		}
	}
	if weighed == 0 {
		t.Error("no alternative is weighed")
	}
}

// TestTokensFillTheirPlaces: under credit by place the tokens of place p spell the
// number of the candidate there.
func TestTokensFillTheirPlaces(t *testing.T) {
	o := options()
	o.Credit = ToPlace
	r, groups := sampled(t, o, 6)
	for _, g := range groups {
		for _, a := range g.answers {
			if len(a.place) != len(a.tokens) || len(a.earned) != len(g.slate.Grades) {
				t.Fatalf("%d places of %d tokens, %d rewards of %d candidates", len(a.place), len(a.tokens), len(a.earned), len(g.slate.Grades))
			}
			spelt := make([]string, len(g.slate.Grades))
			for i, tok := range a.tokens {
				spelt[a.place[i]] += r.Tokenizer.Decode([]int32{tok})
			}
			for p, c := range a.parsed.Ranking[:len(spelt)-1] { // the last one is forced
				if want := fmt.Sprint(c + 1); !strings.HasPrefix(strings.TrimPrefix(spelt[p], "["), want) {
					t.Fatalf("place %d is spelt %q, the ranking has %s", p, spelt[p], want)
				}
			}
		}
	}
}
