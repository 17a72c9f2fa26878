package serve

import "github.com/gr2/gr2/internal/rerank"

// The program's own re-ranker is one.
var _ Reranker = (*rerank.Reranker)(nil)
