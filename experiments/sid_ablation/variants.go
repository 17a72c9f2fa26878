package main

import (
	"context"

	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/sid/fit"
	"github.com/gr2/gr2/internal/sid/rqvae"
)

// variant is a row of the table: a way to quantise the embeddings of items and
// a rule to give them codes. Only what differs from the defaults is said.
type variant struct {
	Name    string            `json:"name"`
	KMeans  *fit.Options      `json:"kmeans,omitempty"` // or RQVAE
	RQVAE   *rqvae.Options    `json:"rqvae,omitempty"`
	Assign  fit.AssignOptions `json:"assign"`
	Meaning string            `json:"-"` // for the table
}

// chosen is the variant with the best validation R@10 on Beauty. The others are
// compared with it.
const chosen = "all"

// Strengths of the switches of the RQ-VAE.
const (
	ema         = .99
	diversity   = .1
	reset       = 50
	contrastive = 300
)

var (
	plain   = &fit.Options{}
	nearest = fit.AssignOptions{Rule: fit.Nearest}
	free    = fit.AssignOptions{Rule: fit.Free}
)

// variants are all rows, in the order of the table.
var variants = []variant{
	{Name: "random", KMeans: plain, Assign: fit.AssignOptions{Rule: fit.RandomFree, RandomLevels: 4},
		Meaning: "control, codes drawn at random, unique"},
	{Name: "rqkmeans", KMeans: plain, Assign: nearest, Meaning: "control, residual k-means, nearest codes"},
	{Name: "rqkmeans-free", KMeans: plain, Assign: free, Meaning: "residual k-means, repaired"},
	{Name: "balanced-free", KMeans: &fit.Options{Balanced: true}, Assign: free, Meaning: "balanced residual k-means, repaired"},
	{Name: "base", RQVAE: &rqvae.Options{}, Assign: nearest, Meaning: "RQ-VAE from residual k-means++"},
	{Name: "uniform", RQVAE: &rqvae.Options{Init: rqvae.Uniform}, Assign: nearest, Meaning: "base from uniform codebooks, not k-means++"},
	{Name: "uniform-ema", RQVAE: &rqvae.Options{Init: rqvae.Uniform, EMA: ema}, Assign: nearest,
		Meaning: "the same and EMA codebooks"},
	{Name: "ema", RQVAE: &rqvae.Options{EMA: ema}, Assign: nearest, Meaning: "base and EMA codebooks"},
	{Name: "random-last", RQVAE: &rqvae.Options{}, Assign: fit.AssignOptions{Rule: fit.Random}, Meaning: "base and a random last level"},
	{Name: "diversity", RQVAE: &rqvae.Options{Diversity: diversity}, Assign: nearest, Meaning: "base and the diversity loss"},
	{Name: "reset", RQVAE: &rqvae.Options{Reset: reset}, Assign: nearest, Meaning: "base and the reset of dead codes"},
	{Name: "contrastive", RQVAE: &rqvae.Options{Contrastive: contrastive}, Assign: nearest, Meaning: "base and the contrastive loss"},
	{Name: "all", RQVAE: &rqvae.Options{EMA: ema, Reset: reset, Contrastive: contrastive}, Assign: free,
		Meaning: "base, EMA, reset and contrastive loss, repaired"},
}

// quantizer fits the variant's quantizer to the embeddings of the items.
func (v *variant) quantizer(ctx context.Context, emb embed.Matrix, split *market.Split, seed uint64) (*fit.Quantizer, error) {
	if v.KMeans != nil {
		opt := *v.KMeans
		opt.Seed = seed
		return fit.RQKMeans(emb, opt)
	}
	opt := *v.RQVAE
	opt.Seed = seed
	q, _, err := rqvae.Fit(ctx, emb, rqvae.CoEngaged(split.Train, 1), opt, nil)
	return q, err
}
