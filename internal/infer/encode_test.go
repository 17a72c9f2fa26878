package infer_test

import (
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/lm"
)

// The states of all tokens are those behind the reference's logits, whatever the
// lengths of the sequences, and the last state alone is the last of them, to the
// bit in any company.
func TestEncode(t *testing.T) {
	for name, cfg := range configs {
		m := newModel(t, cfg)
		e := newEngine(t, m)
		var sequences [][]int32
		for i, n := range []int{1, 7, 32, 33, 2, 300, 64, 1, 31, 20, 256, 30} {
			sequences = append(sequences, tokens(cfg, n, uint64(i)))
		}
		all, last := make([][]float32, len(sequences)), make([][]float32, len(sequences))
		keep := func(to [][]float32) func(int, []float32) {
			return func(i int, states []float32) { to[i] = append(to[i], states...) }
		}
		if err := e.Encode(sequences, false, keep(all)); err != nil {
			t.Fatal(err)
		}
		if err := e.Encode(sequences, true, keep(last)); err != nil {
			t.Fatal(err)
		}
		for i, ids := range sequences {
			if len(all[i]) != len(ids)*cfg.Hidden || len(last[i]) != cfg.Hidden {
				t.Fatalf("%s: %d and %d numbers for %d tokens", name, len(all[i]), len(last[i]), len(ids))
			}
			if len(ids) <= 64 {
				for at, want := range reference(m, ids) {
					sameLogits(t, name, headOf(m, all[i][at*cfg.Hidden:(at+1)*cfg.Hidden]), want)
				}
			}
			var alone []float32
			if err := e.Encode([][]int32{ids}, false, func(_ int, states []float32) { alone = slices.Clone(states) }); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(alone, all[i]) {
				t.Fatalf("%s: sequence %d of %d tokens has other states alone", name, i, len(ids))
			}
			sameLogits(t, name, last[i], widen(alone[len(alone)-cfg.Hidden:]))
		}
	}
}

func headOf(m *lm.Model, state []float32) []float32 {
	out := make([]float32, m.Config.VocabSize)
	for i := range out {
		out[i] = kernel.Dot(state, m.Head.Data[i*len(state):(i+1)*len(state)])
	}
	return out
}

func TestEncodeRefusesWhatItCannotRead(t *testing.T) {
	cfg := configs["llama"]
	e := newEngine(t, newModel(t, cfg))
	for _, bad := range [][]int32{nil, {0, int32(cfg.VocabSize)}, {-1}, make([]int32, cfg.MaxPositions+1)} {
		err := e.Encode([][]int32{{1, 2}, bad}, true, func(int, []float32) { t.Error("something was computed") })
		if err == nil {
			t.Errorf("%d tokens %v were read", len(bad), bad[:min(3, len(bad))])
		}
	}
}
