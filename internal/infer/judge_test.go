package infer_test

import (
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/infer"
	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/rng"
	"pgregory.net/rapid"
)

func judge(t testing.TB, s *infer.Session, ids []int32, at []int, choices []int32) [][]float32 {
	t.Helper()
	rows, err := s.Judge(ids, at, choices, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(at) {
		t.Fatalf("%d rows for %d judgements", len(rows), len(at))
	}
	return rows
}

// sameChoices compares logits of the choices with all logits there.
func sameChoices(t testing.TB, what string, got []float32, choices []int32, all []float64) {
	t.Helper()
	want := make([]float64, len(choices))
	for i, c := range choices {
		want[i] = all[c]
	}
	sameLogits(t, what, got, want)
}

// TestJudgeIsFeedTokenByToken, over more than one pass, in every architecture,
// behind an empty sequence and behind one that was read.
func TestJudgeIsFeedTokenByToken(t *testing.T) {
	for name, cfg := range configs {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t, newModel(t, cfg))
			ids := tokens(cfg, 600, 4)
			single := e.NewSession()
			want := make([][]float64, len(ids))
			for i := range ids {
				want[i] = widen(feed(t, single, ids[i:i+1]))
			}
			choices := []int32{7, 3, int32(cfg.VocabSize) - 1}
			for _, before := range []int{0, 1, 70} {
				s := e.NewSession()
				if before > 0 {
					feed(t, s, ids[:before])
				}
				var at []int
				for _, i := range []int{before, before + 1, 200, 255, 256, 257, 325, 326, 511, 512, 599} {
					at = append(at, i-before)
				}
				for i, row := range judge(t, s, ids[before:], at, choices) {
					sameChoices(t, "judged", row, choices, want[before+at[i]])
				}
			}
		})
	}
}

// Any positions and lengths; and what follows a judgement is what follows the
// same tokens fed.
func TestJudgeThenFeed(t *testing.T) {
	cfg := configs["llama"]
	m := newModel(t, cfg)
	e := newEngine(t, m)
	ids := tokens(cfg, 540, 5)
	want := reference(m, ids)
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(1, 530).Draw(r, "tokens")
		random := rng.New(rapid.Uint64().Draw(r, "positions"))
		at := random.Perm(n)[:random.IntN(min(n, 50)+1)]
		slices.Sort(at)
		s := e.NewSession()
		for i, row := range judge(t, s, ids[:n], at, []int32{5, 9}) {
			sameChoices(t, "judged", row, []int32{5, 9}, want[at[i]])
		}
		if s.Len() != n {
			r.Fatalf("Len = %d after %d tokens", s.Len(), n)
		}
		if _, err := s.Logits(); err == nil {
			r.Fatal("there are logits behind a judgement")
		}
		sameLogits(t, "fed behind", feed(t, s, ids[n:n+5]), want[n+4])
	})
}

// What was generated but not read yet stands before the tokens judged, and the
// logits of what was fed before do not outlive a judgement.
func TestJudgeBehindGenerated(t *testing.T) {
	cfg := configs["llama"]
	m := newModel(t, cfg)
	s := newEngine(t, m).NewSession()
	ids := tokens(cfg, 300, 6)
	feed(t, s, ids)
	out, err := s.Generate(nil, infer.Sampler{}, -1, 3)
	if err != nil {
		t.Fatal(err)
	}
	more := tokens(cfg, 260, 7)
	want := reference(m, slices.Concat(ids, out.Tokens, more))
	at := []int{0, 2, 256, 259}
	for i, row := range judge(t, s, more, at, []int32{4, 8}) {
		sameChoices(t, "judged", row, []int32{4, 8}, want[303+at[i]])
	}
	if _, err := s.Logits(); err == nil || s.Len() != 563 {
		t.Errorf("there are logits behind a judgement, or not 563 tokens but %d", s.Len())
	}
}

// A judged session that is emptied serves as a fresh one does, to the bit.
func TestJudgeLeavesNothingBehind(t *testing.T) {
	cfg := configs["qwen3"]
	e := newEngine(t, newModel(t, cfg))
	s := e.NewSession()
	judge(t, s, tokens(cfg, 300, 1), []int{299}, []int32{1, 2})
	s.Truncate(0)
	ids := tokens(cfg, 90, 2)
	got := judge(t, s, ids, []int{10, 89}, []int32{1, 2})
	fresh := judge(t, e.NewSession(), ids, []int{10, 89}, []int32{1, 2})
	for i := range got {
		if !slices.Equal(got[i], fresh[i]) {
			t.Errorf("judgement %d: %v, in a fresh session %v", i, got[i], fresh[i])
		}
	}
}

// Judgements after the first layers are those of the model that has no others,
// and leave the sequence as it was.
func TestJudgeEarlyIsAShorterModel(t *testing.T) {
	for name, cfg := range configs {
		m := newModel(t, cfg)
		short := *m
		short.Config.Layers, short.Layers = 1, m.Layers[:1]
		ids, choices, at := tokens(cfg, 330, 4), []int32{7, 3}, []int{0, 64, 255, 256, 299}
		before, behind := ids[:30], ids[30:]
		want := newEngine(t, &short).NewSession()
		feed(t, want, before)
		s := newEngine(t, m).NewSession()
		next := slices.Clone(feed(t, s, before))
		rows, err := s.Judge(behind, at, choices, 1)
		if err != nil {
			t.Fatal(err)
		}
		for i, row := range judge(t, want, behind, at, choices) {
			sameLogits(t, name+" judged early", rows[i], widen(row))
		}
		if s.Len() != len(before) {
			t.Errorf("%s: %d tokens after judging early, want %d", name, s.Len(), len(before))
		}
		s.Truncate(len(before) - 1)
		sameLogits(t, name+" goes on", feed(t, s, before[len(before)-1:]), widen(next))
		for _, layers := range []int{-1, cfg.Layers + 1} {
			if _, err := s.Judge(behind, at, choices, layers); fault.KindOf(err) != fault.Input {
				t.Errorf("%s, %d layers: %v", name, layers, err)
			}
		}
	}
}

func TestJudgeDoesNotDependOnThreads(t *testing.T) {
	defer kernel.SetThreads(0)
	cfg := configs["llama"]
	cfg.Hidden, cfg.HeadDim, cfg.Intermediate = 128, 32, 256 // large enough to wake helpers
	e := newEngine(t, newModel(t, cfg))
	ids := tokens(cfg, 400, 3)
	kernel.SetThreads(1)
	one := judge(t, e.NewSession(), ids, []int{100, 399}, []int32{0, 1})
	kernel.SetThreads(3)
	three := judge(t, e.NewSession(), ids, []int{100, 399}, []int32{0, 1})
	for i := range one {
		if !slices.Equal(one[i], three[i]) {
			t.Errorf("judgement %d: %v with one thread, %v with three", i, one[i], three[i])
		}
	}
}

func TestJudgeRefuses(t *testing.T) {
	cfg := configs["llama"]
	s := newEngine(t, newModel(t, cfg)).NewSession()
	want := feed(t, s, tokens(cfg, 20, 1))
	some := tokens(cfg, 5, 2)
	for name, c := range map[string]struct {
		tokens  []int32
		at      []int
		choices []int32
	}{
		"before the first":     {some, []int{-1}, []int32{1}},
		"behind the last":      {some, []int{5}, []int32{1}},
		"falling":              {some, []int{3, 2}, []int32{1}},
		"twice the same":       {some, []int{2, 2}, []int32{1}},
		"of no tokens":         {nil, []int{0}, []int32{1}},
		"choice outside":       {some, []int{1}, []int32{1, int32(cfg.VocabSize)}},
		"choice negative":      {some, []int{1}, []int32{-1}},
		"token outside":        {[]int32{int32(cfg.VocabSize)}, []int{0}, []int32{1}},
		"past the last place":  {tokens(cfg, cfg.MaxPositions-19, 1), []int{0}, []int32{1}},
		"token outside, later": {append(tokens(cfg, 300, 1), -1), []int{0}, []int32{1}},
	} {
		if rows, err := s.Judge(c.tokens, c.at, c.choices, 0); fault.KindOf(err) != fault.Input || rows != nil {
			t.Errorf("%s: rows %v, error %v, want one of kind Input", name, rows, err)
		}
	}
	if got, err := s.Logits(); err != nil || s.Len() != 20 || !slices.Equal(got, want) {
		t.Errorf("refused judgements changed the session: %d tokens, %v", s.Len(), err)
	}
	if rows, err := s.Judge(nil, nil, []int32{1}, 0); err != nil || len(rows) != 0 {
		t.Errorf("nothing to judge: %v, %v", rows, err)
	}
}
