package fit

import (
	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/sid"
)

// What an index can hold: see package sid.
const (
	maxLevels = 8
	maxWidth  = 256
)

// Options of a fit. A zero field, but Seed, takes its default.
type Options struct {
	Levels     int    `json:"levels"`     // of a code; default 4
	Width      int    `json:"width"`      // codes a level; default 256
	Iterations int    `json:"iterations"` // of k-means, at most; default 25
	Sample     int    `json:"sample"`     // rows that k-means sees, at most; default 200,000
	Seed       uint64 `json:"seed"`

	// Balanced bounds the items of a code while fitting: each level's codes get at
	// most 1+Slack times their even share. Assignment does not know the bound.
	Balanced bool    `json:"balanced"`
	Slack    float64 `json:"slack"` // default 0.1
}

func (o Options) withDefaults() Options {
	for _, f := range []struct {
		field *int
		value int
	}{{&o.Levels, sid.Levels}, {&o.Width, sid.Width}, {&o.Iterations, 25}, {&o.Sample, 200_000}} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	if o.Slack == 0 {
		o.Slack = 0.1
	}
	return o
}

// Validate names the field that is out of range.
func (o Options) Validate() error {
	o = o.withDefaults()
	switch {
	case o.Levels < 1 || o.Levels > maxLevels:
		return fault.Usagef("sid: levels %d; use 1 to %d", o.Levels, maxLevels)
	case o.Width < 2 || o.Width > maxWidth:
		return fault.Usagef("sid: width %d; use 2 to %d", o.Width, maxWidth)
	case o.Iterations < 1:
		return fault.Usagef("sid: iterations %d; use 1 or more", o.Iterations)
	case o.Sample < 1:
		return fault.Usagef("sid: sample %d; use 1 or more rows", o.Sample)
	case !(o.Slack > 0 && o.Slack <= 100):
		return fault.Usagef("sid: slack %v; use more than 0, at most 100", o.Slack)
	}
	return nil
}

// Report says how a fit went.
type Report struct {
	Options Options   `json:"options"`
	Dim     int       `json:"dim"`     // of the embedding
	Error   float64   `json:"error"`   // mean squared distance from an embedding to the sum of its nearest centroids, over mean squared length
	Errors  []float64 `json:"errors"`  // the same of the first levels alone, by their number from 1
	Nearest sid.Stats `json:"nearest"` // were every level the nearest code: collisions and all
	Index   sid.Stats `json:"index"`   // as assigned
}

// Fitted is the semantic IDs of a catalog and what gives later items theirs: see
// Grow.
type Fitted struct {
	Index     *sid.Index
	Quantizer *Quantizer
	Assign    AssignOptions
	Report    Report
}

// Build fits semantic IDs for the catalog by the embedding of its items' texts,
// (items, dim).
func Build(catalog *market.Catalog, emb embed.Matrix, opt Options) (*Fitted, error) {
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	opt = opt.withDefaults()
	if catalog.Len() == 0 {
		return nil, fault.Inputf("sid: the catalog has no items")
	}
	if emb.Rows != catalog.Len() {
		return nil, fault.Inputf("sid: %d embeddings for %d items", emb.Rows, catalog.Len())
	}
	q, err := RQKMeans(emb, opt)
	if err != nil {
		return nil, err
	}
	ids := sid.IDs(catalog)
	nearest := q.Books.Nearest(emb)
	before, err := sid.Measure(nearest, opt.Levels, opt.Width)
	if err != nil {
		return nil, err
	}
	assign := AssignOptions{Rule: Free, Seed: opt.Seed}
	codes, err := Assign(q, emb, ids, assign)
	if err != nil {
		return nil, err
	}
	index, err := sid.New(ids, opt.Levels, opt.Width, codes)
	if err != nil {
		return nil, err
	}
	return &Fitted{index, q, assign, Report{opt, emb.Cols, q.RelativeError(emb, nearest), q.levelErrors(emb, nearest), before, index.Stats()}}, nil
}
