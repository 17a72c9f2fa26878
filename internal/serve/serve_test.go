package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gr2/gr2/api"
)

// fake reverses every slate. The id of a slate directs it: "slow" waits for
// gate or the deadline, "broken" reports an error, "panic" panics. Candidate
// "unknown" is refused.
type fake struct {
	gate    chan struct{}
	started chan string // ids, when not nil
}

func (f *fake) Model() string { return "cafe" }

func (f *fake) Prepare(s *api.Slate) (func(context.Context) (api.Ranking, error), error) {
	for i, c := range s.Candidates {
		if c.Item == "unknown" {
			return nil, &api.FieldError{Field: fmt.Sprintf("candidates[%d].item", i), Message: `unknown item "unknown"`}
		}
	}
	return func(ctx context.Context) (api.Ranking, error) { return f.rank(ctx, s) }, nil
}

func (f *fake) rank(ctx context.Context, s *api.Slate) (api.Ranking, error) {
	if f.started != nil {
		f.started <- s.ID
	}
	switch {
	case strings.HasPrefix(s.ID, "slow"):
		select {
		case <-f.gate:
		case <-ctx.Done():
			return s.Incoming(api.ReasonDeadline, f.Model()), nil
		}
	case s.ID == "broken":
		return s.Incoming(api.ReasonFailed, f.Model()), errors.New("weights are on fire")
	case s.ID == "panic":
		panic("out of cheese")
	}
	r := s.Incoming("", f.Model())
	r.Fallback = false
	k := len(r.Order)
	for i := range k {
		r.Order[i], r.Ranking[i] = k-1-i, s.Candidates[k-1-i].Item
	}
	r.Phases = api.Phases{Prompt: 1, Prefill: 2, Decode: 3}
	r.Tokens = api.Tokens{Prompt: 100, Output: 10}
	return r, nil
}

func start(t *testing.T, f *fake, change func(*Options)) (*Server, *httptest.Server) {
	t.Helper()
	opt := Defaults()
	opt.Timeout = 30 * time.Second
	if change != nil {
		change(&opt)
	}
	s, err := New(f, opt)
	if err != nil {
		t.Fatal(err)
	}
	hs := httptest.NewServer(s.Handler())
	t.Cleanup(func() { hs.Close(); s.Close() })
	return s, hs
}

func slateJSON(id string, items ...string) string {
	var c []string
	for _, it := range items {
		c = append(c, fmt.Sprintf(`{"item":%q}`, it))
	}
	return fmt.Sprintf(`{"id":%q,"time":9,"history":[],"candidates":[%s]}`, id, strings.Join(c, ","))
}

func batchJSON(slates ...string) string { return `{"slates":[` + strings.Join(slates, ",") + `]}` }

func post(t *testing.T, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url+"/v1/rerank", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return do(t, req)
}

func get(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return do(t, req)
}

func do(t *testing.T, req *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(data)
}

func wantError(t *testing.T, resp *http.Response, body string, status int, code api.Code, field, message string) {
	t.Helper()
	var wire struct{ Error api.Error }
	if err := json.Unmarshal([]byte(body), &wire); err != nil {
		t.Fatalf("%d %s: %v", resp.StatusCode, body, err)
	}
	e := wire.Error
	if resp.StatusCode != status || e.Code != code || e.Field != field || !strings.Contains(e.Message, message) {
		t.Errorf("got %d %+v\nwant %d %s field %q ...%s...", resp.StatusCode, e, status, code, field, message)
	}
	if e.RequestID == "" || e.RequestID != resp.Header.Get("X-Request-Id") {
		t.Errorf("request id %q in the body, %q in the header", e.RequestID, resp.Header.Get("X-Request-Id"))
	}
}

func TestRerankForms(t *testing.T) {
	_, hs := start(t, &fake{}, nil)
	resp, body := post(t, hs.URL, slateJSON("s", "a", "b", "c"))
	var one api.Ranking
	if err := json.Unmarshal([]byte(body), &one); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%d %s: %v", resp.StatusCode, body, err)
	}
	if one.ID != "s" || strings.Join(one.Ranking, "") != "cba" || one.Model != "cafe" || one.Fallback || one.Phases.Queue <= 0 {
		t.Errorf("got %+v", one)
	}
	for _, key := range []string{`"id":`, `"ranking":["c","b","a"]`, `"order":[2,1,0]`, `"trace":""`, `"fallback":false`, `"model":"cafe"`, `"ms":`} {
		if !strings.Contains(body, key) {
			t.Errorf("the reply lacks %s: %s", key, body)
		}
	}
	_, body = post(t, hs.URL, batchJSON(slateJSON("x", "a"), slateJSON("y", "b", "c")))
	var many api.Response
	if err := json.Unmarshal([]byte(body), &many); err != nil || len(many.Rankings) != 2 || many.Rankings[1].ID != "y" {
		t.Errorf("batch: %s: %v", body, err)
	}
	_, body = post(t, hs.URL, batchJSON(slateJSON("x", "a")))
	if !strings.HasPrefix(body, `{"rankings":[`) {
		t.Errorf("a batch of one answered %s", body)
	}
}

func TestRefusals(t *testing.T) {
	_, hs := start(t, &fake{}, func(o *Options) {
		o.MaxBody = 2000
		o.Limits = api.Limits{Slates: 2, Candidates: 3, History: 1}
	})
	one := slateJSON("s", "a")
	cases := []struct {
		name, body string
		header     []string
		status     int
		code       api.Code
		field      string
		message    string
	}{
		{"empty body", "", nil, 400, api.CodeInvalid, "", "ends early"},
		{"not JSON", "{", nil, 400, api.CodeInvalid, "", "ends early"},
		{"unknown field", `{"slate":1}`, nil, 400, api.CodeInvalid, "slate", "not a field"},
		{"empty slate", `{"id":"s","candidates":[]}`, nil, 400, api.CodeInvalid, "candidates", "empty"},
		{"duplicate", slateJSON("s", "a", "a"), nil, 400, api.CodeInvalid, "candidates[1].item", "duplicate"},
		{"unknown item", slateJSON("s", "a", "unknown"), nil, 400, api.CodeInvalid, "candidates[1].item", "unknown item"},
		{"unknown item in a batch", batchJSON(one, slateJSON("s", "unknown")), nil, 400, api.CodeInvalid, "slates[1].candidates[0].item", "unknown item"},
		{"too many candidates", slateJSON("s", "a", "b", "c", "d"), nil, 400, api.CodeInvalid, "candidates", "at most 3"},
		{"too much history", `{"candidates":[{"item":"a"}],"history":[{"item":"x"},{"item":"y"}]}`, nil, 400, api.CodeInvalid, "history", "at most 1"},
		{"too many slates", batchJSON(one, one, one), nil, 400, api.CodeInvalid, "slates", "at most 2"},
		{"too large", slateJSON(strings.Repeat("x", 2000), "a"), nil, 413, api.CodeTooLarge, "", "2000 bytes"},
		{"form", one, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, api.CodeMediaType, "", "application/json"},
		{"no type", one, []string{"Content-Type", ""}, 415, api.CodeMediaType, "", "application/json"},
		{"latin-1", one, []string{"Content-Type", "application/json; charset=latin1"}, 415, api.CodeMediaType, "", "UTF-8"},
		{"compressed", one, []string{"Content-Encoding", "gzip"}, 415, api.CodeMediaType, "", "Content-Encoding"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			resp, body := post(t, hs.URL, c.body, c.header...)
			wantError(t, resp, body, c.status, c.code, c.field, c.message)
		})
	}
	if resp, body := post(t, hs.URL, one, "Content-Type", "application/json; charset=UTF-8"); resp.StatusCode != 200 {
		t.Errorf("a good request afterwards: %d %s", resp.StatusCode, body)
	}
}

func TestMethodsAndPaths(t *testing.T) {
	_, hs := start(t, &fake{}, nil)
	resp, body := get(t, hs.URL+"/v1/rerank")
	wantError(t, resp, body, 405, api.CodeMethod, "", "POST")
	if resp.Header.Get("Allow") != "POST" {
		t.Errorf("Allow: %q", resp.Header.Get("Allow"))
	}
	resp, body = get(t, hs.URL+"/v2/rerank")
	wantError(t, resp, body, 404, api.CodeNotFound, "", "/v1/rerank")
	for _, path := range []string{"/healthz", "/readyz"} {
		if resp, body := get(t, hs.URL+path); resp.StatusCode != 200 {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
}

func TestRequestID(t *testing.T) {
	_, hs := start(t, &fake{}, nil)
	resp, _ := post(t, hs.URL, slateJSON("s", "a"), "X-Request-Id", "trace-7")
	if got := resp.Header.Get("X-Request-Id"); got != "trace-7" {
		t.Errorf("a given id came back as %q", got)
	}
	resp, _ = post(t, hs.URL, slateJSON("s", "a"), "X-Request-Id", `"><script>`)
	if got := resp.Header.Get("X-Request-Id"); len(got) != 16 {
		t.Errorf("a hostile id came back as %q", got)
	}
}

func TestQueueFull(t *testing.T) {
	f := &fake{gate: make(chan struct{}), started: make(chan string, 10)}
	s, hs := start(t, f, func(o *Options) { o.Workers, o.Queue, o.Limits.Slates = 1, 2, 2 })
	var wg sync.WaitGroup
	send := func(body string) {
		wg.Go(func() {
			if resp, body := post(t, hs.URL, body); resp.StatusCode != 200 {
				t.Errorf("an admitted request got %d %s", resp.StatusCode, body)
			}
		})
	}
	send(slateJSON("slow1", "a"))
	<-f.started // the worker is taken
	send(slateJSON("slow2", "a"))
	waitFor(t, func() bool { return s.queue.depth() == 1 })

	// One place is left: a request of two is refused whole, one of one fits.
	resp, body := post(t, hs.URL, batchJSON(slateJSON("x", "a"), slateJSON("y", "a")))
	wantError(t, resp, body, 429, api.CodeOverloaded, "", "queue is full")
	if resp.Header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After: %q", resp.Header.Get("Retry-After"))
	}
	if d := s.queue.depth(); d != 1 {
		t.Errorf("a refused request left %d slates waiting, want 1", d)
	}
	send(slateJSON("slow3", "a"))
	waitFor(t, func() bool { return s.queue.depth() == 2 })
	if _, text := get(t, hs.URL+"/metrics"); !strings.Contains(text, "gr2_queue_depth 2\n") || !strings.Contains(text, "gr2_queue_capacity 2\n") {
		t.Error("the metrics do not show the queue")
	}
	close(f.gate)
	wg.Wait()
	if d := s.queue.depth(); d != 0 {
		t.Errorf("%d slates wait in the end", d)
	}
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited 10 s in vain")
		}
	}
}

func TestDeadlineFallback(t *testing.T) {
	f := &fake{gate: make(chan struct{})}
	_, hs := start(t, f, func(o *Options) { o.Workers, o.Timeout = 1, 50*time.Millisecond })
	// The second slate never gets a worker: the deadline covers the queue.
	_, body := post(t, hs.URL, batchJSON(slateJSON("slow1", "a", "b"), slateJSON("s2", "c", "d")))
	var got api.Response
	if err := json.Unmarshal([]byte(body), &got); err != nil || len(got.Rankings) != 2 {
		t.Fatalf("%s: %v", body, err)
	}
	for i, want := range []string{"ab", "cd"} {
		r := got.Rankings[i]
		if !r.Fallback || r.Reason != api.ReasonDeadline || strings.Join(r.Ranking, "") != want || r.Model != "cafe" {
			t.Errorf("slate %d: %+v", i, r)
		}
	}
}

func TestDeadlineRefuse(t *testing.T) {
	f := &fake{gate: make(chan struct{})}
	_, hs := start(t, f, func(o *Options) { o.Timeout, o.OnDeadline = 50*time.Millisecond, Refuse })
	resp, body := post(t, hs.URL, slateJSON("slow", "a", "b"))
	wantError(t, resp, body, 504, api.CodeDeadline, "", "within 50ms")
}

// A policy that breaks costs its slate the re-ranking, nobody else's.
func TestBrokenPolicy(t *testing.T) {
	var log lockedBuffer
	_, hs := start(t, &fake{}, func(o *Options) { o.Log = slog.New(slog.NewJSONHandler(&log, nil)) })
	_, body := post(t, hs.URL, batchJSON(slateJSON("broken", "a", "b"), slateJSON("panic", "c", "d"), slateJSON("s", "e", "f")))
	var got api.Response
	if err := json.Unmarshal([]byte(body), &got); err != nil || len(got.Rankings) != 3 {
		t.Fatalf("%s: %v", body, err)
	}
	for i, want := range []string{"ab", "cd", "fe"} {
		r := got.Rankings[i]
		if strings.Join(r.Ranking, "") != want || r.Fallback != (i < 2) || (i < 2 && r.Reason != api.ReasonFailed) {
			t.Errorf("slate %d: %+v", i, r)
		}
	}
	for _, want := range []string{"weights are on fire", "out of cheese", `"slate":"panic"`, `"fallbacks":2`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %s", want)
		}
	}
	if strings.Contains(body, "fire") || strings.Contains(body, "cheese") {
		t.Error("the reply shows internals")
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestAccessLog(t *testing.T) {
	var log lockedBuffer
	_, hs := start(t, &fake{}, func(o *Options) { o.Log = slog.New(slog.NewJSONHandler(&log, nil)) })
	post(t, hs.URL, slateJSON("s", "unknown"), "X-Request-Id", "r9")
	waitFor(t, func() bool { return strings.Contains(log.String(), "\n") })
	var line map[string]any
	if err := json.Unmarshal([]byte(log.String()), &line); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{"id": "r9", "method": "POST", "path": "/v1/rerank", "status": 400.0, "problem": `unknown item "unknown"`} {
		if line[key] != want {
			t.Errorf("log %s = %v, want %v", key, line[key], want)
		}
	}
}

func TestMetrics(t *testing.T) {
	_, hs := start(t, &fake{}, nil)
	post(t, hs.URL, batchJSON(slateJSON("a", "a"), slateJSON("broken", "a")))
	post(t, hs.URL, "{}")
	get(t, hs.URL+"/some/path")
	_, text := get(t, hs.URL+"/metrics")
	for _, want := range []string{
		`gr2_http_requests_total{code="200",route="/v1/rerank"} 1`,
		`gr2_http_requests_total{code="400",route="/v1/rerank"} 1`,
		`gr2_http_requests_total{code="404",route="other"} 1`,
		`gr2_slates_total 2`,
		`gr2_fallbacks_total{reason="failed"} 1`,
		`gr2_fallbacks_total{reason="deadline"} 0`,
		`gr2_tokens_total{kind="prompt"} 100`,
		`gr2_tokens_total{kind="output"} 10`,
		`gr2_phase_seconds_count{phase="prefill"} 1`,
		`gr2_phase_seconds_sum{phase="decode"} 0.003`,
		`gr2_phase_seconds_count{phase="request"} 2`,
		`gr2_model_info{model="cafe"} 1`,
		`go_goroutines`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

// Many callers at once, batches of all sizes: every slate gets its own answer,
// the one it gets alone.
func TestConcurrency(t *testing.T) {
	_, hs := start(t, &fake{}, func(o *Options) { o.Workers, o.Queue = 4, 10_000 })
	c := api.NewClient(hs.URL)
	var wg sync.WaitGroup
	for caller := range 8 {
		wg.Go(func() {
			for round := range 20 {
				var slates []api.Slate
				for i := range 1 + (caller+round)%5 {
					s := api.Slate{ID: fmt.Sprintf("%d-%d-%d", caller, round, i), Time: 1}
					for k := range 1 + (caller*7+round*3+i)%6 {
						s.Candidates = append(s.Candidates, api.Candidate{Item: fmt.Sprintf("%s-%d", s.ID, k)})
					}
					slates = append(slates, s)
				}
				got, err := c.RerankAll(t.Context(), slates)
				if err != nil {
					t.Error(err)
					return
				}
				for i, r := range got {
					k := len(slates[i].Candidates)
					if r.ID != slates[i].ID || len(r.Ranking) != k || r.Ranking[0] != slates[i].Candidates[k-1].Item {
						t.Errorf("slate %s got %+v", slates[i].ID, r)
					}
				}
			}
		})
	}
	wg.Wait()
}

func TestCallerGoesAway(t *testing.T) {
	f := &fake{gate: make(chan struct{}), started: make(chan string, 1)}
	_, hs := start(t, f, nil)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-f.started; cancel() }()
	if _, err := api.NewClient(hs.URL).Rerank(ctx, api.Slate{ID: "slow", Candidates: []api.Candidate{{Item: "a"}}}); err == nil {
		t.Fatal("no error")
	}
	waitFor(t, func() bool {
		_, text := get(t, hs.URL+"/metrics")
		return strings.Contains(text, `gr2_http_requests_total{code="499",route="/v1/rerank"} 1`)
	})
}
