package market

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/gr2/gr2/internal/fault"
)

// MaxCandidates is the longest slate that can be asked to be re-ranked. Logged
// impressions in a data set may be longer.
const MaxCandidates = 50

// The public JSON form of a slate.
type (
	wireSlate struct {
		ID         string          `json:"id"`
		User       string          `json:"user,omitempty"`
		Time       *int64          `json:"time"`
		History    []wireVisit     `json:"history"`
		Candidates []wireCandidate `json:"candidates"`
		Grades     []int           `json:"grades,omitempty"` // not uint8, which JSON would spell as base64
	}
	wireVisit struct {
		Item string `json:"item"`
		Time *int64 `json:"time"`
	}
	wireCandidate struct {
		Item  string  `json:"item"`
		Score float32 `json:"score"`
	}
)

// DecodeSlate reads one slate in the public JSON form. A candidate that the
// catalog does not know is an error; a history item that it does not know is
// left out and counted. A user that is not in users (which may be nil) is
// number -1. A slate without a time takes that of its last history visit, a
// visit without one takes the slate's.
func DecodeSlate(data []byte, catalog *Catalog, users map[string]int32) (slate Slate, unknownHistory int, err error) {
	return decodeSlate(data, catalog, users, MaxCandidates)
}

func decodeSlate(data []byte, catalog *Catalog, users map[string]int32, maxCandidates int) (Slate, int, error) {
	wire, err := parseSlate(data)
	if err != nil {
		return Slate{}, 0, fault.Inputf("slate: %w", err)
	}
	s, unknown, err := wire.resolve(catalog, maxCandidates)
	if err != nil {
		return Slate{}, 0, fault.Inputf("slate %q: %w", wire.ID, err)
	}
	s.User = -1
	if n, ok := users[wire.User]; ok {
		s.User = n
	}
	return s, unknown, nil
}

func parseSlate(data []byte) (*wireSlate, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("the text is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var wire wireSlate
	if err := dec.Decode(&wire); err != nil {
		return nil, explainJSON(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("more text follows the JSON object at byte %d; give one slate at a time", dec.InputOffset())
	}
	return &wire, nil
}

// explainJSON turns an error of encoding/json into one for the writer of the
// JSON, who knows nothing of Go types.
func explainJSON(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("no JSON object; give {\"id\":…,\"history\":[…],\"candidates\":[…]}")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the JSON ends early")
	case errors.As(err, &syntax):
		return fmt.Errorf("malformed JSON at byte %d: %s", syntax.Offset, syntax.Error())
	case errors.As(err, &kind):
		field := kind.Field
		if field == "" {
			field = "the slate"
		}
		return fmt.Errorf("%s: want %s, have %s", field, jsonKind(kind.Type), kind.Value)
	}
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fmt.Errorf("unknown field %s; remove it", field)
	}
	return err
}

func jsonKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Int, reflect.Int64:
		return "an integer"
	case reflect.Float32:
		return "a number in the range of float32"
	case reflect.Slice:
		return "a list"
	default:
		return "an object"
	}
}

func (w *wireSlate) resolve(catalog *Catalog, maxCandidates int) (s Slate, unknown int, err error) {
	s.ID, s.Time = w.ID, w.requestTime()
	if s.Candidates, err = w.candidates(catalog, maxCandidates); err != nil {
		return s, 0, err
	}
	if s.Grades, err = w.grades(); err != nil {
		return s, 0, err
	}
	s.History, unknown = w.history(catalog, s.Time)
	return s, unknown, s.Validate(catalog)
}

func (w *wireSlate) candidates(catalog *Catalog, limit int) ([]Candidate, error) {
	if n := len(w.Candidates); n > limit {
		return nil, fmt.Errorf("%d candidates, at most %d are allowed", n, limit)
	}
	out := make([]Candidate, len(w.Candidates))
	for i, c := range w.Candidates {
		item, ok := catalog.Lookup(c.Item)
		if !ok {
			return nil, fmt.Errorf("candidates[%d]: unknown item %q; every candidate must be in the catalog", i, c.Item)
		}
		out[i] = Candidate{Item: item, Score: c.Score}
	}
	return out, nil
}

func (w *wireSlate) grades() ([]uint8, error) {
	var out []uint8
	for i, g := range w.Grades {
		if g < GradeNone || g > GradeConvert {
			return nil, errGrade(i, g)
		}
		out = append(out, uint8(g))
	}
	return out, nil
}

func (w *wireSlate) requestTime() int64 {
	switch n := len(w.History); {
	case w.Time != nil:
		return *w.Time
	case n > 0 && w.History[n-1].Time != nil:
		return *w.History[n-1].Time
	}
	return 0
}

func (w *wireSlate) history(catalog *Catalog, now int64) (visits []Visit, unknown int) {
	for _, v := range w.History {
		item, ok := catalog.Lookup(v.Item)
		if !ok {
			unknown++
			continue
		}
		visit := Visit{Item: item, Time: now}
		if v.Time != nil {
			visit.Time = *v.Time
		}
		visits = append(visits, visit)
	}
	return visits, unknown
}

// EncodeSlate writes a slate in the public JSON form, on one line without an
// end of line. users are the ids by number; a number outside is left out.
func EncodeSlate(s *Slate, catalog *Catalog, users []string) ([]byte, error) {
	wire := wireSlate{
		ID:         s.ID,
		Time:       &s.Time,
		History:    make([]wireVisit, len(s.History)),
		Candidates: make([]wireCandidate, len(s.Candidates)),
	}
	if s.User >= 0 && int(s.User) < len(users) {
		wire.User = users[s.User]
	}
	for i := range s.History {
		wire.History[i] = wireVisit{Item: catalog.Items[s.History[i].Item].ID, Time: &s.History[i].Time}
	}
	for i, c := range s.Candidates {
		wire.Candidates[i] = wireCandidate{Item: catalog.Items[c.Item].ID, Score: c.Score}
	}
	for _, g := range s.Grades {
		wire.Grades = append(wire.Grades, int(g))
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(wire); err != nil {
		return nil, fmt.Errorf("slate %q: %w", s.ID, err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}
