package token

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/gr2/gr2/internal/fault"
)

// The keys of a tokenizer in the metadata of a GGUF file.
const (
	ggufModel    = "tokenizer.ggml.model"
	ggufPre      = "tokenizer.ggml.pre"
	ggufTokens   = "tokenizer.ggml.tokens"
	ggufTypes    = "tokenizer.ggml.token_type"
	ggufMerges   = "tokenizer.ggml.merges"
	ggufAddBOS   = "tokenizer.ggml.add_bos_token"
	ggufBOS      = "tokenizer.ggml.bos_token_id"
	ggufEOS      = "tokenizer.ggml.eos_token_id"
	ggufPad      = "tokenizer.ggml.padding_token_id"
	ggufTemplate = "tokenizer.chat_template"
)

// The types of tokens that occur in byte-level BPE.
const (
	ggufNormal  int32 = 1 // spelt in the byte alphabet
	ggufControl int32 = 3 // recognised where special tokens are asked for, never shown
	ggufUser    int32 = 4 // always recognised, shown
	ggufUnused  int32 = 5 // fills the rows of a model
)

// ggufPres are llama.cpp's pre-tokenizers. Its llama-bpe takes a chunk that is
// a token as a whole as it is, and begins texts with BOS unless told not to.
var ggufPres = [patternEnds]struct {
	name         string
	others       []string // names for the same, of older files
	ignoreMerges bool
}{
	llama3:     {"llama-bpe", []string{"llama3", "llama-v3"}, true},
	qwen2:      {"qwen2", nil, false},
	gpt2:       {"gpt-2", nil, false},
	gpt2Digits: {"smollm", nil, false},
}

// GGUF is the tokenizer as metadata of a GGUF file: llama.cpp then gives the
// same ids as Encode. Special tokens become control tokens, the other added
// ones user-defined; rows of the model's vocabulary without a token are unused.
//
// It refuses a tokenizer that llama.cpp would run differently. What remains is
// that llama.cpp never brings text to NFC, as Qwen does, and that among added
// tokens that overlap in a text it takes the longest first, not the leftmost.
func (t *Tokenizer) GGUF(c Config, rows int) (map[string]any, error) {
	if rows < len(t.names) {
		return nil, fault.Inputf("gguf: the model has %d rows for a tokenizer of %d tokens", rows, len(t.names))
	}
	pre := ggufPres[t.pattern]
	if pre.ignoreMerges != t.model.ignoreMerges {
		if err := t.model.checkMerges(t.pattern); err != nil {
			return nil, err
		}
	}
	names, types, err := t.ggufVocabulary(rows)
	if err != nil {
		return nil, err
	}
	merges := make([]string, len(t.model.order))
	for i, p := range t.model.order {
		a, b := p.split()
		merges[i] = printable(t.model.names[a]) + " " + printable(t.model.names[b])
	}
	first := ""
	before, _, err := t.Frame()
	if err != nil {
		return nil, err
	}
	if len(before) > 0 {
		first = t.names[before[0]]
	}
	meta := map[string]any{
		ggufModel: "gpt2", ggufPre: pre.name,
		ggufTokens: names, ggufTypes: types, ggufMerges: merges,
		ggufAddBOS: first != "",
	}
	if first != "" {
		c.BOS = first
	}
	for key, name := range map[string]string{ggufBOS: c.BOS, ggufEOS: c.EOS, ggufPad: c.Pad} {
		if name == "" {
			continue
		}
		id, ok := t.added.lookup(name)
		if !ok {
			return nil, fault.Inputf("gguf: %q is not an added token of this tokenizer", name)
		}
		meta[key] = uint32(id)
	}
	if c.ChatTemplate != "" {
		meta[ggufTemplate] = c.ChatTemplate
	}
	return meta, nil
}

// checkMerges demands that ignore_merges makes no difference: every token that
// is one chunk must be what its own bytes merge to.
func (m *bpe) checkMerges(p pattern) error {
	plain := &bpe{names: m.names, ids: m.ids, bytes: m.bytes, merges: m.merges}
	for name, id := range m.ids {
		if p.next(name) != len(name) {
			continue
		}
		if ids := plain.mergeChunk(nil, name); len(ids) != 1 || ids[0] != id {
			return fault.Inputf("gguf: token %q is not what its bytes merge to, and llama.cpp decides by the pre-tokenizer %s whether that counts", name, ggufPres[p].name)
		}
	}
	return nil
}

// ggufVocabulary spells all rows. llama.cpp aborts on a name that is given
// twice, so that is refused here.
func (t *Tokenizer) ggufVocabulary(rows int) (names []string, types []int32, err error) {
	given := make(map[string]bool, rows)
	for id := range rows {
		name, kind := fmt.Sprintf("[PAD%d]", id), ggufUnused
		if id < len(t.names) {
			name, kind = printable(t.names[id]), ggufNormal
		}
		if t.added.has(int32(id)) {
			name, kind = t.names[id], ggufUser
		}
		if given[name] {
			return nil, nil, fault.Inputf("gguf: two tokens are spelt %q", name)
		}
		given[name] = true
		names, types = append(names, name), append(types, kind)
	}
	for _, a := range t.added.tokens {
		if a.Special {
			types[a.ID] = ggufControl
		}
	}
	return names, types, nil
}

// templateBOS is a post_processor that puts one token before every text.
func templateBOS(name string, id int32) (json.RawMessage, error) {
	type object = map[string]any
	special := object{"SpecialToken": object{"id": name, "type_id": 0}}
	text := func(id string, kind int) object { return object{"Sequence": object{"id": id, "type_id": kind}} }
	return marshal(object{
		"type": "TemplateProcessing", "single": []object{special, text("A", 0)},
		"pair":           []object{special, text("A", 0), text("B", 1)},
		"special_tokens": object{name: object{"id": name, "ids": []int32{id}, "tokens": []string{name}}},
	})
}

// ReadGGUF reads the tokenizer of a GGUF file from its metadata, by key: a
// byte-level BPE (gpt2) with one of the pre-tokenizers of Llama 3, Qwen 2, GPT-2
// or SmolLM. Anything else is refused; such files need a tokenizer.json beside
// them. A qwen2 tokenizer brings text to NFC, as those of Qwen do.
func ReadGGUF(meta map[string]any) (*Tokenizer, Config, error) {
	f, err := ggufFileJSON(meta)
	if err != nil {
		return nil, Config{}, fmt.Errorf("gguf: %w", err)
	}
	c := Config{}
	c.ChatTemplate, _ = meta[ggufTemplate].(string)
	for key, name := range map[string]*string{ggufBOS: &c.BOS, ggufEOS: &c.EOS, ggufPad: &c.Pad} {
		v, given := meta[key]
		if !given {
			continue
		}
		id, ok := v.(uint32)
		at := slices.IndexFunc(f.AddedTokens, func(a addedToken) bool { return uint32(a.ID) == id })
		if !ok || at < 0 {
			return nil, Config{}, fault.Inputf("gguf: key %q is %.40v, want the uint32 id of a control or user-defined token", key, v)
		}
		*name = f.AddedTokens[at].Content
	}
	begins, given := meta[ggufAddBOS].(bool)
	if !given {
		begins = f.Model.IgnoreMerges // in llama.cpp the two go together
	}
	if begins && c.BOS != "" {
		if f.PostProcessor, err = templateBOS(c.BOS, int32(meta[ggufBOS].(uint32))); err != nil {
			return nil, Config{}, err
		}
	}
	t, err := f.tokenizer()
	if err != nil {
		return nil, Config{}, fmt.Errorf("gguf: %w", err)
	}
	return t, c, nil
}

// ggufFileJSON spells the metadata as tokenizer.json.
func ggufFileJSON(meta map[string]any) (*fileJSON, error) {
	if model := meta[ggufModel]; model != "gpt2" {
		return nil, fault.Inputf("%s is %.40q; only gpt2, byte-level BPE, is supported", ggufModel, model)
	}
	p, err := ggufPattern(meta[ggufPre])
	if err != nil {
		return nil, err
	}
	names, _ := meta[ggufTokens].([]string)
	types, _ := meta[ggufTypes].([]int32)
	merges, _ := meta[ggufMerges].([]string)
	if len(names) == 0 || len(types) != len(names) || merges == nil {
		return nil, fault.Corruptf("%s, %s and %s must be lists of strings, int32 and strings, the first two of one length (%d and %d)",
			ggufTokens, ggufTypes, ggufMerges, len(names), len(types))
	}
	f := &fileJSON{PreTokenizer: p.step(), Decoder: byteLevelStep(true), Model: modelJSON{
		Vocab: make(vocabJSON, len(names)), IgnoreMerges: ggufPres[p].ignoreMerges,
	}}
	if p == qwen2 {
		f.Normalizer = &stepJSON{Type: "NFC"}
	}
	if err := f.addTokens(names, types); err != nil {
		return nil, err
	}
	for i, text := range merges {
		a, b, ok := strings.Cut(text, " ")
		if !ok {
			return nil, fault.Corruptf("%s: merge %d does not have two parts", ggufMerges, i)
		}
		f.Model.Merges = append(f.Model.Merges, mergeJSON{a, b})
	}
	return f, nil
}

func ggufPattern(name any) (pattern, error) {
	for p, pre := range ggufPres {
		if s, _ := name.(string); s == pre.name || slices.Contains(pre.others, s) {
			return pattern(p), nil
		}
	}
	return 0, fault.Inputf("%s is %.40q; only llama-bpe, qwen2, gpt-2 and smollm are supported", ggufPre, name)
}

// addTokens splits the tokens into the vocabulary, up to the last normal one,
// and the added tokens; unused ones fill only the end.
func (f *fileJSON) addTokens(names []string, types []int32) error {
	end := len(names) // of the used tokens
	for end > 0 && types[end-1] == ggufUnused {
		end--
	}
	vocab := end // end of the BPE vocabulary
	for vocab > 0 && types[vocab-1] != ggufNormal {
		vocab--
	}
	for id, name := range names[:end] {
		if id < vocab {
			if _, twice := f.Model.Vocab[name]; twice {
				return fault.Corruptf("%s: %.40q is listed twice", ggufTokens, name)
			}
			f.Model.Vocab[name] = int32(id)
		}
		switch types[id] {
		case ggufNormal:
		case ggufControl, ggufUser:
			f.AddedTokens = append(f.AddedTokens, addedToken{ID: int32(id), Content: name, Special: types[id] == ggufControl})
		default:
			return fault.Inputf("%s: token %d, %.40q, has type %d, which is not supported there", ggufTypes, id, name, types[id])
		}
	}
	return nil
}
