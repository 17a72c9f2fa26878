package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gr2/gr2/api"
)

// errGone stands for a caller that hung up; nothing can be sent to it.
var errGone = errors.New("the caller went away")

// statusGone is nginx's code for a caller that hung up, for log and metrics.
const statusGone = 499

func errDraining() *api.Error {
	return &api.Error{Status: http.StatusServiceUnavailable, Code: api.CodeUnavailable,
		RetryAfter: time.Second, Message: "the server is shutting down"}
}

// allow lets only these methods through.
func (s *Server) allow(h http.HandlerFunc, methods ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if slices.Contains(methods, r.Method) {
			h(w, r)
			return
		}
		w.Header().Set("Allow", strings.Join(methods, ", "))
		s.refuse(w, r, &api.Error{Status: http.StatusMethodNotAllowed, Code: api.CodeMethod,
			Message: "use " + strings.Join(methods, " or ")})
	}
}

// refuse sends err: as it is when it is an api.Error, as 400 when it is about
// a field, as 500 (and to the log) otherwise.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, errGone) {
		entryOf(r).status = statusGone
		return
	}
	var e *api.Error
	var field *api.FieldError
	switch {
	case errors.As(err, &e):
	case errors.As(err, &field):
		e = &api.Error{Status: http.StatusBadRequest, Code: api.CodeInvalid, Message: field.Message, Field: field.Field}
	default:
		s.opt.Log.Error("request failed", "request", requestID(r), "error", err)
		e = &api.Error{Status: http.StatusInternalServerError, Code: api.CodeInternal, Message: "internal error, see the server's log"}
	}
	e.RequestID = requestID(r)
	entryOf(r).problem = e.Message
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(e.RetryAfter.Seconds())))
	}
	reply(w, e.Status, map[string]*api.Error{"error": e})
}

func reply(w http.ResponseWriter, status int, v any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil { // a NaN that a policy reported
		status = http.StatusInternalServerError
		b.Reset()
		b.WriteString(`{"error":{"code":"internal","message":"the answer cannot be written as JSON"}}` + "\n")
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // a caller that hung up is no fault of ours
}
