package token

import (
	"unicode"
	"unicode/utf8"
)

// pattern cuts text into chunks as the pre-tokenizer's regular expression
// does. It is written by hand because Go's RE2 has no lookahead; the tests
// compare it with the expressions run by a backtracking engine.
type pattern uint8

const (
	llama3      pattern = iota // numbers in groups of up to three digits
	qwen2                      // single digits
	gpt2                       // ByteLevel's own expression
	gpt2Digits                 // the same after isolating every digit (SmolLM)
	patternEnds                // number of patterns
)

// The expressions as they stand in tokenizer.json. gpt2 is built into ByteLevel.
var patternRegex = [patternEnds]string{
	llama3: `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
	qwen2:  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
	gpt2:   `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
}

// class is what the expressions can tell apart.
type class uint8

const (
	other   class = iota // [^\s\p{L}\p{N}], invalid bytes among them
	letter               // \p{L}
	number               // \p{N}
	space                // \s without the line ends
	newline              // [\r\n]
	end                  // behind the text
)

// classAt returns the class and width of the rune at the start of s.
func classAt(s string) (class, int) {
	if s == "" {
		return end, 0
	}
	if c := s[0]; c < utf8.RuneSelf {
		return asciiClass[c], 1
	}
	r, n := utf8.DecodeRuneInString(s)
	switch {
	case unicode.IsLetter(r):
		return letter, n
	case unicode.IsNumber(r):
		return number, n
	case unicode.IsSpace(r):
		return space, n
	}
	return other, n
}

var asciiClass = func() (t [utf8.RuneSelf]class) {
	for c := range t {
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			t[c] = letter
		case c >= '0' && c <= '9':
			t[c] = number
		case c == '\r' || c == '\n':
			t[c] = newline
		case c == ' ' || c == '\t' || c == '\v' || c == '\f':
			t[c] = space
		}
	}
	return t
}()

// run returns the length of the longest prefix of s within class c, at most
// limit runes (0 = no limit).
func run(s string, c class, limit int) int {
	at := 0
	for n := 0; limit == 0 || n < limit; n++ {
		got, width := classAt(s[at:])
		if got != c {
			break
		}
		at += width
	}
	return at
}

// next returns the length of the first chunk of a text that is not empty.
func (p pattern) next(s string) int {
	switch p {
	case llama3:
		return nextModern(s, 3)
	case qwen2:
		return nextModern(s, 1)
	default:
		return nextGPT2(s, p == gpt2Digits)
	}
}

// nextModern follows the alternatives of the llama3 and qwen2 expressions in
// their order; digits is the longest group of numbers.
func nextModern(s string, digits int) int {
	if n := contraction(s, true); n > 0 {
		return n
	}
	c, width := classAt(s)
	switch c {
	case letter:
		return run(s, letter, 0)
	case number:
		return run(s, number, digits)
	case other, space:
		if n := run(s[width:], letter, 0); n > 0 {
			return width + n
		}
	}
	if n := symbols(s); n > 0 {
		return n + run(s[n:], newline, 0)
	}
	return blank(s, true)
}

func nextGPT2(s string, isolate bool) int {
	if c, width := classAt(s); isolate && c == number {
		return width
	}
	if n := contraction(s, false); n > 0 {
		return n
	}
	lead := 0
	if s[0] == ' ' {
		lead = 1
	}
	if n := run(s[lead:], letter, 0); n > 0 {
		return lead + n
	}
	if n := run(s[lead:], number, 0); n > 0 && !isolate {
		return lead + n
	}
	if n := symbols(s); n > 0 {
		return n
	}
	if isolate {
		return blankBeforeDigit(s)
	}
	return blank(s, false)
}

// symbols matches " ?[^\s\p{L}\p{N}]+".
func symbols(s string) int {
	lead := 0
	if s[0] == ' ' {
		lead = 1
	}
	if n := run(s[lead:], other, 0); n > 0 {
		return lead + n
	}
	return 0
}

// blank matches a run of white space: up to its last line end when lines
// count (`\s*[\r\n]+`), else without the character that leads the next word
// (`\s+(?!\S)`), else whole (`\s+`).
func blank(s string, lines bool) int {
	all, lastStart, lastLine := blankRun(s)
	switch {
	case lines && lastLine > 0:
		return lastLine
	case all < len(s) && lastStart > 0:
		return lastStart
	}
	return all
}

// blankBeforeDigit is blank where a digit ends the text: digits were isolated
// before, so the expression never sees what follows.
func blankBeforeDigit(s string) int {
	all, lastStart, _ := blankRun(s)
	if c, _ := classAt(s[all:]); c != end && c != number && lastStart > 0 {
		return lastStart
	}
	return all
}

// blankRun measures the white space at the start of s: its length, where its
// last character starts, and where its last line end stops (0 = none).
func blankRun(s string) (all, lastStart, lastLine int) {
	for {
		c, width := classAt(s[all:])
		if c != space && c != newline {
			return all, lastStart, lastLine
		}
		lastStart = all
		all += width
		if c == newline {
			lastLine = all
		}
	}
}

// contraction matches 's 't 're 've 'm 'll 'd.
func contraction(s string, fold bool) int {
	if len(s) < 2 || s[0] != '\'' {
		return 0
	}
	a, b := s[1], byte(0)
	if len(s) > 2 {
		b = s[2]
	}
	if fold {
		if len(s) > 2 && s[1:3] == "\u017f" { // long s folds to s
			return 3
		}
		a, b = lower(a), lower(b)
	}
	switch {
	case a == 's' || a == 't' || a == 'm' || a == 'd':
		return 2
	case a == 'r' && b == 'e', a == 'v' && b == 'e', a == 'l' && b == 'l':
		return 3
	}
	return 0
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
