package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gr2/gr2/internal/baseline"
	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/eval"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/sid"
	"github.com/gr2/gr2/internal/sid/fit"
	"github.com/gr2/gr2/internal/text"
	"github.com/gr2/gr2/internal/train"
	"github.com/gr2/gr2/internal/train/nextitem"
)

// settings are what a cell is a function of, beside the code.
type settings struct {
	Dataset     string           `json:"dataset"`
	Variant     variant          `json:"variant"`
	Seed        uint64           `json:"seed"`
	Recommender nextitem.Options `json:"recommender"`
}

// cell is one measurement, as its file holds it.
type cell struct {
	Settings   settings        `json:"settings"`
	Quantizer  json.RawMessage `json:"quantizer"` // its options, resolved
	Uniqueness uniqueness      `json:"uniqueness"`
	Error      float64         `json:"error"` // of quantising with the nearest codes: see fit.Quantizer.RelativeError
	Codes      sid.Stats       `json:"codes"` // that the recommender was trained on
	Order      eval.CodeOrder  `json:"order"`
	Training   train.Result    `json:"training"`
	Validation *measures       `json:"validation,omitempty"` // of the validation part
	Test       measures        `json:"test"`
	Hits       hits            `json:"hits"`
	Seconds    seconds         `json:"seconds"`
}

// uniqueness is the share of items whose code no other item has.
type uniqueness struct {
	Nearest  float64 `json:"nearest"`  // were every item's code the nearest
	Assigned float64 `json:"assigned"` // by the variant's rule
	Repaired float64 `json:"repaired"` // by rule free
}

type measures struct {
	Targets int     `json:"targets"`
	R10     float64 `json:"R@10"`
	N10     float64 `json:"N@10"`
}

// hits are the test targets, by number, whose item has a rank up to 10, and that
// rank. Items of one code share their expected rank.
type hits struct {
	Target []int     `json:"target"`
	Rank   []float64 `json:"rank"`
}

// seconds are of this machine, whatever else it did.
type seconds struct {
	Tokenizer  float64 `json:"tokenizer"`
	Training   float64 `json:"training"`
	Evaluation float64 `json:"evaluation"`
}

// bench is a data set, ready for cells.
type bench struct {
	name  string
	ds    *market.Dataset
	split *market.Split
}

// splitSeed numbers the items and orders the events of one day, the same for all
// cells, which are paired by target.
const splitSeed = 1

func openBench(name, dir string) (*bench, error) {
	ds, err := market.Open(dir)
	if err != nil {
		return nil, err
	}
	ds.Number(splitSeed) // so that nothing can follow the order of the files
	split, err := market.LeaveOneOut(ds, splitSeed)
	return &bench{name, ds, split}, err
}

// path is the file of a cell.
func (s *settings) path(results string) string {
	return filepath.Join(results, s.Dataset, fmt.Sprintf("%s-%d.json", s.Variant.Name, s.Seed))
}

// readCell is the cell of a file, nil when there is none. A file of other
// settings is an error.
func readCell(results string, s settings) (*cell, error) {
	path := s.path(results)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var c cell
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if !equalJSON(c.Settings, s) {
		return nil, fmt.Errorf("%s has other settings than this program: remove it to measure it anew", path)
	}
	return &c, nil
}

// equalJSON tells whether two settings are the same in a file.
func equalJSON(a, b settings) bool {
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && bytes.Equal(x, y)
}

// measure makes the cell. work holds the state of its training while it lasts.
func (b *bench) measure(ctx context.Context, work string, s settings, progress func(train.Status)) (*cell, error) {
	c := &cell{Settings: s}
	began := time.Now()
	index, err := b.tokenize(ctx, c)
	if err != nil {
		return nil, err
	}
	c.Codes, c.Order = index.Stats(), eval.ProbeCodeOrder(index, b.ds.Catalog)
	c.Seconds.Tokenizer = time.Since(began).Seconds()

	began = time.Now()
	dir := filepath.Join(work, s.Dataset, fmt.Sprintf("%s-%d", s.Variant.Name, s.Seed))
	o := s.Recommender
	o.Seed = s.Seed
	recommender, result, err := nextitem.Fit(ctx, dir, index, b.split, o, progress)
	if err != nil {
		return nil, err
	}
	c.Training, c.Seconds.Training = result, time.Since(began).Seconds()

	began = time.Now()
	ranks, err := recommender.Ranks(ctx, b.split.Valid, false)
	if err != nil {
		return nil, err
	}
	valid := measuresOf(ranks)
	c.Validation = &valid
	if ranks, err = recommender.Ranks(ctx, b.split.Test, false); err != nil {
		return nil, err
	}
	c.take(ranks)
	c.Seconds.Evaluation = time.Since(began).Seconds()
	return c, os.RemoveAll(dir)
}

// tokenize gives the items their codes.
func (b *bench) tokenize(ctx context.Context, c *cell) (*sid.Index, error) {
	v, seed := &c.Settings.Variant, c.Settings.Seed
	items := b.ds.Catalog.Items
	texts, ids := make([]string, len(items)), make([]string, len(items))
	for i := range items {
		texts[i], ids[i] = text.ItemText(&items[i]), items[i].ID
	}
	lsa, err := embed.FitLSA(ctx, slices.Values(texts), embed.LSAOptions{Seed: seed})
	if err != nil {
		return nil, err
	}
	emb, err := lsa.Embed(ctx, texts)
	if err != nil {
		return nil, err
	}
	q, err := v.quantizer(ctx, emb, b.split, seed)
	if err != nil {
		return nil, err
	}
	latent := q.Latent(emb)
	assign := func(opt fit.AssignOptions) (*sid.Index, []uint8, error) {
		opt.Seed = seed
		codes, err := fit.Assign(q, latent, ids, opt)
		if err != nil {
			return nil, nil, err
		}
		index, err := sid.New(sid.IDs(b.ds.Catalog), len(q.Books.Levels), q.Books.Width, codes)
		return index, codes, err
	}
	nearest, codes, err := assign(fit.AssignOptions{Rule: fit.Nearest})
	if err != nil {
		return nil, err
	}
	repaired, _, err := assign(fit.AssignOptions{Rule: fit.Free})
	if err != nil {
		return nil, err
	}
	index, _, err := assign(v.Assign)
	if err != nil {
		return nil, err
	}
	c.Quantizer = q.Options
	c.Error = q.RelativeError(latent, codes)
	c.Uniqueness = uniqueness{nearest.Stats().Uniqueness, index.Stats().Uniqueness, repaired.Stats().Uniqueness}
	return index, nil
}

// measuresOf are the means over targets of one item each.
func measuresOf(ranks [][]float64) measures {
	each := make([]baseline.Measures, len(ranks))
	for i, r := range ranks {
		each[i] = baseline.Measured(r)
	}
	m := baseline.Mean(each)
	return measures{m.Targets, m.R10, m.N10}
}

// take fills in what the ranks of the test targets say.
func (c *cell) take(ranks [][]float64) {
	c.Test = measuresOf(ranks)
	for i, r := range ranks {
		if r[0] <= 10 {
			c.Hits.Target, c.Hits.Rank = append(c.Hits.Target, i), append(c.Hits.Rank, r[0])
		}
	}
}

// columns are R@10 and N@10 of each target.
func (c *cell) columns() (recall, ndcg []float64) {
	ranks := make([]float64, c.Test.Targets)
	for i := range ranks {
		ranks[i] = math.Inf(1)
	}
	for i, at := range c.Hits.Target {
		ranks[at] = c.Hits.Rank[i]
	}
	for _, r := range ranks {
		m := baseline.Measured([]float64{r})
		recall, ndcg = append(recall, m.R10), append(ndcg, m.N10)
	}
	return recall, ndcg
}

// write stores the cell.
func (c *cell) write(results string) error {
	path := c.Settings.path(results)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return durable.WriteBytes(path, append(b, '\n'))
}
