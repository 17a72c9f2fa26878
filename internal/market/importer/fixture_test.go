package importer

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
)

// file writes a test file and returns its path.
func file(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func zipped(t testing.TB, content string) string {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	if _, err := zip.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// itemOf returns the item with this id.
func itemOf(t testing.TB, ds *market.Dataset, id string) market.Item {
	t.Helper()
	n, ok := ds.Catalog.Lookup(id)
	if !ok {
		t.Fatalf("no item %q", id)
	}
	return ds.Catalog.Items[n]
}

// wantInputError checks for a one-line input error that holds the parts.
func wantInputError(t *testing.T, name string, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error, want one with %q", name, parts)
		return
	}
	if fault.Exit(err) != 2 || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: %v exits with %d; want a one-line error and 2", name, err, fault.Exit(err))
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s: error %q lacks %q", name, err, part)
		}
	}
}
