// Package text turns item text into words and TF-IDF vectors. It is the one
// definition of "the words of an item" for semantic IDs, evidence and controls.
//
// Vectors are sparse, have unit length and ascending term numbers. Terms are
// numbered in lexicographic order, so a model depends on the set of documents
// and not on their order.
package text
