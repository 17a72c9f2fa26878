// Package eval turns rankings into the rows and probes of a report.
//
// The caller brings test slates with grades and each policy's rankings; eval
// adds the incoming order (identity) and the oracle (best order by grades),
// measures all of them with package metric, and compares each with the
// incoming order of the same slates by a paired bootstrap.
//
// Slices. "conditional" holds the slates with a positive: the others cannot
// change. "end_to_end" holds every event, also those whose positive the slate
// lacks or that got no slate at all; they count as misses.
//
// Probes are pure functions of slates and rankings: copy rate, valid rate,
// position bias, id order. CheckTime refuses data in which the future is
// visible. eval runs no model and reads no file.
package eval
