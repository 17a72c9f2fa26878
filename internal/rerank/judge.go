package rerank

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/gr2/gr2/internal/infer"
	"github.com/gr2/gr2/internal/prompt"
)

// rankJudged orders the places by how much likelier the model finds "yes" than
// "no" at the end of each candidate's line, ties by place. Nothing behind the
// candidates is read.
func (r *Reranker) rankJudged(session *infer.Session, p *prompt.Prompted, res *Result) error {
	start := time.Now()
	no, yes := r.parts.Builder.JudgeTokens()
	last := p.Judged[len(p.Judged)-1]
	res.PromptTokens = last + 1
	logits, err := session.Judge(p.Tokens[:last+1], p.Judged, []int32{no, yes}, r.parts.JudgeLayers)
	res.Prefill = time.Since(start)
	if err != nil {
		return err
	}
	margin := make([]float32, len(logits))
	for i, l := range logits {
		if margin[i] = l[1] - l[0]; margin[i] != margin[i] {
			return errors.New("the model's logits are not numbers; its weights are broken")
		}
	}
	res.Places = identity(len(margin))
	slices.SortStableFunc(res.Places, func(a, b int) int { return cmp.Compare(margin[b], margin[a]) })
	return nil
}
