// Package durable is the only creator of artifact files. A file is written to
// a temporary name beside its target, synced and renamed, and its folder is
// synced; so under a final name there is either the whole file or none.
//
// Logs that grow (metrics.jsonl) are the one exception: they are appended to
// and cut back to a known length on resume, see Log.
package durable
