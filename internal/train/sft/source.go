package sft

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/prompt"
	"github.com/gr2/gr2/internal/rng"
)

// Case is one training slate with the evidence codes of its candidates, its
// own user's fold left out.
type Case struct {
	Slate    *market.Slate
	Evidence [][]uint8 // K x len(prompt.Options.EvidenceNames); nil when prompts carry none
	// Teacher holds the logits of a teacher's choice among the candidates; nil
	// when there is no teacher.
	Teacher []float64
}

// Options of a Source.
type Options struct {
	Shuffle    float64 // share of examples whose candidates are shown in random order
	FirstShare float64 // share of examples whose positives stand first
	// TeacherEpochs is how many epochs learn the teacher's rankings only;
	// TeacherShare is the share of examples that do so afterwards.
	TeacherEpochs int
	TeacherShare  float64
	// TeacherJudges has the judgements of these examples learn how likely the
	// teacher holds each candidate to be engaged with, not the labels, and every
	// choice of their rankings how likely it holds all candidates that are left.
	TeacherJudges bool
	// TeacherTemperature divides the teacher's logits; near 0 its rankings are
	// always the same.
	TeacherTemperature float64
	// SubShare is the share of examples that show a random part of the slate:
	// choosing among a few is learnt long before choosing among many.
	SubShare     float64
	LambdaReason float32 // loss weight of trace tokens
	LambdaOutput float32 // loss weight of ranking tokens
	LambdaJudge  float32 // loss weight of the judgement at each candidate
	Seed         uint64
}

// Source gives one example a slate and epoch; it implements train.Source.
type Source struct {
	builder *prompt.Builder
	cases   []Case
	opt     Options
}

// New keeps the cases that can teach: those with a positive and a negative.
func New(b *prompt.Builder, cases []Case, opt Options) (*Source, error) {
	s := &Source{builder: b, opt: opt}
	for _, c := range cases {
		if c.Slate.Positive() && slices.Contains(c.Slate.Grades, market.GradeNone) {
			s.cases = append(s.cases, c)
		}
	}
	if len(s.cases) == 0 {
		return nil, fault.Inputf("sft: none of %d training slates holds both a positive and a negative", len(cases))
	}
	return s, nil
}

// Len is the number of slates.
func (s *Source) Len() int { return len(s.cases) }

// Example draws the candidates shown, their order and the target ranking from
// the coordinates.
func (s *Source) Example(epoch, i int) (prompt.Example, error) {
	r := rng.New(s.opt.Seed, rng.Key("sft"), uint64(epoch), uint64(i))
	c, ranks := &s.cases[i], []int(nil)
	if r.Float64() < s.opt.SubShare {
		c, ranks = part(c, r)
	}
	var shown []int
	if r.Float64() < s.opt.Shuffle {
		shown = r.Perm(len(c.Slate.Candidates))
	}
	var ranking []int
	var yes, chances []float64
	from, to := 0, 0 // all places
	if c.Teacher != nil && (epoch < s.opt.TeacherEpochs || r.Float64() < s.opt.TeacherShare) {
		ranking = draw(c.Teacher, s.opt.TeacherTemperature, r)
		if s.opt.TeacherJudges {
			yes, chances = beliefs(c), odds(c.Teacher, s.opt.TeacherTemperature)
		}
	} else {
		ranking, from, to = s.target(c.Slate.Grades, r)
	}
	return s.builder.SFT(prompt.SFT{
		Slate: c.Slate, Order: shown, Ranks: ranks, Evidence: c.Evidence, Ranking: ranking, Yes: yes, Odds: chances,
		LossFrom: from, LossTo: to, LambdaR: s.opt.LambdaReason, LambdaO: s.opt.LambdaOutput, LambdaJ: s.opt.LambdaJudge,
	})
}

// part keeps a random number of the candidates, at least one positive and one
// negative, in their order and with their legacy ranks.
func part(c *Case, r *rand.Rand) (*Case, []int) {
	order := r.Perm(len(c.Slate.Candidates))
	kept := order[:2+r.IntN(len(order)-1)]
	for place, positive := range []bool{true, false} {
		first := slices.IndexFunc(order, func(i int) bool { return (c.Slate.Grades[i] > market.GradeNone) == positive })
		order[place], order[first] = order[first], order[place]
	}
	slices.Sort(kept)
	slate := *c.Slate
	slate.Candidates, slate.Grades = nil, nil
	out := &Case{Slate: &slate}
	var ranks []int
	for _, i := range kept {
		slate.Candidates = append(slate.Candidates, c.Slate.Candidates[i])
		slate.Grades = append(slate.Grades, c.Slate.Grades[i])
		ranks = append(ranks, i+1)
		if c.Evidence != nil {
			out.Evidence = append(out.Evidence, c.Evidence[i])
		}
		if c.Teacher != nil {
			out.Teacher = append(out.Teacher, c.Teacher[i])
		}
	}
	return out, ranks
}

// beliefs are how likely the teacher holds each candidate to be engaged with: its
// share of the teacher's choice times the number of positives, at most 1.
func beliefs(c *Case) []float64 {
	positives := 0
	for _, g := range c.Slate.Grades {
		if g > market.GradeNone {
			positives++
		}
	}
	out, sum := odds(c.Teacher, 1), 0.0
	for _, o := range out {
		sum += o
	}
	for i := range out {
		out[i] = min(1, float64(positives)*out[i]/sum)
	}
	return out
}

// odds are those that draw gives each candidate at every place, up to a factor; nil
// at temperature 0, where the ranking is certain.
func odds(logits []float64, temperature float64) []float64 {
	if temperature == 0 {
		return nil
	}
	top := slices.Max(logits)
	out := make([]float64, len(logits))
	for i, l := range logits {
		out[i] = math.Exp((l - top) / temperature)
	}
	return out
}

// draw samples a ranking from the Plackett-Luce model with these logits over
// the temperature (the Gumbel trick): in expectation the loss on it is the
// cross-entropy to the teacher's distribution at every place.
func draw(logits []float64, temperature float64, r *rand.Rand) []int {
	keys := make([]float64, len(logits))
	ranking := make([]int, len(logits))
	for i, l := range logits {
		keys[i], ranking[i] = l-temperature*math.Log(r.ExpFloat64()), i
	}
	slices.SortStableFunc(ranking, func(a, b int) int { return cmp.Compare(keys[b], keys[a]) })
	return ranking
}

// target is a ranking whose places from..to-1 name the positives, by falling
// grade and at random within one; before them stand some negatives at random,
// behind them the others.
func (s *Source) target(grades []uint8, r *rand.Rand) (ranking []int, from, to int) {
	var positives, negatives []int
	for i, g := range grades {
		if g > market.GradeNone {
			positives = append(positives, i)
		} else {
			negatives = append(negatives, i)
		}
	}
	r.Shuffle(len(positives), func(i, j int) { positives[i], positives[j] = positives[j], positives[i] })
	slices.SortStableFunc(positives, func(a, b int) int { return int(grades[b]) - int(grades[a]) })
	r.Shuffle(len(negatives), func(i, j int) { negatives[i], negatives[j] = negatives[j], negatives[i] })
	if r.Float64() >= s.opt.FirstShare {
		// At least one negative must remain, or there would be no choice.
		from = r.IntN(len(negatives))
	}
	ranking = append(ranking, negatives[:from]...)
	ranking = append(ranking, positives...)
	ranking = append(ranking, negatives[from:]...)
	return ranking, from, from + len(positives)
}
