package rl

import "fmt"

// mark is one validation beside the reward that led to it.
type mark struct {
	Step   int     `json:"step"`
	Reward float64 `json:"reward"` // mean since the validation before, or of the first step for the first
	Known  bool    `json:"known"`  // whether there is a reward yet
	Score  float64 `json:"score"`
}

// window is the rewards of some steps.
type window struct {
	Sum   float64 `json:"sum"`
	Steps int     `json:"steps"`
}

// note adds the mean reward of a step. The first one is that of the policy that
// was validated before any step.
func (s *state) note(total float64) {
	if n := len(s.Marks); n > 0 && !s.Marks[n-1].Known {
		s.Marks[n-1].Reward, s.Marks[n-1].Known = total, true
	}
	s.Window.Sum += total
	s.Window.Steps++
}

// mark notes a validation and says what is wrong if reward and metric part.
func (s *state) mark(score float64) (alarm string) {
	m := mark{Step: s.Steps, Score: score}
	if s.Window.Steps > 0 {
		m.Reward, m.Known = s.Window.Sum/float64(s.Window.Steps), true
	}
	s.Window = window{}
	s.Marks = append(s.Marks, m)
	return diverged(s.Marks)
}

// fallen is the share of the best score that two validations in a row must have
// lost before it counts as more than noise.
const fallen = .02

// diverged reports a policy that earns more and ranks worse: at the last two
// validations the reward was above that at the best one, and the score well below.
// The reward is then being learnt for something else than the ranking.
func diverged(marks []mark) string {
	if len(marks) < 3 {
		return ""
	}
	best := marks[0]
	for _, m := range marks {
		if m.Score > best.Score {
			best = m
		}
	}
	for _, m := range marks[len(marks)-2:] {
		if !m.Known || !best.Known || m.Reward <= best.Reward || m.Score >= best.Score*(1-fallen) {
			return ""
		}
	}
	last := marks[len(marks)-1]
	return fmt.Sprintf("the reward rose from %.3f to %.3f since step %d while the validation fell from %.4f to %.4f: look for a way to earn it without ranking better",
		best.Reward, last.Reward, best.Step, best.Score, last.Score)
}
