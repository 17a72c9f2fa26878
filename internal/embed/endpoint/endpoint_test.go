package endpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gr2/gr2/internal/fault"
)

// server is an endpoint whose n-th answer (from 0) is made by a handler.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	requests []request
	keys     []string
}

func serve(t *testing.T, answer func(n int, req request, w http.ResponseWriter)) *server {
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var req request
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/embeddings" {
			t.Errorf("%s %s: %v", r.Method, r.URL.Path, err)
		}
		s.mu.Lock()
		n := len(s.requests)
		s.requests, s.keys = append(s.requests, req), append(s.keys, r.Header.Get("Authorization"))
		s.mu.Unlock()
		answer(n, req, w)
	}))
	t.Cleanup(s.Close)
	return s
}

// count is how many requests arrived.
func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

// vector is what the servers of these tests answer for a text, times a length.
func vector(text string) []float64 {
	return []float64{float64(len(text)), 1, -float64(strings.Count(text, "a"))}
}

// honest answers in reverse order, as an endpoint may.
func honest(_ int, req request, w http.ResponseWriter) {
	var data []map[string]any
	for i, text := range slices.Backward(req.Input) {
		data = append(data, map[string]any{"object": "embedding", "index": i, "embedding": vector(text)})
	}
	json.NewEncoder(w).Encode(map[string]any{"object": "list", "data": data, "model": req.Model})
}

func options(s *server) Options {
	return Options{URL: s.URL + "/v1", Model: "m", Batch: 4, Concurrency: 3, Timeout: 5 * time.Second, Retries: 3, Pause: time.Millisecond}
}

func opened(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Every text gets its own vector, scaled to unit length, whatever the batches,
// the order of requests and the order within a reply.
func TestEveryTextGetsItsVector(t *testing.T) {
	s := serve(t, honest)
	o := options(s)
	o.Key, o.Prefix = "sesame", "item: "
	c := opened(t, o)
	if c.Dim() != 3 {
		t.Fatalf("dim %d", c.Dim())
	}
	var texts []string
	for i := range 30 {
		texts = append(texts, strings.Repeat("ab ", i))
	}
	texts[7] = " \t"
	got, err := c.Embed(t.Context(), texts)
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range texts {
		want := make([]float64, 3)
		if strings.TrimSpace(text) != "" {
			want = vector("item: " + text)
		}
		norm := math.Hypot(math.Hypot(want[0], want[1]), want[2])
		for j, x := range got.Row(i) {
			if norm > 0 && math.Abs(float64(x)-want[j]/norm) > 1e-6 || norm == 0 && x != 0 {
				t.Fatalf("text %d: %v, want %v/%v", i, got.Row(i), want, norm)
			}
		}
	}
	for i, r := range s.requests {
		if len(r.Input) > 4 || r.Model != "m" || r.Dimensions != 0 || r.Format != "float" || s.keys[i] != "Bearer sesame" {
			t.Errorf("request %d: %+v with key %q", i, r, s.keys[i])
		}
		for _, text := range r.Input {
			if strings.TrimSpace(strings.TrimPrefix(text, "item:")) == "" {
				t.Errorf("the blank text %q was sent", text)
			}
		}
	}
	if s.count() != 1+7 { // the first text asked for, then 28 that are not blank
		t.Errorf("%d requests", s.count())
	}
	if empty, err := c.Embed(t.Context(), nil); err != nil || empty.Rows != 0 || empty.Cols != 3 {
		t.Errorf("no texts: %+v, %v", empty, err)
	}
}

func TestDimensionsAreAskedForAndDemanded(t *testing.T) {
	s := serve(t, honest)
	o := options(s)
	o.Dim = 3
	c := opened(t, o)
	if c.Dim() != 3 || s.requests[0].Dimensions != 3 {
		t.Errorf("dim %d after %+v", c.Dim(), s.requests[0])
	}
	o.Dim = 2
	if _, err := Open(t.Context(), o); fault.KindOf(err) != fault.Input || !strings.Contains(err.Error(), "length 3 where 2") {
		t.Errorf("an endpoint that ignores dimensions: %v", err)
	}
}

func TestNameSaysWhatCounts(t *testing.T) {
	s := serve(t, honest)
	names := map[string]bool{}
	o := options(s)
	prefixed, other := o, o
	prefixed.Prefix, other.Model = "query: ", "n"
	for _, o := range []Options{o, prefixed, other} {
		names[opened(t, o).Name()] = true
	}
	same := o
	same.Batch, same.Key, same.URL = 9, "k", o.URL+"/embeddings"
	names[opened(t, same).Name()] = true
	if len(names) != 3 {
		t.Errorf("%v", names)
	}
}

// What passes is tried again, to the end of the retries; what does not is not.
func TestRetries(t *testing.T) {
	for name, c := range map[string]struct {
		fail  func(n int, w http.ResponseWriter) bool // whether it answered
		tries int
		want  string // of the error; empty is success
	}{
		"429 twice": {func(n int, w http.ResponseWriter) bool {
			w.Header().Set("Retry-After", "0.01")
			return n < 2 && status(w, 429, `{"error": {"message": "slow down"}}`)
		}, 3, ""},
		"503, 500, 408": {func(n int, w http.ResponseWriter) bool { return n < 3 && status(w, []int{503, 500, 408}[n], "busy") }, 4, ""},
		"cut off": {func(n int, w http.ResponseWriter) bool {
			if n < 1 {
				w.Header().Set("Content-Length", "1000")
				return status(w, 200, `{"data": [`)
			}
			return false
		}, 2, ""},
		"connection lost": {func(n int, w http.ResponseWriter) bool {
			if n < 2 {
				panic(http.ErrAbortHandler)
			}
			return false
		}, 3, ""},
		"502 for ever": {func(_ int, w http.ResponseWriter) bool { return status(w, 502, "no backend") }, 4, "status 502: no backend (4 attempts)"},
		"400":          {func(_ int, w http.ResponseWriter) bool { return status(w, 400, `{"error": "too long"}`) }, 1, "too long"},
		"404":          {func(_ int, w http.ResponseWriter) bool { return status(w, 404, `{"error": {"message": "no model m"}}`) }, 1, "no model m"},
		"401":          {func(_ int, w http.ResponseWriter) bool { return status(w, 401, "no entry with sesame") }, 1, "no entry with [key]; check the API key"},
		"redirection": {func(_ int, w http.ResponseWriter) bool {
			w.Header().Set("Location", "http://elsewhere/v1")
			return status(w, 307, "")
		}, 1, "http://elsewhere/v1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(n int, req request, w http.ResponseWriter) {
				if !c.fail(n, w) {
					honest(n, req, w)
				}
			})
			o := options(s)
			o.Key = "sesame"
			_, err := Open(t.Context(), o)
			if (err == nil) != (c.want == "") || !strings.Contains(fmt.Sprint(err), c.want) || strings.Contains(fmt.Sprint(err), "sesame") {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if s.count() != c.tries {
				t.Errorf("%d attempts, want %d", s.count(), c.tries)
			}
			if c.tries == 1 && fault.KindOf(err) != fault.Usage {
				t.Errorf("kind of %v", err)
			}
		})
	}
}

func status(w http.ResponseWriter, code int, body string) bool {
	w.WriteHeader(code)
	io.WriteString(w, body)
	return true
}

func TestRetryAfter(t *testing.T) {
	for header, want := range map[string][2]time.Duration{
		"": {0, 0}, "2": {2 * time.Second, 2 * time.Second}, "-3": {0, 0}, "soon": {0, 0}, "1e30": {maxPause, maxPause},
		time.Now().Add(30 * time.Second).UTC().Format(http.TimeFormat): {25 * time.Second, 31 * time.Second},
	} {
		if got := retryAfter(header); got < want[0] || got > want[1] {
			t.Errorf("%q: %v", header, got)
		}
	}
}

// A reply that is wrong in any way is refused at once, and says where.
func TestBadRepliesAreRefused(t *testing.T) {
	for body, want := range map[string]string{
		`hello`:        "no list of embeddings",
		`{"data": 7}`:  "no list of embeddings",
		`{"data": []}`: "0 embeddings for 2 texts",
		`{}`:           "0 embeddings for 2 texts",
		`{"data": [{"index": 0, "embedding": [1, 2, 3]}]}`:                                                                      "1 embeddings for 2 texts",
		`{"data": [{"index": 0, "embedding": [1, 2, 3]}, {"index": 0, "embedding": [1, 2, 3]}]}`:                                "index 0 occurs twice",
		`{"data": [{"index": 0, "embedding": [1, 2, 3]}, {"index": 2, "embedding": [1, 2, 3]}]}`:                                "data[1] has no index",
		`{"data": [{"index": -1, "embedding": [1, 2, 3]}, {"index": 1, "embedding": [1, 2, 3]}]}`:                               "data[0] has no index",
		`{"data": [{"embedding": [1, 2, 3]}, {"index": 1, "embedding": [1, 2, 3]}]}`:                                            "data[0] has no index",
		`{"data": [{"index": 0, "embedding": [1, 2]}, {"index": 1, "embedding": [1, 2]}]}`:                                      "length 2 where 3",
		`{"data": [{"index": 0, "embedding": [1, 2, 3]}, {"index": 1, "embedding": []}]}`:                                       "length 0 where 3",
		`{"data": [{"index": 0, "embedding": [1, 2, 3]}, {"index": 1, "embedding": [1, NaN, 3]}]}`:                              "no list of embeddings",
		`{"data": [{"index": 0, "embedding": [1, 2, 3]}, {"index": 1, "embedding": [1, null, 3]}]}`:                             "null is no number",
		`{"data": [{"index": 0, "embedding": [1, 2, 3]}, {"index": 1, "embedding": [1, 1e999, 3]}]}`:                            "no list of embeddings",
		`{"data": [{"index": 0, "embedding": [1, 2, 3]}, {"index": 1, "embedding": "AACAPw=="}]}`:                               "no list of embeddings",
		`{"data": [{"index": 0, "embedding": [1, 2, 3]}, {"index": 1, "embedding": [1, 2, 3]}, {"index": 2, "embedding": []}]}`: "3 embeddings for 2 texts",
	} {
		s := serve(t, func(_ int, _ request, w http.ResponseWriter) { io.WriteString(w, body) })
		c, err := New(options(s), 3)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Embed(t.Context(), []string{"a", "b"})
		if fault.KindOf(err) != fault.Input || !strings.Contains(fmt.Sprint(err), want) || !strings.Contains(fmt.Sprint(err), s.URL) {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
		if s.count() != 1 {
			t.Errorf("%s: asked %d times", body, s.count())
		}
	}
}

// Numbers beyond float32 are scaled before they are rounded, zeros stay zeros.
func TestUnitOfExtremes(t *testing.T) {
	for _, x := range [][]number{{3e200, 4e200}, {3e-200, 4e-200}, {3, 4}} {
		if v, ok := unit(x); !ok || math.Abs(float64(v[0])-0.6) > 1e-7 || math.Abs(float64(v[1])-0.8) > 1e-7 {
			t.Errorf("%v: %v, %t", x, v, ok)
		}
	}
	if v, ok := unit([]number{0, 0}); !ok || v[0] != 0 || v[1] != 0 {
		t.Errorf("zeros: %v, %t", v, ok)
	}
}

// The first failure ends the other batches, and its message is the one returned.
func TestOneFailureEndsTheOthers(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, func(_ int, req request, w http.ResponseWriter) {
		if slices.Contains(req.Input, "bad") {
			status(w, 400, "this one is bad")
			return
		}
		<-release
		honest(0, req, w)
	})
	defer close(release)
	o := options(s)
	o.Batch, o.Concurrency = 1, 2
	c, err := New(o, 3)
	if err != nil {
		t.Fatal(err)
	}
	texts := append([]string{"good", "bad"}, slices.Repeat([]string{"more"}, 50)...)
	if _, err := c.Embed(t.Context(), texts); !strings.Contains(fmt.Sprint(err), "this one is bad") {
		t.Errorf("error %v", err)
	}
	if n := s.count(); n > 4 {
		t.Errorf("%d requests after a failure among the first two", n)
	}
}

// A context that ends is obeyed in the request and in the pause between two.
func TestContextEnds(t *testing.T) {
	release := make(chan struct{})
	hanging := serve(t, func(int, request, http.ResponseWriter) { <-release })
	defer close(release)
	busy := serve(t, func(_ int, _ request, w http.ResponseWriter) {
		w.Header().Set("Retry-After", "50")
		status(w, 429, "")
	})
	for _, s := range []*server{hanging, busy} {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		began := time.Now()
		if _, err := Open(ctx, options(s)); !errors.Is(err, context.Canceled) || time.Since(began) > 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	}
	o := options(hanging)
	o.Timeout, o.Retries = 20*time.Millisecond, 1
	before := hanging.count()
	if _, err := Open(t.Context(), o); !errors.Is(err, context.DeadlineExceeded) || hanging.count() != before+2 {
		t.Errorf("a request that takes too long: %v after %d attempts", err, hanging.count()-before)
	}
}
