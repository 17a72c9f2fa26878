// Package rerank is the Reranker: a slate in, a ranking out.
//
// Every answer is a permutation of the slate's candidates. It is the policy's,
// decoded under the grammar so that it cannot be anything else, or the legacy
// order with Fallback and a Reason when the deadline passed, the prompt is too
// long for the model, or the policy failed. A slate of one needs no model, an
// empty history is fine.
//
// Two modes read a ranking off the same prompt. Generate decodes the whole
// answer greedily. First looks only at the logits of the answer's first place
// and orders all candidates by them (FIRST, Reddy et al. 2024): one pass
// through the model, no trace.
//
// A slate is ranked alone and from scratch; so an answer does not depend on
// what else is ranked, before or beside it, nor on the number of workers.
//
// A run folder that Open reads is made by the pipeline and closed with Seal.
// Its names are the constants of layout.go. Open refuses a folder whose parts
// do not belong together.
package rerank
