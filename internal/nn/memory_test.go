package nn

import (
	"fmt"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/rng"
)

// TestRecomputeChangesNothing compares bits of loss, gradients and
// log-probabilities, also where parts of the model are frozen.
func TestRecomputeChangesNothing(t *testing.T) {
	freezes := map[string]func(d *Decoder){
		"nothing": func(*Decoder) {},
		"the embedding": func(d *Decoder) {
			d.embed.Frozen = true
		},
		"all but the last layer": func(d *Decoder) {
			for _, p := range d.params {
				p.Frozen = p != d.layers[2].down && p != d.norm
			}
		},
		"all but one of the first layer": func(d *Decoder) {
			for _, p := range d.params {
				p.Frozen = p != d.layers[0].k
			}
		},
	}
	for _, architecture := range []string{lm.Llama, lm.Qwen2, lm.Qwen3} {
		cfg := smallConfig(architecture)
		cfg.Layers = 3
		tree := randomForest(rng.New(3), cfg.VocabSize, 60).shared()
		for _, b := range []*Batch{packed(cfg.VocabSize, []int{70, 1, 120}, 0.3), tree} {
			for name, freeze := range freezes {
				recorded := map[bool]int{}
				run := func(recompute bool) (out [][]float32) {
					d, tape := NewDecoder(mustModel(t, cfg)), dirtyTape()
					d.Recompute = recompute
					freeze(d)
					for range 2 { // the second step finds the memory of the first
						tape.Reset()
						loss := d.Loss(tape, b, 10)
						recorded[recompute] = len(tape.ops)
						tape.Backward(loss)
						out = append(out, slices.Clone(loss.Value))
					}
					for _, p := range d.Params() {
						out = append(out, p.Grad)
					}
					tape.Reset()
					return append(out, d.LogProbs(tape, b))
				}
				want, have := run(false), run(true)
				if name == "all but the last layer" && recorded[true] != recorded[false] {
					t.Errorf("%s with %s frozen: %d operations recorded, want %d", architecture, name, recorded[true], recorded[false])
				}
				for i := range want {
					if !slices.Equal(have[i], want[i]) {
						t.Errorf("%s with %s frozen: output %d differs", architecture, name, i)
					}
				}
			}
		}
	}
}

// TestStepBytes compares the forecast with the arena of a real step.
func TestStepBytes(t *testing.T) {
	deep := bigEnough()
	deep.Layers = 5
	wide := smallConfig(lm.Llama)
	wide.VocabSize = 40000 // the logits of more than 419 rows are not kept
	for _, c := range []struct {
		name  string
		cfg   lm.Config
		batch *Batch
	}{
		{"Llama", smallConfig(lm.Llama), packed(50, []int{40, 100}, 0.4)},
		{"Qwen2", smallConfig(lm.Qwen2), packed(50, []int{220}, 1)},
		{"Qwen3", deep, packed(600, []int{250, 100, 120}, 0.7)},
		{"many logits", wide, packed(40000, []int{250, 250}, 1)},
		{"every token predicts", bigEnough(), everyTokenPredicts(packed(600, []int{250, 100}, 1))},
		{"tree", deep, randomForest(rng.New(3), 600, 100).shared()},
	} {
		for _, recompute := range []bool{false, true} {
			name := fmt.Sprintf("%s, recompute %t", c.name, recompute)
			d, tape := NewDecoder(mustModel(t, c.cfg)), NewTape()
			d.Recompute = recompute
			predictions, rows := 0, map[int32]bool{}
			for i, w := range c.batch.Weights {
				if w != 0 {
					predictions++
					rows[c.batch.row(i)] = true
				}
			}
			want := StepBytes(c.cfg, recompute, len(c.batch.Tokens), len(rows), predictions)
			tape.Reserve(want)
			for range 2 {
				tape.Reset()
				tape.Backward(d.Loss(tape, c.batch, 10))
				if have := 4 * tape.mem.peak; have != want || tape.Bytes() != want {
					t.Errorf("%s: the step takes %d bytes and the tape has %d, want %d", name, have, tape.Bytes(), want)
				}
			}
		}
	}
}

func everyTokenPredicts(b *Batch) *Batch {
	for i := range b.Targets {
		b.Targets[i], b.Weights[i] = max(0, b.Targets[i]), 1
	}
	return b
}

// TestRecomputeSavesMemory: with twelve layers a step takes less than a third.
func TestRecomputeSavesMemory(t *testing.T) {
	cfg := bigEnough()
	cfg.Layers = 12
	plain := StepBytes(cfg, false, 2048, 2048, 2048)
	if less := StepBytes(cfg, true, 2048, 2048, 2048); 3*less > plain {
		t.Errorf("recomputing takes %d of %d bytes", less, plain)
	}
}

// TestTapeGathersOneBlock: a tape without Reserve ends with what its largest step
// took.
func TestTapeGathersOneBlock(t *testing.T) {
	tape := NewTape()
	for _, n := range []int{arenaBlock - 10, 30, 3 * arenaBlock} { // the second does not fit behind the first
		tape.mem.take(n)
	}
	tape.Reset()
	if have, want := tape.Bytes(), 4*(4*arenaBlock+20); have != want {
		t.Errorf("the tape holds %d bytes, want %d", have, want)
	}
	at := tape.mem.at
	tape.mem.take(4*arenaBlock + 20)
	tape.mem.release(at)
	tape.mem.take(100)
	if have := len(tape.mem.blocks); have != 1 {
		t.Errorf("a step like the largest grew the tape to %d blocks", have)
	}
}
