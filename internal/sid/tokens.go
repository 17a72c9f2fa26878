package sid

import (
	"strconv"
	"strings"

	"github.com/gr2/gr2/internal/fault"
)

// The tokens around a code.
const (
	BeginToken = "<|sid_begin|>"
	EndToken   = "<|sid_end|>"
)

// TokenName is the token of a code at a level: <s_a_0>, level counted by letter.
func TokenName(level int, code uint8) string {
	return "<s_" + string(rune('a'+level)) + "_" + strconv.Itoa(int(code)) + ">"
}

// TokenNames is every token that codes need, in vocabulary order: begin, end,
// then level by level, code by code. Code c of level l stands at 2 + l*width + c.
func TokenNames(levels, width int) []string {
	names := make([]string, 0, 2+levels*width)
	names = append(names, BeginToken, EndToken)
	for l := range levels {
		for c := range width {
			names = append(names, TokenName(l, uint8(c)))
		}
	}
	return names
}

// Tokens spells the item's semantic ID: begin, one token a level, end. It is
// nil when the index has no such item.
func (x *Index) Tokens(item int32) []string {
	code := x.Code(item)
	if code == nil {
		return nil
	}
	out := make([]string, 0, x.levels+2)
	out = append(out, BeginToken)
	for l, c := range code {
		out = append(out, TokenName(l, c))
	}
	return append(out, EndToken)
}

// ParseTokens reads a semantic ID spelled in tokens, or the first levels of one,
// with or without begin and end.
func ParseTokens(s string) ([]uint8, error) {
	rest := strings.TrimSuffix(strings.TrimPrefix(s, BeginToken), EndToken)
	var code []uint8
	for rest != "" {
		head := "<s_" + string(rune('a'+len(code))) + "_"
		number, tail, closed := strings.Cut(strings.TrimPrefix(rest, head), ">")
		c, err := strconv.ParseUint(number, 10, 8)
		if !strings.HasPrefix(rest, head) || !closed || err != nil || number != strconv.FormatUint(c, 10) || len(code) == maxLevels {
			return nil, fault.Inputf("sid: %q is not a token of level %d, such as %s", rest, len(code)+1, TokenName(len(code), 97))
		}
		code, rest = append(code, uint8(c)), tail
	}
	return code, nil
}
