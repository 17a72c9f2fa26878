package pipeline

import (
	"context"
	"path/filepath"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/market"
)

const summaryFile = "summary.json"

// summary is what the catalog stage says of data set and split.
type summary struct {
	Name         string        `json:"name"`
	Counts       market.Counts `json:"counts"`
	Protocol     string        `json:"protocol"`
	TrainEvents  int           `json:"train_events"`
	ValidTargets int           `json:"valid_targets"`
	TestTargets  int           `json:"test_targets"`
	TrainSlates  int           `json:"train_slates"` // logged impressions
	ValidSlates  int           `json:"valid_slates"`
	TestSlates   int           `json:"test_slates"`
	CutValid     int64         `json:"cut_valid"`
	CutTest      int64         `json:"cut_test"`
}

// catalogStage leaves the items of the run, so that the run folder serves
// without the data set it was made from, and a summary of the split.
func (w *world) catalogStage(_ context.Context, dir string) error {
	ds, err := w.dataset()
	if err != nil {
		return err
	}
	if _, err := w.orderNames(); err != nil {
		return err // before anything is trained
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
	return durable.WriteJSON(filepath.Join(dir, summaryFile), summary{
		Name: ds.Name, Counts: counts, Protocol: split.Protocol, TrainEvents: len(split.Train),
		ValidTargets: len(split.Valid), TestTargets: len(split.Test),
		TrainSlates: len(split.TrainSlates), ValidSlates: len(split.ValidSlates), TestSlates: len(split.TestSlates),
		CutValid: split.CutValid, CutTest: split.CutTest,
	})
}
