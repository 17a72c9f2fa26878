package pipeline

import (
	"context"
	"path/filepath"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/prompt"
	"github.com/gr2/gr2/internal/rerank"
	"github.com/gr2/gr2/internal/sid"
	"github.com/gr2/gr2/internal/token"
)

// tokenizerStage trains the byte-level BPE on the catalog's text and appends
// the semantic ID tokens and those of the prompts.
func (w *world) tokenizerStage(_ context.Context, dir string) error {
	ds, err := w.dataset()
	if err != nil {
		return err
	}
	index, err := w.sids()
	if err != nil {
		return err
	}
	opt := w.job.Options.promptOptions()
	added := append(prompt.SpecialTokens(opt), sid.TokenNames(index.Levels(), index.Width())...)
	corpus, err := prompt.Corpus(ds.Catalog, opt)
	if err != nil {
		return err
	}
	tok, err := token.Train(corpus, token.Options{
		VocabSize: w.job.Options.Tokenizer.Vocab,
		Required:  prompt.RequiredTokens(),
		Added:     added,
		Control:   prompt.ControlTokens(),
	})
	if err != nil {
		return err
	}
	w.say("vocabulary: %d tokens, %d of them added", tok.Size(), len(added))
	return durable.Write(filepath.Join(dir, rerank.TokenizerFile), tok.Write)
}
