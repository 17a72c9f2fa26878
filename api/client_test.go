package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gr2/gr2/api"
)

func slateOf(items ...string) api.Slate {
	s := api.Slate{ID: "s"}
	for _, it := range items {
		s.Candidates = append(s.Candidates, api.Candidate{Item: it})
	}
	return s
}

// echo answers every slate with its legacy order, as a server would.
func echo(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		req, err := api.DecodeRequest(body)
		if err != nil || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("client sent %s (%s): %v", body, r.Header.Get("Content-Type"), err)
		}
		var resp api.Response
		for i := range req.Slates {
			resp.Rankings = append(resp.Rankings, req.Slates[i].Incoming(api.ReasonFailed, "m"))
		}
		if req.Batch {
			_ = json.NewEncoder(w).Encode(resp)
			return
		}
		_ = json.NewEncoder(w).Encode(resp.Rankings[0])
	}
}

func TestClient(t *testing.T) {
	srv := httptest.NewServer(echo(t))
	defer srv.Close()
	c := api.NewClient(srv.URL + "/")
	one, err := c.Rerank(t.Context(), slateOf("a", "b"))
	if err != nil || strings.Join(one.Ranking, "") != "ab" || !one.Fallback || one.Reason != api.ReasonFailed {
		t.Errorf("one: %+v, %v", one, err)
	}
	all, err := c.RerankAll(t.Context(), []api.Slate{slateOf("a"), slateOf("b", "c")})
	if err != nil || len(all) != 2 || all[1].Order[1] != 1 {
		t.Errorf("all: %+v, %v", all, err)
	}
}

func TestClientError(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":{"code":"invalid_request","message":"the slate is empty","field":"candidates","request_id":"r1"}}`))
	}))
	defer srv.Close()
	_, err := api.NewClient(srv.URL).Rerank(t.Context(), slateOf())
	var e *api.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an *api.Error", err)
	}
	if e.Status != 400 || e.Code != api.CodeInvalid || e.Field != "candidates" || e.RequestID != "r1" || e.Temporary() {
		t.Errorf("got %+v", e)
	}
}

// A proxy's error page becomes an Error too.
func TestClientForeignError(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "bad gateway", http.StatusBadGateway)
	}))
	defer srv.Close()
	err := api.NewClient(srv.URL).Ready(t.Context())
	var e *api.Error
	if !errors.As(err, &e) || e.Status != 502 || e.Message != "bad gateway" {
		t.Errorf("got %v", err)
	}
}

func TestClientRetries(t *testing.T) {
	calls := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls++; calls < 3 {
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = w.Write([]byte(`{"error":{"code":"overloaded","message":"full"}}`))
			return
		}
		echo(t)(w, r)
	}))
	defer srv.Close()
	if _, err := api.NewClient(srv.URL).Rerank(t.Context(), slateOf("a")); err != nil || calls != 3 {
		t.Errorf("%d calls, %v", calls, err)
	}

	calls = 0
	c := api.NewClient(srv.URL)
	c.Retries = 0
	var e *api.Error
	if _, err := c.Rerank(t.Context(), slateOf("a")); !errors.As(err, &e) || !e.Temporary() || calls != 1 {
		t.Errorf("without retries: %d calls, %v", calls, err)
	}
}

// The client does not wait longer than its caller.
func TestClientKeepsDeadline(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"error":{"code":"unavailable","message":"stopping"}}`))
	}))
	defer srv.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	start := time.Now()
	_, err := api.NewClient(srv.URL).Rerank(ctx, slateOf("a"))
	var e *api.Error
	if !errors.As(err, &e) || e.RetryAfter != time.Minute || time.Since(start) > 3*time.Second {
		t.Errorf("after %s: %v", time.Since(start), err)
	}
}
