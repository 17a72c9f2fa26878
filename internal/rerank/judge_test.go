package rerank

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/gr2/gr2/api"
	"github.com/gr2/gr2/internal/infer"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/prompt"
	"github.com/gr2/gr2/internal/rng"
)

func judging(o *prompt.Options, _ *lm.Config) { o.Judge = true }

// margins asks for each candidate on its own: the prompt up to the end of its
// line, fed to an empty session.
func margins(t *testing.T, w *world, r *Reranker, s *market.Slate, shown []int) []float32 {
	t.Helper()
	p, err := r.prompt(s, shown)
	if err != nil {
		t.Fatal(err)
	}
	engine, err := infer.New(w.parts.Model)
	if err != nil {
		t.Fatal(err)
	}
	no, yes := w.parts.Builder.JudgeTokens()
	out := make([]float32, len(p.Judged))
	for i, at := range p.Judged {
		logits, err := engine.NewSession().Feed(p.Tokens[:at+1])
		if err != nil {
			t.Fatal(err)
		}
		out[i] = logits[yes] - logits[no]
	}
	return out
}

// byMargin fails unless the places fall in margin, rounding aside.
func byMargin(t *testing.T, places []int, margin []float32) {
	t.Helper()
	wantPermutation(t, places, len(margin))
	for i := 1; i < len(places); i++ {
		if before, after := margin[places[i-1]], margin[places[i]]; after > before+1e-4*max(1, before, -before) {
			t.Errorf("place %d with margin %g stands before %d with %g", places[i-1], before, places[i], after)
		}
	}
}

func TestJudgeOrdersByMargin(t *testing.T) {
	for _, at := range []string{prompt.NumberEnd, prompt.NumberStart, prompt.NumberBoth} {
		w := newWorld(t, 2, func(o *prompt.Options, c *lm.Config) { judging(o, c); o.NumberAt = at })
		r := w.reranker(t, Judge)
		for i, k := range []int{2, 7, 10, 50} {
			s := w.slate(uint64(i), k, i)
			res := mustRerank(t, r, s)
			if res.Fallback || res.OutputTokens != 0 || res.Decode != 0 || res.Prefill <= 0 {
				t.Fatalf("%+v", res)
			}
			if !slices.Equal(res.Order, res.Places) {
				t.Errorf("shown as it stands, order %v and places %v differ", res.Order, res.Places)
			}
			byMargin(t, res.Order, margins(t, w, r, s, nil))
		}
	}
}

// Equal margins keep the incoming order: a model that cannot tell yes from no
// changes nothing.
func TestJudgeTiesKeepTheOrder(t *testing.T) {
	w := newWorld(t, 2, judging)
	no, yes := w.parts.Builder.JudgeTokens()
	d := w.parts.Model.Config.Hidden
	head := w.parts.Model.Head.Data
	copy(head[int(yes)*d:int(yes+1)*d], head[int(no)*d:int(no+1)*d])
	if res := mustRerank(t, w.reranker(t, Judge), w.slate(3, 20, 2)); !slices.Equal(res.Order, identity(20)) {
		t.Errorf("equal margins give %v", res.Order)
	}
}

// Shown in another order, places are of the order shown, and Order names the
// slate's own candidates.
func TestJudgeMapsTheShownOrderBack(t *testing.T) {
	w := newWorld(t, 4, judging)
	r := w.reranker(t, Judge)
	for i, k := range []int{3, 10, 50} {
		s := w.slate(uint64(i), k, 3)
		shown := rng.New(9, uint64(i)).Perm(k)
		res, err := r.RerankShown(t.Context(), s, shown)
		if err != nil || res.Fallback {
			t.Fatalf("%v %+v", err, res)
		}
		byMargin(t, res.Places, margins(t, w, r, s, shown))
		for n, place := range res.Places {
			if res.Order[n] != shown[place] {
				t.Fatalf("place %d shows candidate %d, the order says %d", place, shown[place], res.Order[n])
			}
		}
	}
}

func TestJudgeOfOneNeedsNoModel(t *testing.T) {
	w := newWorld(t, 1, judging)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	res, err := w.reranker(t, Judge).Rerank(ctx, w.slate(1, 1, 0))
	if err != nil || res.Fallback || !slices.Equal(res.Order, []int{0}) || res.PromptTokens != 0 {
		t.Errorf("%v %+v", err, res)
	}
}

// A deadline that has passed gives the incoming order; one that passes while
// the only pass is under way does not throw its answer away.
func TestJudgeDeadline(t *testing.T) {
	w := newWorld(t, 1, judging)
	r := w.reranker(t, Judge)
	s := w.slate(1, 10, 3)
	ctx, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	res, err := r.Rerank(ctx, s)
	if err != nil || !res.Fallback || res.Reason != api.ReasonDeadline || !slices.Equal(res.Order, identity(10)) {
		t.Errorf("after the deadline: %v %+v", err, res)
	}
	left := 1
	if res, err := r.Rerank(countdown{t.Context(), &left}, s); err != nil || res.Fallback || !slices.Equal(res.Order, mustRerank(t, r, s).Order) {
		t.Errorf("deadline during the pass: %v %+v", err, res)
	}
	session := r.sessions.Get().(*infer.Session)
	if session.Len() != 0 {
		t.Errorf("the session kept %d tokens", session.Len())
	}
}

// Judging asks about what traces would be written for, too.
func TestJudgeInTraceMode(t *testing.T) {
	w := newWorld(t, 1, func(o *prompt.Options, c *lm.Config) { judging(o, c); o.Mode = prompt.ModeTrace })
	r := w.reranker(t, Judge)
	s := w.slate(3, 6, 2)
	res := mustRerank(t, r, s)
	if res.Fallback || res.Trace != "" {
		t.Errorf("%+v", res)
	}
	byMargin(t, res.Order, margins(t, w, r, s, nil))
}

// The modes of one run folder are policies of the same weights.
func TestOpenAsJudge(t *testing.T) {
	w := newWorld(t, 5, judging)
	dir := t.TempDir()
	w.save(t, dir)
	opened, err := Open(dir, OpenOptions{Mode: Judge})
	if err != nil {
		t.Fatal(err)
	}
	s := w.slate(2, 9, 3)
	if got, want := mustRerank(t, opened, s).Order, mustRerank(t, w.reranker(t, Judge), s).Order; !slices.Equal(got, want) {
		t.Errorf("opened %v, in memory %v", got, want)
	}
}
