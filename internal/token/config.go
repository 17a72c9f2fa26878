package token

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"

	"github.com/gr2/gr2/internal/fault"
)

// Config is the part of tokenizer_config.json that other engines need: which
// tokens begin, end and pad, how long a text may be, and how a chat is laid out.
type Config struct {
	BOS, EOS, Pad string // empty = none
	MaxLength     int    // tokens; 0 = unknown
	ChatTemplate  string // Jinja
}

type configJSON struct {
	Class        string          `json:"tokenizer_class"`
	Prefix       bool            `json:"add_prefix_space"`
	Cleanup      bool            `json:"clean_up_tokenization_spaces"`
	BOS          *string         `json:"bos_token"`
	EOS          *string         `json:"eos_token"`
	Pad          *string         `json:"pad_token"`
	Unk          *string         `json:"unk_token"`
	MaxLength    int64           `json:"model_max_length"`
	ChatTemplate string          `json:"chat_template,omitempty"`
	Added        json.RawMessage `json:"added_tokens_decoder"`
}

// unknownLength is what Hugging Face's library takes for "no limit known".
const unknownLength = 1_000_000_000

// ConfigJSON is the content of tokenizer_config.json.
func (t *Tokenizer) ConfigJSON(c Config) ([]byte, error) {
	for _, name := range []string{c.BOS, c.EOS, c.Pad} {
		if _, ok := t.added.lookup(name); name != "" && !ok {
			return nil, fault.Usagef("tokenizer_config.json: %q is not an added token of this tokenizer", name)
		}
	}
	ids := make([]string, len(t.added.tokens))
	for i, a := range t.added.tokens {
		ids[i] = strconv.Itoa(int(a.ID))
	}
	added, err := marshalObject(ids, func(i int) any {
		a := t.added.tokens[i]
		return struct {
			Content    string `json:"content"`
			LStrip     bool   `json:"lstrip"`
			Normalized bool   `json:"normalized"`
			RStrip     bool   `json:"rstrip"`
			SingleWord bool   `json:"single_word"`
			Special    bool   `json:"special"`
		}{a.Content, a.LStrip, a.Normalized, a.RStrip, a.SingleWord, a.Special}
	})
	if err != nil {
		return nil, err
	}
	f := configJSON{
		Class: "PreTrainedTokenizerFast", BOS: optional(c.BOS), EOS: optional(c.EOS), Pad: optional(c.Pad),
		MaxLength: int64(c.MaxLength), ChatTemplate: c.ChatTemplate, Added: added,
	}
	if f.MaxLength == 0 {
		f.MaxLength = unknownLength
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err = enc.Encode(&f)
	return b.Bytes(), err
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// nameJSON is a token as a string or as an object with its content.
type nameJSON string

func (n *nameJSON) UnmarshalJSON(data []byte) error {
	var object struct {
		Content string `json:"content"`
	}
	if data[0] == '{' {
		err := json.Unmarshal(data, &object)
		*n = nameJSON(object.Content)
		return err
	}
	return json.Unmarshal(data, (*string)(n))
}

// ReadConfig reads a tokenizer_config.json, ours or Hugging Face's.
func ReadConfig(r io.Reader) (Config, error) {
	const limit = 16 << 20
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return Config{}, err
	}
	if len(data) > limit {
		return Config{}, fault.Inputf("tokenizer_config.json: larger than %d MiB", limit>>20)
	}
	var f struct {
		BOS          nameJSON `json:"bos_token"`
		EOS          nameJSON `json:"eos_token"`
		Pad          nameJSON `json:"pad_token"`
		MaxLength    float64  `json:"model_max_length"` // 1e30 stands for unknown in some files
		ChatTemplate string   `json:"chat_template"`
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return Config{}, fault.Corruptf("tokenizer_config.json: %w", err)
	}
	c := Config{BOS: string(f.BOS), EOS: string(f.EOS), Pad: string(f.Pad), ChatTemplate: f.ChatTemplate}
	if f.MaxLength > 0 && f.MaxLength < unknownLength {
		c.MaxLength = int(f.MaxLength)
	}
	return c, nil
}
