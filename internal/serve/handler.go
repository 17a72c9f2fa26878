package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/gr2/gr2/api"
)

const (
	routeRerank  = "/v1/rerank"
	routeHealth  = "/healthz"
	routeReady   = "/readyz"
	routeMetrics = "/metrics"
)

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(routeRerank, s.allow(s.rerank, http.MethodPost))
	mux.HandleFunc(routeHealth, s.allow(s.health, http.MethodGet, http.MethodHead))
	mux.HandleFunc(routeReady, s.allow(s.ready, http.MethodGet, http.MethodHead))
	mux.HandleFunc(routeMetrics, s.allow(s.metrics.handler().ServeHTTP, http.MethodGet, http.MethodHead))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.refuse(w, r, &api.Error{Status: http.StatusNotFound, Code: api.CodeNotFound,
			Message: "no such path; there are POST " + routeRerank + ", GET " + routeHealth + ", " + routeReady + " and " + routeMetrics})
	})
	return s.observe(mux)
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]string{"status": "ok"})
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	if s.draining.Load() {
		s.refuse(w, r, errDraining())
		return
	}
	reply(w, http.StatusOK, map[string]string{"status": "ready", "model": s.reranker.Model()})
}

func (s *Server) rerank(w http.ResponseWriter, r *http.Request) {
	if s.stopping.Load() {
		w.Header().Set("Connection", "close")
		s.refuse(w, r, errDraining())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.opt.Timeout)
	defer cancel()
	req, err := s.read(w, r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	jobs, err := s.prepare(ctx, req)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	if !s.queue.admit(jobs) {
		s.refuse(w, r, &api.Error{Status: http.StatusTooManyRequests, Code: api.CodeOverloaded, RetryAfter: time.Second,
			Message: fmt.Sprintf("the queue is full (%d slates wait, this request has %d); try again", s.queue.depth(), len(jobs))})
		return
	}
	rankings := s.collect(ctx, r, req, jobs)
	if err := s.verdict(r, rankings); err != nil {
		s.refuse(w, r, err)
		return
	}
	if req.Batch {
		reply(w, http.StatusOK, api.Response{Rankings: rankings})
		return
	}
	reply(w, http.StatusOK, rankings[0])
}

// read takes the body apart. Its errors are *api.Error or *api.FieldError.
func (s *Server) read(w http.ResponseWriter, r *http.Request) (*api.Request, error) {
	if err := checkMedia(r.Header); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.opt.MaxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, &api.Error{Status: http.StatusRequestEntityTooLarge, Code: api.CodeTooLarge,
			Message: fmt.Sprintf("the body is larger than %d bytes; send fewer slates per request", large.Limit)}
	case err != nil:
		return nil, &api.FieldError{Message: "the body could not be read to its end"}
	}
	req, err := api.DecodeRequest(body)
	if err != nil {
		return nil, err
	}
	if err := req.Check(s.opt.Limits); err != nil {
		return nil, err
	}
	return &req, nil
}

func checkMedia(h http.Header) error {
	media, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	charset := params["charset"]
	switch {
	case err != nil || media != "application/json" || (charset != "" && charset != "utf-8" && charset != "UTF-8"):
		return &api.Error{Status: http.StatusUnsupportedMediaType, Code: api.CodeMediaType,
			Message: "send JSON in UTF-8 with the header Content-Type: application/json"}
	case h.Get("Content-Encoding") != "":
		return &api.Error{Status: http.StatusUnsupportedMediaType, Code: api.CodeMediaType,
			Message: "send the body without a Content-Encoding"}
	}
	return nil
}

// prepare checks every slate against the catalog and makes its job.
func (s *Server) prepare(ctx context.Context, req *api.Request) ([]*job, error) {
	arrived := time.Now()
	jobs := make([]*job, len(req.Slates))
	for i := range req.Slates {
		rank, err := s.reranker.Prepare(&req.Slates[i])
		if err != nil {
			return nil, req.Locate(i, err)
		}
		jobs[i] = &job{ctx: ctx, rank: rank, arrived: arrived, done: make(chan outcome, 1)}
	}
	return jobs, nil
}

// collect waits for every job, at most until the request's deadline.
func (s *Server) collect(ctx context.Context, r *http.Request, req *api.Request, jobs []*job) []api.Ranking {
	rankings := make([]api.Ranking, len(jobs))
	for i, j := range jobs {
		o := j.wait(ctx)
		if o.err != nil {
			s.opt.Log.Error("rerank failed", "request", requestID(r), "slate", req.Slates[i].ID, "error", o.err)
		}
		rankings[i] = o.ranking
		if len(o.ranking.Order) != len(req.Slates[i].Candidates) { // unfinished, or a panic
			rankings[i] = req.Slates[i].Incoming(o.ranking.Reason, s.reranker.Model())
		}
	}
	return rankings
}

// wait returns the job's outcome, or one without an order when ctx ends first.
func (j *job) wait(ctx context.Context) outcome {
	select {
	case o := <-j.done:
		return finished(o)
	case <-ctx.Done():
	}
	select {
	case o := <-j.done: // both were ready
		return finished(o)
	default:
		return outcome{ranking: api.Ranking{Reason: api.ReasonDeadline}}
	}
}

func finished(o outcome) outcome {
	if o.err != nil && o.ranking.Reason == "" {
		o.ranking.Reason = api.ReasonFailed
	}
	return o
}

// verdict counts the rankings and decides whether they may be sent.
func (s *Server) verdict(r *http.Request, rankings []api.Ranking) error {
	if r.Context().Err() != nil {
		return errGone
	}
	late := false
	for i := range rankings {
		late = late || rankings[i].Reason == api.ReasonDeadline
	}
	if late && s.opt.OnDeadline == Refuse {
		return &api.Error{Status: http.StatusGatewayTimeout, Code: api.CodeDeadline,
			Message: fmt.Sprintf("not ranked within %s", s.opt.Timeout)}
	}
	entry := entryOf(r)
	for i := range rankings {
		s.metrics.ranking(&rankings[i])
		entry.slates++
		if rankings[i].Fallback {
			entry.fallbacks++
		}
	}
	return nil
}
