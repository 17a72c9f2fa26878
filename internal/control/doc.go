// Package control holds the re-rankers a user would pick instead of a language
// model. Every table shows them: a policy that does not beat them with the same
// information has gained nothing.
//
//   - Fusion: untrained reciprocal rank fusion of the incoming order with title
//     similarity (control/rrf-title), or with item-kNN co-engagement and title
//     similarity (control/rrf-knn-title).
//   - Linear: a softmax over the slate of a weighted sum of all evidence and of
//     the incoming order (control/linear), fitted in a second by Newton's method;
//     and one of the evidence and the rank that prompts show (control/linear-shown).
//   - Trees: gradient-boosted trees on the same objective and values (control/trees),
//     which know interactions: what is left where they are above the linear control.
//
// Controls see a Case: a slate and evidence.Stats.Raw for it. Fit on training or
// validation slates whose evidence leaves out the user's own fold.
package control
