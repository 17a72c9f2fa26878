// Package cache keeps the vectors of an embedder on disk, by content: a text
// that was embedded once, by a model and settings of the same name, is never
// embedded again.
//
// A folder holds one file for each embedder name. Vectors are appended as they
// come and verified as they are read: a process may be killed, a machine may
// lose power, a disk may rot, and the worst that happens is that some texts are
// embedded again. Memory holds 8 bytes of a key and 4 of a place a vector (some
// 30 bytes with the map around them), never the vectors.
//
// The format is that of the machine-independent kind: little-endian records of
// one size, so that damage to one leaves the others where they are.
package cache
