package embed

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/text"
)

// LSAOptions of a fit. A zero field, but Seed, takes its default.
type LSAOptions struct {
	Dim      int    `json:"dim"`       // columns, fewer when the rank of the texts is lower; default 128
	MinDF    int    `json:"min_df"`    // texts of the sample that a term needs; default 2, or 1 for fewer than 100 texts
	MaxTerms int    `json:"max_terms"` // the most frequent ones are kept; default 200,000
	Sample   int    `json:"sample"`    // texts that the model is fitted on, at most; default 200,000
	Seed     uint64 `json:"seed"`
}

// Validate names the field that is out of range.
func (o LSAOptions) Validate() error {
	for _, f := range []struct {
		name       string
		value, max int
	}{{"dim", o.Dim, 4096}, {"min_df", o.MinDF, 1 << 30}, {"max_terms", o.MaxTerms, 1 << 24}, {"sample", o.Sample, 1 << 30}} {
		if f.value < 0 || f.value > f.max {
			return fault.Usagef("text embedding: %s %d; use 1 to %d, or 0 for the default", f.name, f.value, f.max)
		}
	}
	return nil
}

// withDefaults resolves the zero fields for a sample of so many texts.
func (o LSAOptions) withDefaults(texts int) LSAOptions {
	o.Dim = cmp.Or(o.Dim, 128)
	o.MaxTerms = cmp.Or(o.MaxTerms, 200_000)
	o.Sample = cmp.Or(o.Sample, defaultSample)
	if o.MinDF == 0 {
		o.MinDF = 2 // a word of one item relates it to no other
		if texts < 100 {
			o.MinDF = 1
		}
	}
	return o
}

const defaultSample = 200_000

// LSA is latent semantic analysis (Deerwester et al. 1990): the TF-IDF vector of
// a text, times the leading right singular vectors of the TF-IDF matrix of the
// texts it was fitted on. Those texts and new ones go the same way, so a text
// has one vector, whether it was in the sample or not.
//
// It is read-only and safe for concurrent use.
type LSA struct {
	Options LSAOptions // resolved
	Texts   int        // in the sample

	terms   *text.TFIDF
	project Matrix // (terms, columns)
	sum     [sha256.Size]byte
}

// FitLSA fits a model to texts: to all of them, or to a sample drawn by a seeded
// hash of the text. The model depends on the set of texts (one that occurs twice
// counts twice) and never on their order.
func FitLSA(ctx context.Context, texts iter.Seq[string], opt LSAOptions) (*LSA, error) {
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	docs, err := sample(ctx, texts, cmp.Or(opt.Sample, defaultSample), opt.Seed)
	if err != nil {
		return nil, err
	}
	opt = opt.withDefaults(len(docs))
	m := &LSA{Options: opt, Texts: len(docs)}
	m.terms = text.FitTFIDF(docs, text.Options{MinDF: opt.MinDF, MaxTerms: opt.MaxTerms})
	vectors := make([]text.Sparse, len(docs))
	eachChunk(len(docs), func(i int) { vectors[i] = m.terms.Vector(docs[i]) })
	a := newSparse(vectors, m.terms.Terms())
	if m.project, err = rightSingular(ctx, a, opt.Dim, opt.Seed); err != nil {
		return nil, err
	}
	if m.project.Cols == 0 { // no text has a word: all vectors are zero
		m.project = NewMatrix(m.terms.Terms(), 1)
	}
	m.sum, err = m.encode(io.Discard)
	return m, err
}

var sampleStream = rng.Key("embed/lsa/sample")

// sample is the n texts with the lowest hash, in the order of the hash.
func sample(ctx context.Context, texts iter.Seq[string], n int, seed uint64) ([]string, error) {
	type candidate struct {
		hash uint64
		text string
	}
	var pool []candidate
	best := func() {
		slices.SortFunc(pool, func(a, b candidate) int {
			return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.text, b.text))
		})
		pool = pool[:min(n, len(pool))]
	}
	for t := range texts {
		if len(pool) >= 2*n { // sorting so rarely costs O(log n) a text
			best()
			if err := ctx.Err(); err != nil {
				return nil, err
			}
		}
		h := rng.Hash(seed, sampleStream, rng.Key(t))
		pool = append(pool, candidate{h, t})
	}
	best()
	docs := make([]string, len(pool))
	for i, c := range pool {
		docs[i] = c.text
	}
	return docs, ctx.Err()
}

// Name implements Embedder. It holds a digest of the fitted model.
func (m *LSA) Name() string { return fmt.Sprintf("tfidf-svd/%d/%x", m.project.Cols, m.sum[:8]) }

// Dim is the length of the vectors.
func (m *LSA) Dim() int { return m.project.Cols }

// Terms is the size of the vocabulary.
func (m *LSA) Terms() int { return m.terms.Terms() }

// Embed implements Embedder.
func (m *LSA) Embed(ctx context.Context, texts []string) (Matrix, error) {
	out := NewMatrix(len(texts), m.project.Cols)
	eachChunk(len(texts), func(i int) {
		if i%chunk == 0 && ctx.Err() != nil {
			return
		}
		v := m.terms.Vector(texts[i])
		project(out.Row(i), v.Index, v.Value, m.project)
		Normalize(out.Row(i))
	})
	return out, ctx.Err()
}

// TFIDF embeds docs by an LSA model that was fitted to them, of dim columns, 1 to
// 4096, or of fewer when the rank of docs is lower.
func TFIDF(docs []string, dim int, seed uint64) Matrix {
	ctx := context.Background() // what else could fail are options
	m, err := FitLSA(ctx, slices.Values(docs), LSAOptions{Dim: dim, Seed: seed})
	if err != nil {
		panic(err)
	}
	emb, _ := m.Embed(ctx, docs)
	return emb
}
