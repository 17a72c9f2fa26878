// Package sft makes the examples of supervised fine-tuning: a slate's prompt
// and the ranking to answer (GR2 eq. 3), with the two loss weights of trace
// and output.
//
// The answer names the positives first, by falling grade. Were that all, the
// policy would never see the state after a wrong first choice, and its later
// choices would be those of the incoming order. So a share of the examples
// puts random negatives before the positives and takes no loss on them: what
// is learned is the choice among the candidates that remain, as in the
// Plackett-Luce model of a ranking.
//
// A slate has one or two positives, so its label says little about how to read
// a slate at all. A teacher, the linear control fitted on the same training
// slates, says something at every place: the first epochs learn rankings drawn
// from its Plackett-Luce model, then the labels take over. It may judge in their
// place as well, and be learnt as the probabilities that it is at every choice: a
// function of the evidence is learnt sooner than labels, or draws, are.
package sft
