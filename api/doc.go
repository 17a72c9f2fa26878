// Package api is the public language of gr2: the slate that goes in, the
// ranking that comes out, the errors in between, and a client. It uses the
// standard library only, so that a caller takes no other dependency.
//
// One format serves everywhere. A line of slates.jsonl, the body of
// POST /v1/rerank and each element of {"slates":[...]} are a Slate; a line of
// rankings.jsonl, the reply and each element of {"rankings":[...]} are a
// Ranking.
//
// Decoding is strict: an unknown, misspelt or repeated field, a wrong type, a
// missing item and trailing bytes are refused with a FieldError whose path
// points at the place, such as slates[2].candidates[0].item. Nothing is
// repaired or cut silently.
//
// Times are Unix seconds. Histories stand oldest first, candidates in the
// order of the ranker before gr2 (the legacy order).
package api
