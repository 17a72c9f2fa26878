// Package rqvae trains a residual-quantised variational autoencoder (Lee et al.
// 2022; Rajput et al. 2023, TIGER) on embeddings of items and leaves a
// fit.Quantizer: the encoder and the codebooks.
//
// # Model
//
// An MLP maps the embedding x, normalised, to a latent vector z = enc(x). Each
// level takes the code nearest to what the levels before left over:
//
//	r_1 = z    q_k = the code of level k nearest to r_k    r_k+1 = r_k - sg[q_k]
//
// The decoder, an MLP too, maps the sum of the q_k back to xhat; its gradient
// passes to z as if quantisation were not there (straight through). The loss is
// the mean over the rows of a batch of
//
//	|x - xhat|^2 + sum_k |sg[r_k] - q_k|^2 + beta sum_k |r_k - sg[q_k]|^2
//
// # Switches
//
// Each is independent of the others; see Options for the parameters.
//
//	Init         Residual k-means of the first latent vectors, from k-means++, or
//	             uniform codes.
//	EMA          Codes follow the mean of the residuals that chose them, instead of
//	             the gradient (or, in another reading, lag behind the optimiser).
//	Diversity    Adds lambda sum_k C sum_j p_kj^2, p the batch mean of
//	             softmax(-squared distance): codes are to be used alike.
//	Reset        A code unused for some steps becomes the residual of the batch with
//	             the largest quantisation error.
//	Contrastive  Adds InfoNCE between the latent vectors of co-engaged items.
//	BurnIn       Of the epochs after it, that with the most unique codes is kept.
//
// Random last levels and the repair of collisions are rules of fit.Assign.
//
// A fit is a function of the embeddings, their order, the pairs, the options and
// the seed, to the bit, whatever the number of threads.
package rqvae
