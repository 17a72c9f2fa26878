// Package embed turns text into dense vectors, one row a text. Embedder is the
// seam: whatever needs vectors of texts takes one and asks no further.
//
// LSA is the embedder that needs nothing but the texts themselves. Sub-packages
// hold the others.
package embed
