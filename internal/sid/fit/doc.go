// Package fit finds semantic IDs: item text becomes a dense embedding, residual
// k-means turns the embedding into codes, and assignment makes codes unique.
//
// Uniqueness rule: items are taken in the order of a seeded hash of their id
// and walk down the levels; at each level an item takes the nearest code whose
// subtree still has room. A subtree of the last level holds one item, so there
// the rule reads "the nearest free code". More than Width items under one
// prefix overflow to the nearest prefix with room. Hence every code is unique
// whenever the catalog has at most Width^Levels items, identical texts
// included, and no code follows the order of a file.
//
// Everything is a function of the catalog and the seed, whatever the number of
// threads.
package fit
