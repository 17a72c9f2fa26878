package rerank

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gr2/gr2/api"
	"github.com/gr2/gr2/internal/evidence"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/infer"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/prompt"
	"github.com/gr2/gr2/internal/rng"
)

func TestEveryAnswerIsAPermutation(t *testing.T) {
	w := newWorld(t, 1, judging)
	for _, mode := range []Mode{Generate, First, Judge} {
		r := w.reranker(t, mode)
		moved := 0
		for i, k := range []int{2, 3, 9, 10, 11, 27, 50} {
			res, err := r.Rerank(t.Context(), w.slate(uint64(i), k, i%4)) // i = 0 and 4: no history
			if err != nil || res.Fallback {
				t.Fatalf("%s, %d candidates: %v %+v", mode, k, err, res)
			}
			wantPermutation(t, res.Order, k)
			if !slices.Equal(res.Order, identity(k)) {
				moved++
			}
			if res.PromptTokens == 0 || res.Prefill <= 0 || res.Total < res.Prefill {
				t.Errorf("%s: no measurements: %+v", mode, res)
			}
			if want := mode == Generate; (res.OutputTokens > 0) != want || (res.Decode > 0) != want {
				t.Errorf("%s: decoding measured: %d tokens in %v", mode, res.OutputTokens, res.Decode)
			}
		}
		if moved < 4 {
			t.Errorf("%s: only %d of 7 answers differ from the incoming order; the model is not asked", mode, moved)
		}
	}
}

func TestTraceMode(t *testing.T) {
	w := newWorld(t, 1, func(o *prompt.Options, _ *lm.Config) { o.Mode, o.TraceMax = prompt.ModeTrace, 12 })
	res, err := w.reranker(t, Generate).Rerank(t.Context(), w.slate(3, 6, 2))
	if err != nil || res.Fallback {
		t.Fatalf("%v %+v", err, res)
	}
	wantPermutation(t, res.Order, 6)
	if res.Trace == "" {
		t.Error("no trace")
	}
	if _, err := New(w.parts, First); fault.KindOf(err) != fault.Usage {
		t.Errorf("mode first with traces: %v", err)
	}
}

// Both modes ask for the first place in the same way.
func TestModesAgreeOnTheFirst(t *testing.T) {
	w := newWorld(t, 2, nil)
	generate, first := w.reranker(t, Generate), w.reranker(t, First)
	for i := range 10 {
		s := w.slate(uint64(i), 8, 3)
		a, err1 := generate.Rerank(t.Context(), s)
		b, err2 := first.Rerank(t.Context(), s)
		if err1 != nil || err2 != nil || a.Order[0] != b.Order[0] {
			t.Errorf("slate %d: %v and %v (%v, %v)", i, a.Order, b.Order, err1, err2)
		}
	}
}

func TestSlateOfOneNeedsNoModel(t *testing.T) {
	w := newWorld(t, 1, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	res, err := w.reranker(t, Generate).Rerank(ctx, w.slate(1, 1, 0))
	if err != nil || res.Fallback || !slices.Equal(res.Order, []int{0}) || res.PromptTokens != 0 {
		t.Errorf("%v %+v", err, res)
	}
}

// countdown is a context whose deadline passes at the n-th look.
type countdown struct {
	context.Context
	left *int
}

func (c countdown) Err() error {
	if *c.left--; *c.left < 0 {
		return context.DeadlineExceeded
	}
	return nil
}

func TestDeadline(t *testing.T) {
	w := newWorld(t, 1, nil)
	r := w.reranker(t, Generate)
	s := w.slate(1, 10, 3)
	answered := false
	for n := 0; n < 100 && !answered; n++ {
		left := n
		res, err := r.Rerank(countdown{t.Context(), &left}, s)
		if err != nil {
			t.Fatal(err)
		}
		answered = !res.Fallback
		session := r.sessions.Get().(*infer.Session)
		if session.Len() != 0 {
			t.Fatalf("at look %d the session kept %d tokens", n, session.Len())
		}
		r.sessions.Put(session)
		if res.Fallback && (res.Reason != api.ReasonDeadline || !slices.Equal(res.Order, identity(10)) || !slices.Equal(res.Places, identity(10))) {
			t.Fatalf("at look %d: %+v", n, res)
		}
		if n < 10 && answered {
			t.Errorf("answered after %d looks at the deadline", n)
		}
	}
	if !answered {
		t.Error("never answered")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if res, err := r.Rerank(ctx, s); err != nil || res.Reason != api.ReasonCanceled {
		t.Errorf("canceled: %v %+v", err, res)
	}
	// What was given up half-way leaves nothing behind.
	again, err := r.Rerank(t.Context(), s)
	fresh, err2 := w.reranker(t, Generate).Rerank(t.Context(), s)
	if err != nil || err2 != nil || !slices.Equal(again.Order, fresh.Order) {
		t.Errorf("after deadlines %v, fresh %v (%v, %v)", again.Order, fresh.Order, err, err2)
	}
}

func TestTooLong(t *testing.T) {
	small := newWorld(t, 1, func(_ *prompt.Options, c *lm.Config) { c.MaxPositions = 300 })
	budget := newWorld(t, 1, func(o *prompt.Options, _ *lm.Config) { o.MaxTokens = 300 })
	for name, w := range map[string]*world{"positions": small, "budget": budget} {
		r := w.reranker(t, Generate)
		if res, err := r.Rerank(t.Context(), w.slate(1, 5, 1)); err != nil || res.Fallback {
			t.Errorf("%s: a short slate: %v %+v", name, err, res)
		}
		res, err := r.Rerank(t.Context(), w.slate(1, 50, 1))
		if err != nil || !res.Fallback || res.Reason != api.ReasonTooLong {
			t.Errorf("%s: a long slate: %v %+v", name, err, res)
		}
	}
	res, err := budget.reranker(t, Generate).Rerank(t.Context(), budget.slate(1, 16, 4))
	if err != nil || res.Fallback || res.Cut == (prompt.Cut{}) {
		t.Errorf("a slate that has to be cut: %v %+v", err, res)
	}
}

// broken makes the model's answers impossible.
func broken(w *world) *world {
	for _, tensor := range w.parts.Model.Tensors() {
		for i := range tensor.Data {
			tensor.Data[i] = float32(math.NaN())
		}
	}
	return w
}

func TestBrokenModel(t *testing.T) {
	w := broken(newWorld(t, 1, judging))
	for _, mode := range []Mode{Generate, First, Judge} {
		r := w.reranker(t, mode)
		res, err := r.Rerank(t.Context(), w.slate(7, 5, 1))
		if err == nil || !strings.Contains(err.Error(), `"s7"`) || !res.Fallback || res.Reason != api.ReasonFailed || !slices.Equal(res.Order, identity(5)) {
			t.Errorf("%s: %v %+v", mode, err, res)
		}
		var slates []market.Slate
		for i := range 12 {
			slates = append(slates, *w.slate(uint64(i), 1+i/4, 0)) // the first four need no model
		}
		if _, err := r.RerankAll(t.Context(), slates, Batch{Workers: 3}); err == nil || !strings.Contains(err.Error(), `"s4"`) {
			t.Errorf("%s: RerankAll reports %v, want the first slate that fails", mode, err)
		}
		ran := 0
		if _, err := r.RerankAll(t.Context(), slates, Batch{Progress: func(int, int) { ran++ }}); err == nil || ran != 5 {
			t.Errorf("%s: %d slates were ranked, want the four good ones and the first that fails (%v)", mode, ran, err)
		}
	}
}

func TestRerankAllDoesNotDependOnWorkers(t *testing.T) {
	w := newWorld(t, 3, nil)
	r := w.reranker(t, Generate)
	var slates []market.Slate
	var alone [][]int
	for i := range 24 {
		slates = append(slates, *w.slate(uint64(i), 2+i%9, i%5))
		res, err := r.Rerank(t.Context(), &slates[i])
		if err != nil {
			t.Fatal(err)
		}
		alone = append(alone, res.Order)
	}
	for _, workers := range []int{0, 1, 2, 7} {
		calls, last := 0, 0
		results, err := r.RerankAll(t.Context(), slates, Batch{Workers: workers, Progress: func(done, total int) {
			if calls++; done != last+1 || total != len(slates) {
				t.Errorf("progress %d of %d after %d", done, total, last)
			}
			last = done
		}})
		if err != nil || calls != len(slates) {
			t.Fatalf("%d workers: %v after %d calls of Progress", workers, err, calls)
		}
		for i := range results {
			if !slices.Equal(results[i].Order, alone[i]) {
				t.Errorf("%d workers, slate %d: %v, alone %v", workers, i, results[i].Order, alone[i])
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.RerankAll(ctx, slates, Batch{}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// Shown in another order, every candidate keeps its legacy rank and evidence,
// and the ranking names the slate's own candidates.
func TestShownOrder(t *testing.T) {
	w := newWorld(t, 4, nil)
	r := w.reranker(t, Generate)
	s := w.slate(5, 6, 3)
	shown := rng.New(9).Perm(6)
	res, err := r.RerankShown(t.Context(), s, shown)
	if err != nil || res.Fallback {
		t.Fatalf("%v %+v", err, res)
	}
	wantPermutation(t, res.Order, 6)
	for i, place := range res.Places {
		if res.Order[i] != shown[place] {
			t.Errorf("place %d was %d, the order says %d", place, shown[place], res.Order[i])
		}
	}
	if straight, _ := r.RerankShown(t.Context(), s, identity(6)); !slices.Equal(straight.Order, mustRerank(t, r, s).Order) {
		t.Error("showing the slate as it stands changes the answer")
	}
	as, err := r.prompt(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := r.prompt(s, shown)
	if err != nil {
		t.Fatal(err)
	}
	before, after := candidateLines(w, as.Tokens, 6), candidateLines(w, other.Tokens, 6)
	for place, c := range shown {
		if before[c] != after[place] {
			t.Errorf("candidate %d is shown as %q, as it stands %q", c, after[place], before[c])
		}
	}
}

// Evidence is that of the slate, history included, with nobody left out.
func TestPromptShowsEvidence(t *testing.T) {
	w := newWorld(t, 4, nil)
	s := w.slate(5, 12, 3)
	shown, err := w.reranker(t, Generate).prompt(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	lines := candidateLines(w, shown.Tokens, 12)
	fromHistory := 0
	for i, code := range w.parts.Buckets.CodeAll(w.parts.Stats.Raw(s, evidence.None)) {
		if want := fmt.Sprintf("<|co_%d|><|pop_%d|><|titleMax_%d|>", code[0], code[1], code[2]); !strings.HasSuffix(lines[i], want) {
			t.Errorf("candidate %d is shown as %q, want %s", i, lines[i], want)
		}
		fromHistory += int(code[2])
	}
	if fromHistory == 0 {
		t.Error("no candidate is like the history: this test sees nothing")
	}
}

// candidateLines are the prompt's candidates without their numbers.
func candidateLines(w *world, tokens []int32, k int) []string {
	text, _, _ := strings.Cut(w.parts.Tokenizer.Decode(tokens), "<|im_end|>\n<|im_start|>assistant")
	lines := strings.Split(strings.TrimSpace(text[strings.Index(text, "<|im_start|>user"):]), "\n")
	lines = lines[len(lines)-k:]
	for i, l := range lines {
		lines[i] = l[:strings.LastIndex(l, ">")+1]
	}
	return lines
}

func mustRerank(t *testing.T, r *Reranker, s *market.Slate) Result {
	t.Helper()
	res, err := r.Rerank(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestShownOrderMustBeAPermutation(t *testing.T) {
	w := newWorld(t, 1, nil)
	r := w.reranker(t, Generate)
	for _, shown := range [][]int{{0, 1}, {0, 1, 1}, {0, 1, 3}, {-1, 0, 1}} {
		res, err := r.RerankShown(t.Context(), w.slate(1, 3, 0), shown)
		if fault.KindOf(err) != fault.Input || !res.Fallback || !slices.Equal(res.Places, identity(3)) {
			t.Errorf("%v: %v %+v", shown, err, res)
		}
	}
	if _, err := r.RerankAll(t.Context(), make([]market.Slate, 2), Batch{Shown: [][]int{nil}}); err == nil {
		t.Error("one order for two slates is accepted")
	}
}

func TestNewRefusesPartsThatDisagree(t *testing.T) {
	w := newWorld(t, 1, nil)
	cases := []struct {
		name   string
		change func(p *Parts)
		want   string
	}{
		{"vocabulary", func(p *Parts) {
			cfg := p.Model.Config
			cfg.VocabSize--
			p.Model, _ = lm.New(cfg, 1)
		}, "tokens, the model"},
		{"no evidence", func(p *Parts) { p.Stats = nil }, "there are no statistics"},
		{"other evidence", func(p *Parts) {
			b := *p.Buckets
			b.Features = b.Features[:2]
			p.Buckets = &b
		}, "prompts show [co pop titleMax]"},
		{"more buckets", func(p *Parts) {
			b := *p.Buckets
			b.Count = 5
			p.Buckets = &b
		}, "codes up to 5"},
	}
	for _, c := range cases {
		p := w.parts
		c.change(&p)
		if _, err := New(p, Generate); err == nil || !strings.Contains(err.Error(), c.want) || fault.KindOf(err) != fault.Input {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for _, mode := range []Mode{"guess", Judge} { // this world's prompts have no tokens to judge with
		if _, err := New(w.parts, mode); fault.KindOf(err) != fault.Usage {
			t.Errorf("mode %s: %v", mode, err)
		}
	}
}
