// Package fit finds semantic IDs: the embedding of an item's text becomes a code
// by way of a Quantizer, and a rule of assignment settles what items with the
// same nearest code get.
//
// # Quantizers
//
// A Quantizer maps an embedding to a latent space (by an encoder, or as it
// stands) and holds the codebook of each level there. RQKMeans makes one by
// residual k-means, plain or balanced; package rqvae trains one. It is stored as
// one file, so that items which come later get codes without a new fit.
//
// # Rules of assignment
//
//	nearest      The nearest code at every level. Items collide.
//	free         At each level the nearest code whose subtree has room. Unique.
//	sinkhorn     As free, down to the level before the last. There, items that
//	             have their nearest code for themselves keep it; those that
//	             collide share out the codes left over by optimal transport, at
//	             most one batch of Width items a prefix. Unique.
//	random       The nearest code but at the last RandomLevels levels, whose codes
//	             are drawn from all. Items collide.
//	random-free  As free, but the last RandomLevels codes are drawn from those that
//	             no item uses after the same prefix; where all are used, from those
//	             with room. Unique.
//
// Where the outcome depends on who comes first, items come in the order of a
// seeded hash of their ids; draws are hashes of seed, id and level. So no code
// follows the order of a file. A subtree of the last level has room for one item,
// one level up for Width of them: more than Width items under a prefix overflow
// to the nearest prefix with room, and a rule of unique codes gives each of up to
// Width^Levels items its own, equal texts included.
//
// Codes that other items have already (AssignOptions.Taken) keep their places: a
// catalog grows by assigning its new items alone.
//
// Everything is a function of the catalog and the seed, whatever the number of
// threads.
package fit
