package infer_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/infer"
	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/lm"
	"pgregory.net/rapid"
)

// feed returns a copy of the logits after tokens.
func feed(t testing.TB, s *infer.Session, ids []int32) []float32 {
	t.Helper()
	logits, err := s.Feed(ids)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clone(logits)
}

// TestFeedIsTheFullForward reads a sequence longer than a page in blocks of
// drawn sizes, one token included, and compares each block's logits with the
// forward pass over the whole prefix.
func TestFeedIsTheFullForward(t *testing.T) {
	for name, cfg := range configs {
		t.Run(name, func(t *testing.T) {
			m := newModel(t, cfg)
			e := newEngine(t, m)
			ids := tokens(cfg, 150, 1)
			want := reference(m, ids)
			rapid.Check(t, func(rt *rapid.T) {
				s := e.NewSession()
				for at := 0; at < len(ids); {
					n := min(rapid.SampledFrom([]int{1, 1, 2, 5, 33, 64, 100, 150}).Draw(rt, "block"), len(ids)-at)
					got := feed(t, s, ids[at:at+n])
					at += n
					sameLogits(t, "after a block", got, want[at-1])
				}
				if s.Len() != len(ids) {
					t.Fatalf("Len = %d after %d tokens", s.Len(), len(ids))
				}
			})
		})
	}
}

// TestLongPromptIsTheFullForward crosses the bound on the rows of one pass.
func TestLongPromptIsTheFullForward(t *testing.T) {
	cfg := configs["llama"]
	m := newModel(t, cfg)
	ids := tokens(cfg, 600, 2)
	want := reference(m, ids)
	sameLogits(t, "600 tokens", feed(t, newEngine(t, m).NewSession(), ids), want[599])
}

// TestForkIsAFreshSession: a fork continues as a session that read the same
// blocks itself, to the bit, and neither disturbs the other.
func TestForkIsAFreshSession(t *testing.T) {
	cfg := configs["qwen3"]
	e := newEngine(t, newModel(t, cfg))
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.IntRange(1, 140)
		prompt := tokens(cfg, size.Draw(rt, "prompt"), 1)
		suffixes := [][]int32{tokens(cfg, size.Draw(rt, "a"), 2), tokens(cfg, size.Draw(rt, "b"), 3)}
		parent := e.NewSession()
		after := feed(t, parent, prompt)
		fork := parent.Fork()
		if got, err := fork.Logits(); err != nil || !slices.Equal(got, after) {
			t.Fatalf("the fork's logits are not its parent's (%v)", err)
		}
		grandchild := fork.Fork()
		for i, s := range []*infer.Session{parent, fork} {
			fresh := e.NewSession()
			feed(t, fresh, prompt)
			if !slices.Equal(feed(t, s, suffixes[i]), feed(t, fresh, suffixes[i])) {
				t.Fatalf("prompt %d, suffix %d: session %d differs from a fresh one", len(prompt), len(suffixes[i]), i)
			}
		}
		fresh := e.NewSession()
		feed(t, fresh, prompt)
		if !slices.Equal(feed(t, grandchild, suffixes[0]), feed(t, fresh, suffixes[0])) {
			t.Fatal("a fork made before its parent went on differs from a fresh session")
		}
	})
}

// TestTruncateGoesBack: a truncated session continues as one that never read
// the rest, forks of the long one included.
func TestTruncateGoesBack(t *testing.T) {
	cfg := configs["llama"]
	e := newEngine(t, newModel(t, cfg))
	ids, other := tokens(cfg, 170, 1), tokens(cfg, 20, 2)
	whole := e.NewSession()
	want := feed(t, whole, ids)
	for _, n := range []int{0, 1, 63, 64, 65, 130, 169} {
		s := whole.Fork()
		s.Truncate(n)
		if s.Len() != n {
			t.Fatalf("Len = %d after Truncate(%d)", s.Len(), n)
		}
		if _, err := s.Logits(); err == nil {
			t.Fatalf("Truncate(%d) kept the logits of another token", n)
		}
		fresh := e.NewSession()
		if n > 0 {
			feed(t, fresh, ids[:n])
		}
		got, want := feed(t, s, other), feed(t, fresh, other)
		sameLogits(t, "after Truncate", got, widen(want))
	}
	whole.Truncate(500)
	if got, err := whole.Logits(); err != nil || !slices.Equal(got, want) {
		t.Errorf("Truncate past the end changed the session (%v)", err)
	}
	fork := whole.Fork()
	whole.Truncate(90)
	feed(t, whole, other)
	fork.Truncate(169)
	sameLogits(t, "a fork whose parent went back", feed(t, fork, ids[169:]), widen(want))
}

func TestFeedRefuses(t *testing.T) {
	cfg := configs["llama"]
	e := newEngine(t, newModel(t, cfg))
	s := e.NewSession()
	if _, err := s.Feed(nil); err == nil {
		t.Error("an empty session gave logits")
	}
	want := feed(t, s, tokens(cfg, 600, 1))
	for name, ids := range map[string][]int32{
		"negative":      {1, -1},
		"outside":       {int32(cfg.VocabSize)},
		"past the end":  tokens(cfg, cfg.MaxPositions-600+1, 1),
		"far too large": tokens(cfg, 5000, 1),
	} {
		if _, err := s.Feed(ids); fault.KindOf(err) != fault.Input {
			t.Errorf("%s: error %v, want one of kind Input", name, err)
		}
	}
	if s.Len() != 600 {
		t.Errorf("refused tokens changed Len to %d", s.Len())
	}
	if got := feed(t, s, nil); !slices.Equal(got, want) {
		t.Error("refused tokens changed the logits")
	}
	if _, err := s.Feed(tokens(cfg, cfg.MaxPositions-600, 2)); err != nil {
		t.Errorf("the last position is refused: %v", err)
	}
}

func TestNewRefusesBrokenModels(t *testing.T) {
	cfg := configs["qwen2"]
	m := newModel(t, cfg)
	m.Layers[1].KBias = nil
	if _, err := infer.New(m); err == nil {
		t.Error("a model without a bias it needs was accepted")
	}
	m = newModel(t, cfg)
	m.Layers[0].Down.Data = m.Layers[0].Down.Data[1:]
	if _, err := infer.New(m); err == nil {
		t.Error("a short tensor was accepted")
	}
	m = newModel(t, cfg)
	m.Layers = m.Layers[:2]
	if _, err := infer.New(m); err == nil {
		t.Error("a missing layer was accepted")
	}
}

// TestConcurrentSessionsEqualSerialOnes runs forks of one prompt at the same
// time, with helpers, and demands the bits of runs one after the other.
func TestConcurrentSessionsEqualSerialOnes(t *testing.T) {
	cfg := configs["llama"]
	cfg.Hidden, cfg.HeadDim, cfg.Intermediate = 128, 32, 256 // large enough to wake helpers
	concurrentEqualSerial(t, newEngine(t, newModel(t, cfg)), cfg)
	concurrentEqualSerial(t, newInt8Engine(t, newModel(t, cfg)), cfg)
}

func concurrentEqualSerial(t *testing.T, e *infer.Engine, cfg lm.Config) {
	t.Helper()
	prompt := e.NewSession()
	feed(t, prompt, tokens(cfg, 90, 1))
	run := func(s *infer.Session, i uint64) []float32 {
		feed(t, s, tokens(cfg, 70, i))
		for _, id := range tokens(cfg, 5, i+100) {
			feed(t, s, []int32{id})
		}
		return feed(t, s, nil)
	}
	const sessions = 6
	kernel.SetThreads(1)
	var serial [sessions][]float32
	for i := range serial {
		serial[i] = run(prompt.Fork(), uint64(i))
	}
	kernel.SetThreads(3)
	defer kernel.SetThreads(0)
	var wg sync.WaitGroup
	for i := range serial {
		s := prompt.Fork()
		wg.Go(func() {
			if !slices.Equal(run(s, uint64(i)), serial[i]) {
				t.Errorf("session %d differs when others run", i)
			}
		})
	}
	wg.Wait()
}

func TestDecodingDoesNotAllocate(t *testing.T) {
	cfg := configs["llama"]
	decodingDoesNotAllocate(t, newEngine(t, newModel(t, cfg)), cfg)
	decodingDoesNotAllocate(t, newInt8Engine(t, newModel(t, cfg)), cfg)
}

func decodingDoesNotAllocate(t *testing.T, e *infer.Engine, cfg lm.Config) {
	t.Helper()
	s := e.NewSession()
	feed(t, s, tokens(cfg, 70, 1))
	feed(t, s, tokens(cfg, 58, 2)) // the rest of a page
	s.Truncate(70)
	one := []int32{7}
	allocs := testing.AllocsPerRun(50, func() {
		if _, err := s.Feed(one); err != nil {
			t.Fatal(err)
		}
	})
	if allocs >= 1 {
		t.Errorf("%g allocations a token", allocs)
	}
}
