package main

import (
	"context"

	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/sid/fit"
)

// variant is a row of the table: a way to quantise the embeddings of items and
// a rule to give them codes. Only what differs from the defaults is said.
type variant struct {
	Name      string            `json:"name"`
	KMeans    *fit.Options      `json:"kmeans,omitempty"`
	Assign    fit.AssignOptions `json:"assign"`
	Meaning   string            `json:"-"` // for the table
	Candidate bool              `json:"-"` // for the chosen set: measured on validation data alone
}

// chosen is the name of the variant that the others are compared with.
const chosen = "chosen"

// variants are all rows, in the order of the table. The chosen one is the
// candidate that was best on the validation part of Beauty: see README.md.
var variants = []variant{
	{Name: "random", KMeans: &fit.Options{}, Assign: fit.AssignOptions{Rule: fit.RandomFree, RandomLevels: 4},
		Meaning: "codes drawn at random, unique"},
	{Name: "rqkmeans", KMeans: &fit.Options{}, Assign: fit.AssignOptions{Rule: fit.Nearest},
		Meaning: "plain residual k-means, nearest codes"},
	{Name: chosen, KMeans: &fit.Options{Balanced: true}, Assign: fit.AssignOptions{Rule: fit.Free},
		Meaning: "balanced residual k-means, free codes"},
	{Name: "rqkmeans-free", KMeans: &fit.Options{}, Assign: fit.AssignOptions{Rule: fit.Free}, Candidate: true},
}

// quantizer fits the variant's quantizer to the embeddings of the items.
func (v *variant) quantizer(_ context.Context, emb embed.Matrix, _ *market.Split, seed uint64) (*fit.Quantizer, error) {
	opt := *v.KMeans
	opt.Seed = seed
	return fit.RQKMeans(emb, opt)
}
