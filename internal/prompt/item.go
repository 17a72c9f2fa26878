package prompt

import (
	"math/rand/v2"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gr2/gr2/internal/market"
)

// line is an item as every prompt shows it, in tokens. Immutable, shared.
type line struct {
	sid    int     // tokens of the semantic ID in front
	open   []int32 // semantic ID and text
	closed []int32 // the same with a line end; punctuation and line end may share a token
}

// line returns the cached line of an item. Two goroutines may both build it;
// they build the same.
func (b *Builder) line(item int32) *line {
	l := b.lines[item].Load()
	if l == nil {
		l = b.newLine(item, b.opt.TitleMax)
		b.lines[item].Store(l)
	}
	return l
}

func (b *Builder) newLine(item int32, titleMax int) *line {
	ids := b.sidTokens(item)
	text := b.itemText(item, titleMax, b.opt.CategoryPath)
	if text == "" && len(ids) == 0 {
		text = " (unknown)"
	}
	l := &line{sid: len(ids)}
	l.closed = append(append(make([]int32, 0, len(ids)+24), ids...), b.tok.EncodeText(text+"\n")...)
	l.open = append(append(make([]int32, 0, len(ids)+24), ids...), b.tok.EncodeText(text)...)
	if hasPrefix(l.closed, l.open) {
		l.open = l.closed[:len(l.open):len(l.open)]
	}
	return l
}

func hasPrefix(s, prefix []int32) bool {
	if len(s) < len(prefix) {
		return false
	}
	for i, v := range prefix {
		if s[i] != v {
			return false
		}
	}
	return true
}

// ScrambleIDs draws every code of the semantic IDs in a prompt anew, in place, from
// those that the tokenizer has of its level: what is learnt from it then is not which
// items are good.
func (b *Builder) ScrambleIDs(tokens []int32, r *rand.Rand) {
	for i, id := range tokens {
		if level, is := b.v.sidLevel[id]; is {
			codes := b.v.sidCodes[level]
			tokens[i] = codes[r.IntN(len(codes))]
		}
	}
}

// sidTokens spells the item's semantic ID; none when SIDs are off or the index
// does not know the item. New has checked that every token exists.
func (b *Builder) sidTokens(item int32) []int32 {
	if !b.opt.SID {
		return nil
	}
	code := b.codes.Code(item)
	if len(code) == 0 {
		return nil
	}
	ids := make([]int32, 0, len(code)+2)
	if b.opt.SIDBrackets {
		ids = append(ids, b.v.sidBegin)
	}
	for level, c := range code {
		ids = append(ids, b.v.sids[level][c])
	}
	if b.opt.SIDBrackets {
		ids = append(ids, b.v.sidEnd)
	}
	return ids
}

// itemText is " Title | Brand | Category" with the parts that are on and not
// empty. A leading space and single spaces between words make every word
// boundary a chunk boundary of the tokenizer.
func (b *Builder) itemText(item int32, titleMax int, wholePath bool) string {
	it := &b.catalog.Items[item]
	title, brand := clean(it.Title), clean(it.Brand)
	var parts []string
	if b.opt.Title {
		if cut := b.cutWords(title, titleMax); cut != "" {
			parts = append(parts, cut)
		}
	}
	if b.opt.Brand && brand != "" && !(len(parts) > 0 && beginsWith(parts[0], brand)) {
		parts = append(parts, brand)
	}
	if category := categoryText(it, wholePath); b.opt.Category && category != "" {
		parts = append(parts, category)
	}
	if len(parts) == 0 {
		return ""
	}
	return " " + strings.Join(parts, " | ")
}

func categoryText(it *market.Item, wholePath bool) string {
	path := it.Categories
	if !wholePath && len(path) > 1 {
		path = path[len(path)-1:]
	}
	names := make([]string, 0, len(path))
	for _, c := range path {
		if c = clean(c); c != "" {
			names = append(names, c)
		}
	}
	return strings.Join(names, " > ")
}

// clean makes catalog text a line of valid UTF-8 with single spaces.
func clean(s string) string {
	return strings.Join(strings.Fields(strings.ToValidUTF8(s, "\uFFFD")), " ")
}

// beginsWith reports whether text begins with the words of prefix, case aside.
func beginsWith(text, prefix string) bool {
	if len(text) < len(prefix) || !strings.EqualFold(text[:len(prefix)], prefix) {
		return false
	}
	next, _ := utf8.DecodeRuneInString(text[len(prefix):])
	return !unicode.IsLetter(next) && !unicode.IsNumber(next)
}

// cutWords keeps the first words of text that take at most limit tokens. A
// first word that alone is longer (unspaced scripts) is cut between runes.
func (b *Builder) cutWords(text string, limit int) string {
	end, used := 0, 0
	for end < len(text) {
		next := len(text)
		if space := strings.IndexByte(text[end+1:], ' '); space >= 0 {
			next = end + 1 + space
		}
		used += len(b.tok.EncodeText(" " + strings.TrimPrefix(text[end:next], " ")))
		if used > limit {
			break
		}
		end = next
	}
	if end == 0 {
		first, _, _ := strings.Cut(text, " ")
		return b.cutRunes(first, limit)
	}
	return text[:end]
}

// cutRunes is the longest prefix of word that the first tokens spell and that
// encodes to at most limit tokens itself.
func (b *Builder) cutRunes(word string, limit int) string {
	ids := b.tok.EncodeText(" " + word)
	for n := min(limit, len(ids)); n > 0; n-- {
		spelt := strings.TrimPrefix(b.tok.Decode(ids[:n]), " ")
		for spelt != "" && !utf8.ValidString(spelt) {
			spelt = spelt[:len(spelt)-1]
		}
		if len(b.tok.EncodeText(" "+spelt)) <= limit {
			return spelt
		}
	}
	return ""
}
