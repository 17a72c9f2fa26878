package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/embed/backend"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/text"
)

const (
	// cacheDir keeps text embeddings by content, whatever becomes of the stages.
	cacheDir = "cache"
	// embedBlock is how many items are embedded between two notes of progress.
	embedBlock = 4096
)

// embedStage opens the text embedder, fitted to the catalog where its kind is
// fitted, embeds the items and leaves what embeds further ones alike.
func (w *world) embedStage(ctx context.Context, dir string) error {
	ds, err := w.dataset()
	if err != nil {
		return err
	}
	o := w.job.Options.Embed
	o.Cache = w.embedCache()
	m, err := backend.Open(ctx, o, slices.Values(itemTexts(ds.Catalog)), w.job.Options.Seed)
	if err != nil {
		return err
	}
	began := time.Now()
	w.vectors, err = w.embedItems(ctx, ds.Catalog, m)
	if err := errors.Join(err, m.Close()); err != nil {
		return err
	}
	w.say("%s", embedded(w.vectors, m, time.Since(began)))
	return m.Save(dir)
}

// embedCache is the folder of the cache of embeddings.
func (w *world) embedCache() string { return cmp.Or(w.job.Options.Embed.Cache, w.path(cacheDir)) }

// embedding is a vector of each item's text, (items, dim), by the embedder that
// the embed stage left.
func (w *world) embedding(ctx context.Context) (embed.Matrix, error) {
	ds, err := w.dataset()
	if err != nil || w.vectors.Data != nil {
		return w.vectors, err
	}
	m, err := backend.Load(w.path(StageEmbed), w.embedCache())
	if err != nil {
		return embed.Matrix{}, err
	}
	w.vectors, err = w.embedItems(ctx, ds.Catalog, m)
	return w.vectors, errors.Join(err, m.Close())
}

func (w *world) embedItems(ctx context.Context, catalog *market.Catalog, m *backend.Model) (embed.Matrix, error) {
	all := embed.NewMatrix(catalog.Len(), m.Dim())
	texts := itemTexts(catalog)
	for from := 0; from < len(texts); from += embedBlock {
		to := min(from+embedBlock, len(texts))
		block, err := m.Embed(ctx, texts[from:to])
		if err != nil {
			return embed.Matrix{}, err
		}
		copy(all.Data[from*all.Cols:], block.Data)
		w.work(float64(to), float64(len(texts)), "items embedded")
	}
	return all, nil
}

// embedded says how the items were embedded.
func embedded(vectors embed.Matrix, m *backend.Model, took time.Duration) string {
	empty := 0
	for i := range vectors.Rows {
		if !slices.ContainsFunc(vectors.Row(i), func(x float32) bool { return x != 0 }) {
			empty++
		}
	}
	facts := []string{fmt.Sprintf("%d items as vectors of length %d by %s in %.1f s", vectors.Rows, vectors.Cols, m.Name(), took.Seconds())}
	if hits, _ := m.Cached(); hits > 0 {
		facts = append(facts, fmt.Sprintf("%d were cached", hits))
	}
	if cut, tokens := m.Cut(); cut > 0 {
		facts = append(facts, fmt.Sprintf("%d texts were cut to %d tokens", cut, tokens))
	}
	if empty > 0 {
		facts = append(facts, fmt.Sprintf("%d have no words and got zeros", empty))
	}
	return strings.Join(facts, ", ")
}

func itemTexts(catalog *market.Catalog) []string {
	texts := make([]string, catalog.Len())
	for i := range texts {
		texts[i] = text.ItemText(&catalog.Items[i])
	}
	return texts
}
