package evidence

import (
	"strings"

	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/text"
)

// content is what an item's catalog entry says, ready to compare.
type content struct {
	title text.Sparse
	brand string // lower case, "" when unknown
	path  []string
}

func describe(catalog *market.Catalog) []content {
	titles := make([]string, catalog.Len())
	for i := range catalog.Items {
		titles[i] = catalog.Items[i].Title
	}
	model := text.FitTFIDF(titles, text.Options{})
	out := make([]content, len(titles))
	for i := range catalog.Items {
		it := &catalog.Items[i]
		out[i] = content{model.Vector(it.Title), strings.ToLower(it.Brand), it.Categories}
	}
	return out
}

// sameBrand is 1 when both brands are known and equal.
func (c *content) sameBrand(o *content) float64 {
	if c.brand != "" && c.brand == o.brand {
		return 1
	}
	return 0
}

// overlap is the share of the longer category path that both have in common,
// from the root.
func (c *content) overlap(o *content) float64 {
	common := 0
	for common < len(c.path) && common < len(o.path) && c.path[common] == o.path[common] {
		common++
	}
	if common == 0 {
		return 0
	}
	return float64(common) / float64(max(len(c.path), len(o.path)))
}
