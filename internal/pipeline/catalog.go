package pipeline

import (
	"context"
	"path/filepath"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/market"
)

// catalogStage leaves the items of the run, so that the run folder serves
// without the data set it was made from, and a summary of the split.
func (w *world) catalogStage(_ context.Context, dir string) error {
	ds, err := w.dataset()
	if err != nil {
		return err
	}
	split, err := w.split()
	if err != nil {
		return err
	}
	if err := market.Save(dir, &market.Dataset{Name: ds.Name, Catalog: ds.Catalog}); err != nil {
		return err
	}
	counts := ds.Counts()
	w.say("%s: %d users, %d items, %d events, %d impressions; split %s", ds.Name, len(ds.Users), ds.Catalog.Len(), len(ds.Events), len(ds.Slates), split.Protocol)
	return durable.WriteJSON(filepath.Join(dir, "summary.json"), map[string]any{
		"name": ds.Name, "counts": counts, "protocol": split.Protocol,
		"train_events": len(split.Train), "valid_targets": len(split.Valid), "test_targets": len(split.Test),
		"train_slates": len(split.TrainSlates), "valid_slates": len(split.ValidSlates), "test_slates": len(split.TestSlates),
		"cut_valid": split.CutValid, "cut_test": split.CutTest,
	})
}
