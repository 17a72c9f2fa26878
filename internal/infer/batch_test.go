package infer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gr2/gr2/internal/infer"
	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/rng"
	"pgregory.net/rapid"
)

// script is a grammar that allows one list of tokens after the other.
type script struct {
	lists [][]int32
	at    int
}

func (s *script) Done() bool                    { return s.at == len(s.lists) }
func (s *script) Allowed(dst []int32) []int32   { return append(dst, s.lists[s.at]...) }
func (s *script) Advance(tok int32) (err error) { s.at++; return nil }

// newScript draws choices, some among few tokens and some among many, with
// forced runs between them, one of which is too long to be read in company.
func newScript(cfg lm.Config, r *rand.Rand) *script {
	s := new(script)
	for range 2 + r.IntN(5) {
		run := r.IntN(4)
		if r.IntN(8) == 0 {
			run = 40
		}
		for range run {
			s.lists = append(s.lists, []int32{int32(r.IntN(cfg.VocabSize))})
		}
		choices := r.Perm(cfg.VocabSize)[:2+r.IntN(cfg.VocabSize/2)]
		if r.IntN(2) == 0 {
			choices = choices[:2]
		}
		slices.Sort(choices)
		list := make([]int32, len(choices))
		for i, c := range choices {
			list[i] = int32(c)
		}
		s.lists = append(s.lists, list)
	}
	return s
}

// company draws a number of requests: forks of one trunk at several depths,
// some cut back, and sequences of their own. Two calls with equal arguments
// give requests that are equal and share nothing.
func company(t testing.TB, e *infer.Engine, seed uint64) []infer.Request {
	t.Helper()
	cfg := e.Config()
	r := rng.New(seed)
	trunk := e.NewSession()
	feed(t, trunk, tokens(cfg, 1+r.IntN(200), seed))
	var all []infer.Request
	for i := range 2 + r.IntN(30) {
		s := trunk.Fork()
		switch kind := r.IntN(6); {
		case kind == 0:
			s = e.NewSession()
			feed(t, s, tokens(cfg, 1+r.IntN(150), seed+uint64(i)))
		case kind == 1 && s.Len() < 400:
			feed(t, s, tokens(cfg, 1+r.IntN(80), seed+uint64(i)))
			trunk = s.Fork()
		case kind == 2:
			s.Truncate(r.IntN(s.Len()))
			feed(t, s, tokens(cfg, 1+r.IntN(3), seed+uint64(i)))
		}
		q := infer.Request{Session: s, Stop: int32(r.IntN(cfg.VocabSize)), Max: r.IntN(20)}
		if r.IntN(3) > 0 {
			q.Grammar, q.Stop, q.Max = newScript(cfg, r), -1, 1+r.IntN(90)
		}
		if r.IntN(3) > 0 {
			q.Sampler = infer.Sampler{Temperature: 0.5 + r.Float64(), Rand: rng.New(seed, uint64(i))}
			if r.IntN(2) == 0 {
				q.Sampler.TopP = 0.9
			}
		}
		all = append(all, q)
	}
	return all
}

// alone is what each request gets by itself, with the logits behind it.
func alone(t testing.TB, requests []infer.Request) (outs []infer.Output, behind [][]float32) {
	t.Helper()
	for _, q := range requests {
		out, err := q.Session.Generate(q.Grammar, q.Sampler, q.Stop, q.Max)
		if err != nil {
			t.Fatal(err)
		}
		outs = append(outs, out)
		behind = append(behind, feed(t, q.Session, nil))
	}
	return outs, behind
}

// sameAsAlone demands equality to the bit.
func sameAsAlone(t testing.TB, what string, q infer.Request, got, want infer.Output, behind []float32) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: together\n%+v\nalone\n%+v", what, got, want)
	}
	if logits := feed(t, q.Session, nil); !slices.Equal(logits, behind) {
		t.Fatalf("%s: other logits behind the output than alone", what)
	}
}

// TestCompanyChangesNothing: whatever else is in the batch, a request gets the
// same bits, in every architecture and with every kernel.
func TestCompanyChangesNothing(t *testing.T) {
	best := kernel.Active()
	defer kernel.Use(best)
	for _, variant := range kernel.Available() {
		for name, cfg := range configs {
			t.Run(variant+"/"+name, func(t *testing.T) {
				if err := kernel.Use(variant); err != nil {
					t.Fatal(err)
				}
				companyChangesNothing(t, newEngine(t, newModel(t, cfg)))
				companyChangesNothing(t, newInt8Engine(t, newModel(t, cfg)))
			})
		}
	}
}

func companyChangesNothing(t *testing.T, e *infer.Engine) {
	t.Helper()
	for seed := range uint64(5) {
		want, behind := alone(t, company(t, e, seed))
		requests := company(t, e, seed)
		got, err := e.GenerateAll(context.Background(), requests)
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			sameAsAlone(t, fmt.Sprintf("seed %d, request %d", seed, i), requests[i], got[i], want[i], behind[i])
		}
	}
}

// Requests that join a batch under way, in any order, get the same bits.
func TestJoiningChangesNothing(t *testing.T) {
	e := newEngine(t, newModel(t, configs["llama"]))
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		want, behind := alone(t, company(t, e, seed))
		requests := company(t, e, seed)
		order := rng.New(seed, 1).Perm(len(requests))
		got := make([]infer.Output, len(requests))
		b := e.NewBatch()
		finished := 0
		for steps := 0; finished < len(requests); steps++ {
			for range min(len(order), rapid.IntRange(0, 5).Draw(rt, "join")) {
				i := order[0]
				order = order[1:]
				err := b.Add(requests[i], func(out infer.Output, err error) {
					if err != nil {
						rt.Fatal(err)
					}
					got[i] = out
					finished++
				})
				if err != nil {
					rt.Fatal(err)
				}
			}
			if left := b.Step(); left != b.Len() {
				rt.Fatalf("%d left of %d", left, b.Len())
			}
			if steps > 10000 {
				rt.Fatal("requests do not finish")
			}
		}
		for i := range got {
			sameAsAlone(t, fmt.Sprint("request ", i), requests[i], got[i], want[i], behind[i])
		}
	})
}

// More requests than are decoded at a time, of one prompt, on several threads.
func TestManyRollouts(t *testing.T) {
	defer kernel.SetThreads(0)
	cfg := configs["qwen2"]
	cfg.Hidden, cfg.HeadDim, cfg.Intermediate = 128, 32, 256 // large enough to wake helpers
	e := newEngine(t, newModel(t, cfg))
	rollouts := func() []infer.Request {
		prompt := e.NewSession()
		feed(t, prompt, tokens(cfg, 300, 1))
		var all []infer.Request
		for i := range 150 {
			all = append(all, infer.Request{Session: prompt.Fork(), Stop: -1, Max: 3 + i%7,
				Sampler: infer.Sampler{Temperature: 1, Rand: rng.New(uint64(i))}})
		}
		return all
	}
	kernel.SetThreads(1)
	want, behind := alone(t, rollouts())
	kernel.SetThreads(3)
	requests := rollouts()
	got, err := e.GenerateAll(t.Context(), requests)
	if err != nil {
		t.Fatal(err)
	}
	different := map[string]bool{}
	for i := range got {
		sameAsAlone(t, fmt.Sprint("rollout ", i), requests[i], got[i], want[i], behind[i])
		different[fmt.Sprint(got[i].Tokens)] = true
	}
	if len(different) < 50 {
		t.Errorf("only %d different rollouts", len(different))
	}
}

// TestSchedulerChangesNothing: callers on goroutines of their own.
func TestSchedulerChangesNothing(t *testing.T) {
	e := newEngine(t, newModel(t, configs["qwen3"]))
	s := e.NewScheduler()
	for seed := range uint64(5) {
		want, behind := alone(t, company(t, e, seed))
		requests := company(t, e, seed)
		got, errs := make([]infer.Output, len(requests)), make([]error, len(requests))
		var callers sync.WaitGroup
		for i := range requests {
			callers.Go(func() { got[i], errs[i] = s.Generate(requests[i]) })
		}
		callers.Wait()
		for i := range got {
			if errs[i] != nil {
				t.Fatal(errs[i])
			}
			sameAsAlone(t, fmt.Sprintf("seed %d, request %d", seed, i), requests[i], got[i], want[i], behind[i])
		}
	}
}

func TestBatchRefuses(t *testing.T) {
	cfg := configs["llama"]
	m := newModel(t, cfg)
	e := newEngine(t, m)
	start := func() *infer.Session {
		s := e.NewSession()
		feed(t, s, tokens(cfg, 5, 1))
		return s
	}
	s, r := start(), rng.New(1)
	first := infer.Request{Session: s, Stop: -1, Max: 3, Sampler: infer.Sampler{Temperature: 1, Rand: r}}
	foreign := newEngine(t, m).NewSession()
	feed(t, foreign, []int32{1})
	for name, second := range map[string]infer.Request{
		"the same session":      {Session: s, Stop: -1, Max: 3},
		"the same randomness":   {Session: start(), Stop: -1, Max: 3, Sampler: infer.Sampler{Temperature: 1, Rand: r}},
		"another engine":        {Session: foreign, Stop: -1, Max: 3},
		"no randomness":         {Session: start(), Stop: -1, Max: 3, Sampler: infer.Sampler{Temperature: 1}},
		"nothing to continue":   {Session: e.NewSession(), Stop: -1, Max: 3},
		"a grammar of nothing":  {Session: start(), Grammar: listing{}, Stop: -1, Max: 3},
		"a grammar that lies":   {Session: start(), Grammar: listing{4, 5}, Stop: -1, Max: 3},
		"a grammar that forces": {Session: start(), Grammar: listing{4}, Stop: -1, Max: 3},
	} {
		outs, err := e.GenerateAll(t.Context(), []infer.Request{first, second})
		if err == nil || outs != nil || !strings.Contains(err.Error(), "request 1") {
			t.Errorf("%s: %v, %v; want an error of request 1", name, outs, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(nil)
	if _, err := e.GenerateAll(ctx, []infer.Request{{Session: start(), Stop: -1, Max: 3}}); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
	if outs, err := e.GenerateAll(t.Context(), nil); err != nil || len(outs) != 0 {
		t.Errorf("no requests: %v, %v", outs, err)
	}
}

// A step that begins no page and grows no output allocates nothing.
func TestStepDoesNotAllocate(t *testing.T) {
	cfg := configs["llama"]
	cfg.MaxPositions = 4096
	stepDoesNotAllocate(t, newEngine(t, newModel(t, cfg)), cfg)
	stepDoesNotAllocate(t, newInt8Engine(t, newModel(t, cfg)), cfg)
}

func stepDoesNotAllocate(t *testing.T, e *infer.Engine, cfg lm.Config) {
	t.Helper()
	prompt := e.NewSession()
	feed(t, prompt, tokens(cfg, 70, 1))
	b := e.NewBatch()
	for i := range 40 {
		q := infer.Request{Session: prompt.Fork(), Stop: -1, Max: 1 << 20,
			Sampler: infer.Sampler{Temperature: 1, TopP: 0.9, Rand: rng.New(uint64(i))}}
		if i%2 == 0 {
			q.Grammar = endless{}
		}
		if err := b.Add(q, func(infer.Output, error) { t.Error("finished") }); err != nil {
			t.Fatal(err)
		}
	}
	for range 70 { // positions 70 to 140 and, of outputs, room for 128 tokens
		b.Step()
	}
	if allocs := testing.AllocsPerRun(40, func() { b.Step() }); allocs != 0 {
		t.Errorf("%g allocations a step", allocs)
	}
}

// endless allows a few tokens, for ever.
type endless struct{}

func (endless) Done() bool                  { return false }
func (endless) Allowed(dst []int32) []int32 { return append(dst, 3, 9, 11) }
func (endless) Advance(int32) error         { return nil }

// TestFirstOfAnEngine: a batch that is the first thing an engine does reads its
// tokens through all layers.
func TestFirstOfAnEngine(t *testing.T) {
	model := newModel(t, configs["llama"])
	one := func(e *infer.Engine, together bool) (infer.Output, []float32) {
		s := e.NewSession()
		q := infer.Request{Session: s, Stop: -1, Max: 3, Grammar: &script{lists: [][]int32{{5}, {9}, {2, 4, 7}, {1, 3}}}}
		if together {
			outs, err := e.GenerateAll(t.Context(), []infer.Request{q})
			if err != nil {
				t.Fatal(err)
			}
			return outs[0], feed(t, s, nil)
		}
		outs, behind := alone(t, []infer.Request{q})
		return outs[0], behind[0]
	}
	used := newEngine(t, model)
	feed(t, used.NewSession(), []int32{1})
	want, wantBehind := one(used, false)
	got, gotBehind := one(newEngine(t, model), true)
	if !reflect.DeepEqual(got, want) || !slices.Equal(gotBehind, wantBehind) {
		t.Fatalf("first of its engine\n%+v\nlater\n%+v", got, want)
	}
}
