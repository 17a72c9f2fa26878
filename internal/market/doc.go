// Package market is the domain: items, events, slates and data sets; the
// importers that read the world's logs; the filters and splits of the
// evaluation protocol; and the synthetic market.
//
// Inside the program an item is its number in the Catalog and a user is their
// number in the Dataset. Numbers follow a seeded hash of the id, never the
// order of a file or of the ids: file order leaks the answer in public data
// sets (events of one day stand in ascending id order there).
//
// Times are Unix seconds. Equal times have no order; see Dataset.Sort.
package market
