package pipeline

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/gr2/gr2/internal/control"
	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/evidence"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rerank"
)

// evidenceStage counts the training events and fits the buckets on the
// training slates of all orders, each user's own fold left out.
func (w *world) evidenceStage(_ context.Context, dir string) error {
	ds, err := w.dataset()
	if err != nil {
		return err
	}
	split, err := w.split()
	if err != nil {
		return err
	}
	stats, err := evidence.Build(ds.Catalog, split.Train, evidence.Options{Users: ds.Users})
	if err != nil {
		return err
	}
	orders, err := w.orderNames()
	if err != nil {
		return err
	}
	var rows [][]float32
	slates, unscored := 0, 0
	for _, name := range orders {
		set, err := w.slates(name)
		if err != nil {
			return err
		}
		for _, c := range w.cases(stats, set.train.Slates, true) {
			rows = append(rows, c.Evidence...)
			if !c.Slate.Scored() {
				unscored++
			}
		}
		slates += len(set.train.Slates)
	}
	if len(rows) == 0 {
		return fault.Inputf("no training slate holds a positive: the data set is too small for this split")
	}
	names := w.job.Options.promptOptions().EvidenceNames
	buckets, err := evidence.FitBuckets(rows, names, w.job.Options.Prompt.EvidenceBuckets-1)
	if err != nil {
		return err
	}
	if buckets.ReadsScores() && unscored > 0 {
		w.say("WARNING: %d of %d training slates have no scores, and prompts show how scores differ: such slates are refused when they are served; leave scoreGap out of prompt.evidence_names", unscored, slates)
	}
	w.say("evidence of %d candidates in %d-step buckets: %v", len(rows), w.job.Options.Prompt.EvidenceBuckets, names)
	if err := durable.Write(filepath.Join(dir, rerank.EvidenceStats), stats.Write); err != nil {
		return err
	}
	return durable.WriteJSON(filepath.Join(dir, rerank.EvidenceBuckets), buckets)
}

// readEvidence reads what evidenceStage left.
func readEvidence(catalog *market.Catalog, dir string) (*evidence.Stats, *evidence.Buckets, error) {
	var stats *evidence.Stats
	err := readFile(filepath.Join(dir, rerank.EvidenceStats), func(r io.Reader) (err error) {
		stats, err = evidence.Read(catalog, r)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	path := filepath.Join(dir, rerank.EvidenceBuckets)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	var buckets evidence.Buckets
	if err := json.Unmarshal(b, &buckets); err != nil {
		return nil, nil, fault.Corruptf("%s: %w", path, err)
	}
	return stats, &buckets, buckets.Validate()
}

// cases pairs slates with their raw evidence. For slates that train anything,
// counts leave out the user's own fold; those of validation and test were
// never counted.
func (w *world) cases(stats *evidence.Stats, slates []market.Slate, training bool) []control.Case {
	out := make([]control.Case, len(slates))
	kernel.Parallel(len(slates), func(i int) {
		s := &slates[i]
		exclude := evidence.None
		if training {
			exclude = w.foldOf(stats, s)
		}
		out[i] = control.Case{Slate: s, Evidence: stats.Raw(s, exclude)}
	})
	return out
}

// foldOf is the fold of the slate's user.
func (w *world) foldOf(stats *evidence.Stats, s *market.Slate) int {
	if s.User < 0 {
		return evidence.None
	}
	return evidence.Fold(w.data.Users[s.User], stats.Options().Folds)
}

// withPositive are the slates that a ranking can get right or wrong.
func withPositive(slates []market.Slate) []market.Slate {
	return slices.DeleteFunc(slices.Clone(slates), func(s market.Slate) bool { return !s.Positive() })
}
