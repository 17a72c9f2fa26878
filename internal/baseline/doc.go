// Package baseline holds the legacy rankers that give slates their incoming
// order: popularity, item-kNN, iALS, BPR-MF, SASRec and their tuned blend.
//
// # Contract
//
// A Ranker scores the whole catalog from a history. It was fitted on the train
// part of a split only; Train chooses hyper-parameters on the validation
// targets by the small grids of tune.go and blend.go, and never sees test
// targets. Rankers are safe for concurrent use. Masking of seen items is the caller's
// (Evaluate and BuildSlates do it, unless told to keep them).
//
// No ranker knows users by number. What it knows about a user is the history
// it is given: item-kNN, iALS, BPR-MF and SASRec treat users of the training
// part, held-out users and users never seen before alike. Factor models fold
// the history in with the item factors fixed. Items without training events
// are skipped in a history; an empty history gives the order of popularity.
//
// Everything is determined by the seed, the configuration and the split, and
// does not depend on the number of threads. Ties between items are broken by a
// seeded hash of item ids, and counted at their expected rank by Evaluate.
//
// # Honest slates
//
// BuildSlates makes slates of the top K of one order. Validation and test
// slates come from the full model. Training slates are cross-fitted: users fall
// into folds by a seeded hash of their ids, and the slates of a fold's training
// events come from models that were fitted on the other folds only. In-sample
// slates teach a re-ranker nothing (docs/baselines.md).
//
// Train and BuildSlates keep every fitted model under Options.Dir as a
// checksummed artifact whose key covers data, configuration, seed and fold; a
// killed run loads what is finished and fits the rest.
package baseline
