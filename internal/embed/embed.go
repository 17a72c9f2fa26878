package embed

import "context"

// Embedder turns texts into vectors. It is safe for concurrent use.
type Embedder interface {
	// Name says the model and every setting that its vectors depend on: equal
	// names give equal vectors. It is the key of caches and stands in reports.
	Name() string
	// Embed returns one row a text, in order: a unit vector, or zeros when the
	// text holds nothing that the model knows. All calls give rows of the same
	// length. A text's row does not depend on the texts beside it. Long lists
	// of texts are best given in blocks: the result is all in memory.
	Embed(ctx context.Context, texts []string) (Matrix, error)
}
