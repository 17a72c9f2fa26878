package token

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dlclark/regexp2"
	"pgregory.net/rapid"
)

// alphabet holds runes on which the expressions differ most.
var alphabet = []rune("aAbzsStTrReEvVmMlLdDſéßπЖ日本ह्いกa\u0301ـ09٣½Ⅷ²  \u00a0\t\v\f\n\r\u0085\u2003\u3000'’.,!?-_<|>{}[]\":/#&+€🙂👩\u200d\u200b\ufffd\x00\x1c\x7f")

func trickyText() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		if rapid.Bool().Draw(t, "any") {
			return rapid.String().Draw(t, "text")
		}
		return string(rapid.SliceOfN(rapid.SampledFrom(alphabet), 0, 40).Draw(t, "runes"))
	})
}

// regexChunks is the oracle: the expression run by a backtracking engine. The
// engine's (?i) does not fold the long s, as the library's does; so it is told.
func regexChunks(t testing.TB, p pattern, text string) []string {
	expr := strings.ReplaceAll(patternRegex[p], "(?i:'s|", "(?i:'s|'ſ|")
	if p == gpt2Digits {
		var out []string
		for _, part := range isolateDigits(text) {
			out = append(out, regexChunks(t, gpt2, part)...)
		}
		return out
	}
	re := regexp2.MustCompile(expr, regexp2.None)
	var out []string
	for m, err := re.FindStringMatch(text); m != nil; m, err = re.FindNextMatch(m) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, m.String())
	}
	return out
}

func isolateDigits(text string) (out []string) {
	re := regexp2.MustCompile(`\p{N}|\P{N}+`, regexp2.None)
	for m, _ := re.FindStringMatch(text); m != nil; m, _ = re.FindNextMatch(m) {
		out = append(out, m.String())
	}
	return out
}

func chunks(p pattern, text string) (out []string) {
	for text != "" {
		n := p.next(text)
		out = append(out, text[:n])
		text = text[n:]
	}
	return out
}

func TestSplitEqualsExpression(t *testing.T) {
	for p := range patternEnds {
		t.Run(fmt.Sprint(p), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				text := trickyText().Draw(t, "text")
				got, want := chunks(p, text), regexChunks(nil, p, text)
				if !slices.Equal(got, want) {
					t.Fatalf("chunks of %q\n got %q\nwant %q", text, got, want)
				}
			})
		})
	}
}

func TestSplitByHand(t *testing.T) {
	for _, c := range []struct {
		p    pattern
		text string
		want string // chunks joined by "|"
	}{
		{llama3, "It's 12345 items", "It|'s| |123|45| items"},
		{llama3, "a  b   \n\n  c", "a| | b|   \n\n| | c"},
		{llama3, "end   ", "end|   "},
		{llama3, "wow!!\n\nx", "wow|!!\n\n|x"},
		{llama3, "I'LL we'Ve", "I|'LL| we|'Ve"},
		{qwen2, "2016", "2|0|1|6"},
		{gpt2, "a 2016  x\n", "a| 2016| | x|\n"},
		{gpt2Digits, "a  20  x", "a|  |2|0| | x"},
		{llama3, "\xff\xfe a", "\xff\xfe| a"},
	} {
		if got := strings.Join(chunks(c.p, c.text), "|"); got != c.want {
			t.Errorf("pattern %d, %q: got %q, want %q", c.p, c.text, got, c.want)
		}
	}
}
