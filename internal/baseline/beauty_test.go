package baseline

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/gr2/gr2/internal/market"
)

// beauty reads the 5-core Beauty events and splits them by leave-one-out.
func beauty(t *testing.T) (*market.Dataset, *market.Split) {
	t.Helper()
	root := os.Getenv("GR2_DATA")
	if root == "" || testing.Short() {
		t.Skip("needs GR2_DATA and no -short")
	}
	f, err := os.Open(filepath.Join(root, "amazon_beauty", "Beauty_5.json.gz"))
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	ds := readReviews(t, bufio.NewReader(z))
	split, err := market.LeaveOneOut(ds, 1)
	if err != nil {
		t.Fatal(err)
	}
	return ds, split
}

func readReviews(t *testing.T, r *bufio.Reader) *market.Dataset {
	t.Helper()
	ds := &market.Dataset{Name: "beauty"}
	users, index := map[string]int32{}, map[string]int32{}
	var items []market.Item
	for dec := json.NewDecoder(r); dec.More(); {
		var row struct {
			User string `json:"reviewerID"`
			Item string `json:"asin"`
			Time int64  `json:"unixReviewTime"`
		}
		if err := dec.Decode(&row); err != nil {
			t.Fatal(err)
		}
		u, ok := users[row.User]
		if !ok {
			u = int32(len(users))
			users[row.User] = u
			ds.Users = append(ds.Users, row.User)
		}
		i, ok := index[row.Item]
		if !ok {
			i = int32(len(index))
			index[row.Item] = i
			items = append(items, market.Item{ID: row.Item})
		}
		ds.Events = append(ds.Events, market.Event{User: u, Item: i, Time: row.Time})
	}
	catalog, err := market.NewCatalog(items)
	if err != nil {
		t.Fatal(err)
	}
	ds.Catalog = catalog
	ds.Number(1)
	return ds
}
