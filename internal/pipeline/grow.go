package pipeline

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/embed/backend"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rerank"
	"github.com/gr2/gr2/internal/sid"
	"github.com/gr2/gr2/internal/sid/fit"
	"github.com/gr2/gr2/internal/sid/quality"
	"github.com/gr2/gr2/internal/text"
)

// Beside the index, what codes items that come later.
const (
	quantizerFile = "quantizer.safetensors"
	assignFile    = "assign.json"
)

// saveSIDs leaves semantic IDs in a folder, the index last: with it the folder
// is whole.
func saveSIDs(dir string, index *sid.Index, q *fit.Quantizer, assign fit.AssignOptions) error {
	if err := durable.WriteJSON(filepath.Join(dir, assignFile), assign); err != nil {
		return err
	}
	if err := durable.Write(filepath.Join(dir, quantizerFile), q.Write); err != nil {
		return err
	}
	return durable.Write(filepath.Join(dir, rerank.SIDIndex), index.Write)
}

// OpenSIDs maps the index of a folder with semantic IDs: a run's, or one that
// GrowSIDs made.
func OpenSIDs(root string) (*sid.Index, error) {
	return sid.Open(filepath.Join(root, StageSID, rerank.SIDIndex))
}

// ReadQuality reads what was measured of the semantic IDs of a folder.
func ReadQuality(root string) (*quality.Report, error) {
	var r quality.Report
	if err := readJSON(filepath.Join(root, StageSID, qualityFile), &r); err != nil {
		return nil, err
	}
	return &r, nil
}

// GrowSIDs codes the items of a data set by the embedder and the quantizer of a
// folder with semantic IDs, without a new fit: see fit.Grow. The folder out, new
// or empty, gets the catalog, the same embedder and quantizer and the index, so
// that it can grow in its turn.
func GrowSIDs(ctx context.Context, root, dataDir, out string) (fit.Growth, error) {
	if entries, err := os.ReadDir(out); len(entries) > 0 || err != nil && !errors.Is(err, os.ErrNotExist) {
		return fit.Growth{}, fault.Usagef("%s is not an empty folder: choose another --out", out)
	}
	ds, err := market.Open(dataDir)
	if err != nil {
		return fit.Growth{}, err
	}
	old, err := OpenSIDs(root)
	if err != nil {
		return fit.Growth{}, err
	}
	defer old.Close()
	q, assign, err := readCoder(filepath.Join(root, StageSID))
	if err != nil {
		return fit.Growth{}, err
	}
	m, err := backend.Load(filepath.Join(root, StageEmbed), "")
	if err != nil {
		return fit.Growth{}, err
	}
	index, growth, err := fit.Grow(old, q, assign, sid.IDs(ds.Catalog), func(items []int32) (embed.Matrix, error) {
		return embedSome(ctx, m, ds.Catalog, items)
	})
	if err := errors.Join(err, m.Close()); err != nil {
		return fit.Growth{}, err
	}
	if err := market.Save(filepath.Join(out, StageCatalog), &market.Dataset{Name: ds.Name, Catalog: ds.Catalog}); err != nil {
		return fit.Growth{}, err
	}
	if err := m.Save(filepath.Join(out, StageEmbed)); err != nil {
		return fit.Growth{}, err
	}
	measured, err := quality.Measure(index, ds.Catalog, ds.Events, assign.Seed)
	if err != nil {
		return fit.Growth{}, err
	}
	if err := durable.WriteJSON(filepath.Join(out, StageSID, qualityFile), measured); err != nil {
		return fit.Growth{}, err
	}
	return growth, saveSIDs(filepath.Join(out, StageSID), index, q, assign)
}

// readCoder reads what codes items.
func readCoder(dir string) (q *fit.Quantizer, assign fit.AssignOptions, err error) {
	path := filepath.Join(dir, quantizerFile)
	if err := readFile(path, func(r io.Reader) (err error) {
		q, err = fit.ReadQuantizer(r)
		return err
	}); err != nil {
		return nil, assign, err
	}
	path = filepath.Join(dir, assignFile)
	if err := readJSON(path, &assign); err != nil {
		return nil, assign, err
	}
	if err := assign.Validate(len(q.Books.Levels)); err != nil {
		return nil, assign, fault.Corruptf("%s: %w", path, err)
	}
	return q, assign, nil
}

// embedSome embeds items of a catalog, a block at a time.
func embedSome(ctx context.Context, m *backend.Model, catalog *market.Catalog, items []int32) (embed.Matrix, error) {
	all := embed.NewMatrix(len(items), m.Dim())
	texts := make([]string, 0, embedBlock)
	for from := 0; from < len(items); from += embedBlock {
		texts = texts[:0]
		for _, i := range items[from:min(from+embedBlock, len(items))] {
			texts = append(texts, text.ItemText(&catalog.Items[i]))
		}
		block, err := m.Embed(ctx, texts)
		if err != nil {
			return embed.Matrix{}, err
		}
		copy(all.Data[from*all.Cols:], block.Data)
	}
	return all, nil
}
