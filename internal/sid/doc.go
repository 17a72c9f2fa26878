// Package sid gives every item a semantic ID: a short code, one byte a level,
// whose prefixes group alike items (TIGER, GR2 section 1). It knows codes and
// their token names; how codes are found is the business of sid/fit.
//
// An Index is immutable and safe for concurrent use. It belongs to one catalog,
// named by CatalogHash, and Check refuses it for another: item numbers mean
// nothing outside their catalog. Its rows are the catalog's items by number (the
// live rows) and then the reserved rows: items that left the catalog and whose
// codes stay theirs, so that a code never changes its meaning and an item that
// returns has its old code. Row and Holder know all rows; Lookup and the trie,
// which decoding is constrained by, know the catalog only.
//
// When two items share a code Lookup gives the lower item number, and a live
// item goes before a reserved one; item numbers come from a seeded hash of the
// id, so this favours no position in any file.
//
// Id to number, number to code and code to number are hash and array accesses,
// O(1) whatever the size. An index in memory and its file are the same bytes, so
// Open maps the file, verifies it and copies nothing.
package sid
