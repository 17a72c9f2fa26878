// Package metric defines every ranking metric and interval that gr2 reports,
// each in one place.
//
// A ranking lists candidate indices, best first. It is an order, so it has no
// ties: scores that tie must be ordered by the caller, by a rule that does not
// follow item numbers. Grades are 0 (none), 1 (click) and 2 (conversion); a
// candidate with a grade above 0 is a positive.
//
// All metrics lie in [0, 1] and larger is better. All but AUC are 0 for a
// slate without a positive; AUC is undefined without both a positive and a
// negative.
//
// Intervals are percentile bootstraps over slates. They hold the noise of the
// test set, not that of training: several seeds are needed for that.
package metric
