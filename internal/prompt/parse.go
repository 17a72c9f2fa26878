package prompt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Output is a valid assistant's turn.
type Output struct {
	Ranking []int // places of the slate as shown, from 0, best first
	Trace   string
}

// Reason says why an output is invalid.
type Reason string

const (
	NotJSON    Reason = "not_json"     // no JSON object stands where the answer should
	NoRanking  Reason = "no_ranking"   // the object has no "ranking"
	WrongType  Reason = "wrong_type"   // "ranking" is no list of whole numbers
	ExtraField Reason = "extra_field"  // the object has something beside one "ranking"
	OutOfRange Reason = "out_of_range" // a number is not one of 1..k
	Repeated   Reason = "repeated"     // a number stands twice
	Missing    Reason = "missing"      // a number is absent
	Trailing   Reason = "trailing"     // text follows the answer
)

// Reasons lists every reason, for tables and counters.
func Reasons() []Reason {
	return []Reason{NotJSON, NoRanking, WrongType, ExtraField, OutOfRange, Repeated, Missing, Trailing}
}

// Invalid is the error of an output that is no full permutation. There is no
// partial credit: an invalid output yields no ranking at all.
type Invalid struct {
	Reason Reason
	Detail string
}

func (e *Invalid) Error() string { return string(e.Reason) + ": " + e.Detail }

func invalid(r Reason, format string, args ...any) error {
	return &Invalid{Reason: r, Detail: fmt.Sprintf(format, args...)}
}

// Parse reads the text of an assistant's turn for a slate of k candidates:
// an optional trace that </think> ends, then {"ranking":[...]}. White space
// around either and one final <|im_end|> are allowed, nothing else. The error
// is an *Invalid.
func Parse(text string, k int) (Output, error) {
	text = strings.TrimSpace(text)
	text = strings.TrimSpace(strings.TrimSuffix(text, endToken))
	trace, answer, err := cutTrace(text)
	if err != nil {
		return Output{}, err
	}
	ranking, err := parseAnswer(answer, k)
	if err != nil {
		return Output{}, err
	}
	return Output{Ranking: ranking, Trace: trace}, nil
}

// Salvage reads what a lenient reader would of an output that does not parse:
// the numbers 1..k behind the last </think>, in their order, the first time
// each stands there, as places from 0. No ranking of gr2 is made of it; it is
// for measuring what partial credit would pay (GR2 section 5).
func Salvage(text string, k int) []int {
	if i := strings.LastIndex(text, answerToken); i >= 0 {
		text = text[i:]
	}
	var places []int
	for _, digits := range strings.FieldsFunc(text, func(r rune) bool { return r < '0' || r > '9' }) {
		n, err := strconv.Atoi(digits)
		if err == nil && n >= 1 && n <= k && !slices.Contains(places, n-1) {
			places = append(places, n-1)
		}
	}
	return places
}

// cutTrace parts the trace from the answer. The opening mark may be absent:
// some engines count it to the prompt.
func cutTrace(text string) (trace, answer string, err error) {
	trace, answer, found := strings.Cut(text, answerToken)
	if !found {
		if strings.HasPrefix(text, thinkToken) {
			return "", "", invalid(NotJSON, "the trace does not end: no %s", answerToken)
		}
		return "", text, nil
	}
	trace = strings.TrimPrefix(trace, thinkToken)
	if strings.Contains(trace, thinkToken) {
		return "", "", invalid(NotJSON, "text stands before %s", thinkToken)
	}
	return strings.TrimSpace(trace), strings.TrimSpace(answer), nil
}

// parseAnswer reads the object token by token, so that repeated keys, numbers
// in other notations and text behind the object are seen.
func parseAnswer(answer string, k int) ([]int, error) {
	dec := json.NewDecoder(strings.NewReader(answer))
	dec.UseNumber()
	var whole json.RawMessage
	if err := dec.Decode(&whole); err != nil {
		return nil, invalid(NotJSON, "%s", jsonError(err, answer))
	}
	if whole[0] != '{' {
		return nil, invalid(NoRanking, "the answer is %s, not an object", clip(string(whole)))
	}
	if rest := strings.TrimSpace(answer[dec.InputOffset():]); rest != "" {
		return nil, invalid(Trailing, "%.40q follows the answer", rest)
	}
	list, err := rankingField(whole)
	if err != nil {
		return nil, err
	}
	return permutation(list, k)
}

func jsonError(err error, answer string) string {
	switch {
	case answer == "":
		return "the answer is empty"
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "the answer breaks off"
	}
	return fmt.Sprintf("%v in %s", err, clip(answer))
}

func clip(s string) string {
	const most = 40
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}

// rankingField returns the one field of a valid JSON object.
func rankingField(object []byte) (list json.RawMessage, err error) {
	dec := json.NewDecoder(bytes.NewReader(object))
	_, err = dec.Token() // the opening brace
	for err == nil && dec.More() {
		var key json.Token
		if key, err = dec.Token(); err != nil {
			break
		}
		if key != "ranking" || list != nil {
			return nil, invalid(ExtraField, "unexpected or repeated field %.40q", key)
		}
		err = dec.Decode(&list)
	}
	if err != nil {
		return nil, invalid(NotJSON, "%v", err)
	}
	if list == nil {
		return nil, invalid(NoRanking, `the object has no "ranking"`)
	}
	return list, nil
}

// permutation reads a list of the numbers 1..k, each once, as places from 0.
func permutation(list json.RawMessage, k int) ([]int, error) {
	var numbers []json.RawMessage
	if list[0] != '[' || json.Unmarshal(list, &numbers) != nil {
		return nil, invalid(WrongType, "ranking is %s, not a list", clip(string(list)))
	}
	seen := make([]bool, k+1)
	ranking := make([]int, 0, k)
	for i, raw := range numbers {
		n, err := strconv.Atoi(string(raw))
		switch {
		case errors.Is(err, strconv.ErrSyntax):
			return nil, invalid(WrongType, "entry %d is %s, not a whole number", i+1, clip(string(raw)))
		case err != nil || n < 1 || n > k:
			return nil, invalid(OutOfRange, "entry %d is %s; numbers are 1 to %d", i+1, clip(string(raw)), k)
		case seen[n]:
			return nil, invalid(Repeated, "entry %d repeats %d", i+1, n)
		}
		seen[n] = true
		ranking = append(ranking, n-1)
	}
	for n := 1; n <= k; n++ {
		if !seen[n] {
			return nil, invalid(Missing, "%d of %d candidates ranked; %d is the first that is missing", len(ranking), k, n)
		}
	}
	return ranking, nil
}
