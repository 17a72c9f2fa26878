package fit

import (
	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/sid"
	"github.com/gr2/gr2/internal/text"
)

// Options of a fit. A zero field, but Seed, takes its default.
type Options struct {
	Dim        int    `json:"dim"`        // of the embedding; default 128, fewer when the catalog's rank is lower
	Levels     int    `json:"levels"`     // of a code; default 4
	Width      int    `json:"width"`      // codes a level; default 256
	Iterations int    `json:"iterations"` // of k-means, at most; default 25
	Seed       uint64 `json:"seed"`
}

func (o Options) withDefaults() Options {
	for _, f := range []struct {
		field *int
		value int
	}{{&o.Dim, 128}, {&o.Levels, sid.Levels}, {&o.Width, sid.Width}, {&o.Iterations, 25}} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	return o
}

// Validate names the field that is out of range.
func (o Options) Validate() error {
	o = o.withDefaults()
	switch {
	case o.Dim < 1 || o.Dim > 4096:
		return fault.Usagef("sid: dim %d; use 1 to 4096", o.Dim)
	case o.Levels < 1 || o.Levels > 8:
		return fault.Usagef("sid: levels %d; use 1 to 8", o.Levels)
	case o.Width < 2 || o.Width > 256:
		return fault.Usagef("sid: width %d; use 2 to 256", o.Width)
	case o.Iterations < 1:
		return fault.Usagef("sid: iterations %d; use 1 or more", o.Iterations)
	}
	return nil
}

// Report says how a fit went.
type Report struct {
	Options Options   `json:"options"`
	Dim     int       `json:"dim"`     // of the embedding in fact
	Error   float64   `json:"error"`   // mean squared distance from an embedding to the sum of its nearest centroids, over mean squared length
	Nearest sid.Stats `json:"nearest"` // were every level the nearest code: collisions and all
	Index   sid.Stats `json:"index"`   // as assigned
}

// Build fits semantic IDs for the catalog.
func Build(catalog *market.Catalog, opt Options) (*sid.Index, Report, error) {
	if err := opt.Validate(); err != nil {
		return nil, Report{}, err
	}
	opt = opt.withDefaults()
	if catalog.Len() == 0 {
		return nil, Report{}, fault.Inputf("sid: the catalog has no items")
	}
	emb := embed.TFIDF(itemTexts(catalog), opt.Dim, opt.Seed)
	books, nearest, err := RQKMeans(emb, opt)
	if err != nil {
		return nil, Report{}, err
	}
	ids := make([]string, catalog.Len())
	for i := range ids {
		ids[i] = catalog.Items[i].ID
	}
	codes, err := Assign(books, emb, ids, opt.Seed)
	if err != nil {
		return nil, Report{}, err
	}
	hash := sid.CatalogHash(catalog)
	before, err := sid.New(hash, opt.Levels, opt.Width, nearest)
	if err != nil {
		return nil, Report{}, err
	}
	index, err := sid.New(hash, opt.Levels, opt.Width, codes)
	if err != nil {
		return nil, Report{}, err
	}
	report := Report{opt, emb.Cols, books.relativeError(emb, nearest), before.Stats(), index.Stats()}
	return index, report, nil
}

func itemTexts(catalog *market.Catalog) []string {
	docs := make([]string, catalog.Len())
	for i := range docs {
		docs[i] = text.ItemText(&catalog.Items[i])
	}
	return docs
}
