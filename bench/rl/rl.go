// Package rl compares a step of reinforcement learning with PyTorch: a group of
// answers is sampled to each prompt, rewarded, and learnt from by the clipped
// surrogate of DAPO, in one or several updates, with or without a KL to a reference.
package rl

import (
	"context"
	"embed"
	"fmt"
	"math"

	"github.com/gr2/gr2/bench/compare"
	"github.com/gr2/gr2/bench/reference"
	"github.com/gr2/gr2/internal/infer"
	"github.com/gr2/gr2/internal/nn"
	"github.com/gr2/gr2/internal/rng"
)

//go:embed peer.py
var source embed.FS

// task is a step or a part of it. Its fields are what peers are told.
type task struct {
	Part            string // step, or rollout or update alone
	Prompts, Prompt int    // prompts of so many tokens
	Group, New      int    // answers to each, of exactly so many tokens
	Updates         int    // of the optimiser, each on as many of the prompts
	KL              bool   // to a reference policy
}

func tasks() []task {
	return []task{
		{"step", 8, 256, 8, 48, 1, false},
		{"rollout", 8, 256, 8, 48, 1, false},
		{"update", 8, 256, 8, 48, 1, false},
		{"step", 8, 512, 8, 24, 1, false},
		{"step", 16, 228, 4, 24, 1, false}, // a quarter of the whole with rl.group=4, with one update
		{"rollout", 16, 228, 4, 24, 1, false},
		{"update", 16, 228, 4, 24, 1, false},
		{"step", 64, 228, 16, 24, 4, true}, // as in experiments/rl_lift
		{"rollout", 64, 228, 16, 24, 1, false},
		{"update", 64, 228, 16, 24, 4, true},
		{"step", 64, 228, 4, 24, 4, true}, // as there with rl.group=4
		{"update", 64, 228, 4, 24, 4, true},
	}
}

func (t task) name() string {
	name := fmt.Sprintf("%s/%dx%d+%dx%d", t.Part, t.Prompts, t.Prompt, t.Group, t.New)
	if t.Updates > 1 {
		name += fmt.Sprintf("/%d-updates", t.Updates)
	}
	if t.KL {
		name += "/kl"
	}
	return name
}

// Suite is what Command bench runs.
func Suite() compare.Suite {
	s := compare.Suite{
		Name: "rl", Unit: "answer tokens/s",
		Files: func(dir string) error { return reference.Save(reference.Model(), dir) },
		Peers: []compare.Peer{
			{Name: "generate", Source: source, Script: "peer.py", Args: []string{"generate"}},
			{Name: "generate-prefix", Source: source, Script: "peer.py", Args: []string{"prefix"}},
			{Name: "generate-prefix-compile", Source: source, Script: "peer.py", Args: []string{"prefix", "compile"}},
		},
	}
	for _, t := range tasks() {
		s.Cases = append(s.Cases, compare.Case{Name: t.name(), Work: float64(t.Prompts * t.Group * t.New), Request: t, Prepare: t.prepare})
	}
	return s
}

// prepare returns a repetition of the task by gr2.
func (t task) prepare() func() {
	l := newLearner(t)
	switch t.Part {
	case "rollout":
		return func() { l.rollout() }
	case "update":
		groups := l.rollout()
		return func() { l.update(groups) }
	default:
		return func() { l.update(l.rollout()) }
	}
}

// learner is a policy in training. The engine reads the weights that the decoder
// trains.
type learner struct {
	task
	engine    *infer.Engine
	decoder   *nn.Decoder
	reference *nn.Decoder // nil without KL
	tape      *nn.Tape
	silent    *nn.Tape
	adam      *nn.AdamW
	prompts   [][]int32
	steps     uint64
}

func newLearner(t task) *learner {
	m := reference.Model()
	engine, err := infer.New(m)
	must(err)
	l := &learner{task: t, engine: engine, decoder: nn.NewDecoder(m), tape: nn.NewTape(), silent: nn.NewForwardTape()}
	if t.KL {
		l.reference = nn.NewDecoder(reference.Model())
	}
	l.adam = nn.NewAdamW(l.decoder.Params(), nn.AdamWOptions{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1})
	r := rng.New(1, rng.Key("bench/rl"))
	for range t.Prompts {
		p := make([]int32, t.Prompt)
		for i := range p {
			p[i] = int32(3 + r.IntN(reference.Config.VocabSize-3))
		}
		l.prompts = append(l.prompts, p)
	}
	return l
}

// group is the answers to a prompt.
type group struct {
	prompt  []int32
	answers []infer.Output
}

// rollout samples the groups.
func (l *learner) rollout() []group {
	var requests []infer.Request
	for i, p := range l.prompts {
		root := l.engine.NewSession()
		_, err := root.Feed(p)
		must(err)
		for j := range l.Group {
			requests = append(requests, infer.Request{Session: root.Fork(), Stop: -1, Max: l.New, Sampler: infer.Sampler{
				Temperature: 1, Rand: rng.New(1, rng.Key("answers"), l.steps, uint64(i), uint64(j))}})
		}
	}
	l.steps++
	outputs, err := l.engine.GenerateAll(context.Background(), requests)
	must(err)
	groups := make([]group, len(l.prompts))
	for i := range groups {
		groups[i] = group{l.prompts[i], outputs[i*l.Group : (i+1)*l.Group]}
	}
	return groups
}

// microTokens is about how many tokens pass the model at a time.
const microTokens = 4096

// update learns from the groups, in as many steps of the optimiser as there are
// updates.
func (l *learner) update(groups []group) {
	per := len(groups) / l.Updates
	for len(groups) > 0 {
		l.learn(groups[:per])
		groups = groups[per:]
	}
}

// learn makes one step of the optimiser.
func (l *learner) learn(groups []group) {
	norm := float32(len(groups) * l.Group * l.New)
	for len(groups) > 0 {
		var b nn.Batch
		s := nn.Surrogate{Low: .2, High: .28}
		for len(groups) > 0 && (len(b.Tokens) == 0 || len(b.Tokens)+l.Prompt+l.Group*l.New <= microTokens) {
			groups[0].add(&b, &s)
			groups = groups[1:]
		}
		if l.reference != nil {
			l.silent.Reset()
			s.Beta, s.Reference = .1, l.reference.LogProbs(l.silent, &b)
		}
		l.tape.Reset()
		loss, _ := l.decoder.PolicyLoss(l.tape, &b, s, norm)
		l.tape.Backward(loss)
	}
	l.adam.ClippedStep(1e-5, 1)
}

// add appends the group as a tree.
func (g *group) add(b *nn.Batch, s *nn.Surrogate) {
	root := b.Append(-1, g.prompt, make([]float32, len(g.prompt)))
	for i, advantage := range g.advantages() {
		a := &g.answers[i]
		weights := make([]float32, len(a.Tokens))
		for t := range weights {
			weights[t] = 1
			s.Old = append(s.Old, a.LogProbs[t])
			s.Advantage = append(s.Advantage, advantage)
			b.Allowed = append(b.Allowed, nil)
		}
		b.Append(root, a.Tokens, weights)
	}
}

// advantages are those of the share of even tokens, a reward like any other.
func (g *group) advantages() []float32 {
	out := make([]float32, len(g.answers))
	var mean, square float64
	for i, a := range g.answers {
		even := 0
		for _, t := range a.Tokens {
			even += int(1 - t&1)
		}
		out[i] = float32(even) / float32(len(a.Tokens))
		mean += float64(out[i]) / float64(len(out))
		square += float64(out[i]) * float64(out[i]) / float64(len(out))
	}
	for i := range out {
		out[i] = (out[i] - float32(mean)) / float32(math.Sqrt(max(0, square-mean*mean))+1e-6)
	}
	return out
}

// must panics: a constant of this package is wrong.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
