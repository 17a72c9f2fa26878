// Package nextitem recommends the next item by its semantic ID (TIGER, Rajput
// et al. 2023): a small decoder reads a history as the codes of its items and
// writes the code of the next one, constrained to codes of the catalog.
//
// A history is a document: a begin token, then for each item its codes, one
// token a level. With Options.Gaps a token before each item but the first says
// how long after the one before it came; for the item to predict that is known,
// since a request has a time. Every item behind the first is a target, at every
// level, and its probability is taken among the codes that the catalog has
// below the prefix, in training as in the search. So the probabilities of the
// whole catalog sum to 1, a level with one code left costs nothing, and the
// scores are log-probabilities of items.
//
// Items that share a code share its score. A recommendation lists them by item
// number, which is a hash of the id and follows no file; an evaluation has them
// at their expected rank, as package baseline does.
//
// Visits of equal time have no order: they are shuffled anew in every epoch.
package nextitem
