package rerank

import (
	"context"

	"github.com/gr2/gr2/internal/infer"
	"github.com/gr2/gr2/internal/market"
)

// freeRoom is how many times the tokens of a valid answer free decoding may
// write before it counts as one that does not end.
const freeRoom = 2

// Free decodes the answer to a slate greedily without the grammar: what the
// policy says by itself, whatever its mode. prompt.Parse tells what it is.
func (r *Reranker) Free(ctx context.Context, s *market.Slate) (string, error) {
	k := len(s.Candidates)
	if err := ctx.Err(); err != nil {
		return "", err
	}
	prompted, err := r.prompt(s, nil)
	if err != nil {
		return "", err
	}
	session := r.sessions.Get().(*infer.Session)
	defer func() {
		session.Truncate(0)
		r.sessions.Put(session)
	}()
	if _, err := session.Feed(prompted.Tokens); err != nil {
		return "", err
	}
	out, err := session.Generate(nil, infer.Sampler{}, r.parts.Builder.StopToken(), freeRoom*r.answerTokens(k))
	if err != nil {
		return "", err
	}
	return r.parts.Tokenizer.Decode(out.Tokens), nil
}
