package prompt

import "strconv"

// The answer is {"ranking":[3,1,2]} without spaces. The pieces end where the
// tokenizer's chunks end, so tokens of pieces are tokens of the whole.
const (
	answerOpen  = `{"ranking":[`
	answerComma = `,`
	answerClose = `]}`
)

// Answer spells the assistant's turn for a ranking (places of the slate as
// shown, from 0, best first), <|im_end|> included. In trace mode the trace
// stands before it between its marks; in answer mode it is not shown. slot[i]
// is the place of the ranking that token i spells, -1 for trace and syntax;
// traceLen counts the tokens of the trace with its marks.
//
// In a trace, the names of semantic IDs become their tokens; all else is
// ordinary text, so a trace cannot end its own turn.
func (b *Builder) Answer(ranking []int, trace string) (tokens []int32, slot []int, traceLen int) {
	if b.opt.Mode == ModeTrace {
		tokens = append(tokens, b.v.think)
		tokens = append(tokens, b.tok.EncodeWith(trace, b.v.isSID)...)
		tokens = append(tokens, b.v.answer)
		traceLen = len(tokens)
	}
	tokens = append(tokens, b.v.open...)
	slot = make([]int, 0, len(tokens)+2*len(ranking)+4)
	for range tokens {
		slot = append(slot, -1)
	}
	put := func(ids []int32, place int) {
		for _, id := range ids {
			tokens, slot = append(tokens, id), append(slot, place)
		}
	}
	for place, shown := range ranking {
		if place > 0 {
			put(b.v.comma, -1)
		}
		put(b.number(shown+1), place)
	}
	put(b.v.close, -1)
	return tokens, slot, traceLen
}

// number spells a candidate's number.
func (b *Builder) number(n int) []int32 {
	if n >= 1 && n <= SlateMax {
		return b.v.numbers[n]
	}
	return b.tok.EncodeText(strconv.Itoa(n))
}
