package nn

import (
	"fmt"
	"slices"
)

// Batch is packed documents and what is predicted in them.
//
// A document may go on from an earlier one, its parent: then it sees all of the
// parent and of the documents above that, as if they stood before it, and so do
// its siblings, which do not see it. The rollouts of one prompt, say, are
// documents below the prompt's: it is computed once for all of them.
type Batch struct {
	Tokens  []int32
	Pos     []int32 // position of each token: those of a document go on from its parent's
	Docs    []int32 // first token of each document, ascending from 0
	Parents []int32 // parent of each document, -1 for none; nil where none has one

	// Predictions. Rows has the token that makes each one; several may share a
	// token, as the first tokens of siblings do. Where Rows is nil, there is one
	// for each token.
	Rows    []int32
	Targets []int32   // the token to predict; -1 for none
	Weights []float32 // loss weight of the target; 0 where there is none
	// Allowed, when not nil, has the tokens that a grammar allows as the
	// target of each prediction, none for all of the vocabulary. The loss is
	// then that of the masked distribution.
	Allowed [][]int32
	// Early, when not nil, marks the predictions that Decoder.ReadEarly moves to
	// a lower layer.
	Early []bool
}

// Append adds a document below parent (-1 for none) and returns its index. Each
// token with a weight other than 0 is predicted by the one before it; the first
// one of a root by nothing. Documents come in depth-first order: a parent is the
// last document appended, or above it. The batch must be empty at first, or made
// by Append alone.
func (b *Batch) Append(parent int, tokens []int32, weights []float32) (doc int) {
	want("Append weights", len(tokens), len(weights))
	before, pos := -1, int32(0) // row before the next token, its position
	if parent >= 0 {
		_, end := b.span(parent)
		before, pos = end-1, b.Pos[end-1]+1
	}
	if b.Rows == nil {
		b.Rows = []int32{} // which is not one for each token
	}
	doc = len(b.Docs)
	b.Docs, b.Parents = append(b.Docs, int32(len(b.Tokens))), append(b.Parents, int32(parent))
	for i, token := range tokens {
		if w := weights[i]; w != 0 && before >= 0 {
			b.Rows, b.Targets, b.Weights = append(b.Rows, int32(before)), append(b.Targets, token), append(b.Weights, w)
			if b.Early != nil {
				b.Early = append(b.Early, false)
			}
		}
		before = len(b.Tokens)
		b.Tokens, b.Pos = append(b.Tokens, token), append(b.Pos, pos+int32(i))
	}
	return doc
}

// Weigh adds a prediction beside those of Append: that of target in the place of
// token at of a document, among what is allowed. The caller keeps Allowed as for
// Ask.
func (b *Batch) Weigh(doc, at int, target int32, allowed []int32, weight float32) {
	row := b.Docs[doc] + int32(at) - 1
	if at == 0 {
		_, end := b.span(int(b.Parents[doc]))
		row = int32(end - 1)
	}
	b.Rows, b.Targets, b.Weights = append(b.Rows, row), append(b.Targets, target), append(b.Weights, weight)
	b.Allowed = append(b.Allowed, allowed)
	if b.Early != nil {
		b.Early = append(b.Early, false)
	}
}

// Ask adds an early prediction: that of target behind token at of a document, among
// what is allowed. The batch must be made by Append and Ask, and whoever asks keeps
// Allowed for the other predictions, before and after.
func (b *Batch) Ask(doc, at int, target int32, allowed []int32, weight float32) {
	b.Early = append(b.Early, make([]bool, len(b.Rows)-len(b.Early))...)
	b.Rows, b.Targets, b.Weights = append(b.Rows, b.Docs[doc]+int32(at)), append(b.Targets, target), append(b.Weights, weight)
	b.Allowed, b.Early = append(b.Allowed, allowed), append(b.Early, true)
}

// span is the range of tokens of a document.
func (b *Batch) span(doc int) (lo, hi int) {
	if doc+1 < len(b.Docs) {
		return int(b.Docs[doc]), int(b.Docs[doc+1])
	}
	return int(b.Docs[doc]), len(b.Tokens)
}

// row is the token that makes prediction i.
func (b *Batch) row(i int) int32 {
	if b.Rows == nil {
		return int32(i)
	}
	return b.Rows[i]
}

// predictions are some of those of a batch, all at one depth.
type predictions struct {
	at, rows, targets []int32 // at is the index in the batch
	weights           []float32
	allowed           [][]int32 // nil where the batch has none
}

// Predictions count by their weight or by having a target at all.
func weighted(b *Batch, i int) bool { return b.Weights[i] != 0 }
func targeted(b *Batch, i int) bool { return b.Targets[i] >= 0 }

// split lists the predictions that count: those at the end, and those that are
// read early.
func (d *Decoder) split(t *Tape, b *Batch, counts func(*Batch, int) bool) (late, early predictions) {
	return d.take(t, b, false, counts), d.take(t, b, true, counts)
}

func (d *Decoder) take(t *Tape, b *Batch, early bool, counts func(*Batch, int) bool) predictions {
	marks := b.Early
	if d.early == 0 {
		marks = nil
	}
	here := func(i int) bool { return counts(b, i) && early == (marks != nil && marks[i]) }
	n := 0
	for i := range b.Targets {
		if here(i) {
			n++
		}
	}
	p := predictions{at: t.ints.take(n), rows: t.ints.take(n), targets: t.ints.take(n), weights: t.mem.take(n)[:0]}
	if b.Allowed != nil {
		p.allowed = t.allowed.take(n)
	}
	for i := range b.Targets {
		if here(i) {
			p.add(b, i)
		}
	}
	return p
}

// add appends prediction i of the batch.
func (p *predictions) add(b *Batch, i int) {
	p.at, p.rows = append(p.at, int32(i)), append(p.rows, b.row(i))
	p.targets, p.weights = append(p.targets, b.Targets[i]), append(p.weights, b.Weights[i])
	if p.allowed != nil {
		p.allowed = append(p.allowed, b.Allowed[i])
	}
}

// loss is their part of the loss, given the hidden states of their rows.
func (p *predictions) loss(t *Tape, hidden *Var, head *Param, norm float32) *Var {
	return t.LinearCrossEntropy(hidden, head, p.targets, p.allowed, p.weights, norm)
}

// logProbs writes their log-probabilities to their places in out.
func (p *predictions) logProbs(t *Tape, hidden *Var, head *Param, temperature float32, out []float32) {
	if len(p.rows) == 0 {
		return
	}
	for i, v := range t.LinearLogProbs(hidden, head, p.targets, p.allowed, temperature) {
		out[p.at[i]] = v
	}
}

// Check reports what would make Loss or LogProbs panic.
func (d *Decoder) Check(b *Batch) error {
	vocab := int32(d.cfg.VocabSize)
	if len(b.Pos) != len(b.Tokens) {
		return fmt.Errorf("batch: %d tokens, but %d positions", len(b.Tokens), len(b.Pos))
	}
	for i, token := range b.Tokens {
		switch {
		case token < 0 || token >= vocab:
			return fmt.Errorf("batch: token %d at %d, the vocabulary has %d", token, i, vocab)
		case b.Pos[i] < 0 || int(b.Pos[i]) >= d.cfg.MaxPositions:
			return fmt.Errorf("batch: position %d at %d, the model takes up to %d tokens", b.Pos[i], i, d.cfg.MaxPositions)
		}
	}
	if err := b.checkDocuments(); err != nil {
		return err
	}
	if err := b.checkPredictions(vocab); err != nil {
		return err
	}
	return b.checkAllowed(vocab)
}

func (b *Batch) checkDocuments() error {
	n := len(b.Tokens)
	for i, start := range b.Docs {
		if (i == 0 && start != 0) || (i > 0 && start <= b.Docs[i-1]) || int(start) >= n {
			return fmt.Errorf("batch: document %d starts at %d, want ascending starts from 0 below %d", i, start, n)
		}
	}
	if n > 0 && len(b.Docs) == 0 {
		return fmt.Errorf("batch: %d tokens in no document", n)
	}
	return b.checkParents()
}

// checkParents demands depth-first order.
func (b *Batch) checkParents() error {
	if b.Parents != nil && len(b.Parents) != len(b.Docs) {
		return fmt.Errorf("batch: %d documents, but %d parents", len(b.Docs), len(b.Parents))
	}
	for i, parent := range b.Parents {
		up := int32(i - 1)
		for up >= 0 && up != parent {
			up = b.Parents[up]
		}
		if up != parent {
			return fmt.Errorf("batch: document %d has parent %d, want -1, the document before it or one above that", i, parent)
		}
	}
	return nil
}

func (b *Batch) checkPredictions(vocab int32) error {
	n := len(b.Tokens)
	if b.Rows != nil {
		n = len(b.Rows)
	}
	if len(b.Targets) != n || len(b.Weights) != n || b.Allowed != nil && len(b.Allowed) != n || b.Early != nil && len(b.Early) != n {
		return fmt.Errorf("batch: %d predictions, but %d targets, %d weights, %d lists of allowed tokens (or none) and %d early marks (or none)",
			n, len(b.Targets), len(b.Weights), len(b.Allowed), len(b.Early))
	}
	for i, target := range b.Targets {
		switch {
		case b.row(i) < 0 || int(b.row(i)) >= len(b.Tokens):
			return fmt.Errorf("batch: prediction %d is of token %d of %d", i, b.row(i), len(b.Tokens))
		case target >= vocab || (target < 0 && b.Weights[i] != 0):
			return fmt.Errorf("batch: target %d with weight %g at %d, the vocabulary has %d", target, b.Weights[i], i, vocab)
		}
	}
	return nil
}

func (b *Batch) checkAllowed(vocab int32) error {
	for i, list := range b.Allowed {
		for _, token := range list {
			if token < 0 || token >= vocab {
				return fmt.Errorf("batch: allowed token %d at %d, the vocabulary has %d", token, i, vocab)
			}
		}
		if len(list) > 0 && b.Targets[i] >= 0 && !slices.Contains(list, b.Targets[i]) {
			return fmt.Errorf("batch: target %d at %d is not one of the allowed tokens %v", b.Targets[i], i, list)
		}
	}
	return nil
}
