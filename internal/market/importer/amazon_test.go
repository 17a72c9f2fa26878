package importer

import (
	"reflect"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/market"
)

// One market in the three published layouts.
var amazonLayouts = map[string]struct{ reviews, meta string }{
	amazon2014: {
		`{"reviewerID": "U1", "asin": "B1", "helpful": [0, 0], "reviewText": "good", "overall": 5.0, "unixReviewTime": 1355616000, "reviewTime": "12 16, 2012"}
{"reviewerID": "U2", "asin": "B1", "overall": 1.0, "unixReviewTime": 1355702400}
{"reviewerID": "U1", "asin": "B2", "overall": 4.0, "unixReviewTime": 1355702400}
{"reviewerID": "U1", "asin": "B3", "overall": 3.0, "unixReviewTime": 1355702400}
`,
		`{'asin': 'B1', 'related': {'also_bought': ['B7']}, 'title': "L'Oreal &amp;amp; Co", 'price': 9.5, 'salesRank': {'Beauty': 10}, 'imUrl': 'http://x', 'brand': 'OPI', 'categories': [['Beauty'], ['Beauty', 'Makeup', 'Nails'], ['Gifts']], 'description': 'Two  words'}
{'asin': 'B2', 'title': 'Caf\xe9', 'categories': [['Beauty', 'Makeup', 'Nails']], 'brand': 'Unknown'}
{'asin': 'B9', 'title': 'Nobody reviewed it'}
`},
	amazon2018: {
		`{"overall": 5.0, "verified": true, "reviewerID": "U1", "asin": "B1", "style": {"Size:": " L"}, "unixReviewTime": 1355616000}
{"overall": 1.0, "reviewerID": "U2", "asin": "B1", "unixReviewTime": 1355702400}
{"overall": 4.0, "reviewerID": "U1", "asin": "B2", "unixReviewTime": 1355702400}
{"overall": 4.0, "reviewerID": "U1", "asin": "B2", "unixReviewTime": 1355702400}
{"overall": 3.0, "reviewerID": "U1", "asin": "B3", "unixReviewTime": 1355702400}
`,
		`{"category": ["Beauty", "Makeup", "Nails", "</span></span>"], "description": ["Two", "words"], "title": "L&#39;Oreal &amp; Co", "brand": "OPI", "price": "$9.50", "asin": "B1"}
{"category": ["Beauty", "Makeup", "Nails"], "title": "Café", "brand": "", "price": ".a-box-inner{color:#fff}", "asin": "B2"}
{"asin": "B2", "title": "again", "category": []}
{"asin": "B9", "title": "Nobody reviewed it"}
`},
	amazon2023: {
		`{"rating": 5.0, "title": "Nice", "text": "ok", "asin": "V1", "parent_asin": "B1", "user_id": "U1", "timestamp": 1355616000123, "helpful_vote": 0}
{"rating": 1.0, "asin": "V1", "parent_asin": "B1", "user_id": "U2", "timestamp": 1355702400000}
{"rating": 4.0, "asin": "V2", "parent_asin": "B2", "user_id": "U1", "timestamp": 1355702400999}
{"rating": 3.0, "asin": "B3", "parent_asin": "B3", "user_id": "U1", "timestamp": 1355702400000}
`,
		`{"main_category": "All Beauty", "title": "L'Oreal & Co", "average_rating": 4.8, "price": 9.5, "description": ["Two", "words"], "store": "OPI", "categories": ["Beauty", "Makeup", "Nails"], "details": {"Brand": "Other"}, "parent_asin": "B1"}
{"title": "Café", "price": null, "store": null, "categories": ["Beauty", "Makeup", "Nails"], "details": {"Brand": "unknown"}, "parent_asin": "B2"}
{"title": "Nobody reviewed it", "parent_asin": "B9"}
`},
}

func TestAmazonLayouts(t *testing.T) {
	var first *market.Dataset
	for _, layout := range []string{amazon2014, amazon2018, amazon2023} {
		in := amazonLayouts[layout]
		ds, s, err := Amazon(AmazonOptions{Name: "x", Reviews: []string{file(t, "r.json.gz", zipped(t, in.reviews))}, Meta: []string{file(t, "m.json", in.meta)}})
		if err != nil {
			t.Fatal(err)
		}
		wantCounts(t, s, market.Counts{Users: 2, Items: 3, Events: 4})
		if s.Files[1].Layout != layout || s.NoText != 1 || s.NoMetadata != 1 || s.Files[1].Dropped["no review names the item"] != 1 {
			t.Errorf("%s: summary %+v", layout, s)
		}
		if layout == amazon2018 && (s.Duplicates != 1 || s.Files[1].Dropped["repeated item"] != 1) {
			t.Errorf("%s: summary %+v", layout, s)
		}
		for _, f := range s.Files {
			dropped := 0
			for _, n := range f.Dropped {
				dropped += n
			}
			if f.Lines != f.Kept+dropped {
				t.Errorf("%s: %d lines, %d kept, %d dropped", f.Name, f.Lines, f.Kept, dropped)
			}
		}
		want := market.Item{ID: "B1", Title: "L'Oreal & Co", Categories: []string{"Beauty", "Makeup", "Nails"}, Brand: "OPI", Description: "Two words", Price: 9.5}
		if got := itemOf(t, ds, "B1"); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v", layout, got)
		}
		if got := itemOf(t, ds, "B2"); got.Title != "Café" || got.Brand != "" || got.Price != 0 {
			t.Errorf("%s: %+v", layout, got)
		}
		if first == nil {
			first = ds
		}
		if !reflect.DeepEqual(ds.Events, first.Events) || !reflect.DeepEqual(ds.Users, first.Users) {
			t.Errorf("%s: events %+v, in the first layout %+v", layout, ds.Events, first.Events)
		}
	}
}

func TestAmazonOddities(t *testing.T) {
	reviews := `{"reviewerID":"U","asin":"A","unixReviewTime":5}
{"reviewerID":"U","asin":"A","unixReviewTime":-1}
{"reviewerID":"U","asin":"A","unixReviewTime":1355616000000}
`
	meta := `{"asin":"A","title":"var aPageStart = (new Date()).getTime();","details":"{\"Brand\":\"Deep\"}","main_cat":"Tools"}
{"asin":"Z","title":["Two","parts"],"price":12.5,"category":""}
`
	ds, s, err := Amazon(AmazonOptions{Reviews: []string{file(t, "r", reviews)}, Meta: []string{file(t, "m", meta)}, KeepUnused: true})
	if err != nil {
		t.Fatal(err)
	}
	wantCounts(t, s, market.Counts{Users: 1, Items: 2, Events: 1})
	if s.Files[0].Dropped["impossible time"] != 2 {
		t.Errorf("summary %+v", s)
	}
	if a := itemOf(t, ds, "A"); a.Title != "" || a.Brand != "Deep" || !reflect.DeepEqual(a.Categories, []string{"Tools"}) {
		t.Errorf("%+v", a)
	}
	if z := itemOf(t, ds, "Z"); z.Title != "Two parts" || z.Price != 12.5 || z.Categories != nil {
		t.Errorf("%+v", z)
	}
}

// A later, fuller description of an item replaces one without a title.
func TestRepeatedMetadataKeepsTheTitle(t *testing.T) {
	b := newBuilder("test")
	b.describe(market.Item{ID: "a"})
	if b.describe(market.Item{ID: "a", Title: "good"}) || b.describe(market.Item{ID: "a", Title: "late"}) {
		t.Error("a repeated description is called fresh")
	}
	if b.items[0].Title != "good" {
		t.Errorf("title %q", b.items[0].Title)
	}
}

func TestAmazonErrors(t *testing.T) {
	good := amazonLayouts[amazon2018]
	for name, c := range map[string]struct {
		reviews, meta string
		want          []string
	}{
		"malformed line":    {good.reviews + "{\"reviewerID\": \n", good.meta, []string{"r:6:", "malformed JSON"}},
		"wrong file":        {`{"user":"u","item":"i"}`, good.meta, []string{"r:1:", "asin", "user_id"}},
		"no user":           {`{"asin":"A","unixReviewTime":5}`, good.meta, []string{"r:1:", `"reviewerID" is missing`}},
		"no item, 2023":     {`{"user_id":"A","asin":"x","timestamp":5}`, good.meta, []string{"r:1:", `"parent_asin" is missing`}},
		"no time":           {`{"asin":"A","reviewerID":"U"}`, good.meta, []string{`"unixReviewTime" is missing`}},
		"time is text":      {`{"asin":"A","reviewerID":"U","unixReviewTime":"5"}`, good.meta, []string{"r:1:", `"unixReviewTime" cannot be string`}},
		"only bad times":    {`{"asin":"A","reviewerID":"U","unixReviewTime":-5}`, good.meta, []string{"no events", "1 lines, 0 kept, 1 impossible time"}},
		"meta not UTF-8":    {good.reviews, "{\"asin\":\"B1\",\n\xff", []string{"m:1:", "malformed"}},
		"meta without asin": {good.reviews, good.meta + `{"title":"x"}`, []string{"m:5:", `"asin" is missing`}},
		"meta bad literal":  {good.reviews, "{'asin': 'B1'}\n{'asin': }\n", []string{"m:2:", "Python literal"}},
		"meta bad title":    {good.reviews, `{"asin":"B1","title":{}}`, []string{"m:1:", "want text"}},
		"meta bad category": {good.reviews, `{"asin":"B1","category":7}`, []string{"m:1:", "category"}},
		"empty":             {"", good.meta, []string{"r is empty"}},
		"blank":             {"\n\n", good.meta, []string{"blank lines only"}},
		"truncated gzip":    {zipped(t, good.reviews)[:60], good.meta, []string{"ends early"}},
	} {
		_, _, err := Amazon(AmazonOptions{Reviews: []string{file(t, "r", c.reviews)}, Meta: []string{file(t, "m", c.meta)}})
		wantInputError(t, name, err, c.want...)
	}
	_, _, err := Amazon(AmazonOptions{})
	wantInputError(t, "no files", err, "no events")
}

// The order of the lines in the files does not reach the data set.
func TestImportIgnoresLineOrder(t *testing.T) {
	in := amazonLayouts[amazon2023]
	turn := func(s string) string {
		lines := strings.Split(strings.TrimSpace(s), "\n")
		for i, j := 0, len(lines)-1; i < j; i, j = i+1, j-1 {
			lines[i], lines[j] = lines[j], lines[i]
		}
		return strings.Join(lines, "\n")
	}
	load := func(reviews, meta string) *market.Dataset {
		ds, _, err := Amazon(AmazonOptions{Reviews: []string{file(t, "r", reviews)}, Meta: []string{file(t, "m", meta)}})
		if err != nil {
			t.Fatal(err)
		}
		return ds
	}
	if a, b := load(in.reviews, in.meta), load(turn(in.reviews), turn(in.meta)); !reflect.DeepEqual(a, b) {
		t.Errorf("forward %+v\nbackward %+v", a, b)
	}
}
