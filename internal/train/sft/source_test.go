package sft

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/prompt"
	"github.com/gr2/gr2/internal/rng"
	"pgregory.net/rapid"
)

// drawGrades draws grades of a slate that can teach.
func drawGrades(t *rapid.T) []uint8 {
	k := rapid.IntRange(2, 12).Draw(t, "k")
	grades := rapid.SliceOfN(rapid.SampledFrom([]uint8{0, 0, 0, 1, 2}), k, k).Draw(t, "grades")
	at := rapid.Permutation(identity(k)).Draw(t, "positive and negative")
	grades[at[0]], grades[at[1]] = uint8(rapid.IntRange(1, 2).Draw(t, "grade")), market.GradeNone
	return grades
}

func isPositive(grades []uint8) func(i int) bool {
	return func(i int) bool { return grades[i] > market.GradeNone }
}

// The same coordinates give the same example, whatever was drawn before; and
// epochs differ.
func TestSameCoordinatesSameExample(t *testing.T) {
	w := newWorld(t, everyPart())
	cases := []Case{caseOf(0, 1, 0, 2, 0, 0), caseOf(0, 0, 1, 0, 0), caseOf(1, 0, 0, 0, 0, 0, 0, 2)}
	for i := range cases {
		for j := range cases[i].Slate.Grades {
			cases[i].Teacher = append(cases[i].Teacher, float64(j%3))
		}
	}
	rapid.Check(t, func(r *rapid.T) {
		share := rapid.SampledFrom([]float64{0, .5, 1})
		opt := Options{Shuffle: share.Draw(r, "shuffle"), FirstShare: share.Draw(r, "first"), SubShare: share.Draw(r, "sub"),
			TeacherEpochs: rapid.IntRange(0, 2).Draw(r, "teacher epochs"), TeacherShare: share.Draw(r, "teacher"), TeacherTemperature: 1,
			LambdaOutput: 1, LambdaJudge: .5, Seed: rapid.Uint64().Draw(r, "seed")}
		a, b := w.source(t, opt, cases...), w.source(t, opt, cases...)
		at := rapid.SliceOfN(rapid.IntRange(0, 11), 1, 6).Draw(r, "drawn before")
		for _, n := range at {
			example(t, a, n/3, n%3)
		}
		last := at[len(at)-1]
		if x, y := example(t, a, last/3, last%3), example(t, b, last/3, last%3); !reflect.DeepEqual(x, y) {
			r.Fatalf("epoch %d, example %d: %q and %q", last/3, last%3, w.tok.Decode(x.Tokens), w.tok.Decode(y.Tokens))
		}
	})
	s := w.source(t, Options{Shuffle: 1, LambdaOutput: 1}, cases...)
	if slices.Equal(example(t, s, 0, 0).Tokens, example(t, s, 1, 0).Tokens) && slices.Equal(example(t, s, 0, 0).Tokens, example(t, s, 2, 0).Tokens) {
		t.Error("three epochs show a slate in the same order")
	}
}

func TestSlatesThatCannotTeachAreLeftOut(t *testing.T) {
	w := newWorld(t, everyPart())
	if n := w.source(t, Options{}, caseOf(0, 0), caseOf(1, 0), caseOf(2, 1), caseOf(0, 2)).Len(); n != 2 {
		t.Errorf("%d slates are kept, want the two with a positive and a negative", n)
	}
	if _, err := New(w.builder, []Case{caseOf(0, 0), caseOf(1, 1)}, Options{}); fault.KindOf(err) != fault.Input {
		t.Errorf("no slate can teach: %v, want an input error", err)
	}
}

// plackettLuce is the probability of a ranking: every place is a softmax over
// those that remain.
func plackettLuce(logits []float64, temperature float64, ranking []int) float64 {
	p := 1.0
	for i, c := range ranking {
		sum := 0.0
		for _, other := range ranking[i:] {
			sum += math.Exp(logits[other] / temperature)
		}
		p *= math.Exp(logits[c]/temperature) / sum
	}
	return p
}

func TestTeacherDrawsFollowPlackettLuce(t *testing.T) {
	const draws = 20000
	for _, temperature := range []float64{0.5, 2} {
		logits := []float64{0.8, -0.4, 0.3, -1}
		counts := map[string]int{}
		rankings := map[string][]int{}
		for i := range draws {
			ranking := draw(logits, temperature, rng.New(11, uint64(i)))
			counts[fmt.Sprint(ranking)]++
			rankings[fmt.Sprint(ranking)] = ranking
		}
		total := 0.0
		for name, ranking := range rankings {
			want := plackettLuce(logits, temperature, ranking)
			total += want
			// Five standard deviations of a binomial share.
			if have := float64(counts[name]) / draws; math.Abs(have-want) > 5*math.Sqrt(want*(1-want)/draws) {
				t.Errorf("temperature %g: %s drawn with frequency %.4f, want %.4f", temperature, name, have, want)
			}
		}
		if total < 0.999 {
			t.Errorf("temperature %g: the rankings drawn have probability %.4f in all", temperature, total)
		}
	}
	if got := draw([]float64{1, 3, 2, 3}, 0, rng.New(1)); !slices.Equal(got, []int{1, 3, 2, 0}) {
		t.Errorf("temperature 0: %v, want the order of the logits, ties as they stand", got)
	}
}

// judgedYes are the candidates that an example would have the policy favour.
func (w world) judgedYes(t testing.TB, e prompt.Example) (favoured []int) {
	t.Helper()
	candidates, _, _ := w.shown(t, e)
	_, yes := w.builder.JudgeTokens()
	for i, a := range e.Asides {
		if a.Token == yes {
			favoured = append(favoured, candidates[i])
		}
	}
	return favoured
}

// wantBeliefs checks that each candidate is judged in parts: yes with the
// probability given, no with the rest.
func (w world) wantBeliefs(t testing.TB, e prompt.Example, want []float64) {
	t.Helper()
	candidates, _, _ := w.shown(t, e)
	_, yes := w.builder.JudgeTokens()
	if len(e.Asides) != 2*len(candidates) {
		t.Fatalf("%d judgements of %d candidates, want two of each", len(e.Asides), len(candidates))
	}
	for i, a := range e.Asides {
		p := want[candidates[i/2]]
		if a.At != e.Asides[i/2*2].At {
			t.Fatalf("judgement %d stands at %d, its other part at %d", i, a.At, e.Asides[i/2*2].At)
		}
		if a.Token != yes {
			p = 1 - p
		}
		if math.Abs(float64(a.Weight)-p) > 1e-3 {
			t.Fatalf("candidate %d: %+v, want weight %g", candidates[i/2], a, p)
		}
	}
}

// What the teacher holds likely of several positives is no more than certain.
func TestBeliefs(t *testing.T) {
	c := caseOf(2, 0, 1, 0)
	c.Teacher = []float64{3, 0, math.Log(2), math.Log(7)}
	sum := math.Exp(3) + 1 + 2 + 7
	for i, want := range []float64{1, 2 / sum, 4 / sum, 14 / sum} {
		if have := beliefs(&c)[i]; math.Abs(have-want) > 1e-9 {
			t.Errorf("candidate %d: %g, want %g", i, have, want)
		}
	}
}

// The teacher has the first epochs for itself and a share of the later ones,
// rankings and judgements.
func TestTeacherThenLabels(t *testing.T) {
	w := newWorld(t, everyPart())
	c := caseOf(0, 0, 1, 0)
	c.Teacher = []float64{1, 4, 2, 3}
	for _, judges := range []bool{false, true} {
		testTeacherThenLabels(t, w, c, judges)
	}
}

func testTeacherThenLabels(t *testing.T, w world, c Case, judges bool) {
	s := w.source(t, Options{TeacherEpochs: 3, TeacherShare: .25, TeacherJudges: judges, FirstShare: 1, LambdaOutput: 1, LambdaJudge: 1}, c)
	taught := 0
	for epoch := range 403 {
		e := example(t, s, epoch, 0)
		weighted := 0
		for _, x := range e.Weights {
			if x > 0 {
				weighted++
			}
		}
		switch ranking := w.chosen(t, e); {
		case slices.Equal(ranking, []int{1, 3, 2, 0}):
			if weighted != 3 { // the last place is forced
				t.Fatalf("epoch %d: a taught ranking has loss at %d places, want 3", epoch, weighted)
			}
			if judges {
				w.wantBeliefs(t, e, []float64{.0321, .6439, .0871, .2369}) // softmax
			} else if yes := w.judgedYes(t, e); !slices.Equal(yes, []int{2}) {
				t.Fatalf("epoch %d: the label is 2, favoured are %d", epoch, yes)
			}
			if epoch >= 3 {
				taught++
			}
		case epoch < 3 || ranking[0] != 2 || weighted != 1:
			t.Fatalf("epoch %d: ranking %v with loss at %d places", epoch, ranking, weighted)
		default:
			if yes := w.judgedYes(t, e); !slices.Equal(yes, []int{2}) {
				t.Fatalf("epoch %d: the label is 2, favoured are %d", epoch, yes)
			}
		}
	}
	if taught < 70 || taught > 130 {
		t.Errorf("the teacher gave %d of 400 examples, want about a quarter", taught)
	}
}

// A teacher that judges is learnt as the probabilities that it is: at each place those
// of all candidates left behind the ranking drawn, which is the loss on draws in
// expectation.
func TestTeacherIsLearntAsItsOdds(t *testing.T) {
	w := newWorld(t, everyPart())
	c := caseOf(0, 0, 1, 0, 0)
	c.Teacher = []float64{1, 4, 2, 3, 0}
	const temperature, lambda = .8, .5
	s := w.source(t, Options{TeacherEpochs: 20, TeacherJudges: true, TeacherTemperature: temperature, Shuffle: 1, LambdaOutput: lambda, LambdaJudge: 1}, c)
	for epoch := range 20 {
		e := example(t, s, epoch, 0)
		shown, _, _ := w.shown(t, e)
		left, ranking, place := identity(5), w.chosen(t, e), 0
		for at, weight := range e.Weights {
			if weight == 0 {
				continue
			}
			got := map[int]float64{}
			note := func(token int32, weight float32) {
				number, ok := w.builder.Candidate(token)
				if !ok || got[shown[number]] != 0 {
					t.Fatalf("place %d: token %d with weight %g names nothing, or what another does", place, token, weight)
				}
				got[shown[number]] = float64(weight)
			}
			note(e.Tokens[at], weight)
			for _, a := range e.Asides {
				if a.Late && a.At == at-1 {
					if !slices.Equal(a.Allowed, e.Allowed[at]) {
						t.Fatalf("place %d: %v instead of %v may be chosen", place, a.Allowed, e.Allowed[at])
					}
					note(a.Token, a.Weight)
				}
			}
			sum := 0.0
			for _, candidate := range left {
				sum += math.Exp(c.Teacher[candidate] / temperature)
			}
			for _, candidate := range left {
				if want := lambda * math.Exp(c.Teacher[candidate]/temperature) / sum; math.Abs(got[candidate]-want) > 1e-6 {
					t.Fatalf("place %d of %v: candidate %d weighs %g, want %g", place, ranking, candidate, got[candidate], want)
				}
			}
			if len(got) != len(left) {
				t.Fatalf("place %d: %d candidates weigh, %d are left", place, len(got), len(left))
			}
			left = slices.DeleteFunc(left, func(candidate int) bool { return candidate == ranking[place] })
			place++
		}
		if place != 4 {
			t.Fatalf("loss at %d places, want 4: the last is forced", place)
		}
	}
}

func TestTarget(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		grades := drawGrades(r)
		s := &Source{opt: Options{FirstShare: rapid.SampledFrom([]float64{0, .5, 1}).Draw(r, "first")}}
		ranking, from, to := s.target(grades, rng.New(rapid.Uint64().Draw(r, "seed")))
		if !slices.Equal(slices.Sorted(slices.Values(ranking)), identity(len(grades))) {
			r.Fatalf("%v is no ranking", ranking)
		}
		if s.opt.FirstShare == 1 && from != 0 {
			r.Fatalf("the positives stand from place %d on, want first", from)
		}
		positive := isPositive(grades)
		if slices.ContainsFunc(ranking[:from], positive) || slices.ContainsFunc(ranking[to:], positive) {
			r.Fatalf("grades %v: %v names a positive outside %d to %d", grades, ranking, from, to)
		}
		if to == len(ranking) {
			r.Fatalf("grades %v: no negative remains behind %v", grades, ranking[:to])
		}
		for i := from; i < to; i++ {
			if !positive(ranking[i]) || i > from && grades[ranking[i]] > grades[ranking[i-1]] {
				r.Fatalf("grades %v: %v does not name the positives by falling grade from %d to %d", grades, ranking, from, to)
			}
		}
	})
}

// Any number of negatives may stand before the positives, and any of them.
func TestTargetVisitsEveryState(t *testing.T) {
	s := &Source{}
	froms, firsts := map[int]int{}, map[int]int{}
	for i := range 600 {
		ranking, from, _ := s.target([]uint8{0, 0, 1, 0, 2, 0}, rng.New(5, uint64(i)))
		froms[from]++
		if from > 0 {
			firsts[ranking[0]]++
		}
	}
	for n := range 4 {
		if froms[n] < 100 {
			t.Errorf("%d negatives stand before the positives in %d of 600 targets, want about 150", n, froms[n])
		}
	}
	for _, c := range []int{0, 1, 3, 5} {
		if firsts[c] < 70 {
			t.Errorf("negative %d stands first in %d targets, want about 112", c, firsts[c])
		}
	}
}

// Loss stands on the numbers of positives only, each a choice among what the
// ranking has not named yet, at least one negative among it.
func TestLossIsOnPositivesAmongWhatRemains(t *testing.T) {
	w := newWorld(t, everyPart())
	number := map[int32]int{}
	for n := 1; n <= prompt.SlateMax; n++ {
		number[w.tok.EncodeText(fmt.Sprint(n))[0]] = n - 1
	}
	rapid.Check(t, func(r *rapid.T) {
		c := caseOf(drawGrades(r)...)
		grades := c.Slate.Grades
		s := w.source(t, Options{Shuffle: .5, LambdaOutput: 2, LambdaReason: 1, Seed: rapid.Uint64().Draw(r, "seed")}, c)
		e := example(t, s, 0, 0)
		candidates, _, ranking := w.shown(t, e)
		place, positives := 0, 0
		for i, weight := range e.Weights {
			if weight == 0 {
				continue
			}
			at, ok := number[e.Tokens[i]]
			if !ok || weight != 2 || grades[candidates[at]] == market.GradeNone {
				r.Fatalf("loss %g on %q", weight, w.tok.Decode(e.Tokens[i:i+1]))
			}
			place = slices.Index(ranking, at)
			var free []int
			negatives := 0
			for _, id := range e.Allowed[i] {
				free = append(free, number[id])
				if grades[candidates[number[id]]] == market.GradeNone {
					negatives++
				}
			}
			slices.Sort(free)
			if want := slices.Sorted(slices.Values(ranking[place:])); !slices.Equal(free, want) || negatives == 0 {
				r.Fatalf("place %d of %v: the choice is among %v, want %v with a negative", place, ranking, free, want)
			}
			positives++
		}
		if want := len(slices.DeleteFunc(identity(len(grades)), func(i int) bool { return grades[i] == 0 })); positives != want {
			r.Fatalf("loss on %d positives of %d", positives, want)
		}
	})
}

func TestPart(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		c := caseOf(drawGrades(r)...)
		for i := range c.Slate.Grades {
			c.Teacher = append(c.Teacher, float64(i))
		}
		before := slices.Clone(c.Slate.Candidates)
		out, ranks := part(&c, rng.New(rapid.Uint64().Draw(r, "seed")))
		n := len(ranks)
		if len(out.Slate.Candidates) != n || len(out.Slate.Grades) != n || len(out.Evidence) != n || len(out.Teacher) != n {
			r.Fatalf("%d ranks, %d candidates, %d grades, evidence of %d, teacher of %d", n, len(out.Slate.Candidates), len(out.Slate.Grades), len(out.Evidence), len(out.Teacher))
		}
		if !slices.ContainsFunc(identity(n), isPositive(out.Slate.Grades)) || !slices.Contains(out.Slate.Grades, market.GradeNone) {
			r.Fatalf("grades %v cannot teach", out.Slate.Grades)
		}
		for i, rank := range ranks {
			if i > 0 && rank <= ranks[i-1] {
				r.Fatalf("ranks %v do not rise", ranks)
			}
			if was := rank - 1; out.Slate.Candidates[i] != c.Slate.Candidates[was] || out.Slate.Grades[i] != c.Slate.Grades[was] ||
				&out.Evidence[i][0] != &c.Evidence[was][0] || out.Teacher[i] != c.Teacher[was] {
				r.Fatalf("what stands at place %d is not candidate %d", i, was)
			}
		}
		if out.Slate.ID != c.Slate.ID || !slices.Equal(before, c.Slate.Candidates) {
			r.Fatal("the case itself changed")
		}
	})
}

// Parts have every size from 2 to the whole slate, evenly, and every negative
// stands in about as many of them.
func TestPartSizes(t *testing.T) {
	c := caseOf(0, 0, 0, 1, 0, 0)
	const draws = 2000
	sizes, seen := map[int]int{}, map[int]int{}
	for i := range draws {
		_, ranks := part(&c, rng.New(3, uint64(i)))
		sizes[len(ranks)]++
		for _, rank := range ranks {
			seen[rank-1]++
		}
	}
	for size := 2; size <= 6; size++ {
		if n := sizes[size]; n < 330 || n > 470 {
			t.Errorf("%d of %d parts have %d candidates, want about 400", n, draws, size)
		}
	}
	for i := range 6 {
		want := draws * 3 / 5 // of five negatives, one to five stand in a part
		if i == 3 {
			want = draws
		}
		if math.Abs(float64(seen[i]-want)) > 120 {
			t.Errorf("candidate %d stands in %d parts, want about %d", i, seen[i], want)
		}
	}
}

// A part's prompt shows each candidate as the whole slate would: with its
// legacy rank and evidence.
func TestPartKeepsRankAndEvidenceInThePrompt(t *testing.T) {
	w := newWorld(t, everyPart())
	s := w.source(t, Options{SubShare: 1, Shuffle: 1, LambdaOutput: 1}, caseOf(0, 0, 1, 0, 0, 2, 0))
	smaller := false
	for epoch := range 50 {
		candidates, lines, _ := w.shown(t, example(t, s, epoch, 0))
		smaller = smaller || len(candidates) < 7
		for i, c := range candidates {
			if want := fmt.Sprintf("<|rank_%d|><|co_%d|><|pop_%d|>%d\n", c+1, c%5, c/5, i+1); !strings.HasSuffix(lines[i], want) {
				t.Fatalf("candidate %d at place %d is shown as %q, want %q", c, i, lines[i], want)
			}
		}
	}
	if !smaller {
		t.Error("every part is the whole slate")
	}
}

// Each candidate is asked about once, behind the number that ends its line.
func TestJudgements(t *testing.T) {
	w := newWorld(t, everyPart())
	no, yes := w.builder.JudgeTokens()
	rapid.Check(t, func(r *rapid.T) {
		c := caseOf(drawGrades(r)...)
		share := rapid.SampledFrom([]float64{0, 1})
		s := w.source(t, Options{Shuffle: share.Draw(r, "shuffle"), SubShare: share.Draw(r, "sub"),
			LambdaOutput: 1, LambdaJudge: .5, Seed: rapid.Uint64().Draw(r, "seed")}, c)
		e := example(t, s, 0, 0)
		candidates, _, _ := w.shown(t, e)
		if len(e.Asides) != len(candidates) {
			r.Fatalf("%d judgements of %d candidates", len(e.Asides), len(candidates))
		}
		for i, a := range e.Asides {
			if got, want := w.tok.Decode(e.Tokens[a.At:a.At+1]), fmt.Sprint(i+1); got != want {
				r.Fatalf("judgement %d stands behind %q, want %q", i, got, want)
			}
			if next := w.tok.Decode(e.Tokens[a.At+1 : a.At+2]); next != "\n" {
				r.Fatalf("judgement %d does not end its line: %q follows", i, next)
			}
			want := no
			if c.Slate.Grades[candidates[i]] > market.GradeNone {
				want = yes
			}
			if a.Token != want || a.Weight != .5 || !slices.Equal(a.Allowed, []int32{min(no, yes), max(no, yes)}) {
				r.Fatalf("candidate %d with grade %d: %+v", candidates[i], c.Slate.Grades[candidates[i]], a)
			}
		}
	})
	without := w.source(t, Options{LambdaOutput: 1}, caseOf(1, 0))
	if e := example(t, without, 0, 0); e.Asides != nil {
		t.Errorf("weight 0 asks for %d judgements", len(e.Asides))
	}
	opt := everyPart()
	opt.Judge = false
	off := newWorld(t, opt).source(t, Options{LambdaOutput: 1, LambdaJudge: 1}, caseOf(1, 0))
	if e := example(t, off, 0, 0); e.Asides != nil {
		t.Errorf("without the tokens there are %d judgements", len(e.Asides))
	}
}
