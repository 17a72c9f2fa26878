package pipeline

import (
	"context"
	"path/filepath"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/prompt"
	"github.com/gr2/gr2/internal/rerank"
	"github.com/gr2/gr2/internal/sid"
	"github.com/gr2/gr2/internal/sid/fit"
	"github.com/gr2/gr2/internal/sid/quality"
	"github.com/gr2/gr2/internal/token"
)

// What the sid stage says of its fit, and of the codes.
const (
	sidReportFile = "stats.json"
	qualityFile   = "quality.json"
)

// sidStage fits semantic IDs to the embedding of the catalog.
func (w *world) sidStage(ctx context.Context, dir string) error {
	ds, err := w.dataset()
	if err != nil {
		return err
	}
	emb, err := w.embedding(ctx)
	if err != nil {
		return err
	}
	o := &w.job.Options.SID
	f, err := fit.Build(ds.Catalog, emb, fit.Options{
		Levels: o.Levels, Width: o.Width, Iterations: o.Iterations, Seed: w.job.Options.Seed,
	})
	if err != nil {
		return err
	}
	w.say("semantic IDs: %.2f%% unique, %.2f%% before repair", 100*f.Report.Index.Uniqueness, 100*f.Report.Nearest.Uniqueness)
	if err := durable.WriteJSON(filepath.Join(dir, sidReportFile), f.Report); err != nil {
		return err
	}
	split, err := w.split()
	if err != nil {
		return err
	}
	measured, err := quality.Measure(f.Index, ds.Catalog, split.Train, w.job.Options.Seed)
	if err != nil {
		return err
	}
	if err := durable.WriteJSON(filepath.Join(dir, qualityFile), measured); err != nil {
		return err
	}
	return saveSIDs(dir, f.Index, f.Quantizer, f.Assign)
}

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
