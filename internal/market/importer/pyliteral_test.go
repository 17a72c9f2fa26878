package importer

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParsePython(t *testing.T) {
	for in, want := range map[string]any{
		`{'asin': 'B1', "title": "it's", 'p': 9.99,}`: map[string]any{"asin": "B1", "title": "it's", "p": 9.99},
		`[['Beauty', 'Makeup'], []]`:                  []any{[]any{"Beauty", "Makeup"}, []any{}},
		`(1, -2.5e3, 7L)`:                             []any{1.0, -2500.0, 7.0},
		`[True, False, None]`:                         []any{true, false, nil},
		`{1: 'one'}`:                                  map[string]any{"1": "one"},
		`u'caf\u00e9'`:                                "café",
		`'L\'Or\xe9al'`:                               "L'Oréal", // a code point
		`'L\'Or\xc3\xa9al'`:                           "L'Oréal", // UTF-8 bytes of a Python 2 string
		`'\x41\101\U0001F600'`:                        "AA😀",
		`'a\\b\n\t\q'`:                                "a\\b\n\t\\q",
		`'\ud800'`:                                    "\ufffd",
		`"tab	é"`:                                     "tab	é",
		` { } `:                                       map[string]any{},
	} {
		got, err := parsePython(in)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %#v, %v; want %#v", in, got, err, want)
		}
	}
}

func TestParsePythonErrors(t *testing.T) {
	for in, want := range map[string]string{
		``:                         "byte 0: the text ends early",
		`{'a': 'b`:                 "ends early",
		`{'a' 'b'}`:                "want ':'",
		`['a' 'b']`:                "want ',' or ']'",
		`{'a': 1`:                  "ends early",
		`{'a': nan}`:               `"nan" is no literal`,
		`{'a': open('x')}`:         "no literal",
		`0x10`:                     "no literal",
		`1_000`:                    "no literal",
		`'\x4'`:                    "hex digits",
		`'\`:                       "ends early",
		`{} {}`:                    "more text follows",
		`{[1]: 2} x`:               "more text follows",
		`,`:                        "no literal",
		strings.Repeat("[", 1000):  "nested deeper",
		strings.Repeat("(", 100):   "nested deeper",
		"{'a': " + "\x00" + "'b'}": "no literal",
	} {
		if got, err := parsePython(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, error %v; want %q", in, got, err, want)
		}
	}
}

// Every JSON document of strings, finite numbers, lists and objects is a Python
// literal with the same value.
func TestPythonReadsJSON(t *testing.T) {
	doc := `{"a": ["x", "y\"z", 1.5, -3], "b": {"c": []}, "d": "\u00e9\t\\"}`
	var want any
	if err := json.Unmarshal([]byte(doc), &want); err != nil {
		t.Fatal(err)
	}
	if got, err := parsePython(doc); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%#v, %v", got, err)
	}
}

// The parser never panics, and what it accepts from UTF-8 can be written as JSON.
func FuzzParsePython(f *testing.F) {
	for _, s := range []string{`{'asin': 'B1', "title": "it's", 'price': 9.99, 'categories': [['A', 'B']]}`, `(1, None, u'\u00e9', b"\xc3\xa9")`, `'\101\`, `{1: {2: []}}`, `[[[[`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := parsePython(text)
		if err != nil {
			return
		}
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatalf("%q gives %#v: %v", text, v, err)
		}
		var back any
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatal(err)
		}
		if utf8.ValidString(text) && !reflect.DeepEqual(v, back) {
			t.Fatalf("%q gives %#v, through JSON %#v", text, v, back)
		}
	})
}
