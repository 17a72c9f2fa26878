package importer

import (
	"html"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// clean decodes HTML entities, twice-encoded ones too (&amp;#39;), turns
// control characters into spaces and makes every run of spaces one.
func clean(s string) string {
	const deepest = 3 // encodings on top of each other seen in the wild: 2
	for i := 0; i < deepest && strings.Contains(s, "&"); i++ {
		decoded := html.UnescapeString(s)
		if decoded == s {
			break
		}
		s = decoded
	}
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r)
	}), " ")
}

// cleanAll cleans each part and leaves out the empty ones.
func cleanAll(parts []string) []string {
	var out []string
	for _, p := range parts {
		if p = clean(p); p != "" {
			out = append(out, p)
		}
	}
	return out
}

// parsePrice reads "$1,299.00", "12.99" or "$4.99 - $9.99" (the lower one). It
// fails on anything else, such as the markup that some price fields hold.
func parsePrice(s string) (price float64, ok bool) {
	s = strings.TrimSpace(s)
	s = strings.TrimPrefix(s, "from ")
	s = strings.TrimLeft(s, "$£€ ")
	if low, _, isRange := strings.Cut(s, " - "); isRange {
		s = low
	}
	price, err := strconv.ParseFloat(strings.ReplaceAll(s, ",", ""), 64)
	if err != nil || !(price >= 0) || price > 1e12 {
		return 0, false
	}
	return price, true
}

// latin1 reads bytes as UTF-8 when they are, else as ISO 8859-1, the encoding
// of the older MovieLens files.
func latin1(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}
