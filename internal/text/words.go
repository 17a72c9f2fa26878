package text

import (
	"strings"
	"unicode"

	"github.com/gr2/gr2/internal/market"
)

// Words splits s into lower-cased runs of letters, digits and the combining
// marks that follow them. Everything else separates words.
func Words(s string) []string {
	return strings.FieldsFunc(strings.ToLower(s), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r)
	})
}

// ItemText is the text that represents an item: title, brand, category path
// from the root to the leaf, and description, one a line; unknown parts are
// left out.
func ItemText(it *market.Item) string {
	parts := make([]string, 0, 4)
	for _, part := range []string{it.Title, it.Brand, strings.Join(it.Categories, " > "), it.Description} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "\n")
}
