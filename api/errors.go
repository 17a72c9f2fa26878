package api

import (
	"fmt"
	"time"
)

// Code classifies an Error for programs.
type Code string

const (
	CodeInvalid     Code = "invalid_request"    // 400: see Field
	CodeNotFound    Code = "not_found"          // 404
	CodeMethod      Code = "method_not_allowed" // 405
	CodeTooLarge    Code = "too_large"          // 413: the body
	CodeMediaType   Code = "unsupported_media"  // 415
	CodeOverloaded  Code = "overloaded"         // 429: try again after RetryAfter
	CodeInternal    Code = "internal"           // 500
	CodeUnavailable Code = "unavailable"        // 503: shutting down or not ready
	CodeDeadline    Code = "deadline"           // 504
)

// Error is what the server says when it does not answer with rankings. On the
// wire it stands as {"error":{...}}.
type Error struct {
	Status    int    `json:"-"` // HTTP status
	Code      Code   `json:"code"`
	Message   string `json:"message"`
	Field     string `json:"field,omitempty"` // path of the field at fault
	RequestID string `json:"request_id,omitempty"`

	RetryAfter time.Duration `json:"-"` // from the header; 0 when absent
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%d %s: %s", e.Status, e.Code, e.Message)
	if e.RequestID != "" {
		s += " (request " + e.RequestID + ")"
	}
	return s
}

// Temporary reports whether the same request may succeed later.
func (e *Error) Temporary() bool {
	switch e.Code {
	case CodeOverloaded, CodeUnavailable, CodeDeadline:
		return true
	}
	return false
}

// FieldError says which field of a request is wrong, and why.
type FieldError struct {
	Field   string // path such as slates[2].candidates[0].item; "" for the whole body
	Message string
}

func (e *FieldError) Error() string {
	if e.Field == "" {
		return e.Message
	}
	return e.Field + ": " + e.Message
}

// Under returns the error with its path below prefix.
func (e *FieldError) Under(prefix string) *FieldError {
	field := prefix
	if e.Field != "" {
		field += "." + e.Field
	}
	return &FieldError{Field: field, Message: e.Message}
}
