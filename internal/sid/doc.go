// Package sid gives every item a semantic ID: a short code, one byte a level,
// whose prefixes group alike items (TIGER, GR2 section 1). It knows codes and
// their token names; how codes are found is the business of sid/fit.
//
// An Index is immutable and safe for concurrent use. It belongs to one catalog,
// named by CatalogHash, and Check refuses it for another: item numbers mean
// nothing outside their catalog.
//
// When two items share a code (possible only beyond Width^Levels items, or in
// an index made elsewhere) Lookup gives the lower item number; item numbers
// come from a seeded hash of the id, so this favours no position in any file.
package sid
