package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// DecodeSlate reads one Slate, such as a line of slates.jsonl. Errors are
// FieldErrors. The slate is well-formed but not checked, see Slate.Check.
func DecodeSlate(data []byte) (Slate, error) {
	var s Slate
	err := decode(data, func(d *decoder) error { return d.slate(&s) })
	return s, err
}

// DecodeRequest reads the body of POST /v1/rerank: one slate or
// {"slates":[...]}. Errors are FieldErrors.
func DecodeRequest(data []byte) (Request, error) {
	var r Request
	err := decode(data, func(d *decoder) error { return d.request(&r) })
	return r, err
}

func decode(data []byte, read func(*decoder) error) error {
	if !utf8.Valid(data) {
		return &FieldError{Message: "the text is not valid UTF-8"}
	}
	d := &decoder{json: json.NewDecoder(bytes.NewReader(data))}
	d.json.UseNumber()
	if err := read(d); err != nil {
		return err
	}
	if _, err := d.json.Token(); err != io.EOF {
		return &FieldError{Message: fmt.Sprintf("something follows the JSON value at byte %d; send one value", d.json.InputOffset())}
	}
	return nil
}

// decoder walks JSON tokens and knows where it is. encoding/json's own
// struct decoding would take any letter case, repeated keys and unknown
// fields without a place.
type decoder struct {
	json *json.Decoder
	path []step
}

// step is one part of a path: a field, or an index when field is "".
type step struct {
	field string
	index int
}

func (d *decoder) request(r *Request) error {
	var one Slate
	single := false
	err := d.object(func(key string) error {
		if key != "slates" {
			single = true
			return d.slateField(&one, key)
		}
		r.Batch = true
		return d.array(func(int) error {
			var s Slate
			err := d.slate(&s)
			r.Slates = append(r.Slates, s)
			return err
		})
	})
	switch {
	case err != nil:
		return err
	case single && r.Batch:
		return &FieldError{Field: "slates", Message: "stands beside the fields of a single slate; send either one slate or {\"slates\":[...]}"}
	case !r.Batch:
		r.Slates = []Slate{one}
	}
	return nil
}

func (d *decoder) slate(s *Slate) error {
	return d.object(func(key string) error { return d.slateField(s, key) })
}

func (d *decoder) slateField(s *Slate, key string) (err error) {
	switch key {
	case "id":
		s.ID, err = d.text()
	case "user":
		s.User, err = d.text()
	case "time":
		s.Time, err = d.time()
	case "history":
		err = d.array(func(int) error {
			var v Visit
			err := d.visit(&v)
			s.History = append(s.History, v)
			return err
		})
	case "candidates":
		err = d.array(func(int) error {
			var c Candidate
			err := d.candidate(&c)
			s.Candidates = append(s.Candidates, c)
			return err
		})
	case "grades":
		err = d.array(func(int) error {
			g, err := d.integer()
			s.Grades = append(s.Grades, int(g))
			return err
		})
	default:
		err = d.unknown("id, user, time, history, candidates, grades")
	}
	return err
}

func (d *decoder) visit(v *Visit) error {
	return d.entry(&v.Item, func(key string) (err error) {
		if key != "time" {
			return d.unknown("item, time")
		}
		v.Time, err = d.time()
		return err
	})
}

func (d *decoder) candidate(c *Candidate) error {
	return d.entry(&c.Item, func(key string) (err error) {
		if key != "score" {
			return d.unknown("item, score")
		}
		c.Score, err = d.score()
		return err
	})
}

// entry reads an object that must name an item; other reads its other fields.
func (d *decoder) entry(item *string, other func(key string) error) error {
	named := false
	err := d.object(func(key string) (err error) {
		if key != "item" {
			return other(key)
		}
		named = true
		*item, err = d.text()
		return err
	})
	if err == nil && !named {
		err = d.fail("has no item")
	}
	return err
}

// object reads an object, calling field with each key; field reads the value.
func (d *decoder) object(field func(key string) error) error {
	t, err := d.token()
	if err != nil {
		return err
	}
	if t != json.Delim('{') {
		return d.fail("must be an object, not %s", kind(t))
	}
	var seen []string
	for d.json.More() {
		t, err := d.token()
		if err != nil {
			return err
		}
		key, ok := t.(string)
		if !ok {
			return d.fail("must have text keys, not %s", kind(t))
		}
		d.path = append(d.path, step{field: key})
		if slices.Contains(seen, key) {
			return d.fail("stands twice")
		}
		seen = append(seen, key)
		if err := field(key); err != nil {
			return err
		}
		d.path = d.path[:len(d.path)-1]
	}
	_, err = d.token()
	return err
}

// array reads an array or null (which Go writes for a nil slice), calling
// element before each value; element reads the value.
func (d *decoder) array(element func(i int) error) error {
	t, err := d.token()
	if err != nil || t == nil {
		return err
	}
	if t != json.Delim('[') {
		return d.fail("must be an array, not %s", kind(t))
	}
	for i := 0; d.json.More(); i++ {
		d.path = append(d.path, step{index: i})
		if err := element(i); err != nil {
			return err
		}
		d.path = d.path[:len(d.path)-1]
	}
	_, err = d.token()
	return err
}

func (d *decoder) text() (string, error) {
	t, err := d.token()
	if err != nil {
		return "", err
	}
	s, ok := t.(string)
	if !ok {
		return "", d.fail("must be text, not %s", kind(t))
	}
	return s, nil
}

func (d *decoder) integer() (int64, error) {
	n, err := d.number()
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseInt(string(n), 10, 64)
	if err != nil {
		return 0, d.fail("must be a whole number, not %s", clip(string(n)))
	}
	return v, nil
}

// maxTime is the start of the year 2100; anything later is another unit.
const maxTime = 4_102_444_800

func (d *decoder) time() (int64, error) {
	v, err := d.integer()
	if err == nil && (v < 0 || v >= maxTime) {
		err = d.fail("%d is not a time of the years 1970 to 2099; give Unix seconds", v)
	}
	return v, err
}

func (d *decoder) score() (float32, error) {
	n, err := d.number()
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseFloat(string(n), 32)
	if err != nil || math.IsInf(v, 0) {
		return 0, d.fail("%s does not fit a 32-bit number", clip(string(n)))
	}
	return float32(v), nil
}

func (d *decoder) number() (json.Number, error) {
	t, err := d.token()
	if err != nil {
		return "", err
	}
	n, ok := t.(json.Number)
	if !ok {
		return "", d.fail("must be a number, not %s", kind(t))
	}
	return n, nil
}

func (d *decoder) token() (json.Token, error) {
	t, err := d.json.Token()
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return t, nil
	case errors.As(err, &syntax):
		return nil, d.fail("not JSON at byte %d: %s", syntax.Offset, strings.TrimPrefix(syntax.Error(), "json: "))
	default: // the input is in memory: only its end can be in the way
		return nil, d.fail("the JSON ends early, at byte %d", d.json.InputOffset())
	}
}

func (d *decoder) unknown(known string) error {
	return d.fail("is not a field here; known: %s", known)
}

func (d *decoder) fail(format string, args ...any) error {
	return &FieldError{Field: d.where(), Message: fmt.Sprintf(format, args...)}
}

func (d *decoder) where() string {
	var b strings.Builder
	for _, s := range d.path {
		switch {
		case s.field == "":
			fmt.Fprintf(&b, "[%d]", s.index)
		default:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(clip(s.field))
		}
	}
	return b.String()
}

func kind(t json.Token) string {
	switch t := t.(type) {
	case json.Delim:
		if t == '{' {
			return "an object"
		}
		return "an array"
	case string:
		return "text"
	case json.Number:
		return "a number"
	case bool:
		return "true or false"
	}
	return "null"
}

// clip keeps hostile values out of messages and logs.
func clip(s string) string {
	const max = 64
	if len(s) > max {
		s = s[:max] + "..."
	}
	return strings.ToValidUTF8(s, "")
}
