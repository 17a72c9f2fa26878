// Package market is the domain: items, events, slates and data sets; the
// dataset folder (Save, Open); the public JSON form of a slate; the k-core
// filter and the splits of the evaluation protocol. The importers of the
// world's logs are in market/importer, the synthetic market in market/synth.
//
// Inside the program an item is its number in the Catalog and a user is their
// number in the Dataset. Numbers follow a seeded hash of the id, never the
// order of a file or of the ids: file order leaks the answer in public data
// sets (events of one day stand in ascending id order there).
//
// Times are Unix seconds. Equal times have no order; see Dataset.Sort.
package market
