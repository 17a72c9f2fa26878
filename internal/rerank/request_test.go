package rerank

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/gr2/gr2/api"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/prompt"
)

func TestResolve(t *testing.T) {
	w := newWorld(t, 1, nil)
	r := w.reranker(t, Generate)
	request := &api.Slate{ID: "x", User: "stranger", Time: 1e9,
		History:    []api.Visit{{Item: "i003", Time: 9e8}, {Item: "gone", Time: 9e8}, {Item: "i004"}},
		Candidates: []api.Candidate{{Item: "i010", Score: 2}, {Item: "i011"}}, Grades: []int{0, 2}}
	got, unknown, err := r.Resolve(request)
	want := market.Slate{ID: "x", User: -1, Time: 1e9,
		History:    []market.Visit{{Item: 3, Time: 9e8}, {Item: 4, Time: 1e9}},
		Candidates: []market.Candidate{{Item: 10, Score: 2}, {Item: 11}}, Grades: []uint8{0, 2}}
	if err != nil || unknown != 1 || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %d unknown, %v", got, unknown, err)
	}
	if err := got.Validate(w.ds.Catalog); err != nil {
		t.Errorf("market refuses it: %v", err)
	}
	request.Time, request.History = 0, request.History[:1]
	if got, _, err = r.Resolve(request); err != nil || got.Time != 9e8 {
		t.Errorf("without a time: %d, %v", got.Time, err)
	}
}

func TestResolveRefuses(t *testing.T) {
	r := newWorld(t, 1, nil).reranker(t, Generate)
	var many []api.Candidate
	for i := range 51 {
		many = append(many, api.Candidate{Item: fmt.Sprintf("i%03d", i)})
	}
	for _, c := range []struct {
		slate       api.Slate
		field, want string
	}{
		{api.Slate{}, "candidates", "empty"},
		{api.Slate{Candidates: []api.Candidate{{Item: "i001"}, {Item: "nope"}}}, "candidates[1].item", `unknown item "nope"`},
		{api.Slate{Candidates: []api.Candidate{{Item: "i001"}, {Item: "i001"}}}, "candidates[1].item", "duplicate"},
		{api.Slate{Candidates: many}, "candidates", "at most 50"},
	} {
		_, err := r.Prepare(&c.slate)
		var fe *api.FieldError
		if !errors.As(err, &fe) || fe.Field != c.field || !strings.Contains(fe.Message, c.want) {
			t.Errorf("want %s: ...%s..., got %v", c.field, c.want, err)
		}
	}
}

// A policy whose training slates had scores needs those of a request; one that
// knew none does not.
func TestScoresAreAskedForWhereTheyAreRead(t *testing.T) {
	w := newWorld(t, 1, func(o *prompt.Options, _ *lm.Config) { o.EvidenceNames = append(o.EvidenceNames, "scoreGap") })
	scoreless := &api.Slate{Candidates: []api.Candidate{{Item: "i001"}, {Item: "i002"}}}
	scored := &api.Slate{Candidates: []api.Candidate{{Item: "i001"}, {Item: "i002", Score: -1}}}
	one := &api.Slate{Candidates: []api.Candidate{{Item: "i001"}}}
	gap := &w.parts.Buckets.Features[len(w.parts.Buckets.Features)-1]
	for _, c := range []struct {
		cuts   []float32
		slate  *api.Slate
		refuse bool
	}{{nil, scoreless, false}, {[]float32{1, 2}, scoreless, true}, {[]float32{1, 2}, scored, false}, {[]float32{1, 2}, one, false}} {
		gap.Cuts = c.cuts
		_, _, err := w.reranker(t, Generate).Resolve(c.slate)
		var fe *api.FieldError
		if refused := errors.As(err, &fe) && fe.Field == "candidates[0].score"; refused != c.refuse || err != nil && !refused {
			t.Errorf("cuts %v, %d candidates, the last with score %g: %v", c.cuts, len(c.slate.Candidates), c.slate.Candidates[len(c.slate.Candidates)-1].Score, err)
		}
	}
}

func TestPrepareAnswers(t *testing.T) {
	w := newWorld(t, 1, nil)
	r := w.reranker(t, Generate)
	s := &api.Slate{ID: "x", History: []api.Visit{{Item: "gone", Time: 5}}}
	for i := range 8 {
		s.Candidates = append(s.Candidates, api.Candidate{Item: fmt.Sprintf("i%03d", 7*i)})
	}
	answer, err := r.Prepare(s)
	if err != nil {
		t.Fatal(err)
	}
	got, err := answer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wantPermutation(t, got.Order, 8)
	for i, c := range got.Order {
		if got.Ranking[i] != s.Candidates[c].Item {
			t.Errorf("place %d is %s, the order says %s", i, got.Ranking[i], s.Candidates[c].Item)
		}
	}
	if got.ID != "x" || got.Model != "test" || got.UnknownHistory != 1 || got.Millis <= 0 || got.Phases.Prefill <= 0 || got.Tokens.Prompt == 0 || got.Tokens.Output == 0 || got.Cut != nil {
		t.Errorf("got %+v", got)
	}
}

// A request without any time is one behind the log, not one of 1970: its
// evidence has all that was counted.
func TestRequestWithoutTimeStandsBehindTheLog(t *testing.T) {
	w := newWorld(t, 1, nil)
	r := w.reranker(t, Generate)
	last := int64(0)
	for _, e := range w.ds.Events {
		last = max(last, e.Time)
	}
	s := api.Slate{Candidates: []api.Candidate{{Item: "i001"}, {Item: "i002"}}}
	slate, _, err := r.Resolve(&s)
	if err != nil || slate.Time != last+1 {
		t.Errorf("time %d, %v; want %d", slate.Time, err, last+1)
	}
	s.History = []api.Visit{{Item: "i003"}} // a visit without time is no time either
	if slate, _, err = r.Resolve(&s); err != nil || slate.Time != last+1 || slate.History[0].Time != last+1 {
		t.Errorf("with an untimed visit: %+v, %v", slate, err)
	}
	s.Time = 77
	if slate, _, err = r.Resolve(&s); err != nil || slate.Time != 77 {
		t.Errorf("with a time: %d, %v", slate.Time, err)
	}
}
