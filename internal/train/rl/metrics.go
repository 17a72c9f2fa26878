package rl

import (
	"slices"

	"github.com/gr2/gr2/internal/metric"
	"github.com/gr2/gr2/internal/nn"
	"github.com/gr2/gr2/internal/reward"
)

// Metrics is one row of metrics.jsonl: what a step drew and learnt. Means are over
// all answers drawn, also those of groups that were dropped, unless said
// otherwise.
type Metrics struct {
	Step  int     `json:"step"`
	Draws int     `json:"draws"` // prompts since the beginning
	LR    float64 `json:"lr"`

	*Updates // nil where no group was learnt from

	Reward    Rewards   `json:"reward"`
	Ranking   *Rankings `json:"ranking,omitempty"` // nil where no answer was valid
	Valid     float64   `json:"valid"`             // share that are full permutations
	Truncated float64   `json:"truncated"`         // share that ended at the limit
	Length    float64   `json:"length"`            // tokens
	Groups    Groups    `json:"groups"`

	rankings int // answers that are full permutations
}

// Updates are means over the optimiser steps of a step, Policy over their choices.
type Updates struct {
	Loss     float64 `json:"loss"`
	GradNorm float64 `json:"grad_norm"` // before clipping
	Policy   Policy  `json:"policy"`
}

// Rewards are the mean reward and its parts.
type Rewards struct {
	Total    float64 `json:"total"`
	Rank     float64 `json:"rank"`
	Format   float64 `json:"format"`
	Overlong float64 `json:"overlong"`
	Spread   float64 `json:"spread"` // mean standard deviation in a group
}

// Rankings are means over the valid answers.
type Rankings struct {
	AUC    float64 `json:"auc"`
	N3     float64 `json:"n3"`
	Copied float64 `json:"copied"` // share that are the incoming order
	// Perfect is the share whose slate has an incoming order that cannot be bettered:
	// how often a copy is right.
	Perfect float64 `json:"perfect"`
	// Idle is the share that bettered nothing where something could be: the AUC is
	// that of the incoming order, as that of a copy and of one with a few negatives
	// exchanged.
	Idle   float64 `json:"idle"`
	Echoed float64 `json:"echoed"` // share that are 1..K as shown
}

// Groups counts prompts of a step.
type Groups struct {
	Drawn int `json:"drawn"`
	Flat  int `json:"flat"`  // without spread in the raw metric
	Kept  int `json:"kept"`  // learnt from
	Short int `json:"short"` // wanted and not found within the bound
}

// Policy is what the choices learnt from were like.
type Policy struct {
	Entropy  float64 `json:"entropy"`
	ClipLow  float64 `json:"clip_low"` // shares
	ClipHigh float64 `json:"clip_high"`
	Drift    float64 `json:"drift"` // KL from the policy that sampled
	KL       float64 `json:"kl"`    // KL from the reference; 0 without one
}

// Speed is one row of speed.jsonl.
type Speed struct {
	Step           int     `json:"step"`
	RolloutSeconds float64 `json:"rollout_seconds"`
	UpdateSeconds  float64 `json:"update_seconds"`
	// Tokens that passed the model, in a second: prompts count once for all of
	// their answers.
	Rollout float64 `json:"rollout_tokens_per_second"`
	Update  float64 `json:"update_tokens_per_second"`
}

// validationRow is a row of metrics.jsonl with a validation.
type validationRow struct {
	Step  int                `json:"step"`
	Valid map[string]float64 `json:"validation"`
	Alarm AlarmKind          `json:"alarm,omitempty"` // where reward and metric part
}

// measure takes the means over the answers of groups.
func measure(groups []group) Metrics {
	var m Metrics
	var ranking Rankings
	answers := 0.0
	for i := range groups {
		g := &groups[i]
		m.Groups.Drawn++
		if !g.spread() {
			m.Groups.Flat++
		}
		m.Reward.Spread += g.deviation()
		for j := range g.answers {
			a := &g.answers[j]
			answers++
			m.add(a)
			if a.parsed.Valid {
				m.rankings++
				ranking.add(g, a)
			}
		}
	}
	for _, v := range []*float64{&m.Reward.Total, &m.Reward.Rank, &m.Reward.Format, &m.Reward.Overlong, &m.Truncated, &m.Length} {
		*v /= max(1, answers)
	}
	valid := float64(m.rankings)
	if valid > 0 {
		for _, v := range []*float64{&ranking.AUC, &ranking.N3, &ranking.Copied, &ranking.Perfect, &ranking.Idle, &ranking.Echoed} {
			*v /= valid
		}
		m.Ranking = &ranking
	}
	m.Valid = valid / max(1, answers)
	m.Reward.Spread /= max(1, float64(len(groups)))
	return m
}

func (m *Metrics) add(a *answer) {
	m.Reward.Total += a.reward()
	m.Reward.Rank += a.score.Rank
	m.Reward.Format += a.score.Format
	m.Reward.Overlong += a.overlong
	m.Truncated += share(a.truncated)
	m.Length += float64(a.length)
}

func (r *Rankings) add(g *group, a *answer) {
	j := metric.Judged{Ranking: a.parsed.Ranking, Grades: g.slate.Grades}
	auc, _ := j.AUC()
	r.AUC += auc
	r.N3 += j.NDCGAt(3)
	r.Copied += share(a.score.Copied)
	r.Perfect += share(g.slate.Perfect())
	r.Idle += share(!g.slate.Perfect() && auc == reward.AUC.Of(g.slate, g.slate.Incoming))
	r.Echoed += share(slices.IsSorted(a.parsed.Ranking))
}

func share(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// updateSums are sums over the optimiser steps of a step.
type updateSums struct {
	tokens     int // that passed the model
	updates    float64
	loss, norm float64
	policy     nn.PolicyStats
}

// means are nil where there was no update.
func (u *updateSums) means() *Updates {
	if u.updates == 0 {
		return nil
	}
	n := max(1, u.policy.Choices)
	return &Updates{
		Loss: u.loss / u.updates, GradNorm: u.norm / u.updates,
		Policy: Policy{
			Entropy: u.policy.Entropy / n, ClipLow: u.policy.Low / n, ClipHigh: u.policy.High / n,
			Drift: u.policy.Drift / n, KL: u.policy.KL / n,
		},
	}
}

func (s *Speed) rates(drawn []group, learned int) {
	sampled := 0
	for i := range drawn {
		sampled += len(drawn[i].trunk)
		for j := range drawn[i].answers {
			sampled += len(drawn[i].answers[j].tokens)
		}
	}
	if s.RolloutSeconds > 0 {
		s.Rollout = float64(sampled) / s.RolloutSeconds
	}
	if s.UpdateSeconds > 0 {
		s.Update = float64(learned) / s.UpdateSeconds
	}
}
