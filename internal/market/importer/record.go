package importer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
)

// record is one row of a table: values by column. Values are nil, string,
// bool, numbers, json.Number, moment, []any and map[string]any.
type record map[string]any

// table is a file of records.
type table interface {
	next() (record, error) // io.EOF at the end
	columns() []string     // nil when each record has its own
	where() string         // file and line of the record last read
	tally() *account
	Close() error
}

// account is the identity of a file and what became of its rows.
type account struct {
	market.FileSummary
	path string
	line int
}

func newAccount(path, layout string) account {
	return account{FileSummary: market.FileSummary{Name: filepath.Base(path), Layout: layout}, path: path}
}

func (a *account) tally() *account { return a }

// where names the line last read.
func (a *account) where() string { return fmt.Sprintf("%s:%d", a.path, a.line) }

// errorf is an input error at the line last read.
func (a *account) errorf(format string, args ...any) error {
	return fault.Inputf("%s: %w", a.where(), fmt.Errorf(format, args...))
}

func (a *account) drop(reason string) {
	if a.Dropped == nil {
		a.Dropped = map[string]int{}
	}
	a.Dropped[reason]++
}

// jsonLines reads a source as one JSON object a line.
type jsonLines struct{ *source }

func (j jsonLines) columns() []string { return nil }

func (j jsonLines) next() (record, error) {
	line, err := j.text()
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	var r record
	if err := dec.Decode(&r); err != nil {
		return nil, j.badJSON(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, j.errorf("malformed JSON line: more text follows the object")
	}
	if r == nil {
		return nil, j.errorf("malformed JSON line: null is no object")
	}
	return r, nil
}

// csvRows reads a source as CSV; an empty cell is an absent value.
type csvRows struct {
	*source
	csv *csvReader
}

func (c csvRows) columns() []string { return c.csv.header }

func (c csvRows) next() (record, error) {
	cells, err := c.csv.next()
	if err != nil {
		return nil, err
	}
	r := make(record, len(cells))
	for i, cell := range cells {
		if cell != "" {
			r[c.csv.header[i]] = cell
		}
	}
	return r, nil
}

var errAbsent = errors.New("missing or empty")

// asID reads a string or a whole number.
func asID(v any) (string, error) {
	var id string
	switch v := v.(type) {
	case nil:
		return "", errAbsent
	case string:
		id = strings.TrimSpace(v)
	case json.Number:
		if id = v.String(); strings.ContainsAny(id, ".eE") {
			return "", fmt.Errorf("%s is no id: want text or a whole number", id)
		}
	case int32, int64, uint32, uint64:
		id = fmt.Sprint(v)
	default:
		return "", fmt.Errorf("want text or a whole number, have %s", kindOf(v))
	}
	switch {
	case id == "":
		return "", errAbsent
	case !utf8.ValidString(id):
		return "", fmt.Errorf("%q is not UTF-8", id)
	}
	return id, nil
}

// asText reads a string or number; absent is empty. A list is joined.
func asText(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		if !utf8.ValidString(v) {
			return "", fmt.Errorf("%.40q is not UTF-8", v)
		}
		return v, nil
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			part, err := asText(v[i])
			if err != nil {
				return "", err
			}
			parts[i] = part
		}
		return strings.Join(parts, " "), nil
	case []byte:
		return asText(string(v))
	case map[string]any:
		return "", errors.New("want text, have an object")
	default:
		return fmt.Sprint(v), nil
	}
}

// asNumber reads a number in the range of float32; absent is 0.
func asNumber(v any) (float64, error) {
	var x float64
	var err error
	switch v := v.(type) {
	case nil:
		return 0, nil
	case string:
		x, err = strconv.ParseFloat(strings.TrimSpace(v), 64)
	case json.Number:
		x, err = v.Float64()
	case float32:
		x = float64(v)
	case float64:
		x = v
	case int32:
		x = float64(v)
	case int64:
		x = float64(v)
	case uint32:
		x = float64(v)
	case uint64:
		x = float64(v)
	default:
		return 0, fmt.Errorf("want a number, have %s", kindOf(v))
	}
	if err != nil || !(math.Abs(x) <= math.MaxFloat32) {
		return 0, fmt.Errorf("%v is no finite number", v)
	}
	return x, nil
}

// timeLayouts are the written forms of a time, UTC unless they say otherwise.
var timeLayouts = []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02"}

// asTime reads a number of ticks (perSecond of them a second), or a written
// date, as Unix seconds.
func asTime(v any, perSecond int64) (int64, error) {
	if v == nil {
		return 0, errAbsent
	}
	if m, ok := v.(moment); ok {
		return int64(m), market.CheckTime(int64(m))
	}
	if s, ok := v.(string); ok && strings.Contains(s, "-") && !strings.HasPrefix(s, "-") {
		for _, layout := range timeLayouts {
			if when, err := time.Parse(layout, s); err == nil {
				return when.Unix(), market.CheckTime(when.Unix())
			}
		}
		return 0, fmt.Errorf("%q is no time; give Unix seconds or 2006-01-02T15:04:05Z", s)
	}
	x, err := asNumber(v)
	if err != nil {
		return 0, fmt.Errorf("%w; give Unix seconds or 2006-01-02T15:04:05Z", err)
	}
	t := math.Floor(x / float64(perSecond)) // exact below 2^53 ticks
	if math.Abs(t) > 1e15 {
		return 0, fmt.Errorf("time %g is after the year 2099; give Unix seconds, not milliseconds", t)
	}
	return int64(t), market.CheckTime(int64(t))
}

// asList reads a list, or text that holds one as JSON.
func asList(v any) ([]any, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case []any:
		return v, nil
	case string:
		var list []any
		if err := unmarshalNumbers(v, &list); err != nil {
			return nil, fmt.Errorf("want a JSON list, have %.40q", v)
		}
		return list, nil
	default:
		return nil, fmt.Errorf("want a list, have %s", kindOf(v))
	}
}

func unmarshalNumbers(text string, into any) error {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("more text follows")
	}
	return nil
}

// asPath reads categories: a list, or text with the parts between | or >.
func asPath(v any) ([]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		return cleanAll(strings.FieldsFunc(v, func(r rune) bool { return r == '|' || r == '>' })), nil
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			part, err := asText(v[i])
			if err != nil {
				return nil, err
			}
			parts[i] = part
		}
		return cleanAll(parts), nil
	default:
		return nil, fmt.Errorf("want a list of names, have %s", kindOf(v))
	}
}

// asAttributes reads an object of texts, or text that holds one as JSON.
func asAttributes(v any) (map[string]string, error) {
	var fields map[string]any
	switch v := v.(type) {
	case nil:
		return nil, nil
	case map[string]any:
		fields = v
	case string:
		if err := unmarshalNumbers(v, &fields); err != nil {
			return nil, fmt.Errorf("want a JSON object, have %.40q", v)
		}
	default:
		return nil, fmt.Errorf("want an object, have %s", kindOf(v))
	}
	out := make(map[string]string, len(fields))
	for _, name := range sortedKeys(fields) {
		text, err := asText(fields[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if text = clean(text); text != "" {
			out[name] = text
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

func kindOf(v any) string {
	switch v.(type) {
	case bool:
		return "a truth value"
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	case string:
		return "text"
	case moment:
		return "a time"
	default:
		return "a number"
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
