package nextitem

import (
	"context"
	"math"

	"github.com/gr2/gr2/internal/baseline"
	"github.com/gr2/gr2/internal/infer"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/sid"
)

// Recommender recommends items with a trained model. It is safe for concurrent
// use while nobody trains the model.
type Recommender struct {
	model *lm.Model
	vocabulary
	options Options
	engine  *infer.Engine
}

// New makes a recommender with fresh weights for the items of an index.
func New(index *sid.Index, o Options) (*Recommender, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	v := newVocabulary(newTrie(index), o.Gaps)
	model, err := lm.New(lm.Config{
		Architecture: lm.Llama, VocabSize: v.size(), Hidden: o.Hidden, Layers: o.Layers, Heads: o.Heads, KVHeads: o.KVHeads,
		HeadDim: o.Hidden / o.Heads, Intermediate: o.Intermediate,
		MaxPositions: (o.History+1)*(index.Levels()+1) + 1,
		RopeTheta:    10000, NormEps: 1e-6, TieEmbeddings: true,
		BOS: v.begin, EOS: lm.NoToken, PAD: lm.NoToken,
	}, rng.Hash(o.Seed, rng.Key("nextitem/init")))
	if err != nil {
		return nil, err
	}
	engine, err := infer.New(model)
	if err != nil {
		return nil, err
	}
	return &Recommender{model, v, o, engine}, nil
}

// Model is the decoder, for its file.
func (r *Recommender) Model() *lm.Model { return r.model }

// Recommendation is an item with its log-probability among the whole catalog.
type Recommendation struct {
	Item    int32
	LogProb float32
}

// group is items that share a code.
type group struct {
	items   []int32
	logProb float32
}

// queriesAtOnce bounds the histories that are held as tokens.
const queriesAtOnce = 1024

// search finds the best codes of each query, best first, with the given beam
// width. Items of a history are left out, unless keepSeen.
func (r *Recommender) search(ctx context.Context, queries []baseline.Query, width int, keepSeen bool, visit func(i int, found []group)) error {
	for from := 0; from < len(queries); from += queriesAtOnce {
		part := queries[from:min(from+queriesAtOnce, len(queries))]
		requests := make([]infer.BeamRequest, len(part))
		for i, q := range part {
			history := q.History[max(0, len(q.History)-r.options.History):]
			requests[i] = infer.BeamRequest{Session: r.engine.NewSession(), Prompt: r.prompt(history, q.Now), Trie: r.trie, Width: width}
			if !keepSeen {
				requests[i].Skip = r.trie.without(q.History)
			}
		}
		found, err := r.engine.Beam(ctx, requests)
		if err != nil {
			return err
		}
		for i, list := range found {
			visit(from+i, r.groups(list, part[i].History, keepSeen))
		}
	}
	return nil
}

// groups is the items of hypotheses.
func (r *Recommender) groups(list []infer.Hypothesis, history []market.Visit, keepSeen bool) []group {
	groups := make([]group, len(list))
	for i, h := range list {
		g := group{r.trie.items(h.Node), h.LogProb}
		if !keepSeen {
			g.items = unseen(g.items, history)
		}
		groups[i] = g
	}
	return groups
}

// unseen is the items that are not in the history.
func unseen(items []int32, history []market.Visit) []int32 {
	var out []int32
	for _, item := range items {
		if !visited(history, item) {
			out = append(out, item)
		}
	}
	return out
}

func visited(history []market.Visit, item int32) bool {
	for _, v := range history {
		if v.Item == item {
			return true
		}
	}
	return false
}

// Recommend finds up to k items for each query that are not in its history, best
// first, and no more than the beam holds. The items must be of the index.
func (r *Recommender) Recommend(ctx context.Context, queries []baseline.Query, k int) ([][]Recommendation, error) {
	out := make([][]Recommendation, len(queries))
	err := r.search(ctx, queries, max(k, r.options.Beam), false, func(i int, found []group) {
		for _, g := range found {
			for _, item := range g.items[:min(len(g.items), k-len(out[i]))] {
				out[i] = append(out[i], Recommendation{item, g.logProb})
			}
		}
	})
	return out, err
}

// Ranks are the expected ranks, from 1, that the items of each target have in the
// recommendations, +Inf for those that the beam does not find. The protocol is
// that of package baseline: ranks of items in the whole catalog, items of the
// history left out unless keepSeen, items of equal score at their expected rank.
func (r *Recommender) Ranks(ctx context.Context, targets []market.Target, keepSeen bool) ([][]float64, error) {
	return r.ranks(ctx, targets, r.options.Beam, keepSeen)
}

func (r *Recommender) ranks(ctx context.Context, targets []market.Target, width int, keepSeen bool) ([][]float64, error) {
	queries := make([]baseline.Query, len(targets))
	for i, t := range targets {
		queries[i] = baseline.Query{History: t.History, Now: t.Time}
	}
	each := make([][]float64, len(targets))
	err := r.search(ctx, queries, width, keepSeen, func(i int, found []group) {
		each[i] = ranks(found, targets[i].Items)
	})
	return each, err
}

// Evaluate measures Ranks target by target.
func (r *Recommender) Evaluate(ctx context.Context, targets []market.Target, keepSeen bool) ([]baseline.Measures, error) {
	return r.evaluate(ctx, targets, r.options.Beam, keepSeen)
}

func (r *Recommender) evaluate(ctx context.Context, targets []market.Target, width int, keepSeen bool) ([]baseline.Measures, error) {
	ranks, err := r.ranks(ctx, targets, width, keepSeen)
	each := make([]baseline.Measures, len(ranks))
	for i := range each {
		each[i] = baseline.Measured(ranks[i])
	}
	return each, err
}

// ranks are the expected ranks of items in what was found, from 1.
func ranks(found []group, items []int32) []float64 {
	out := make([]float64, len(items))
	for i, item := range items {
		out[i] = math.Inf(1)
		before := 0
		for _, g := range equalScores(found) {
			for _, other := range g.items {
				if other == item {
					out[i] = float64(before) + float64(1+len(g.items))/2
				}
			}
			before += len(g.items)
		}
	}
	return out
}

// equalScores joins neighbours of the same score.
func equalScores(found []group) []group {
	var out []group
	for _, g := range found {
		if n := len(out); n > 0 && out[n-1].logProb == g.logProb {
			out[n-1].items = append(append([]int32(nil), out[n-1].items...), g.items...)
			continue
		}
		out = append(out, g)
	}
	return out
}
