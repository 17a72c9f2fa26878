// Package infer runs a decoder of package lm without a tape: sessions with a
// key-value cache that can be forked, greedy and sampled decoding, and decoding
// under a grammar. It knows tokens, not what they spell.
//
// # Contract
//
// An Engine shares the weights of its lm.Model read-only and may serve any
// number of goroutines; whoever changes the weights must not run it meanwhile.
// A Session belongs to one goroutine at a time. Its forks share the cache of
// their common prefix, copied on write, and may run on other goroutines.
//
// Tokens are read in blocks: a prompt of P tokens is P-row matrix products, and
// only its last row passes the last layer's MLP and the vocabulary projection.
// Reading in blocks, token by token, or in a fork gives the same logits up to
// float32 rounding; the same sequence of calls gives the same bits, whatever
// else runs and on however many threads.
//
// Input that cannot be read (an unknown token, a sequence past MaxPositions)
// is refused with an error before anything changes. Nothing is ever truncated.
package infer
