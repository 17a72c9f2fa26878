package token

import (
	"strings"
	"unicode/utf8"

	"github.com/gr2/gr2/internal/fault"
	"golang.org/x/text/unicode/norm"
)

const (
	maxVocab      = 1 << 20 // tokens, of any origin
	maxAddedBytes = 256     // length of one added token
)

// Tokenizer turns text into token ids and back.
type Tokenizer struct {
	pattern pattern
	nfc     bool // text is brought to NFC first (Qwen)
	model   *bpe
	names   []string // bytes of every token by id, added ones included
	added   addedSet
	post    []byte // post_processor of the file read, kept for Write; nil = ours
}

// newTokenizer joins a BPE model with the added tokens of ids model.size() and up.
func newTokenizer(p pattern, model *bpe, added []addedToken) (*Tokenizer, error) {
	t := &Tokenizer{pattern: p, model: model, names: model.names}
	return t.extend(added)
}

// Extend returns a tokenizer with further added tokens behind the present
// vocabulary. Names that are there already keep their ids. Those in control
// are marked special in files: they frame turns, and other engines hide them.
func (t *Tokenizer) Extend(added, control []string) (*Tokenizer, error) {
	isControl := make(map[string]bool, len(control))
	for _, name := range control {
		isControl[name] = true
	}
	var fresh []addedToken
	seen := map[string]bool{}
	for _, name := range added {
		if _, known := t.added.lookup(name); known || seen[name] {
			continue
		}
		seen[name] = true
		fresh = append(fresh, addedToken{Content: name, Special: isControl[name]})
	}
	for i := range fresh {
		fresh[i].ID = int32(len(t.names) + i)
	}
	return t.extend(fresh)
}

// extend copies t with the tokens added. Their ids lie below the size of the
// model's vocabulary with the same name there, or continue the vocabulary.
func (t *Tokenizer) extend(added []addedToken) (*Tokenizer, error) {
	out := *t
	out.names = append([]string(nil), t.names...)
	all := append(append([]addedToken(nil), t.added.tokens...), added...)
	for _, a := range added {
		switch {
		case a.Content == "" || len(a.Content) > maxAddedBytes || !utf8.ValidString(a.Content):
			return nil, fault.Inputf("added token %.40q: must be UTF-8 of 1 to %d bytes", a.Content, maxAddedBytes)
		case int(a.ID) == len(out.names):
			out.names = append(out.names, a.Content)
		case a.ID < 0 || int(a.ID) > len(out.names) || out.names[a.ID] != a.Content:
			return nil, fault.Inputf("added token %q has id %d; ids must continue the vocabulary of %d without gaps", a.Content, a.ID, len(out.names))
		}
	}
	if len(out.names) > maxVocab {
		return nil, fault.Inputf("vocabulary of %d tokens; at most %d are supported", len(out.names), maxVocab)
	}
	set, err := newAddedSet(all)
	if err != nil {
		return nil, err
	}
	out.added = set
	return &out, nil
}

// Size is the number of tokens, added ones included. Ids are 0..Size()-1.
func (t *Tokenizer) Size() int { return len(t.names) }

// ID returns the id of the added token of this name, else of the BPE token
// that spells exactly these bytes.
func (t *Tokenizer) ID(name string) (int32, bool) {
	if id, ok := t.added.lookup(name); ok {
		return id, true
	}
	id, ok := t.model.ids[name]
	return id, ok
}

// Added reports whether id is an added token, one that ordinary text never yields.
func (t *Tokenizer) Added(id int32) bool { return t.added.has(id) }

// Encode encodes text in which added tokens are recognised, leftmost and
// longest first. Use it on text of our own making only.
func (t *Tokenizer) Encode(text string) []int32 {
	return t.EncodeWith(text, func(int32) bool { return true })
}

// EncodeWith is Encode with only those added tokens recognised that allow accepts.
func (t *Tokenizer) EncodeWith(text string, allow func(id int32) bool) []int32 {
	out := make([]int32, 0, len(text)/3+8)
	for text != "" {
		start, end, id := t.added.find(text, allow)
		out = t.appendText(out, text[:start])
		if id >= 0 {
			out = append(out, id)
		}
		text = text[end:]
	}
	return out
}

// EncodeText encodes ordinary text: nothing in it becomes an added token.
func (t *Tokenizer) EncodeText(text string) []int32 {
	return t.appendText(make([]int32, 0, len(text)/3+8), text)
}

func (t *Tokenizer) appendText(dst []int32, text string) []int32 {
	if t.nfc {
		text = norm.NFC.String(text)
	}
	if t.model.gaps && !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\uFFFD")
	}
	for text != "" {
		n := t.pattern.next(text)
		dst = t.model.appendChunk(dst, text[:n])
		text = text[n:]
	}
	return dst
}

// Decode joins the bytes of the tokens. An id outside the vocabulary (rows
// that only pad a model's embedding) decodes to U+FFFD.
func (t *Tokenizer) Decode(ids []int32) string {
	var b strings.Builder
	for _, id := range ids {
		if id < 0 || int(id) >= len(t.names) {
			b.WriteRune(utf8.RuneError)
			continue
		}
		b.WriteString(t.names[id])
	}
	return b.String()
}
