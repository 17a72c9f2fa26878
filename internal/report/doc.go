// Package report writes a run as one HTML file: the table with its intervals,
// lifts, probes, training curves, sample slates before and after, statistics
// and the way to make it all again. The file needs nothing else: no network,
// no script, no font; it follows the reader's light or dark theme and prints.
//
// Everything that is shown passes html/template, figures included, so that no
// item title or configuration value can become markup. The same Data gives
// the same bytes.
package report
