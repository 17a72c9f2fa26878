package pipeline

import (
	"path/filepath"

	"github.com/gr2/gr2/internal/rerank"
)

// Verify compares what a run serves with, file by file, with the manifests of
// its stages. stage is that of the policy, "" for the run's own. Stages without
// a manifest are under way, or put there by hand, and are not checked.
func Verify(root, stage string) error {
	if stage == "" {
		var card rerank.Card
		if err := readJSON(filepath.Join(root, rerank.CardFile), &card); err != nil {
			return nil // rerank.Open says what is wrong with the card
		}
		stage = card.Stage
	}
	for _, part := range []struct{ stage, prefix string }{
		{StageCatalog, ""}, {StageSID, rerank.SIDIndex}, {StageEvidence, ""}, {stage, rerank.ModelDir + "/"},
	} {
		dir := filepath.Join(root, part.stage)
		m, err := readManifest(dir)
		if err != nil {
			continue
		}
		if err := m.check(dir, part.prefix); err != nil {
			return err
		}
	}
	return nil
}
