package baseline

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gr2/gr2/internal/market"
)

// The targets of an independent run on Amazon Beauty: leave-one-out, seeded
// shuffle within days, full catalog, no sampling, test.
var beautyFloor = map[string]Measures{
	OrderKNN:    {R10: .078, N10: .047},
	OrderBPR:    {R10: .048, N10: .025},
	OrderIALS:   {R10: .060, N10: .033},
	OrderSASRec: {R10: .078, N10: .045},
	OrderBlend:  {R10: .090, N10: .052},
}

// TestBeautyFast fits the cheap rankers with the default parameters.
func TestBeautyFast(t *testing.T) {
	ds, split := beauty(t)
	if len(ds.Users) != 22363 || ds.Catalog.Len() != 12101 || len(ds.Events) != 198502 {
		t.Fatalf("%d users, %d items, %d events", len(ds.Users), ds.Catalog.Len(), len(ds.Events))
	}
	cfg := DefaultConfig()
	cfg.Tune = false
	s := train(t, ds, split, cfg, Options{Orders: []string{OrderKNN, OrderIALS, OrderBPR}})
	for _, order := range []string{OrderKNN, OrderIALS, OrderBPR} {
		wantFloor(t, order, Evaluate(s.full[order], split.Test, ds.Catalog.Len(), false))
	}
}

// TestBeautyLong is the whole of it: tuning, SASRec, the blend, cross-fitted
// slates. About 15 minutes on two cores. GR2_BASELINE_DIR keeps the models.
func TestBeautyLong(t *testing.T) {
	if os.Getenv("GR2_LONG") == "" {
		t.Skip("needs GR2_LONG=1")
	}
	ds, split := beauty(t)
	began := time.Now()
	s := train(t, ds, split, DefaultConfig(), Options{Dir: os.Getenv("GR2_BASELINE_DIR"), Progress: func(p Progress) {
		if p.Stage != "fit" {
			t.Logf("%.1f s %+v", time.Since(began).Seconds(), p)
		}
	}})
	t.Logf("%+v", s.Config())
	for _, order := range Orders() {
		valid := Evaluate(s.full[order], split.Valid, ds.Catalog.Len(), false)
		test := Evaluate(s.full[order], split.Test, ds.Catalog.Len(), false)
		t.Logf("%s: valid %+v, test %+v", order, valid, test)
		wantFloor(t, order, test)
	}
	for _, order := range []string{OrderSASRec, OrderBPR, OrderBlend} {
		set := slatesOf(t, s, order)
		for name, part := range map[string]Part{"training": set.Train, "validation": set.Valid, "test": set.Test} {
			first, three := conditional(part)
			t.Logf("%s: %s slates %d of %d, conditional R@1 %.3f, R@3 %.3f", order, name, len(part.Slates), part.Events, first, three)
		}
		if set.Train.Events != 76245 {
			t.Errorf("%s: %d training requests, want 76245", order, set.Train.Events)
		}
		if set.Train.Full.R10 > 1.5*set.Test.Full.R10 {
			t.Errorf("%s: R@10 is %.4f on training requests and %.4f on test: the slates are not honest", order, set.Train.Full.R10, set.Test.Full.R10)
		}
	}
}

// conditional is the share of slates with the target first, and in the first
// three; events have one target here.
func conditional(p Part) (first, three float64) {
	for _, slate := range p.Slates {
		switch at := slices.IndexFunc(slate.Grades, func(g uint8) bool { return g > 0 }); {
		case at == 0:
			first++
			three++
		case at < 3:
			three++
		}
	}
	n := float64(len(p.Slates))
	return first / n, three / n
}

func wantFloor(t *testing.T, order string, got Measures) {
	t.Helper()
	t.Logf("%s: %+v", order, got)
	if floor := beautyFloor[order]; got.R10 < floor.R10 || got.N10 < floor.N10 {
		t.Errorf("%s: R@10 %.4f, N@10 %.4f; want at least %.3f, %.3f", order, got.R10, got.N10, floor.R10, floor.N10)
	}
}

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
