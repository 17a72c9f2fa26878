package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gr2/gr2/api"
)

// Reranker is what the server needs of a re-ranker.
type Reranker interface {
	// Prepare checks a slate against the catalog; its error is an
	// *api.FieldError when the slate is at fault. The function ranks the slate
	// on any goroutine. It always returns a ranking of all candidates; when
	// that is the fallback because something broke, the error says what.
	Prepare(s *api.Slate) (func(context.Context) (api.Ranking, error), error)
	// Model is the hash of what answers.
	Model() string
}

// Server answers HTTP requests with a Reranker. Use New, then Listen and
// Serve; or New, Handler and Close under another HTTP server.
type Server struct {
	reranker Reranker
	opt      Options
	queue    *queue
	metrics  *metrics
	handler  http.Handler
	draining atomic.Bool // /readyz says no
	stopping atomic.Bool // no more work is taken

	listener, pprof net.Listener
}

// New starts the workers of a server. Close, or Serve's return, ends them.
func New(r Reranker, opt Options) (*Server, error) {
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	s := &Server{reranker: r, opt: opt, queue: newQueue(opt.Queue, opt.Workers)}
	s.metrics = newMetrics(s.queue, r.Model())
	s.handler = s.routes()
	return s, nil
}

// Handler is the HTTP interface of the server.
func (s *Server) Handler() http.Handler { return s.handler }

// Close refuses further requests, finishes the queue and ends the workers.
func (s *Server) Close() {
	s.draining.Store(true)
	s.stopping.Store(true)
	s.queue.close()
}

// Listen opens the server's addresses without serving yet.
func (s *Server) Listen() (err error) {
	if s.listener, err = listen(s.opt.Addr); err != nil {
		return err
	}
	if s.opt.PprofAddr == "" {
		return nil
	}
	if s.pprof, err = listen(s.opt.PprofAddr); err != nil {
		s.listener.Close()
	}
	return err
}

// Addr is the address of the API after Listen.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// PprofAddr is the address of pprof after Listen, "" without one.
func (s *Server) PprofAddr() string {
	if s.pprof == nil {
		return ""
	}
	return s.pprof.Addr().String()
}

func listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("listen on %s: the port is in use; stop the other program or choose another address", addr)
	case err != nil:
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return l, nil
}

// Serve answers requests until ctx ends, then drains: /readyz turns to 503 at
// once, new work is refused after DrainDelay, and admitted work is finished.
// It returns nil when all of it was.
func (s *Server) Serve(ctx context.Context) error {
	defer s.Close()
	api := s.httpServer()
	failed := make(chan error, 2)
	go func() { failed <- api.Serve(s.listener) }()
	if s.pprof != nil {
		debug := &http.Server{Handler: pprofRoutes(), ReadHeaderTimeout: 5 * time.Second}
		defer debug.Close()
		go func() { failed <- debug.Serve(s.pprof) }()
	}
	s.warnIfOpen()
	select {
	case err := <-failed:
		api.Close()
		return fmt.Errorf("serve on %s: %w", s.Addr(), err)
	case <-ctx.Done():
		return s.drain(api)
	}
}

func (s *Server) httpServer() *http.Server {
	const read, write = 30 * time.Second, 10 * time.Second
	return &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       read,
		WriteTimeout:      read + s.opt.Timeout + write, // counts from the end of the header
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.opt.Log.Handler(), slog.LevelWarn),
	}
}

func (s *Server) drain(api *http.Server) error {
	s.draining.Store(true)
	s.opt.Log.Info("draining", "waiting", s.queue.depth())
	time.Sleep(s.opt.DrainDelay)
	s.stopping.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), s.opt.DrainTimeout)
	defer cancel()
	if err := api.Shutdown(ctx); err != nil {
		api.Close()
		return fmt.Errorf("serve: requests were cut off after the drain timeout of %s", s.opt.DrainTimeout)
	}
	return nil
}

// warnIfOpen says so when the server can be reached from other machines.
func (s *Server) warnIfOpen() {
	for _, l := range []net.Listener{s.listener, s.pprof} {
		if l == nil {
			continue
		}
		if a, ok := l.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
			s.opt.Log.Warn("other machines can reach this server, which has no authentication", "addr", l.Addr().String())
		}
	}
}

func pprofRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
