package fit

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/market/importer"
)

// amazon imports one of the Amazon sets of GR2_DATA.
func amazon(t *testing.T, folder, name string) *market.Dataset {
	t.Helper()
	root := os.Getenv("GR2_DATA")
	if root == "" || testing.Short() {
		t.Skip("needs GR2_DATA and no -short")
	}
	ds, _, err := importer.Amazon(importer.AmazonOptions{
		Name:    name,
		Reviews: []string{filepath.Join(root, folder, name+"_5.json.gz")},
		Meta:    []string{filepath.Join(root, folder, "meta_"+name+".json.gz")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return ds
}

// The issue asks for a uniqueness of 99% on Beauty; the assignment rule gives
// all of it. Prefixes must still mean something: two items that share the first
// code are far likelier to share the category leaf than two random ones.
func TestBeauty(t *testing.T) {
	ds := amazon(t, "amazon_beauty", "Beauty")
	began := time.Now()
	index, report, err := build(ds.Catalog, 128, Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v: dim %d, error %.3f, nearest %+v, index %+v", time.Since(began), report.Dim, report.Error, report.Nearest, report.Index)
	if report.Index.Items != 12101 || report.Index.Uniqueness != 1 {
		t.Errorf("%d items, uniqueness %v; want 12101 and 1", report.Index.Items, report.Index.Uniqueness)
	}
	for l, s := range report.Index.Levels {
		if s.Dead > 0 || s.Perplexity < 100 {
			t.Errorf("level %d: %d dead codes, perplexity %.0f", l, s.Dead, s.Perplexity)
		}
	}
	leaf := func(i int32) string {
		path := ds.Catalog.Items[i].Categories
		return path[len(path)-1]
	}
	same, pairs, random := 0, 0, 0
	for a := int32(0); a < 2000; a++ {
		for b := a + 1; b < 2000; b++ {
			alike := leaf(a) == leaf(b)
			if index.Code(a)[0] == index.Code(b)[0] {
				pairs++
				if alike {
					same++
				}
			}
			if alike {
				random++
			}
		}
	}
	within, overall := float64(same)/float64(pairs), float64(random)/(2000*1999/2)
	t.Logf("same leaf: %.3f within a first code, %.3f overall", within, overall)
	if within < 8*overall {
		t.Errorf("first codes carry little meaning: same leaf %.3f within, %.3f overall", within, overall)
	}
}
