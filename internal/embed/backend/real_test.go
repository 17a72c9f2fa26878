package backend

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/market/importer"
	"github.com/gr2/gr2/internal/text"
)

// beauty is the Amazon Beauty catalog of GR2_DATA and the texts of its items.
func beauty(t testing.TB) (*market.Catalog, []string) {
	t.Helper()
	root := os.Getenv("GR2_DATA")
	if root == "" || testing.Short() {
		t.Skip("needs GR2_DATA and no -short")
	}
	ds, _, err := importer.Amazon(importer.AmazonOptions{
		Name:    "Beauty",
		Reviews: []string{filepath.Join(root, "amazon_beauty", "Beauty_5.json.gz")},
		Meta:    []string{filepath.Join(root, "amazon_beauty", "meta_Beauty.json.gz")},
	})
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for i := range ds.Catalog.Items {
		texts = append(texts, text.ItemText(&ds.Catalog.Items[i]))
	}
	return ds.Catalog, texts
}

// The nearest neighbour of an item by the default embedder is of its category far
// more often than another item is, also where the model was fitted to others.
func TestNeighboursShareTheCategory(t *testing.T) {
	catalog, texts := beauty(t)
	half := slices.Collect(func(yield func(string) bool) {
		for i := 0; i < len(texts) && yield(texts[i]); i += 2 {
		}
	})
	for name, fitOn := range map[string][]string{"all": texts, "half": half} {
		began := time.Now()
		m, err := Open(t.Context(), Options{}, slices.Values(fitOn), 1)
		if err != nil {
			t.Fatal(err)
		}
		fitted := time.Now()
		v, err := m.Embed(t.Context(), texts)
		if err != nil {
			t.Fatal(err)
		}
		took := time.Since(fitted)
		leaf := func(i int) string { return catalog.Items[i].Categories[len(catalog.Items[i].Categories)-1] }
		const asked = 1500
		near, chance := 0, 0
		for i := 1; i < 2*asked; i += 2 { // not among half
			best, at := float32(-2), 0
			for j := range v.Rows {
				if cos := kernel.Dot(v.Row(i), v.Row(j)); j != i && cos > best {
					best, at = cos, j
				}
			}
			if leaf(at) == leaf(i) {
				near++
			}
			if leaf((i*7919+1)%v.Rows) == leaf(i) {
				chance++
			}
		}
		t.Logf("fitted to %s: %d texts in %v, %d texts embedded in %v; the neighbour is of the same leaf in %.3f, another item in %.3f",
			name, len(fitOn), fitted.Sub(began), len(texts), took, float64(near)/asked, float64(chance)/asked)
		if near < asked/2 || near < 10*chance {
			t.Errorf("fitted to %s: %d of %d neighbours are of the same leaf, %d by chance", name, near, asked, chance)
		}
	}
}
