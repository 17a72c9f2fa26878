package token

import (
	"encoding/json"

	"github.com/gr2/gr2/internal/fault"
)

// frameJSON is a post_processor as far as it puts tokens around one text.
type frameJSON struct {
	Type       string      `json:"type"`
	Processors []frameJSON `json:"processors"`
	Single     []struct {
		Special *struct {
			ID string `json:"id"`
		} `json:"SpecialToken"`
	} `json:"single"`
	Special map[string]struct {
		IDs []int32 `json:"ids"`
	} `json:"special_tokens"`
}

// Frame returns the tokens that the post_processor of the file puts before and
// after a text: what Hugging Face's library adds with add_special_tokens. Encode
// and its like never add them.
func (t *Tokenizer) Frame() (before, after []int32, err error) {
	if len(t.post) == 0 {
		return nil, nil, nil
	}
	var p *frameJSON
	if err := json.Unmarshal(t.post, &p); err != nil {
		return nil, nil, fault.Corruptf("tokenizer.json: post_processor: %w", err)
	}
	if p == nil {
		return nil, nil, nil
	}
	for _, step := range append([]frameJSON{*p}, p.Processors...) {
		switch step.Type {
		case "ByteLevel", "Sequence": // the one moves offsets, the other is its processors
		case "TemplateProcessing":
			first, last, err := step.around()
			if err != nil {
				return nil, nil, err
			}
			before, after = append(first, before...), append(after, last...)
		default:
			return nil, nil, fault.Inputf("tokenizer.json: post_processor %.40q is not supported; only ByteLevel and TemplateProcessing are", step.Type)
		}
	}
	for _, id := range append(before[:len(before):len(before)], after...) {
		if id < 0 || int(id) >= t.Size() {
			return nil, nil, fault.Corruptf("tokenizer.json: post_processor adds token %d; the vocabulary has %d", id, t.Size())
		}
	}
	return before, after, nil
}

// around is what a template puts before and after its text.
func (f *frameJSON) around() (before, after []int32, err error) {
	texts := 0
	for _, part := range f.Single {
		if part.Special == nil {
			texts++
			continue
		}
		special, ok := f.Special[part.Special.ID]
		if !ok {
			return nil, nil, fault.Corruptf("tokenizer.json: post_processor adds %.40q, which its special_tokens do not have", part.Special.ID)
		}
		if texts == 0 {
			before = append(before, special.IDs...)
		} else {
			after = append(after, special.IDs...)
		}
	}
	if texts != 1 {
		return nil, nil, fault.Inputf("tokenizer.json: post_processor holds a text %d times; expected once", texts)
	}
	return before, after, nil
}
