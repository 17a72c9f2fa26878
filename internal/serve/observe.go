package serve

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/http"
	"regexp"
	"time"
)

// entry is what the access log says about a request. The handler's goroutine
// owns it.
type entry struct {
	id        string
	status    int // 0 until a header is sent
	bytes     int
	slates    int
	fallbacks int
	problem   string
}

type entryKey struct{}

func entryOf(r *http.Request) *entry { return r.Context().Value(entryKey{}).(*entry) }

func requestID(r *http.Request) string { return entryOf(r).id }

// plainID is what a caller's X-Request-Id must look like to be taken over
// into logs.
var plainID = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,64}$`)

func newID(given string) string {
	if plainID.MatchString(given) {
		return given
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}

// observe gives each request an id, a log line and its place in the metrics.
func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		e := &entry{id: newID(r.Header.Get("X-Request-Id"))}
		w.Header().Set("X-Request-Id", e.id)
		r = r.WithContext(context.WithValue(r.Context(), entryKey{}, e))
		next.ServeHTTP(&recorder{ResponseWriter: w, entry: e}, r)

		took := time.Since(start)
		if e.status == 0 {
			e.status = http.StatusOK
		}
		s.metrics.request(route(r.URL.Path), e.status, took.Seconds())
		s.opt.Log.LogAttrs(r.Context(), level(e.status), "request",
			slog.String("id", e.id),
			slog.String("method", r.Method),
			slog.String("path", r.URL.Path),
			slog.Int("status", e.status),
			slog.Float64("ms", milliseconds(took)),
			slog.Int("bytes", e.bytes),
			slog.Int("slates", e.slates),
			slog.Int("fallbacks", e.fallbacks),
			slog.String("remote", r.RemoteAddr),
			slog.String("problem", e.problem))
	})
}

// route bounds the values of the metrics' label.
func route(path string) string {
	switch path {
	case routeRerank, routeHealth, routeReady, routeMetrics:
		return path
	}
	return "other"
}

func level(status int) slog.Level {
	if status >= http.StatusInternalServerError {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// recorder notes what a handler sends.
type recorder struct {
	http.ResponseWriter
	entry *entry
}

func (w *recorder) WriteHeader(status int) {
	if w.entry.status == 0 {
		w.entry.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.entry.bytes += n
	return n, err
}

// Unwrap lets http.MaxBytesReader close the connection of an over-long body.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
