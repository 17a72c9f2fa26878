package rl

import (
	"math"
	"slices"
	"testing"

	"github.com/gr2/gr2/bench/compare/comparetest"
	"github.com/gr2/gr2/internal/infer"
)

func TestPeerUnderstandsTasks(t *testing.T) {
	comparetest.ReadEveryField(t, tasks()[0], source, "peer.py")
}

// A step samples answers of the whole length, learns from them and samples others
// next: its parts do what they are measured for.
func TestStep(t *testing.T) {
	l := newLearner(task{Part: "step", Prompts: 2, Prompt: 6, Group: 3, New: 5, Updates: 2, KL: true})
	before := append([]float32(nil), l.decoder.Params()[0].Value...)
	first := l.rollout()
	l.update(first)
	changed := 0
	for i, v := range l.decoder.Params()[0].Value {
		if v != before[i] {
			changed++
		}
	}
	if changed == 0 {
		t.Error("an update changed nothing")
	}
	second := l.rollout()
	for i, g := range first {
		for j, a := range g.answers {
			if len(a.Tokens) != 5 || len(a.LogProbs) != 5 {
				t.Fatalf("answer %d.%d has %d tokens and %d log-probabilities, want 5", i, j, len(a.Tokens), len(a.LogProbs))
			}
		}
	}
	if first[0].answers[0].Tokens[0] == second[0].answers[0].Tokens[0] && first[1].answers[1].Tokens[1] == second[1].answers[1].Tokens[1] {
		t.Error("two rollouts are the same")
	}
}

// Several updates and a KL change what is learnt.
func TestUpdatesAndKLCount(t *testing.T) {
	after := func(updates int, kl bool) []float32 {
		l := newLearner(task{Part: "update", Prompts: 2, Prompt: 6, Group: 3, New: 5, Updates: updates, KL: kl})
		for range 2 { // the reference is the policy at first
			l.update(l.rollout())
		}
		return l.decoder.Params()[0].Value
	}
	once, twice, kept := after(1, false), after(2, false), after(2, true)
	if slices.Equal(once, twice) {
		t.Error("two updates are one")
	}
	if slices.Equal(twice, kept) {
		t.Error("the KL changes nothing")
	}
}

// Advantages have mean 0 and deviation 1.
func TestAdvantages(t *testing.T) {
	g := group{answers: []infer.Output{{Tokens: []int32{2, 4}}, {Tokens: []int32{1, 3}}, {Tokens: []int32{1, 4}}, {Tokens: []int32{2, 3}}}}
	want := []float64{math.Sqrt2, -math.Sqrt2, 0, 0}
	for i, a := range g.advantages() {
		if math.Abs(float64(a)-want[i]) > 1e-4 {
			t.Errorf("advantage %d is %v, want %v", i, a, want[i])
		}
	}
}
