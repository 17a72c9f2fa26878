package infer_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/infer"
	"github.com/gr2/gr2/internal/rng"
)

// permutation is a grammar: open, then the given items once each with a comma
// between them, then close.
type permutation struct {
	items            []int32
	open, sep, close int32
	used             []int32
	want             int // 0 open, 1 item, 2 separator, 3 close, 4 nothing
}

func (p *permutation) Done() bool { return p.want == 4 }

func (p *permutation) Allowed(dst []int32) []int32 {
	switch p.want {
	case 0:
		return append(dst, p.open)
	case 2:
		return append(dst, p.sep)
	case 3:
		return append(dst, p.close)
	}
	for _, it := range p.items {
		if !slices.Contains(p.used, it) {
			dst = append(dst, it)
		}
	}
	return dst
}

func (p *permutation) Advance(tok int32) error {
	if !slices.Contains(p.Allowed(nil), tok) {
		return errors.New("not allowed")
	}
	switch p.want {
	case 0, 2:
		p.want = 1
	case 1:
		p.used = append(p.used, tok)
		p.want = 2
		if len(p.used) == len(p.items) {
			p.want = 3
		}
	case 3:
		p.want = 4
	}
	return nil
}

func newPermutation() *permutation {
	return &permutation{items: []int32{10, 11, 12, 13, 14}, open: 3, sep: 4, close: 5}
}

// TestGrammarIsHonoured decodes under a grammar, at several temperatures, and
// checks tokens and log-probabilities against the full forward pass.
func TestGrammarIsHonoured(t *testing.T) {
	cfg := configs["llama"]
	m := newModel(t, cfg)
	e := newEngine(t, m)
	prompt := tokens(cfg, 66, 1)
	for _, temperature := range []float64{0, 1, 3} {
		s := e.NewSession()
		feed(t, s, prompt)
		g := newPermutation()
		out, err := s.Generate(g, infer.Sampler{Temperature: temperature, Rand: rng.New(1)}, -1, 100)
		if err != nil {
			t.Fatal(err)
		}
		if out.Finish != infer.FinishGrammar || len(out.Tokens) != 11 || len(g.used) != 5 {
			t.Fatalf("output %v ended by %q, want a permutation", out.Tokens, out.Finish)
		}
		if out.Forced != 7 { // all but the first four items
			t.Errorf("%d forced tokens, want 7", out.Forced)
		}
		if s.Len() != len(prompt)+len(out.Tokens) {
			t.Errorf("Len = %d after %d+%d tokens", s.Len(), len(prompt), len(out.Tokens))
		}
		checkOutput(t, m.Config.VocabSize, out, newPermutation(), temperature == 0,
			reference(m, append(slices.Clone(prompt), out.Tokens...))[len(prompt)-1:])
	}
}

// checkOutput replays the grammar over reference logits.
func checkOutput(t *testing.T, vocab int, out infer.Output, g infer.Grammar, greedy bool, logits [][]float64) {
	t.Helper()
	for i, tok := range out.Tokens {
		allowed := g.Allowed(nil)
		var total, best float64
		best = math.Inf(-1)
		for _, a := range allowed {
			total += math.Exp(logits[i][a])
			best = max(best, logits[i][a])
		}
		want := logits[i][tok] - math.Log(total)
		if math.Abs(float64(out.LogProbs[i])-want) > 1e-4 {
			t.Errorf("log-prob %d = %g, want %g", i, out.LogProbs[i], want)
		}
		if len(allowed) == 1 && out.LogProbs[i] != 0 {
			t.Errorf("forced token %d has log-prob %g", i, out.LogProbs[i])
		}
		if greedy && logits[i][tok] < best-1e-4 {
			t.Errorf("token %d is not the most probable one", i)
		}
		if err := g.Advance(tok); err != nil {
			t.Fatalf("token %d: %v", i, err)
		}
	}
}

// TestSpread: all that the grammar allowed has its log-probability, at the
// temperature sampled at, and nothing has where there was no choice.
func TestSpread(t *testing.T) {
	cfg := configs["llama"]
	m := newModel(t, cfg)
	e := newEngine(t, m)
	prompt := tokens(cfg, 66, 1)
	const temperature = 2.5
	var requests []infer.Request
	for range 3 {
		s := e.NewSession()
		feed(t, s, prompt)
		requests = append(requests, infer.Request{Session: s, Grammar: newPermutation(), Stop: -1, Max: 100, Spread: true,
			Sampler: infer.Sampler{Temperature: temperature, Tempered: true, Rand: rng.New(1)}})
	}
	requests[2].Spread = false
	outputs, err := e.GenerateAll(t.Context(), requests)
	if err != nil {
		t.Fatal(err)
	}
	if outputs[2].Spread != nil {
		t.Error("alternatives that nobody asked for")
	}
	out, g := outputs[1], newPermutation()
	logits := reference(m, append(slices.Clone(prompt), out.Tokens...))[len(prompt)-1:]
	for i, tok := range out.Tokens {
		allowed := g.Allowed(nil)
		total := 0.0
		for _, a := range allowed {
			total += math.Exp(logits[i][a] / temperature)
		}
		if len(allowed) == 1 {
			allowed = nil
		}
		if len(out.Spread[i]) != len(allowed) {
			t.Fatalf("token %d: %d log-probabilities of %d alternatives", i, len(out.Spread[i]), len(allowed))
		}
		for k, a := range allowed {
			want := logits[i][a]/temperature - math.Log(total)
			if have := float64(out.Spread[i][k]); math.Abs(have-want) > 1e-4 || a == tok && have != float64(out.LogProbs[i]) {
				t.Errorf("token %d, alternative %d: %g, want %g; the one chosen has %g", i, a, have, want, out.LogProbs[i])
			}
		}
		if err := g.Advance(tok); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGenerateLeavesTheSequenceComplete: what follows Generate sees all of its
// tokens, also those that nobody had to read.
func TestGenerateLeavesTheSequenceComplete(t *testing.T) {
	cfg := configs["qwen3"]
	m := newModel(t, cfg)
	s := newEngine(t, m).NewSession()
	ids := tokens(cfg, 9, 1)
	feed(t, s, ids)
	out, err := s.Generate(newPermutation(), infer.Sampler{}, -1, 100)
	if err != nil {
		t.Fatal(err)
	}
	fork := s.Fork()
	ids = append(ids, out.Tokens...)
	want := reference(m, append(slices.Clone(ids), 2))
	sameLogits(t, "Logits after Generate", feed(t, s, nil), want[len(ids)-1])
	sameLogits(t, "Feed after Fork after Generate", feed(t, fork, []int32{2}), want[len(ids)])
}

func TestGenerateEnds(t *testing.T) {
	cfg := configs["llama"]
	e := newEngine(t, newModel(t, cfg))
	prompt := tokens(cfg, 20, 4)
	start := func() *infer.Session {
		s := e.NewSession()
		feed(t, s, prompt)
		return s
	}
	free, err := start().Generate(nil, infer.Sampler{}, -1, 12)
	if err != nil || free.Finish != infer.FinishLength || len(free.Tokens) != 12 || free.Forced != 0 {
		t.Fatalf("free decoding: %+v, %v", free, err)
	}
	stop := free.Tokens[3]
	first := slices.Index(free.Tokens, stop)
	out, err := start().Generate(nil, infer.Sampler{}, stop, 12)
	if err != nil || out.Finish != infer.FinishStop || !slices.Equal(out.Tokens, free.Tokens[:first+1]) {
		t.Errorf("stop=%d: %+v, %v; want the prefix of %v", stop, out, err, free.Tokens)
	}
	out, err = start().Generate(newPermutation(), infer.Sampler{}, 5, 100)
	if err != nil || out.Finish != infer.FinishGrammar {
		t.Errorf("a grammar that ends with the stop token ended by %q, %v", out.Finish, err)
	}
	s := e.NewSession()
	feed(t, s, tokens(cfg, cfg.MaxPositions-2, 1))
	out, err = s.Generate(nil, infer.Sampler{}, -1, 12)
	if err != nil || out.Finish != infer.FinishLength || len(out.Tokens) != 2 {
		t.Errorf("at the last position: %+v, %v", out, err)
	}
}

// TestSamplingFollowsTheDistribution draws one of two tokens many times.
func TestSamplingFollowsTheDistribution(t *testing.T) {
	cfg := configs["llama"]
	s := newEngine(t, newModel(t, cfg)).NewSession()
	logits := feed(t, s, tokens(cfg, 20, 4))
	for _, c := range []struct{ temperature, topP float64 }{{1, 0}, {2, 1}, {0.5, 0}, {1, 1e-9}} {
		want := 1 / (1 + math.Exp(float64(logits[8]-logits[9])/c.temperature)) // share of token 9
		if c.topP == 1e-9 {
			want = math.Round(want)
		}
		r, hits := rng.New(7), 0
		const draws = 4000
		for range draws {
			g := &permutation{items: []int32{8, 9}, want: 1}
			out, err := s.Fork().Generate(g, infer.Sampler{Temperature: c.temperature, TopP: c.topP, Rand: r}, -1, 1)
			if err != nil {
				t.Fatal(err)
			}
			if out.Tokens[0] == 9 {
				hits++
			}
		}
		got := float64(hits) / draws
		if sigma := math.Sqrt(want * (1 - want) / draws); math.Abs(got-want) > 4*sigma {
			t.Errorf("temperature %g top-p %g: token 9 came %.3f of the time, want %.3f", c.temperature, c.topP, got, want)
		}
	}
}

// TestGreedyTiesGoToTheLowerID with a model whose logits are all equal.
func TestGreedyTiesGoToTheLowerID(t *testing.T) {
	cfg := configs["llama"]
	m := newModel(t, cfg)
	clear(m.Norm.Data)
	s := newEngine(t, m).NewSession()
	feed(t, s, []int32{1})
	out, err := s.Generate(newPermutation(), infer.Sampler{}, -1, 100)
	if want := []int32{3, 10, 4, 11, 4, 12, 4, 13, 4, 14, 5}; err != nil || !slices.Equal(out.Tokens, want) {
		t.Errorf("tokens %v, %v; want %v", out.Tokens, err, want)
	}
}

// listing is a grammar that allows what it is told, for ever.
type listing []int32

func (l listing) Allowed(dst []int32) []int32 { return append(dst, l...) }
func (l listing) Advance(int32) error         { return errors.New("never") }
func (l listing) Done() bool                  { return false }

func TestGenerateRefuses(t *testing.T) {
	cfg := configs["llama"]
	m := newModel(t, cfg)
	e := newEngine(t, m)
	s := e.NewSession()
	if _, err := s.Generate(nil, infer.Sampler{}, -1, 5); err == nil {
		t.Error("an empty sequence was continued")
	}
	feed(t, s, []int32{1})
	for name, sm := range map[string]infer.Sampler{
		"negative temperature": {Temperature: -1, Rand: rng.New(1)},
		"NaN temperature":      {Temperature: math.NaN(), Rand: rng.New(1)},
		"no randomness":        {Temperature: 1},
		"top-p above 1":        {TopP: 1.5},
	} {
		if _, err := s.Generate(nil, sm, -1, 5); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	for name, g := range map[string]listing{
		"nothing allowed":   {},
		"outside":           {1, int32(cfg.VocabSize)},
		"not ascending":     {4, 4},
		"its own choice":    {4, 5},
		"a forced negative": {-3},
	} {
		if _, err := s.Generate(g, infer.Sampler{}, -1, 5); err == nil {
			t.Errorf("grammar with %s: no error", name)
		}
	}
	if s.Len() != 1 {
		t.Errorf("refused generations left %d tokens", s.Len())
	}
	m.Norm.Data[0] = float32(math.NaN())
	broken := e.NewSession()
	feed(t, broken, []int32{1})
	if _, err := broken.Generate(nil, infer.Sampler{}, -1, 5); err == nil {
		t.Error("NaN logits chose a token")
	}
}
