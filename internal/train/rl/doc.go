// Package rl learns to rank from verifiable rewards: DAPO, with GRPO and Dr. GRPO
// as settings of the same code (GR2 section 5, eqs. 8-9).
//
// A step draws prompts, samples a group of answers to each, scores them by
// package reward and updates the policy on what the answers of one prompt did
// better or worse than their mean. Groups whose answers are all equally good by
// the raw ranking metric teach nothing and are replaced by others, within a bound.
//
// # Contract
//
// The policy samples through package infer and learns through package nn; their
// log-probabilities agree within 1e-4. Under the grammar both are those of the
// distribution among the allowed tokens, and tokens that the grammar forces are
// no choices: they count in no loss and no normaliser.
//
// The answers of a step are a function of the weights, the seed and the number of
// the prompt, and weights change only between two samplings. So a run that is
// killed anywhere, also amid its rollouts, goes on from its last checkpoint to the
// same bits.
//
// The reward never chooses the policy: validation does, at even distances.
package rl
