package fit

import (
	"encoding/json"

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
	Kind    string          `json:"kind"`    // of the quantizer
	Options json.RawMessage `json:"options"` // of its fitter
	Assign  AssignOptions   `json:"assign"`
	Dim     int             `json:"dim"`     // of the embedding
	Error   float64         `json:"error"`   // mean squared distance from a latent vector to the sum of its nearest centroids, over mean squared length
	Errors  []float64       `json:"errors"`  // the same of the first levels alone, by their number from 1
	Nearest sid.Stats       `json:"nearest"` // were every level the nearest code: collisions and all
	Index   sid.Stats       `json:"index"`   // as assigned
}

// Fitted is the semantic IDs of a catalog and what gives later items theirs: see
// Grow.
type Fitted struct {
	Index     *sid.Index
	Quantizer *Quantizer
	Assign    AssignOptions
	Report    Report
}

// Build gives the items of a catalog their codes by a quantizer that was fitted
// to emb, the embedding of their texts (items, dim).
func Build(catalog *market.Catalog, emb embed.Matrix, q *Quantizer, assign AssignOptions) (*Fitted, error) {
	if emb.Rows != catalog.Len() {
		return nil, fault.Inputf("sid: %d embeddings for %d items", emb.Rows, catalog.Len())
	}
	assign = assign.withDefaults()
	ids, latent := sid.IDs(catalog), q.Latent(emb)
	codes, err := Assign(q, latent, ids, assign)
	if err != nil {
		return nil, err
	}
	levels, width := len(q.Books.Levels), q.Books.Width
	nearest := q.Books.Nearest(latent)
	before, err := sid.Measure(nearest, levels, width)
	if err != nil {
		return nil, err
	}
	index, err := sid.New(ids, levels, width, codes)
	if err != nil {
		return nil, err
	}
	return &Fitted{index, q, assign, Report{q.Kind, q.Options, assign, emb.Cols,
		q.RelativeError(latent, nearest), q.levelErrors(latent, nearest), before, index.Stats()}}, nil
}
