package importer

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/gr2/gr2/internal/market"
)

// real returns the path of a real data file, and skips without GR2_DATA.
func real(t *testing.T, parts ...string) string {
	t.Helper()
	root := os.Getenv("GR2_DATA")
	if root == "" {
		t.Skip("GR2_DATA is not set")
	}
	return filepath.Join(append([]string{root}, parts...)...)
}

func wantCounts(t *testing.T, s market.Summary, want market.Counts) {
	t.Helper()
	if s.Counts != want {
		t.Errorf("counts %+v, want %+v", s.Counts, want)
	}
}

func TestAmazonBeauty(t *testing.T) {
	ds, s, err := Amazon(AmazonOptions{Name: "beauty",
		Reviews: []string{real(t, "amazon_beauty", "Beauty_5.json.gz")},
		Meta:    []string{real(t, "amazon_beauty", "meta_Beauty.json.gz")}})
	if err != nil {
		t.Fatal(err)
	}
	wantCounts(t, s, market.Counts{Users: 22363, Items: 12101, Events: 198502})
	if s.NoText != 7 || s.Duplicates != 0 || s.NoMetadata != 0 {
		t.Errorf("%d items without text, %d duplicates, %d without metadata; want 7, 0, 0", s.NoText, s.Duplicates, s.NoMetadata)
	}
	noBrand := 0
	for _, it := range ds.Catalog.Items {
		if it.Brand == "" {
			noBrand++
		}
	}
	if noBrand != 4645 { // 4,625 have none, 20 are called "Unknown"
		t.Errorf("%d items without a brand, want 4645", noBrand)
	}
	split, err := market.LeaveOneOut(ds, 7)
	if err != nil {
		t.Fatal(err)
	}
	sameDay := 0
	for _, target := range split.Test {
		if target.History[len(target.History)-1].Time == target.Time {
			sameDay++
		}
	}
	if share := float64(sameDay) / float64(len(split.Test)); share < .434 || share > .436 {
		t.Errorf("%.4f of the test targets share their day with the event before, want .435", share)
	}
	if core := ds.KCore(5); core.Counts() != ds.Counts() {
		t.Errorf("the 5-core of a 5-core is %+v", core.Counts())
	}
}

func TestAmazonSports(t *testing.T) {
	_, s, err := Amazon(AmazonOptions{
		Reviews: []string{real(t, "amazon_sports", "Sports_and_Outdoors_5.json.gz")},
		Meta:    []string{real(t, "amazon_sports", "meta_Sports_and_Outdoors.json.gz")}})
	if err != nil {
		t.Fatal(err)
	}
	wantCounts(t, s, market.Counts{Users: 35598, Items: 18357, Events: 296337})
}

func TestMovieLensLatestSmall(t *testing.T) {
	_, s, err := MovieLens(MovieLensOptions{
		Ratings: []string{real(t, "movielens_latest_small", "ratings.csv")},
		Movies:  []string{real(t, "movielens_latest_small", "movies.csv")}})
	if err != nil {
		t.Fatal(err)
	}
	wantCounts(t, s, market.Counts{Users: 610, Items: 9742, Events: 100836})
}

func TestMINDSample(t *testing.T) {
	ds, s, err := MIND(MINDOptions{
		Behaviors: []string{real(t, "mind_small_sample", "behaviors.tsv")},
		News:      []string{real(t, "mind_small_sample", "news.tsv")}})
	if err != nil {
		t.Fatal(err)
	}
	candidates, clicks, several := 0, 0, 0
	for _, slate := range ds.Slates {
		n := 0
		for _, g := range slate.Grades {
			n += int(g)
		}
		candidates += len(slate.Candidates)
		clicks += n
		if n > 1 {
			several++
		}
	}
	if len(ds.Slates) != 5000 || several != 1377 || candidates != 189359 || s.Candidates != 7457 || s.TextShown != 284 {
		t.Errorf("%d impressions, %d with several clicks, %d candidates, %d distinct, %d with a title", len(ds.Slates), several, candidates, s.Candidates, s.TextShown)
	}
	if len(ds.Events) != clicks || clicks < 5000 {
		t.Errorf("%d events for %d clicks", len(ds.Events), clicks)
	}
	split, err := market.SplitSlates(ds, .1, .2, 4, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(split.TrainSlates) + len(split.ValidSlates) + len(split.TestSlates); got != 5000 {
		t.Errorf("the split holds %d slates", got)
	}
	dir := t.TempDir()
	if err := market.Save(dir, ds); err != nil {
		t.Fatal(err)
	}
	again, err := market.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again.Counts() != ds.Counts() || again.Source.TextShown != 284 {
		t.Errorf("reopened: %+v", again.Counts())
	}
}
