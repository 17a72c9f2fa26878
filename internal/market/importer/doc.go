// Package importer reads the world's logs into a market.Dataset: Amazon
// reviews, MovieLens, MIND, and tables of items, events and ready-made slates
// as JSON lines, CSV or Parquet.
//
// Files are streamed, plain or gzipped (told by content, not by name). What a
// file holds is told by its first line. A line that cannot be read is an error
// that names file and line; rows that a published data set is known to hold in
// vain (repeated metadata, impossible times) are dropped and counted in the
// Summary. Items that only events or slates name join the catalog without text.
//
// Every importer numbers users and items by a hash of their ids and sorts
// events and slates by time with a frozen order inside ties, so the result
// does not depend on the order of lines. Exact repeats of an event are dropped.
// docs/data.md describes every layout, column and error.
package importer
