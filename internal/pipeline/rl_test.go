package pipeline

import (
	"testing"

	"github.com/gr2/gr2/internal/train/rl"
)

// docs/rl.md has the three algorithms as settings of one: what the name sets is
// the normaliser and the division by the deviation, and the rest passes through.
func TestAlgorithms(t *testing.T) {
	for name, want := range map[string]struct {
		normalizer rl.Normalizer
		deviation  bool
	}{
		algorithmDAPO:   {rl.ByToken, true},
		algorithmGRPO:   {rl.ByAnswer, true},
		algorithmDrGRPO: {rl.Constant, false},
	} {
		r := RLOptions{Algorithm: name, Attempts: 3, ClipLow: .2, ClipHigh: .25, KL: .04, Reward: "b", Metric: "auc", Alpha: .2, Decode: decodeFree, Credit: "answer"}
		o := r.train(7)
		if o.Normalizer != want.normalizer || o.Deviation != want.deviation {
			t.Errorf("%s: normaliser %v, deviation %t; want %v and %t", name, o.Normalizer, o.Deviation, want.normalizer, want.deviation)
		}
		if o.Attempts != 3 || o.Low != .2 || o.High != .25 || o.KL != .04 || !o.Free || o.Seed != 7 || o.Credit != rl.ToAnswer || o.Reward != r.reward() {
			t.Errorf("%s: settings are lost: %+v", name, o)
		}
	}
}
