// Package rng gives random streams that are keyed by coordinates (seed, stage,
// step, example, ...) and never by the order of calls. A stream can be made
// again from its coordinates alone, so parallel work, resumed runs and
// re-ordered code draw the same numbers.
package rng
