package importer

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds the recursion of the literal parser.
const maxDepth = 64

// parsePython reads one Python literal as `ast.literal_eval` would: dicts,
// lists, tuples, strings with escapes, numbers, True, False and None. They
// become map[string]any, []any, string, float64, bool and nil; a dict key that
// is no string becomes its text.
func parsePython(text string) (any, error) {
	p := &pyParser{text: text}
	v, err := p.value(0)
	if err == nil {
		p.space()
		if p.at < len(p.text) {
			err = errors.New("more text follows the literal")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("malformed Python literal at byte %d: %w", p.at, err)
	}
	return v, nil
}

type pyParser struct {
	text string
	at   int
}

var errEnds = errors.New("the text ends early")

func (p *pyParser) space() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

// peek skips spaces and returns the next byte, 0 at the end.
func (p *pyParser) peek() byte {
	p.space()
	if p.at == len(p.text) {
		return 0
	}
	return p.text[p.at]
}

func (p *pyParser) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	switch c := p.peek(); {
	case c == '{':
		return p.dict(depth)
	case c == '[':
		return p.list(depth, ']')
	case c == '(':
		return p.list(depth, ')')
	case c == '\'' || c == '"':
		return p.str()
	case (c == 'u' || c == 'U' || c == 'b' || c == 'B') && p.quoteFollows():
		p.at++
		return p.str()
	case c == 0 && p.at == len(p.text):
		return nil, errEnds
	default:
		return p.word()
	}
}

func (p *pyParser) quoteFollows() bool {
	return p.at+1 < len(p.text) && (p.text[p.at+1] == '\'' || p.text[p.at+1] == '"')
}

func (p *pyParser) dict(depth int) (any, error) {
	out := map[string]any{}
	p.at++
	for p.peek() != '}' {
		key, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		if p.peek() != ':' {
			return nil, errors.New("want ':' after a key")
		}
		p.at++
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		if name, ok := key.(string); ok {
			out[name] = v
		} else {
			out[fmt.Sprint(key)] = v
		}
		if err := p.comma('}'); err != nil {
			return nil, err
		}
	}
	p.at++
	return out, nil
}

func (p *pyParser) list(depth int, end byte) (any, error) {
	out := []any{}
	p.at++
	for p.peek() != end {
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
		if err := p.comma(end); err != nil {
			return nil, err
		}
	}
	p.at++
	return out, nil
}

// comma reads a comma or sees the closing bracket.
func (p *pyParser) comma(end byte) error {
	switch c := p.peek(); {
	case c == ',':
		p.at++
		return nil
	case c == end:
		return nil
	case c == 0 && p.at == len(p.text):
		return errEnds
	default:
		return fmt.Errorf("want ',' or '%c'", end)
	}
}

func (p *pyParser) word() (any, error) {
	from := p.at
	for p.at < len(p.text) && strings.IndexByte(",:]}) \t\r\n", p.text[p.at]) < 0 {
		p.at++
	}
	switch w := p.text[from:p.at]; w {
	case "True":
		return true, nil
	case "False":
		return false, nil
	case "None":
		return nil, nil
	default:
		n, err := strconv.ParseFloat(strings.TrimRight(w, "L"), 64)
		if err != nil || strings.ContainsAny(w, "nNxXpP_") { // no nan, inf, hex: JSON could not carry them
			p.at = from
			return nil, fmt.Errorf("%.40q is no literal", w)
		}
		return n, nil
	}
}

// str reads a quoted string. Bytes written as \xNN are UTF-8 where a run of
// them is valid UTF-8 (the repr of a Python 2 byte string) and code points
// otherwise.
func (p *pyParser) str() (string, error) {
	quote := p.text[p.at]
	p.at++
	var out strings.Builder
	var raw []byte // a run of \xNN with NN >= 80
	flush := func() {
		if utf8.Valid(raw) {
			out.Write(raw)
		} else {
			for _, c := range raw {
				out.WriteRune(rune(c))
			}
		}
		raw = raw[:0]
	}
	for p.at < len(p.text) {
		c := p.text[p.at]
		if c == '\\' {
			r, isByte, err := p.escape()
			if err != nil {
				return "", err
			}
			if isByte && r >= 0x80 {
				raw = append(raw, byte(r))
				continue
			}
			flush()
			if r >= 0 {
				out.WriteRune(r)
			}
			continue
		}
		flush()
		p.at++
		if c == quote {
			return out.String(), nil
		}
		out.WriteByte(c)
	}
	return "", errEnds
}

// escape reads one backslash escape and returns its code point, -1 for none
// (an escaped end of line). isByte marks \xNN and octal escapes.
func (p *pyParser) escape() (r rune, isByte bool, err error) {
	if p.at+1 >= len(p.text) {
		return 0, false, errEnds
	}
	c := p.text[p.at+1]
	p.at += 2
	switch c {
	case 'n':
		return '\n', false, nil
	case 't':
		return '\t', false, nil
	case 'r':
		return '\r', false, nil
	case 'a', 'b', 'f', 'v':
		return ' ', false, nil
	case '\\', '\'', '"':
		return rune(c), false, nil
	case '\n':
		return -1, false, nil
	case 'x':
		r, err = p.hex(2)
		return r, true, err
	case 'u':
		r, err = p.hex(4)
		return r, false, err
	case 'U':
		r, err = p.hex(8)
		return r, false, err
	}
	if c >= '0' && c <= '7' {
		r = rune(c - '0')
		for i := 0; i < 2 && p.at < len(p.text) && p.text[p.at] >= '0' && p.text[p.at] <= '7'; i++ {
			r = r*8 + rune(p.text[p.at]-'0')
			p.at++
		}
		return r & 0xff, true, nil
	}
	p.at-- // Python keeps the backslash of an unknown escape
	return '\\', false, nil
}

func (p *pyParser) hex(digits int) (rune, error) {
	if p.at+digits > len(p.text) {
		return 0, errEnds
	}
	n, err := strconv.ParseUint(p.text[p.at:p.at+digits], 16, 32)
	if err != nil {
		return 0, fmt.Errorf("want %d hex digits", digits)
	}
	p.at += digits
	if n > utf8.MaxRune || !utf8.ValidRune(rune(n)) {
		return utf8.RuneError, nil
	}
	return rune(n), nil
}
