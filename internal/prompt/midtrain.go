package prompt

import (
	"iter"
	"math/rand/v2"

	"github.com/gr2/gr2/internal/market"
)

const (
	midtrainMax = 512 // tokens of a mid-training document when MaxTokens does not bound it
	captionMax  = 48  // tokens of a title in a caption
)

// limit bounds mid-training documents.
func (b *Builder) limit() int {
	if b.opt.MaxTokens > 0 {
		return b.opt.MaxTokens
	}
	return midtrainMax
}

// add appends tokens with one weight.
func (e *Example) add(weight float32, tokens ...int32) {
	for _, id := range tokens {
		e.Tokens, e.Weights = append(e.Tokens, id), append(e.Weights, weight)
	}
}

// lead begins a mid-training document with its task's name.
func (b *Builder) lead(task string) *Example {
	e := &Example{}
	e.add(0, b.tok.EncodeText(fixed(task+".txt")+"\n")...)
	return e
}

// Sequence is sequential preference modelling: the semantic IDs of visits,
// oldest first, with loss on every code from the second item on. Of a history
// beyond the budget a window drawn uniformly is shown. It is empty when SIDs are off or
// fewer than two items have one.
func (b *Builder) Sequence(visits []market.Visit, r *rand.Rand) Example {
	var codes [][]int32
	for _, v := range visits {
		if ids := b.sidTokens(v.Item); len(ids) > 0 {
			codes = append(codes, ids)
		}
	}
	if len(codes) < 2 {
		return Example{}
	}
	e := b.lead("sequence")
	fit := max(2, (b.limit()-len(e.Tokens))/len(codes[0]))
	if len(codes) > fit {
		from := r.IntN(len(codes) - fit + 1)
		e.Cut.History = len(codes) - fit
		codes = codes[from : from+fit]
	}
	for i, ids := range codes {
		for _, id := range ids {
			weight := float32(1)
			if i == 0 || id == b.v.sidBegin || id == b.v.sidEnd { // brackets are no choice
				weight = 0
			}
			e.add(weight, id)
		}
	}
	return *e
}

// Persona is interleaved user grounding: the item lines of visits, oldest
// first, each drawn as semantic ID with text, semantic ID alone or text alone,
// with loss on all of them. The newest visits are kept within the budget; Cut
// counts the others.
func (b *Builder) Persona(visits []market.Visit, r *rand.Rand) Example {
	e := b.lead("persona")
	room := b.limit() - len(e.Tokens)
	var lines [][]int32 // newest first
	for i := len(visits) - 1; i >= 0; i-- {
		shown := b.drawn(b.line(visits[i].Item), r)
		if room -= len(shown); room < 0 {
			e.Cut.History = i + 1
			break
		}
		lines = append(lines, shown)
	}
	if len(lines) == 0 {
		return Example{}
	}
	for i := len(lines) - 1; i >= 0; i-- {
		e.add(1, lines[i]...)
	}
	return *e
}

// drawn is the line or one half of it: both 1 in 2, either half 1 in 4.
func (b *Builder) drawn(l *line, r *rand.Rand) []int32 {
	form := r.IntN(4)
	switch {
	case l.sid == 0 || l.sid == len(l.open) || form < 2:
		return l.closed
	case form == 2:
		return append(l.open[:l.sid:l.sid], b.v.lineEnd...)
	}
	return l.closed[l.sid:]
}

// Caption grounds one item in text, in one of two directions drawn evenly: the
// semantic ID, then title, brand and whole category path with loss on the
// text; or the text first, with loss on the semantic ID. It is empty when the
// item or the options lack either.
func (b *Builder) Caption(item int32, r *rand.Rand) Example {
	ids := b.sidTokens(item)
	text := b.itemText(item, captionMax, true)
	describe := r.IntN(2) == 0
	if len(ids) == 0 || text == "" {
		return Example{}
	}
	if describe {
		e := b.lead("caption")
		e.add(0, ids...)
		e.add(1, b.tok.EncodeText(text+"\n")...)
		return *e
	}
	e := b.lead("identify")
	e.add(0, b.tok.EncodeText(text)...)
	e.add(1, ids...)
	e.add(1, b.v.lineEnd...)
	return *e
}

// Text is general language modelling: loss on every token of the document but
// its first, its end included. What exceeds the budget is left out and counted
// in Cut.
func (b *Builder) Text(doc string) Example {
	ids := append(b.tok.EncodeText(doc), b.v.document)
	var e Example
	if over := len(ids) - b.limit(); over > 0 {
		ids, e.Cut.Tokens = ids[:b.limit()], over
	}
	e.add(1, ids...)
	e.Weights[0] = 0
	return e
}

// Corpus yields what prompts under the options are made of, for training the
// tokenizer: the text of every item as captions show it, and the fixed texts
// often enough that their words become tokens.
func Corpus(catalog *market.Catalog, opt Options) (iter.Seq[string], error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	system, err := systemText(opt)
	if err != nil {
		return nil, err
	}
	const every = 16 // one copy of the fixed texts for this many items, and one to begin with
	fixedTexts := system
	for _, name := range []string{"history", "candidates", "sequence", "persona", "caption", "identify"} {
		fixedTexts += "\n" + fixed(name+".txt") + "\n"
	}
	return func(yield func(string) bool) {
		for i := range catalog.Items {
			if i%every == 0 && !yield(fixedTexts) {
				return
			}
			it := &catalog.Items[i]
			text := " " + clean(it.Title) + " | " + clean(it.Brand) + " | " + categoryText(it, true)
			if !yield(text + "\n") {
				return
			}
		}
	}, nil
}
