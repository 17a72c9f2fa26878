package token

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/gr2/gr2/internal/fault"
)

// maxFile bounds tokenizer.json; those of Llama 3 and Qwen have 7 to 18 MB.
const maxFile = 64 << 20

// fileJSON is tokenizer.json as far as it concerns this family. Truncation
// and padding settings have no part in encoding here and are dropped.
type fileJSON struct {
	Version       string          `json:"version"`
	Truncation    any             `json:"truncation"`
	Padding       any             `json:"padding"`
	AddedTokens   []addedToken    `json:"added_tokens"`
	Normalizer    *stepJSON       `json:"normalizer"`
	PreTokenizer  *stepJSON       `json:"pre_tokenizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Decoder       *stepJSON       `json:"decoder"`
	Model         modelJSON       `json:"model"`
}

// stepJSON is a normaliser, pre-tokenizer or decoder; absent fields are nil.
type stepJSON struct {
	Type             string            `json:"type"`
	PreTokenizers    []stepJSON        `json:"pretokenizers,omitempty"`
	Pattern          map[string]string `json:"pattern,omitempty"`
	Behavior         string            `json:"behavior,omitempty"`
	Invert           *bool             `json:"invert,omitempty"`
	IndividualDigits *bool             `json:"individual_digits,omitempty"`
	AddPrefixSpace   *bool             `json:"add_prefix_space,omitempty"`
	TrimOffsets      *bool             `json:"trim_offsets,omitempty"`
	UseRegex         *bool             `json:"use_regex,omitempty"`
}

type modelJSON struct {
	Type                    string      `json:"type"`
	Dropout                 *float64    `json:"dropout"`
	UnkToken                *string     `json:"unk_token"`
	ContinuingSubwordPrefix *string     `json:"continuing_subword_prefix"`
	EndOfWordSuffix         *string     `json:"end_of_word_suffix"`
	FuseUnk                 bool        `json:"fuse_unk"`
	ByteFallback            bool        `json:"byte_fallback"`
	IgnoreMerges            bool        `json:"ignore_merges"`
	Vocab                   vocabJSON   `json:"vocab"`
	Merges                  []mergeJSON `json:"merges"`
}

// vocabJSON writes its tokens in the order of their ids.
type vocabJSON map[string]int32

func (v vocabJSON) MarshalJSON() ([]byte, error) {
	byID := make([]string, len(v))
	for name, id := range v {
		byID[id] = name
	}
	return marshalObject(byID, func(id int) any { return id })
}

func marshalObject(keys []string, value func(i int) any) ([]byte, error) {
	var b bytes.Buffer
	for i, key := range keys {
		b.WriteByte("{,"[min(i, 1)])
		k, err := marshal(key)
		if err != nil {
			return nil, err
		}
		v, err := marshal(value(i))
		if err != nil {
			return nil, err
		}
		b.Write(k)
		b.WriteByte(':')
		b.Write(v)
	}
	if len(keys) == 0 {
		b.WriteByte('{')
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// marshal is json.Marshal that leaves <, > and & readable.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// mergeJSON is "a b" or, in newer files, ["a","b"]; written in the first form,
// which every version of the library reads.
type mergeJSON [2]string

func (m *mergeJSON) UnmarshalJSON(data []byte) error {
	var two []string
	if data[0] == '[' {
		if err := json.Unmarshal(data, &two); err != nil {
			return err
		}
	} else {
		var one string
		if err := json.Unmarshal(data, &one); err != nil {
			return err
		}
		two = strings.Split(one, " ")
	}
	if len(two) != 2 {
		return fault.Corruptf("merge %.40s does not have two parts", data)
	}
	*m = mergeJSON(two)
	return nil
}

func (m mergeJSON) MarshalJSON() ([]byte, error) { return marshal(m[0] + " " + m[1]) }

// Read reads a tokenizer.json: ours, or one of the Llama 3, Qwen 2 or GPT-2
// (SmolLM) family. Anything else is refused, never approximated.
func Read(r io.Reader) (*Tokenizer, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fault.Inputf("tokenizer.json: larger than %d MiB", maxFile>>20)
	}
	var f fileJSON
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fault.Corruptf("tokenizer.json: %w", err)
	}
	t, err := f.tokenizer()
	if err != nil {
		return nil, fmt.Errorf("tokenizer.json: %w", err)
	}
	return t, nil
}

func (f *fileJSON) tokenizer() (*Tokenizer, error) {
	p, err := f.pattern()
	if err != nil {
		return nil, err
	}
	nfc, err := f.normalizer()
	if err != nil {
		return nil, err
	}
	if f.Decoder == nil || f.Decoder.Type != "ByteLevel" {
		return nil, fault.Inputf("decoder is not ByteLevel; only byte-level BPE is supported")
	}
	for _, a := range f.AddedTokens {
		if a.SingleWord || a.LStrip || a.RStrip || a.Normalized && nfc {
			return nil, fault.Inputf("added token %.40q: single_word, lstrip, rstrip and normalized are not supported", a.Content)
		}
	}
	model, err := f.Model.bpe(f.AddedTokens)
	if err != nil {
		return nil, err
	}
	t := &Tokenizer{pattern: p, nfc: nfc, model: model, names: model.names, post: f.PostProcessor}
	slices.SortStableFunc(f.AddedTokens, func(a, b addedToken) int { return int(a.ID) - int(b.ID) })
	return t.extend(f.AddedTokens)
}

func (f *fileJSON) normalizer() (nfc bool, err error) {
	switch {
	case f.Normalizer == nil:
		return false, nil
	case f.Normalizer.Type == "NFC":
		return true, nil
	}
	return false, fault.Inputf("normalizer %.40q is not supported; only none and NFC are", f.Normalizer.Type)
}

// pattern recognises the pre-tokenizer.
func (f *fileJSON) pattern() (pattern, error) {
	refused := fault.Inputf("pre_tokenizer is not that of Llama 3, Qwen 2 or GPT-2 (Split by their expressions, Digits, ByteLevel)")
	if f.PreTokenizer == nil {
		return 0, refused
	}
	steps := []stepJSON{*f.PreTokenizer}
	if f.PreTokenizer.Type == "Sequence" {
		steps = f.PreTokenizer.PreTokenizers
	}
	if len(steps) == 0 || len(steps) > 2 || !steps[len(steps)-1].byteLevel() {
		return 0, refused
	}
	regex := steps[len(steps)-1].UseRegex
	cuts := regex == nil || *regex // ByteLevel cuts by its own expression
	if len(steps) == 1 && cuts {
		return gpt2, nil
	}
	first := steps[0]
	switch {
	case first.Type == "Digits" && isTrue(first.IndividualDigits) && cuts:
		return gpt2Digits, nil
	case first.Type == "Split" && first.Behavior == "Isolated" && !isTrue(first.Invert) && !cuts:
		for _, p := range []pattern{llama3, qwen2} {
			if first.Pattern["Regex"] == patternRegex[p] {
				return p, nil
			}
		}
	}
	return 0, refused
}

func isTrue(b *bool) bool { return b != nil && *b }

func (s *stepJSON) byteLevel() bool { return s.Type == "ByteLevel" && !isTrue(s.AddPrefixSpace) }

// bpe checks the model and builds it. An added token may stand in the
// vocabulary too; its name there is literal, not in the byte alphabet.
func (f *modelJSON) bpe(added []addedToken) (*bpe, error) {
	switch {
	case f.Type != "BPE" && f.Type != "":
		return nil, fault.Inputf("model type %.40q; only BPE is supported", f.Type)
	case f.ByteFallback:
		return nil, fault.Inputf("byte_fallback is not supported; only byte-level BPE is")
	case f.Dropout != nil && *f.Dropout != 0:
		return nil, fault.Inputf("BPE dropout is not supported")
	case f.ContinuingSubwordPrefix != nil && *f.ContinuingSubwordPrefix != "", f.EndOfWordSuffix != nil && *f.EndOfWordSuffix != "":
		return nil, fault.Inputf("subword prefixes and suffixes are not supported")
	case len(f.Vocab) > maxVocab || len(f.Merges) > maxVocab:
		return nil, fault.Inputf("%d tokens and %d merges; at most %d are supported", len(f.Vocab), len(f.Merges), maxVocab)
	}
	literal := make(map[string]bool, len(added))
	for _, a := range added {
		literal[a.Content] = true
	}
	m := &bpe{
		names: make([]string, len(f.Vocab)), ids: make(map[string]int32, len(f.Vocab)),
		merges: make(map[pair]merge, len(f.Merges)), ignoreMerges: f.IgnoreMerges,
	}
	if err := m.readVocab(f.Vocab, literal); err != nil {
		return nil, err
	}
	return m, m.readMerges(f.Merges)
}

func (m *bpe) readVocab(vocab vocabJSON, literal map[string]bool) error {
	given := make([]bool, len(vocab))
	for name, id := range vocab {
		if id < 0 || int(id) >= len(vocab) || given[id] {
			return fault.Corruptf("ids of the vocabulary are not 0 to %d, each once", len(vocab)-1)
		}
		given[id] = true
		if literal[name] {
			m.names[id] = name
			continue
		}
		raw, ok := rawBytes(name)
		if !ok || raw == "" {
			return fault.Inputf("token %d is not spelt in the byte alphabet; only byte-level BPE is supported", id)
		}
		m.names[id], m.ids[raw] = raw, id
	}
	for b := range 256 {
		id, ok := m.ids[string([]byte{byte(b)})]
		if !ok {
			id = -1
			m.gaps = true
			if b < 0xC0 || b > 0xC1 && b < 0xF5 {
				return fault.Inputf("vocabulary lacks byte 0x%02X", b)
			}
		}
		m.bytes[b] = id
	}
	return nil
}

func (m *bpe) readMerges(merges []mergeJSON) error {
	for rank, text := range merges {
		a, okA := rawBytes(text[0])
		b, okB := rawBytes(text[1])
		left, hasA := m.ids[a]
		right, hasB := m.ids[b]
		id, has := m.ids[a+b]
		if !okA || !okB || !hasA || !hasB || !has {
			return fault.Corruptf("merge %d: a part or its result is not in the vocabulary", rank)
		}
		p := makePair(left, right)
		if _, dup := m.merges[p]; dup {
			return fault.Corruptf("merge %d is given twice", rank)
		}
		m.merges[p] = merge{rank: int32(rank), id: id}
		m.order = append(m.order, p)
	}
	return nil
}

// Write writes the tokenizer as tokenizer.json, byte for byte the same for
// the same tokenizer.
func (t *Tokenizer) Write(w io.Writer) error {
	f := fileJSON{
		Version:       "1.0",
		AddedTokens:   append([]addedToken{}, t.added.tokens...), // an empty list where there are none: the library refuses null
		PreTokenizer:  t.pattern.step(),
		PostProcessor: t.post,
		Decoder:       byteLevelStep(true),
		Model:         t.modelJSON(),
	}
	if t.nfc {
		f.Normalizer = &stepJSON{Type: "NFC"}
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	return enc.Encode(&f)
}

func (t *Tokenizer) modelJSON() modelJSON {
	m := t.model
	f := modelJSON{Type: "BPE", IgnoreMerges: m.ignoreMerges, Vocab: make(vocabJSON, len(m.names)), Merges: make([]mergeJSON, len(m.order))}
	for id, name := range m.names {
		if t.added.has(int32(id)) {
			f.Vocab[name] = int32(id)
			continue
		}
		f.Vocab[printable(name)] = int32(id)
	}
	for rank, p := range m.order {
		a, b := p.split()
		f.Merges[rank] = mergeJSON{printable(m.names[a]), printable(m.names[b])}
	}
	return f
}

func byteLevelStep(regex bool) *stepJSON {
	yes, no := true, false
	return &stepJSON{Type: "ByteLevel", AddPrefixSpace: &no, TrimOffsets: &yes, UseRegex: &regex}
}

// step is the pre_tokenizer entry of the pattern.
func (p pattern) step() *stepJSON {
	yes, no := true, false
	switch p {
	case gpt2:
		return byteLevelStep(true)
	case gpt2Digits:
		return &stepJSON{Type: "Sequence", PreTokenizers: []stepJSON{{Type: "Digits", IndividualDigits: &yes}, *byteLevelStep(true)}}
	}
	split := stepJSON{Type: "Split", Pattern: map[string]string{"Regex": patternRegex[p]}, Behavior: "Isolated", Invert: &no}
	return &stepJSON{Type: "Sequence", PreTokenizers: []stepJSON{split, *byteLevelStep(false)}}
}
