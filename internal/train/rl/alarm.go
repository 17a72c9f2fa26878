package rl

import (
	"fmt"
	"math"

	"github.com/gr2/gr2/internal/train"
)

// mark is one validation beside the answers that led to it.
type mark struct {
	Step int `json:"step"`
	// Reward and Valid are means since the validation before, or of the first step
	// for the first; Known says whether there are any yet.
	Reward float64 `json:"reward"`
	Valid  float64 `json:"valid"` // share of the answers that are rankings
	Known  bool    `json:"known"`
	Score  float64 `json:"score"`
	Below  bool    `json:"below"` // the score is below the best so far, beyond chance
}

// window is sums over some steps.
type window struct {
	Reward float64 `json:"reward"`
	Valid  float64 `json:"valid"`
	Steps  int     `json:"steps"`
}

// note adds the means of a step. The first one is that of the policy that was
// validated before any step.
func (s *state) note(reward, valid float64) {
	if n := len(s.Marks); n > 0 && !s.Marks[n-1].Known {
		m := &s.Marks[n-1]
		m.Reward, m.Valid, m.Known = reward, valid, true
	}
	s.Window.Reward += reward
	s.Window.Valid += valid
	s.Window.Steps++
}

// mark notes a validation and says what is wrong if reward and metric part.
func (s *state) mark(v train.Validation) (alarm string) {
	m := mark{Step: s.Steps, Score: v.Score, Below: below(v.Parts, s.BestParts)}
	if n := float64(s.Window.Steps); n > 0 {
		m.Reward, m.Valid, m.Known = s.Window.Reward/n, s.Window.Valid/n, true
	}
	if len(s.Marks) == 0 || v.Score > s.best().Score {
		s.BestParts = v.Parts
	}
	s.Window = window{}
	s.Marks = append(s.Marks, m)
	return s.diverged()
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

// lapsed is the share of its valid answers that a policy must have lost, at two
// validations in a row, before that counts as more than noise.
const lapsed = .1

// diverged reports a policy that earns more and does worse: at the last two
// validations the reward was above that at the best one, and the score beyond
// chance below it, or fewer answers were rankings. The reward is then being learnt
// for something else. Validation reads rankings under the grammar, so it does not
// see what a policy that writes freely has unlearnt.
func (s *state) diverged() string {
	if len(s.Marks) < 3 {
		return ""
	}
	best, fittest := s.best(), s.Marks[0]
	for _, m := range s.Marks {
		if m.Known && m.Valid > fittest.Valid {
			fittest = m
		}
	}
	worse, fewer := best.Known, fittest.Known
	for _, m := range s.Marks[len(s.Marks)-2:] {
		worse = worse && m.Known && m.Below && m.Reward > best.Reward
		fewer = fewer && m.Known && m.Valid < fittest.Valid*(1-lapsed) && m.Reward > fittest.Reward
	}
	last := s.Marks[len(s.Marks)-1]
	switch {
	case worse:
		return fmt.Sprintf("the reward rose from %.3f to %.3f since step %d while the validation fell from %.4f to %.4f: look for a way to earn it without ranking better",
			best.Reward, last.Reward, best.Step, best.Score, last.Score)
	case fewer:
		return fmt.Sprintf("the reward rose from %.3f to %.3f since step %d while the share of answers that are rankings fell from %.3f to %.3f: look for a way to earn it without a ranking",
			fittest.Reward, last.Reward, fittest.Step, fittest.Valid, last.Valid)
	}
	return ""
}
