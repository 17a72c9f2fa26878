package rerank

import (
	"context"

	"github.com/gr2/gr2/internal/infer"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/prompt"
)

// freeRoom is how many times the tokens of a valid answer free decoding may
// write before it counts as one that does not end.
const freeRoom = 2

// Free decodes the answer to a slate greedily without the grammar and parses
// it: what the policy says by itself, whatever its mode. An answer that is no
// ranking of all candidates is an error of type *prompt.Invalid.
func (r *Reranker) Free(ctx context.Context, s *market.Slate) (prompt.Output, error) {
	k := len(s.Candidates)
	if err := ctx.Err(); err != nil {
		return prompt.Output{}, err
	}
	prompted, err := r.prompt(s, nil)
	if err != nil {
		return prompt.Output{}, err
	}
	session := r.sessions.Get().(*infer.Session)
	defer func() {
		session.Truncate(0)
		r.sessions.Put(session)
	}()
	if _, err := session.Feed(prompted.Tokens); err != nil {
		return prompt.Output{}, err
	}
	out, err := session.Generate(nil, infer.Sampler{}, r.parts.Builder.StopToken(), freeRoom*r.answerTokens(k))
	if err != nil {
		return prompt.Output{}, err
	}
	return prompt.Parse(r.parts.Tokenizer.Decode(out.Tokens), k)
}
