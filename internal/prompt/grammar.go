package prompt

import (
	"slices"

	"github.com/gr2/gr2/internal/fault"
)

// Grammar admits exactly the assistant's turns that parse: in trace mode
// <think>, free text and </think>; then {"ranking":[...]} with a permutation of
// 1..k, then <|im_end|>. It implements infer.Grammar. Where one token is
// possible it is forced; the last number always is. Numbers are spelt by the
// tokenizer, in one token or several: the numbers not yet used that begin with
// the tokens so far form a trie, walked here as a list of at most 50.
//
// A Grammar is for one output and one goroutine.
type Grammar struct {
	v        *vocab
	traceMax int
	phase    phase
	at       int     // tokens of the present phase so far
	free     []int   // numbers not yet ranked, ascending
	partial  []int32 // tokens of the present number so far
}

type phase uint8

const (
	inThink   phase = iota // <think>
	inTrace                // free text up to </think>
	inOpen                 // {"ranking":[
	inNumbers              // numbers and commas, up to the first token behind them
	inClose                // ]}<|im_end|>
	isDone
)

// Grammar is the grammar of an answer to a slate of k candidates. A k outside
// 1..SlateMax is taken to the nearer bound; such prompts cannot be built.
func (b *Builder) Grammar(k int) *Grammar {
	g := b.answerGrammar(k)
	if b.opt.Mode == ModeTrace {
		g.phase = inThink
	}
	return g
}

// answerGrammar is the grammar of what follows the trace.
func (b *Builder) answerGrammar(k int) *Grammar {
	g := &Grammar{v: b.v, traceMax: b.opt.TraceMax, phase: inOpen}
	for n := 1; n <= min(max(k, 1), SlateMax); n++ {
		g.free = append(g.free, n)
	}
	return g
}

// Done reports whether the output is complete.
func (g *Grammar) Done() bool { return g.phase == isDone }

// Allowed overwrites dst with the tokens that may come next, ascending.
func (g *Grammar) Allowed(dst []int32) []int32 {
	dst = dst[:0]
	switch g.phase {
	case inThink:
		return append(dst, g.v.think)
	case inTrace:
		if g.at >= g.traceMax {
			return append(dst, g.v.answer)
		}
		return append(dst, g.v.traceTokens...)
	case inOpen:
		return append(dst, g.v.open[g.at])
	case inNumbers:
		for _, n := range g.free {
			if next, ok := g.nextOf(n); ok {
				dst = append(dst, next)
			}
		}
		slices.Sort(dst)
		return slices.Compact(dst)
	case inClose:
		return append(dst, g.v.close[g.at])
	}
	return dst
}

// nextOf is the token behind the present ones if they begin number n: the
// rest of n, or what separates it from the next.
func (g *Grammar) nextOf(n int) (int32, bool) {
	spelt := g.v.numbers[n]
	if !hasPrefix(spelt, g.partial) {
		return 0, false
	}
	if len(spelt) > len(g.partial) {
		return spelt[len(g.partial)], true
	}
	return g.separator(), true
}

// separator follows a finished number.
func (g *Grammar) separator() int32 {
	if len(g.free) > 1 {
		return g.v.comma[0]
	}
	return g.v.close[0]
}

// Advance takes the next token; one that is not allowed is an error and
// changes nothing.
func (g *Grammar) Advance(tok int32) error {
	if !g.allows(tok) {
		return fault.Inputf("grammar: token %d is not allowed here", tok)
	}
	g.at++
	switch g.phase {
	case inThink:
		g.enter(inTrace)
	case inTrace:
		if tok == g.v.answer {
			g.enter(inOpen)
		}
	case inOpen:
		if g.at == len(g.v.open) {
			g.enter(inNumbers)
		}
	case inNumbers:
		g.advanceNumber(tok)
	case inClose:
		if g.at == len(g.v.close) {
			g.enter(isDone)
		}
	}
	return nil
}

func (g *Grammar) enter(p phase) { g.phase, g.at = p, 0 }

func (g *Grammar) advanceNumber(tok int32) {
	if tok != g.separator() || len(g.partial) == 0 {
		g.partial = append(g.partial, tok)
		return
	}
	i := slices.IndexFunc(g.free, func(n int) bool { return slices.Equal(g.v.numbers[n], g.partial) })
	g.free = slices.Delete(g.free, i, i+1)
	g.partial = g.partial[:0]
	if len(g.free) == 0 {
		g.enter(inClose)
		g.at = 1
	}
}

func (g *Grammar) allows(tok int32) bool {
	switch g.phase {
	case inTrace:
		if g.at >= g.traceMax {
			return tok == g.v.answer
		}
		_, ok := slices.BinarySearch(g.v.traceTokens, tok)
		return ok
	case inNumbers:
		return slices.ContainsFunc(g.free, func(n int) bool {
			next, ok := g.nextOf(n)
			return ok && next == tok
		})
	}
	var one [1]int32
	allowed := g.Allowed(one[:])
	return len(allowed) == 1 && allowed[0] == tok
}
