package pipeline

import (
	"context"
	"encoding/csv"
	"io"
	"strconv"

	"github.com/gr2/gr2/internal/evidence"
	"github.com/gr2/gr2/internal/market"
)

// Parts of exported slates. Those of the users whom sft.valid_share holds out
// from training are partHeld: they choose among checkpoints.
const (
	partTrain = "train"
	partValid = "valid"
	partHeld  = "held"
	partTest  = "test"
)

// ExportSlates writes the slates of a run with the values of evidence as CSV, one
// candidate a row in the incoming order, for models of other kinds on the same
// data: what the linear control and the policy know, before buckets. Training
// slates are cross-fitted. The run needs its evidence stage; nothing of it changes.
func ExportSlates(ctx context.Context, job *Job, out io.Writer) (rows int, err error) {
	if err := job.standsFor(StageEvidence); err != nil {
		return 0, err
	}
	return newWorld(job).exportSlates(ctx, out)
}

func (w *world) exportSlates(ctx context.Context, out io.Writer) (rows int, err error) {
	stats, _, err := w.evidence()
	if err != nil {
		return 0, err
	}
	orders, err := w.orderNames()
	if err != nil {
		return 0, err
	}
	table := csv.NewWriter(out)
	header := append([]string{"order", "part", "slate", "user", "item", "rank", "score", "grade"}, evidence.Names()...)
	if err := table.Write(header); err != nil {
		return 0, err
	}
	for _, order := range orders {
		set, err := w.slates(order)
		if err != nil {
			return rows, err
		}
		for _, p := range set.parts() {
			for _, c := range w.cases(stats, p.Slates, p.name == partTrain) {
				if err := ctx.Err(); err != nil {
					return rows, err
				}
				part := p.name
				if part == partValid && w.heldOut(c.Slate) {
					part = partHeld
				}
				if err := w.writeCandidates(table, order, part, c.Slate, c.Evidence); err != nil {
					return rows, err
				}
				rows += len(c.Slate.Candidates)
			}
		}
	}
	table.Flush()
	return rows, table.Error()
}

// writeCandidates writes a slate.
func (w *world) writeCandidates(table *csv.Writer, order, part string, s *market.Slate, raw [][]float32) error {
	user := ""
	if s.User >= 0 {
		user = w.data.Users[s.User]
	}
	number := func(v float32) string { return strconv.FormatFloat(float64(v), 'g', -1, 32) }
	for k, c := range s.Candidates {
		row := []string{order, part, s.ID, user, w.data.Catalog.Items[c.Item].ID, strconv.Itoa(k + 1), number(c.Score), strconv.Itoa(int(s.Grades[k]))}
		for _, v := range raw[k] {
			row = append(row, number(v))
		}
		if err := table.Write(row); err != nil {
			return err
		}
	}
	return nil
}
