package rl

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/gr2/gr2/internal/train"
)

// AlarmKind is what a run is warned of; 0 is nothing. Its text says it without
// numbers.
type AlarmKind int

// The kinds are the values of "alarm" in metrics.jsonl.
const (
	HollowReward AlarmKind = 1 + iota // earned without ranking better
	FewerRankings
	ByHeart
	Copies
	OneOrder
	Collapsed
)

func (k AlarmKind) String() string {
	switch k {
	case HollowReward:
		return "the reward rose while the validation fell: look for a way to earn it without ranking better"
	case FewerRankings:
		return "fewer answers are rankings and the reward is no lower: look for a way to earn it without a ranking"
	case ByHeart:
		return "training slates were ranked better while the validation fell: they are learnt by heart; fewer steps, more slates or a larger rl.kl may help"
	case Copies:
		return "answers have come to copy the incoming order, more than it is right: another rl.reward, rl.shuffle or more evidence in the prompt may help"
	case OneOrder:
		return "most validation slates are answered with one order of places, whatever they hold: the policy does not read them; more SFT, a lower rl.lr or a larger rl.kl may help"
	case Collapsed:
		return "answers to a prompt are all equally good, so that nothing is learnt, and the validation fell: the policy has collapsed; a lower rl.lr, a larger rl.kl or rl.temperature may help"
	}
	return ""
}

// Alarm is a warning at a validation.
type Alarm struct {
	Step int       `json:"step"`
	Kind AlarmKind `json:"kind"`
	Text string    `json:"text"` // with the numbers
}

// estimate is sums of a number over steps, each counted as often as it weighs.
type estimate struct {
	Weight  float64 `json:"weight"`
	Weight2 float64 `json:"weight2"` // sum of the squared weights
	Sum     float64 `json:"sum"`
	Squares float64 `json:"squares"`
}

// UnmarshalJSON also reads the state of versions that counted steps, all weighing 1.
func (e *estimate) UnmarshalJSON(b []byte) error {
	type plain estimate
	saved := struct {
		*plain
		Steps float64 `json:"steps"`
	}{plain: (*plain)(e)}
	if err := json.Unmarshal(b, &saved); err != nil {
		return err
	}
	if saved.Steps > 0 {
		e.Weight, e.Weight2 = saved.Steps, saved.Steps
	}
	return nil
}

func (e *estimate) add(v, weight float64) {
	e.Weight += weight
	e.Weight2 += weight * weight
	e.Sum += weight * v
	e.Squares += weight * v * v
}

func (e estimate) known() bool { return e.Weight > 0 }

// mean is no number where nothing is known: it is then neither above nor below another.
func (e estimate) mean() float64 { return e.Sum / e.Weight }

func (e estimate) meanOrZero() float64 {
	if !e.known() {
		return 0
	}
	return e.mean()
}

// steps is how many steps of equal weight say as much.
func (e estimate) steps() float64 { return e.Weight * e.Weight / e.Weight2 }

// above and below report whether the mean is larger or smaller than b's by more than
// chance.
func (e estimate) above(b estimate) bool { return e.mean()-b.mean() > e.chance(b) }
func (e estimate) below(b estimate) bool { return b.mean()-e.mean() > e.chance(b) }

// chance is two standard errors of the difference of the means. What single steps vary
// is taken from e alone, for b may be of one step.
func (e estimate) chance(b estimate) float64 {
	n := e.steps()
	if !(n > 1) || !b.known() {
		return math.Inf(1)
	}
	mean := e.mean()
	variance := max(0, e.Squares/e.Weight-mean*mean) * n / (n - 1)
	return 2 * math.Sqrt(variance*(1/n+1/b.steps()))
}

// window is what the answers of some steps were like; N3, Copied and Perfect are of
// those that are rankings.
type window struct {
	Reward  estimate `json:"earned"`
	Valid   estimate `json:"rankings"` // share of the answers
	Flat    estimate `json:"flat"`     // share of the prompts whose answers are all equally good
	N3      estimate `json:"n3"`
	Copied  estimate `json:"copied"`
	Perfect estimate `json:"perfect"`
}

func (w *window) add(m *Metrics) {
	w.Reward.add(m.Reward.Total, 1)
	w.Valid.add(m.Valid, 1)
	drawn := float64(m.Groups.Drawn)
	w.Flat.add(float64(m.Groups.Flat)/max(1, drawn), drawn)
	if r := m.Ranking; r != nil {
		rankings := m.Valid * drawn // in groups' worth of answers
		w.N3.add(r.N3, rankings)
		w.Copied.add(r.Copied, rankings)
		w.Perfect.add(r.Perfect, rankings)
	}
}

func (w *window) known() bool { return w.Reward.known() }

// enough is how many groups' worth of rankings say what share of them are copies, and
// those of a single step what share of the answers they are.
const enough = 10

// copies reports whether more than were copied in the beginning, and than are right,
// are copies, of the rankings sampled or of those of the validation slates. Where
// hardly a ranking was sampled it is not known how many are right.
func (m *mark) copies(first *mark) bool {
	if m.Copied.Weight < enough {
		return false
	}
	more := first.Copied.Weight < enough || m.Copied.above(first.Copied)
	return more && m.Copied.mean() > max(first.Copied.meanOrZero(), m.Perfect.mean())+lapsed || m.Given > max(first.Given, m.Perfect.mean())+echoing
}

// mark is one validation beside the answers that led to it: those since the
// validation before, or of the first step for the first.
type mark struct {
	Step int `json:"step"`
	window
	Score float64 `json:"score"`
	Below bool    `json:"below"` // the score is below the best so far, beyond chance
	Given float64 `json:"given"` // share of the validation slates that are given back as they came
	One   float64 `json:"one"`   // share of them that are given one other order of places, where the score is not above the incoming order's
}

// note adds a step. The first one is that of the policy that was validated before
// any step.
func (s *state) note(m *Metrics) {
	if n := len(s.Marks); n > 0 && !s.Marks[n-1].known() {
		s.Marks[n-1].add(m)
	}
	s.Window.add(m)
}

// mark notes a validation and says what is wrong if reward and metric part.
func (s *state) mark(v train.Validation) *Alarm {
	m := mark{Step: s.Steps, window: s.Window, Score: v.Score, Below: below(v.Parts, s.BestParts), Given: v.Metrics[train.Copied]}
	if v.Score <= v.Metrics[train.Incoming] {
		m.One = v.Metrics[train.OneOrder]
	}
	if len(s.Marks) == 0 || v.Score > s.best().Score {
		s.BestParts = v.Parts
	}
	s.Window = window{}
	s.Marks = append(s.Marks, m)
	a := s.diverged()
	if a != nil {
		s.Alarms = append(s.Alarms, *a)
	}
	return a
}

// best is the mark with the highest score, the first among equals.
func (s *state) best() mark {
	best := s.Marks[0]
	for _, m := range s.Marks {
		if m.Score > best.Score {
			best = m
		}
	}
	return best
}

// fittest is the mark with the largest share of rankings among the answers, of those
// that say what it is: the first, of one step, may have too few for that where most
// answers are none, and the steps after it count that step too.
func (s *state) fittest() mark {
	marks := s.Marks
	if first := &marks[0]; first.Copied.Weight < enough && first.Valid.mean() < .5 {
		marks = marks[1:]
	}
	fittest := marks[0]
	for _, m := range marks {
		if m.known() && m.Valid.mean() > fittest.Valid.mean() {
			fittest = m
		}
	}
	return fittest
}

// below reports whether scores of the same slates are lower by more than two
// standard errors of their mean difference.
func below(scores, best []float64) bool {
	if len(scores) < 2 || len(scores) != len(best) {
		return false
	}
	n, sum, squares := float64(len(scores)), 0.0, 0.0
	for i, v := range scores {
		d := v - best[i]
		sum += d
		squares += d * d
	}
	mean := sum / n
	variance := max(0, squares/n-mean*mean)
	return mean+2*math.Sqrt(variance/(n-1)) < 0
}

// lapsed is what is more than noise at two validations in a row: the share of its
// valid answers that a policy has lost, the share of its answers that are copies
// beyond those that were and those that are right.
const lapsed = .1

// echoing is what the policy itself, which writes what it holds likeliest, has to
// give back beyond that: most of a policy's samples are no copies when all of its
// likeliest answers are.
const echoing = .5

// blind is the share of validation slates with one order of places at which a policy
// does not read what it is shown; settled is the share of prompts whose answers are
// equally good at which it is too sure to learn.
const blind, settled = .5, .99

// diverged reports a policy that earns as much and does worse, at the last two
// validations: the score is below the best one while the reward rose, or fewer answers
// are rankings while it did not fall, beyond chance; or more are copies, those sampled
// beyond chance or those of validation slates. The score does not see what a policy that
// writes freely has unlearnt, for validation reads it under the grammar, nor the copies
// of a policy that knew nothing better, which rank as well as the incoming order. It
// also reports one that does not read its slates, or has nothing left to learn from and
// is worse.
func (s *state) diverged() *Alarm {
	if len(s.Marks) < 3 {
		return nil
	}
	first, best, fittest := s.Marks[0], s.best(), s.fittest()
	worse, fewer, copies, one, collapsed := true, true, true, true, true
	for _, m := range s.Marks[len(s.Marks)-2:] {
		if !m.known() || !first.known() {
			return nil
		}
		worse = worse && m.Below && m.Reward.above(best.Reward)
		fewer = fewer && m.Valid.mean() < fittest.Valid.mean()*(1-lapsed) && m.Valid.below(fittest.Valid) && !m.Reward.below(fittest.Reward)
		copies = copies && m.copies(&first)
		one = one && m.One > blind
		collapsed = collapsed && m.Below && m.Flat.mean() > settled
	}
	last := s.Marks[len(s.Marks)-1]
	switch {
	case worse && last.N3.above(best.N3):
		return last.alarm(ByHeart, "N@3 of training slates from %.3f to %.3f, validation from %.4f to %.4f since step %d", best.N3.mean(), last.N3.mean(), best.Score, last.Score, best.Step)
	case worse:
		return last.alarm(HollowReward, "reward from %.3f to %.3f, validation from %.4f to %.4f since step %d", best.Reward.mean(), last.Reward.mean(), best.Score, last.Score, best.Step)
	case fewer:
		return last.alarm(FewerRankings, "reward from %.3f to %.3f, rankings from %.3f to %.3f since step %d", fittest.Reward.mean(), last.Reward.mean(), fittest.Valid.mean(), last.Valid.mean(), fittest.Step)
	case copies:
		return last.alarm(Copies, "%.3f of the rankings sampled are copies, at the beginning %.3f, and %.3f of the validation slates are given back; a copy is right in %.3f", last.Copied.mean(), first.Copied.meanOrZero(), last.Given, last.Perfect.mean())
	case collapsed:
		return last.alarm(Collapsed, "%.3f of the prompts have answers that are equally good, validation from %.4f to %.4f since step %d", last.Flat.mean(), best.Score, last.Score, best.Step)
	case one:
		return last.alarm(OneOrder, "%.3f of the validation slates", last.One)
	}
	return nil
}

func (m *mark) alarm(kind AlarmKind, format string, numbers ...any) *Alarm {
	return &Alarm{Step: m.Step, Kind: kind, Text: fmt.Sprintf("%v (%s)", kind, fmt.Sprintf(format, numbers...))}
}
