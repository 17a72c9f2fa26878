package rl

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/nn"
	"github.com/gr2/gr2/internal/reward"
	"github.com/gr2/gr2/internal/rng"
	"pgregory.net/rapid"
)

// drawGroup is a group of answers with any rewards.
func drawGroup(t *rapid.T) *group {
	g := new(group)
	for range rapid.IntRange(2, 9).Draw(t, "answers") {
		g.answers = append(g.answers, answer{
			overlong: rapid.SampledFrom([]float64{0, 0, -.5, -1}).Draw(t, "overlong"),
			score:    reward.Score{Total: rapid.Float64Range(-1, 1.2).Draw(t, "total")},
		})
	}
	return g
}

// Eq. 8: advantages have mean 0, and standard deviation 1 where they are divided
// by it; their order is that of the rewards.
func TestAdvantages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawGroup(t)
		for _, deviation := range []bool{false, true} {
			var a []float32
			for _, places := range g.advantages(deviation) {
				if len(places) != 1 {
					t.Fatalf("%d advantages of an answer without credit by place", len(places))
				}
				a = append(a, places[0])
			}
			sum, square := 0.0, 0.0
			for i, v := range a {
				sum += float64(v)
				square += float64(v) * float64(v)
				for j := range i {
					if (g.answers[i].reward() > g.answers[j].reward()) && a[i] < a[j] {
						t.Fatalf("a better answer has a smaller advantage: %v", a)
					}
				}
			}
			n := float64(len(a))
			if math.Abs(sum) > 1e-4*n {
				t.Fatalf("advantages %v have mean %g", a, sum/n)
			}
			if s := math.Sqrt(square / n); deviation && g.deviation() > 1e-3 && math.Abs(s-1) > 2e-3 {
				t.Fatalf("advantages %v have deviation %g", a, s)
			}
		}
	})
}

func TestEqualRewardsTeachNothing(t *testing.T) {
	g := &group{answers: make([]answer, 3)}
	for i := range g.answers {
		g.answers[i].score.Total = .7
	}
	for _, v := range g.advantages(true) {
		if math.Abs(float64(v[0])) > 1e-9 {
			t.Errorf("advantage %g", v)
		}
	}
}

// Spread is judged on the raw metric: neither form nor length make it, and a
// shape that hides it does not take it away.
func TestSpreadIsThatOfTheRawMetric(t *testing.T) {
	of := func(raw, total [2]float64) *group {
		g := &group{answers: make([]answer, 2)}
		for i := range g.answers {
			g.answers[i].score = reward.Score{Raw: raw[i], Total: total[i]}
		}
		return g
	}
	if of([2]float64{.5, .5}, [2]float64{.1, .6}).spread() {
		t.Error("answers that differ in their shaped reward alone have spread")
	}
	if !of([2]float64{.5, .6}, [2]float64{.1, .1}).spread() {
		t.Error("answers that differ in the raw metric have none")
	}
}

// handmade has answers of different lengths and rewards.
func handmade() []group {
	make2 := func(trunk, k int, lengths ...int) group {
		g := group{slate: reward.Slate{Grades: make([]uint8, k)}}
		for i := range trunk {
			g.trunk = append(g.trunk, int32(i+1))
		}
		for i, n := range lengths {
			a := answer{score: reward.Score{Total: float64(i*i) / 3}}
			for j := range n {
				a.tokens = append(a.tokens, int32(3*i+j+2))
				a.choice = append(a.choice, j%3 != 1)
				a.allowed = append(a.allowed, nil)
				a.logProb = append(a.logProb, -3.6+.3*float32(j%4)-.1*float32(i))
			}
			g.answers = append(g.answers, a)
		}
		return g
	}
	return []group{make2(7, 3, 5, 2, 3), make2(4, 4, 1, 6), make2(9, 3, 4, 4, 4, 4)}
}

// losses are those of the choices of an answer, by the definition.
func losses(o *Options, a *answer, advantage float64, logProb []float64) (all []float64) {
	at := 0
	for i, chosen := range a.choice {
		if !chosen {
			continue
		}
		ratio := math.Exp(logProb[at] - float64(a.logProb[i]))
		all = append(all, -min(ratio*advantage, min(max(ratio, 1-o.Low), 1+o.High)*advantage))
		at++
	}
	return all
}

// TestObjectives: over three groups in several micro-batches, the summed loss is
// that of DAPO, of GRPO and of Dr. GRPO as their papers write them.
func TestObjectives(t *testing.T) {
	w := newWorld(t)
	d := nn.NewDecoder(w.model(t))
	limit := func(k int) int { return 10 * k }
	mean := func(x []float64) float64 { return sum(x) / float64(len(x)) }
	for name, c := range map[string]struct {
		set  func(o *Options)
		want func(byAnswer [][]float64) float64
	}{
		"DAPO": {func(o *Options) {}, func(l [][]float64) float64 { return mean(slices.Concat(l...)) }},
		"GRPO": {func(o *Options) { o.Normalizer, o.High = ByAnswer, .2 }, func(l [][]float64) float64 {
			var means []float64
			for _, one := range l {
				means = append(means, mean(one))
			}
			return mean(means)
		}},
		"Dr. GRPO": {func(o *Options) { o.Normalizer, o.High, o.Deviation = Constant, .2, false }, func(l [][]float64) float64 {
			return sum(slices.Concat(l...)) / (3*30 + 2*40 + 4*30)
		}},
	} {
		o := options()
		o.BatchTokens = 30
		c.set(&o)
		groups := handmade()
		w := o.weigh(groups, limit)
		have, at, byAnswer := 0.0, 0, [][]float64{}
		tape := nn.NewTape()
		var logProbs []float64
		lots := o.pack(groups, w)
		for _, lot := range lots {
			tape.Reset()
			for _, p := range d.LogProbs(tape, &lot.batch) {
				logProbs = append(logProbs, float64(p))
			}
			tape.Reset()
			loss, _ := d.PolicyLoss(tape, &lot.batch, lot.surrogate, float32(w.norm))
			have += float64(loss.Value[0])
		}
		for i := range groups {
			advantages := groups[i].advantages(o.Deviation)
			for j := range groups[i].answers {
				a := &groups[i].answers[j]
				l := losses(&o, a, float64(advantages[j][0]), logProbs[at:])
				byAnswer, at = append(byAnswer, l), at+len(l)
			}
		}
		if want := c.want(byAnswer); math.Abs(have-want) > 1e-5 || len(lots) < 2 {
			t.Errorf("%s: loss %g in %d micro-batches, want %g", name, have, len(lots), want)
		}
	}
}

func sum(x []float64) (s float64) {
	for _, v := range x {
		s += v
	}
	return s
}

// credited is a valid answer to a slate with its credit by place.
func credited(s reward.Slate, r reward.Reward, ranking ...int) answer {
	a := answer{parsed: reward.Answer{Valid: true, Ranking: ranking}}
	a.score = r.Score(s, a.parsed)
	a.credit(r.Metric, s)
	return a
}

// TestCreditByPlace: a place is credited with what is still to come, less its
// mean over the others with as much to win, or all others where there are none;
// and with nothing where nothing is to be won. All of it is 3/4, as in eq. 8.
func TestCreditByPlace(t *testing.T) {
	slate := reward.Slate{Grades: []uint8{0, 1, 0, 0}, Incoming: []int{0, 1, 2, 3}}
	r := reward.Reward{Variant: reward.A, Metric: reward.NDCG, Alpha: .1}
	g := &group{slate: slate, answers: []answer{
		credited(slate, r, 1, 0, 2, 3), credited(slate, r, 0, 1, 3, 2), credited(slate, r, 2, 0, 1, 3), credited(slate, r, 1, 3, 2, 0)}}
	second, third := 1/math.Log2(3), .5
	mean := (2 + second + third) / 4
	want := [][]float64{
		{1 - mean, 0, 0, 0},
		{second - mean, (second - third) * 3 / 4, 0, 0},
		{third - mean, (third - second) * 3 / 4, third * 3 / 4, 0}, // alone with the positive still to come
		{1 - mean, 0, 0, 0},
	}
	for i, places := range g.advantages(false) {
		for place, a := range places {
			if math.Abs(float64(a)-want[i][place]) > 1e-6 {
				t.Errorf("answer %d, place %d: advantage %g, want %g", i, place, a, want[i][place])
			}
		}
	}
	// An answer that is no ranking keeps the advantage of the whole.
	g.answers[1] = answer{score: reward.Score{Total: -1}}
	if a, want := g.advantages(false)[1], -1-(2+third+.3-1)/4; len(a) != 1 || math.Abs(float64(a[0])-want) > 1e-6 || g.answers[1].at(5) != 0 {
		t.Errorf("an invalid answer has %g at place %d, want %g at 0", a, g.answers[1].at(5), want)
	}
}

// TestEqualRewardsByPlace: a group whose answers are worth the same teaches
// nothing where advantages are divided by their deviation, though the answers
// earn at different places.
func TestEqualRewardsByPlace(t *testing.T) {
	slate := reward.Slate{Grades: []uint8{1, 0, 0, 1}, Incoming: []int{0, 1, 2, 3}}
	r := reward.Reward{Variant: reward.B, Metric: reward.AUC}
	g := &group{slate: slate, answers: []answer{credited(slate, r, 0, 1, 2, 3), credited(slate, r, 1, 0, 3, 2)}}
	if g.answers[0].reward() != g.answers[1].reward() {
		t.Fatalf("rewards %g and %g", g.answers[0].reward(), g.answers[1].reward())
	}
	for _, places := range g.advantages(true) {
		for _, a := range places {
			if a != 0 {
				t.Errorf("advantages %v", places)
			}
		}
	}
}

// TestCreditByPlaceIsUnbiased: over all groups of two and of three answers, as a
// policy draws them, a choice gains as much over the other choices behind the same
// beginning as with the advantage of the whole answer, whatever the reward pays or
// denies a ranking as a whole.
func TestCreditByPlaceIsUnbiased(t *testing.T) {
	slate := reward.Slate{Grades: []uint8{0, 2, 0, 1}, Incoming: []int{2, 1, 0, 3}}
	for _, variant := range reward.Variants() {
		r := reward.Reward{Variant: variant, Metric: reward.NDCG, Alpha: .3}
		var all []answer
		var chance []float64
		permute([]int{0, 1, 2, 3}, func(ranking []int) {
			all = append(all, credited(slate, r, slices.Clone(ranking)...))
			chance = append(chance, plackettLuce([]float64{2, .5, 1, 3}, ranking))
		})
		for size := 2; size <= 3; size++ {
			whole, byPlace := expected(all, chance, size)
			for i := range all {
				for place := range 4 {
					want, have := gain(all, chance, whole, i, place), gain(all, chance, byPlace, i, place)
					if math.Abs(have-want) > 1e-6 {
						t.Fatalf("%s, groups of %d: ranking %v gains %g at place %d, by the whole answer %g",
							variant, size, all[i].parsed.Ranking, have, place, want)
					}
				}
			}
		}
	}
}

// plackettLuce is the probability of a ranking under these weights.
func plackettLuce(weights []float64, ranking []int) float64 {
	p := 1.0
	for i, c := range ranking {
		left := 0.0
		for _, other := range ranking[i:] {
			left += weights[other]
		}
		p *= weights[c] / left
	}
	return p
}

// expected is the advantage of each answer at each place over all groups that hold
// it, of the whole answer and by place.
func expected(all []answer, chance []float64, size int) (whole, byPlace [][]float64) {
	for i := range all {
		w, b := make([]float64, 4), make([]float64, 4)
		var fill func(g, uncredited *group, p float64)
		fill = func(g, uncredited *group, p float64) {
			if len(g.answers) == size {
				one, parts := uncredited.advantages(false)[0][0], g.advantages(false)[0]
				for place := range 4 {
					w[place] += p * float64(one)
					b[place] += p * float64(parts[place])
				}
				return
			}
			for j := range all {
				fill(&group{answers: append(slices.Clip(g.answers), all[j])},
					&group{answers: append(slices.Clip(uncredited.answers), answer{score: all[j].score})}, p*chance[j])
			}
		}
		fill(&group{answers: all[i : i+1]}, &group{answers: []answer{{score: all[i].score}}}, 1)
		whole, byPlace = append(whole, w), append(byPlace, b)
	}
	return whole, byPlace
}

// gain is the advantage at a place of the choice that answer i makes there, less
// that of all choices behind the same beginning.
func gain(all []answer, chance []float64, advantage [][]float64, i, place int) float64 {
	behind := func(length int) float64 {
		sum, p := 0.0, 0.0
		for j := range all {
			if slices.Equal(all[j].parsed.Ranking[:length], all[i].parsed.Ranking[:length]) {
				sum, p = sum+chance[j]*advantage[j][place], p+chance[j]
			}
		}
		return sum / p
	}
	return behind(place+1) - behind(place)
}

// permute visits all orders of x.
func permute(x []int, visit func([]int)) {
	if len(x) == 0 {
		visit(nil)
		return
	}
	for i, first := range x {
		rest := append(slices.Clone(x[:i]), x[i+1:]...)
		permute(rest, func(tail []int) { visit(append([]int{first}, tail...)) })
	}
}

// TestCreditByChoiceIsUnbiased: the same of credit by choice, whose gradient of a
// choice's logit has a part from every alternative.
func TestCreditByChoiceIsUnbiased(t *testing.T) {
	slate := reward.Slate{Grades: []uint8{0, 2, 0, 1}, Incoming: []int{2, 1, 0, 3}}
	weights := []float64{2, .5, 1, 3}
	for _, variant := range reward.Variants() {
		r := reward.Reward{Variant: variant, Metric: reward.NDCG, Alpha: .3}
		var all []answer
		var chance []float64
		permute([]int{0, 1, 2, 3}, func(ranking []int) {
			a := credited(slate, r, slices.Clone(ranking)...)
			for place := range 3 { // the last is forced
				a.picks = append(a.picks, pickAmong(weights, ranking, place))
			}
			all = append(all, a)
			chance = append(chance, plackettLuce(weights, ranking))
		})
		for size := 2; size <= 3; size++ {
			whole, _ := expected(all, chance, size)
			own, others := expectedByChoice(slate, all, chance, size)
			for i := range all {
				for place := range 3 {
					want, have := slopes(all, chance, whole, nil, i, place), slopes(all, chance, own, others, i, place)
					for c := range want {
						if math.Abs(have[c]-want[c]) > 1e-6 {
							t.Fatalf("%s, groups of %d: behind %v candidate %d has the slope %g, by the whole answer %g",
								variant, size, all[i].parsed.Ranking[:place], c, have[c], want[c])
						}
					}
				}
			}
		}
	}
}

// pickAmong is the choice of a policy with these weights at a place of a ranking.
func pickAmong(weights []float64, ranking []int, place int) pick {
	c, left := pick{place: place}, 0.0
	for _, candidate := range ranking[place:] {
		left += weights[candidate]
	}
	for _, candidate := range ranking[place:] {
		c.candidates = append(c.candidates, candidate)
		c.logProb = append(c.logProb, float32(math.Log(weights[candidate]/left)))
	}
	return c
}

// expectedByChoice is the advantage of each answer at the places where it has no
// pick to weigh, and elsewhere those of all candidates, over all groups that hold it.
func expectedByChoice(slate reward.Slate, all []answer, chance []float64, size int) (own [][]float64, others [][][]float64) {
	for i := range all {
		o, a := make([]float64, 4), make([][]float64, 4)
		var fill func(g *group, p float64)
		fill = func(g *group, p float64) {
			if len(g.answers) < size {
				for j := range all {
					fill(&group{slate: slate, answers: append(slices.Clip(g.answers), all[j])}, p*chance[j])
				}
				return
			}
			for place, advantage := range g.advantages(false)[0] {
				o[place] += p * float64(advantage)
			}
			for _, alt := range g.byChoice(reward.NDCG, false)[0] {
				if a[alt.place] == nil {
					a[alt.place] = make([]float64, 4)
				}
				for k, candidate := range alt.candidates {
					a[alt.place][candidate] += p * float64(alt.advantage[k])
				}
			}
		}
		fill(&group{slate: slate, answers: all[i : i+1]}, 1)
		own, others = append(own, o), append(others, a)
	}
	return own, others
}

// slopes are the expected gradients of the logits of the candidates at a place
// behind the beginning of answer i.
func slopes(all []answer, chance []float64, own [][]float64, others [][][]float64, i, place int) []float64 {
	part, prob, sum, total := make([]float64, 4), make([]float64, 4), 0.0, 0.0
	for j := range all {
		if !slices.Equal(all[j].parsed.Ranking[:place], all[i].parsed.Ranking[:place]) {
			continue
		}
		c := all[j].parsed.Ranking[place]
		prob[c] += chance[j]
		total += chance[j]
		if others == nil || others[j][place] == nil {
			part[c] += chance[j] * own[j][place]
			continue
		}
		p := &all[j].picks[place]
		for k, candidate := range p.candidates {
			part[candidate] += chance[j] * math.Exp(float64(p.logProb[k])) * others[j][place][candidate]
		}
	}
	for _, p := range part {
		sum += p
	}
	for c := range part {
		part[c] -= prob[c] / total * sum
	}
	return part
}

// TestCreditByChoiceHasLessNoise: over groups drawn again and again, the gradient of
// the policy's logits has the same mean as under credit by place, and less than half
// of its variance.
func TestCreditByChoiceHasLessNoise(t *testing.T) {
	const k, size, draws = 10, 16, 1500
	r := rng.New(7)
	weights := make([]float64, k)
	slate := reward.Slate{Grades: make([]uint8, k)}
	slate.Grades[3] = 1
	for c := range weights {
		weights[c] = math.Exp(r.NormFloat64())
		slate.Incoming = append(slate.Incoming, c)
	}
	var mean, square [2][k]float64
	for range draws {
		g := &group{slate: slate}
		for range size {
			ranking := drawRanking(weights, r)
			a := credited(slate, reward.Reward{Variant: reward.A, Metric: reward.NDCG}, ranking...)
			for place := range k - 1 {
				a.picks = append(a.picks, pickAmong(weights, ranking, place))
			}
			g.answers = append(g.answers, a)
		}
		for way, slope := range logitSlopes(g) {
			for c, v := range slope {
				mean[way][c] += v / draws
				square[way][c] += v * v / draws
			}
		}
	}
	var variance [2]float64
	for c := range k {
		for way := range variance {
			variance[way] += square[way][c] - mean[way][c]*mean[way][c]
		}
		if difference := mean[1][c] - mean[0][c]; math.Abs(difference) > 5*math.Sqrt((square[0][c]+square[1][c])/draws) {
			t.Errorf("candidate %d: slopes of %g by place and %g by choice", c, mean[0][c], mean[1][c])
		}
	}
	t.Logf("variance %.4g by place, %.4g by choice", variance[0], variance[1])
	if variance[1] > variance[0]/2 {
		t.Errorf("variance %g by choice, %g by place", variance[1], variance[0])
	}
}

// drawRanking samples from the Plackett-Luce model.
func drawRanking(weights []float64, r *rand.Rand) []int {
	keys, ranking := make([]float64, len(weights)), make([]int, len(weights))
	for c, w := range weights {
		keys[c], ranking[c] = r.ExpFloat64()/w, c
	}
	slices.SortFunc(ranking, func(a, b int) int { return cmp.Compare(keys[a], keys[b]) })
	return ranking
}

// logitSlopes are the gradients of the candidates' logits from one group, by place
// and by choice.
func logitSlopes(g *group) (slopes [2][]float64) {
	k := len(g.slate.Grades)
	byPlace, byChoice := g.advantages(false), g.byChoice(reward.NDCG, false)
	for way := range slopes {
		slopes[way] = make([]float64, k)
	}
	add := func(slope []float64, p *pick, advantage func(x int) float64) {
		for x, c := range p.candidates {
			slope[c] += advantage(x)
			for y, other := range p.candidates {
				slope[other] -= advantage(x) * math.Exp(float64(p.logProb[y]))
			}
		}
	}
	for i := range g.answers {
		a := &g.answers[i]
		for place := range a.picks {
			p := &a.picks[place]
			add(slopes[0], p, func(x int) float64 {
				if p.candidates[x] != a.parsed.Ranking[place] {
					return 0
				}
				return float64(byPlace[i][place])
			})
		}
		for _, alt := range byChoice[i] {
			add(slopes[1], alt.pick, func(x int) float64 {
				return math.Exp(float64(alt.logProb[x])) * float64(alt.advantage[x])
			})
		}
	}
	return slopes
}

// TestChoicesAreDividedByTheirOwnDeviation: with one positive, what a choice is worth
// has two values, which gives its deviation in closed form.
func TestChoicesAreDividedByTheirOwnDeviation(t *testing.T) {
	const k, positive = 5, 2
	slate := reward.Slate{Grades: make([]uint8, k), Incoming: []int{0, 1, 2, 3, 4}}
	slate.Grades[positive] = 1
	open, settled := 0, 0
	for round := range uint64(40) {
		r := rng.New(11, round)
		weights := []float64{1, .4, math.Exp(-8 * r.Float64()), .7, .2} // the positive may be out of reach
		g := &group{slate: slate}
		for range 4 {
			ranking := drawRanking(weights, r)
			a := credited(slate, reward.Reward{Variant: reward.A, Metric: reward.NDCG}, ranking...)
			for place := range k - 1 {
				a.picks = append(a.picks, pickAmong(weights, ranking, place))
			}
			g.answers = append(g.answers, a)
		}
		plain, divided := g.byChoice(reward.NDCG, false), g.byChoice(reward.NDCG, true)
		for i := range plain {
			for n, alt := range plain[i] {
				sampled := g.answers[i].parsed.Ranking[alt.place]
				if sampled == positive || len(alt.candidates) < 3 {
					continue // what was sampled has more than its worth, and a third has to tell that of a negative
				}
				p, between := 0.0, 0.0
				for x, c := range alt.candidates {
					switch {
					case c == positive:
						p = math.Exp(float64(alt.logProb[x]))
						between += float64(alt.advantage[x])
					case c != sampled: // all of these are worth the same
						between -= float64(alt.advantage[x]) / float64(len(alt.candidates)-2)
					}
				}
				deviation := math.Sqrt(p*(1-p)) * math.Abs(between) / g.scale(false)
				if deviation > leastSpread {
					open++
				} else {
					settled++
				}
				for x := range alt.candidates {
					want := float64(alt.advantage[x]) / max(deviation, leastSpread)
					if got := float64(divided[i][n].advantage[x]); math.Abs(got-want) > 1e-4*(1+math.Abs(want)) {
						t.Fatalf("round %d, answer %d, place %d, alternative %d: %g, want %g (deviation %g)", round, i, alt.place, x, got, want, deviation)
					}
				}
			}
		}
	}
	if open < 20 || settled < 20 {
		t.Fatalf("%d open and %d settled choices: the test has to see both", open, settled)
	}
}
