package token

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/fault"
)

// withPost is ours.json with another post_processor.
func withPost(t *testing.T, post string) *Tokenizer {
	t.Helper()
	tok := *open(t, "ours.json")
	if !json.Valid([]byte(post)) {
		t.Fatalf("%s is no JSON", post)
	}
	tok.post = []byte(post)
	return &tok
}

const (
	textPart  = `{"Sequence": {"id": "A", "type_id": 0}}`
	beginPart = `{"SpecialToken": {"id": "B", "type_id": 0}}`
	endPart   = `{"SpecialToken": {"id": "E", "type_id": 0}}`
	specials  = `"special_tokens": {"B": {"id": "B", "ids": [345], "tokens": ["B"]}, "E": {"id": "E", "ids": [346, 347], "tokens": ["E", "F"]}}`
)

func template(parts ...string) string {
	return `{"type": "TemplateProcessing", "single": [` + strings.Join(parts, ", ") + `], ` + specials + `}`
}

func TestFrame(t *testing.T) {
	for post, want := range map[string][2][]int32{
		`null`:                        {},
		`{"type": "ByteLevel"}`:       {},
		template(textPart):            {},
		template(beginPart, textPart): {{345}, nil},
		template(textPart, endPart):   {nil, {346, 347}},
		template(beginPart, textPart, endPart, beginPart): {{345}, {346, 347, 345}},
		`{"type": "Sequence", "processors": [{"type": "ByteLevel"}, ` + template(textPart, beginPart) + `, ` + template(beginPart, textPart, endPart) + `]}`: {{345}, {345, 346, 347}},
	} {
		before, after, err := withPost(t, post).Frame()
		if err != nil || !slices.Equal(before, want[0]) || !slices.Equal(after, want[1]) {
			t.Errorf("%s: %v and %v, %v; want %v", post, before, after, err, want)
		}
	}
}

func TestFrameRefuses(t *testing.T) {
	for post, want := range map[string]string{
		`{"type": "BertProcessing"}`:                                          `"BertProcessing" is not supported`,
		`{"type": "Sequence", "processors": [{"type": "RobertaProcessing"}]}`: `"RobertaProcessing" is not supported`,
		`7`:                          "post_processor",
		template(beginPart):          "holds a text 0 times",
		template(textPart, textPart): "holds a text 2 times",
		template(textPart, `{"SpecialToken": {"id": "X", "type_id": 0}}`): `adds "X"`,
		strings.Replace(template(beginPart, textPart), "345", "99999", 1): "adds token 99999",
	} {
		_, _, err := withPost(t, post).Frame()
		if err == nil || !strings.Contains(err.Error(), want) || fault.KindOf(err) == fault.Failed {
			t.Errorf("%s: %v, want %q", post, err, want)
		}
	}
}
