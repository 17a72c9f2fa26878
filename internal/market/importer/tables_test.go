package importer

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
)

// The same small market as JSON lines, CSV and Parquet.
const (
	jsonItems = `{"id":"A","title":"Tea &amp; Co","categories":["Drinks","Tea"],"brand":"Bo","price":3.5,"attributes":{"colour":"green"}}
{"id":2,"title":"Two","extra":1}
`
	jsonEvents = `{"user":"u","item":"A","time":1700000000,"kind":"purchase","value":2}
{"user":"u","item":2,"time":"2023-11-15"}
{"user":18446744073709551615,"item":"C","time":1700000001,"kind":"view"}
`
	jsonSlates = `{"id":"s1","user":"u","time":1700000002,"history":[{"item":"A","time":1700000000}],"candidates":[{"item":"C","score":0.5},{"item":"A","score":0.25}],"grades":[2,0]}
{"id":"s2","candidates":["A"]}
`

	csvItems  = "id,title,categories,brand,price,attributes,extra\nA,Tea &amp; Co,Drinks > Tea,Bo,$3.50,\"{\"\"colour\"\":\"\"green\"\"}\",x\n2,Two,,,,,\n"
	csvEvents = "user,item,time,kind,value\nu,A,1700000000,purchase,2\nu,2,2023-11-15 00:00:00,,\n18446744073709551615,C,1700000001,View,\n"
	csvSlates = "id\tuser\ttime\thistory\tcandidates\tscores\tgrades\n" +
		"s1\tu\t1700000002\t\"[{\"\"item\"\":\"\"A\"\",\"\"time\"\":1700000000}]\"\t\"[\"\"C\"\",\"\"A\"\"]\"\t[0.5,0.25]\t[2,0]\n" +
		"s2\t\t\t\t\"[\"\"A\"\"]\"\t\t\n"
)

type (
	parquetItem struct {
		ID         string            `parquet:"id"`
		Title      string            `parquet:"title"`
		Categories []string          `parquet:"categories,list"`
		Brand      *string           `parquet:"brand,optional"`
		Price      float64           `parquet:"price"`
		Attributes map[string]string `parquet:"attributes"`
	}
	parquetEvent struct {
		User  string    `parquet:"customer"`
		Item  string    `parquet:"item"`
		Time  time.Time `parquet:"time,timestamp(millisecond)"`
		Kind  string    `parquet:"kind"`
		Value float32   `parquet:"value"`
	}
	parquetVisit struct {
		Item string `parquet:"item"`
		Time int64  `parquet:"time"`
	}
	parquetSlate struct {
		ID         string         `parquet:"id"`
		User       *string        `parquet:"user,optional"`
		Time       *int64         `parquet:"time,optional"`
		History    []parquetVisit `parquet:"history,list"`
		Candidates []string       `parquet:"candidates,list"`
		Scores     []float32      `parquet:"scores"`
		Grades     []int32        `parquet:"grades"`
	}
)

func parquetFile[T any](t *testing.T, name string, rows []T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := parquet.WriteFile(path, rows); err != nil {
		t.Fatal(err)
	}
	return path
}

func parquetOptions(t *testing.T) TableOptions {
	brand, user, when := "Bo", "u", int64(1700000002)
	return TableOptions{
		Format:  "parquet",
		Columns: map[string]string{"events.user": "customer"},
		Items: []string{parquetFile(t, "i", []parquetItem{
			{ID: "A", Title: "Tea &amp; Co", Categories: []string{"Drinks", "Tea"}, Brand: &brand, Price: 3.5, Attributes: map[string]string{"colour": "green"}},
			{ID: "2", Title: "Two"},
		})},
		Events: []string{parquetFile(t, "e", []parquetEvent{
			{"u", "A", time.Unix(1700000000, 5e8), "purchase", 2}, {"u", "2", time.Unix(1700006400, 0), "", 0}, {"18446744073709551615", "C", time.Unix(1700000001, 0), "view", 0},
		})},
		Slates: []string{parquetFile(t, "s", []parquetSlate{
			{ID: "s1", User: &user, Time: &when, History: []parquetVisit{{"A", 1700000000}}, Candidates: []string{"C", "A"}, Scores: []float32{.5, .25}, Grades: []int32{2, 0}},
			{ID: "s2", Candidates: []string{"A"}, Scores: []float32{0}},
		})},
	}
}

func TestTablesOfAllFormats(t *testing.T) {
	var first *market.Dataset
	for _, opt := range []TableOptions{
		{Format: "jsonl", Items: []string{file(t, "i", jsonItems)}, Events: []string{file(t, "e", zipped(t, jsonEvents))}, Slates: []string{file(t, "s", jsonSlates)}},
		{Format: "csv", Items: []string{file(t, "i", "\xef\xbb\xbf"+csvItems)}, Events: []string{file(t, "e", strings.ReplaceAll(csvEvents, "\n", "\r\n"))}, Slates: []string{file(t, "s", csvSlates)}},
		parquetOptions(t),
	} {
		ds, s, err := Tables(opt)
		if err != nil {
			t.Errorf("%s: %v", opt.Format, err)
			continue
		}
		wantCounts(t, s, market.Counts{Users: 2, Items: 3, Events: 3, Slates: 2})
		if s.NoMetadata != 1 || s.FirstTime != 1700000000 || s.LastTime != 1700006400 {
			t.Errorf("%s: summary %+v", opt.Format, s)
		}
		for _, f := range s.Files {
			if f.Lines != f.Kept || f.Kept == 0 {
				t.Errorf("%s: %+v", opt.Format, f)
			}
		}
		if opt.Format != "parquet" && (len(s.Notes) != 2 || s.Notes[0] != "i: columns not used: extra" || s.Notes[1] != "1 of 2 slates have no grades and are left out of training and measurement") {
			t.Errorf("%s: notes %q", opt.Format, s.Notes)
		}
		ds.Source = nil
		if first == nil {
			first = ds
			continue
		}
		if !reflect.DeepEqual(ds, first) {
			t.Errorf("%s gives\n%+v\nwant\n%+v", opt.Format, ds, first)
		}
	}
	want := market.Item{ID: "A", Title: "Tea & Co", Categories: []string{"Drinks", "Tea"}, Brand: "Bo", Price: 3.5, Attributes: map[string]string{"colour": "green"}}
	if got := itemOf(t, first, "A"); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

// A saved data set reads back through the generic importer.
func TestTablesReadADatasetFolder(t *testing.T) {
	ds, _, err := Tables(TableOptions{Format: "jsonl", Items: []string{file(t, "i", jsonItems)}, Events: []string{file(t, "e", jsonEvents)}, Slates: []string{file(t, "s", jsonSlates)}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := market.Save(dir, ds); err != nil {
		t.Fatal(err)
	}
	in := func(name string) []string { return []string{filepath.Join(dir, name)} }
	again, _, err := Tables(TableOptions{Format: "jsonl", Items: in("items.jsonl.gz"), Events: in("events.jsonl.gz"), Slates: in("slates.jsonl.gz")})
	if err != nil {
		t.Fatal(err)
	}
	ds.Source, again.Source = nil, nil
	if !reflect.DeepEqual(ds, again) {
		t.Errorf("%+v\n%+v", ds, again)
	}
}

func TestColumnsAndUnits(t *testing.T) {
	events := file(t, "e", "who,what,ts\nu,A,1700000000999\n")
	slates := file(t, "s", "id,candidates,who\ns,\"[\"\"A\"\"]\",u\n")
	ds, _, err := Tables(TableOptions{Format: "csv", TimeUnit: "ms", Events: []string{events}, Slates: []string{slates},
		Columns: map[string]string{"user": "who", "events.item": "what", "events.time": "ts"}})
	if err != nil {
		t.Fatal(err)
	}
	if ds.Events[0].Time != 1700000000 || ds.Events[0].Kind != market.Click || ds.Slates[0].User != 0 {
		t.Errorf("%+v", ds)
	}
	for want, opt := range map[string]TableOptions{
		`"events.users"`: {Format: "csv", Columns: map[string]string{"events.users": "x"}},
		`"price."`:       {Format: "csv", Columns: map[string]string{"price.": "x"}},
		`time unit "h"`:  {Format: "csv", TimeUnit: "h"},
		`format "xml"`:   {Format: "xml"},
	} {
		if _, _, err := Tables(opt); err == nil || fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want a usage error with %s", err, want)
		}
	}
}

func TestJSONLErrors(t *testing.T) {
	for name, c := range map[string]struct {
		items, events, slates string
		want                  []string
	}{
		"missing field":     {events: jsonEvents + `{"user":"u","time":5}`, want: []string{"e:4:", `field "item": missing`}},
		"empty user":        {events: `{"user":" ","item":"A","time":5}`, want: []string{"e:1:", `field "user": missing`}},
		"no time":           {events: `{"user":"u","item":"A"}`, want: []string{`field "time": missing`}},
		"malformed":         {events: jsonEvents + "{\"user\":\n", want: []string{"e:4:", "malformed JSON"}},
		"two on a line":     {events: `{"user":"u","item":"A","time":5} {}`, want: []string{"e:1:", "more text follows"}},
		"an array":          {events: `["u"]`, want: []string{"e:1:", "malformed JSON"}},
		"null":              {events: `null`, want: []string{"e:1:", "null"}},
		"not UTF-8":         {events: jsonEvents + "{\"user\":\"\xe9\"}", want: []string{"e:4:", "not UTF-8"}},
		"negative time":     {events: `{"user":"u","item":"A","time":-5}`, want: []string{"e:1:", `field "time"`, "before 1970"}},
		"milliseconds":      {events: `{"user":"u","item":"A","time":1700000000000}`, want: []string{"not milliseconds"}},
		"absurd time":       {events: `{"user":"u","item":"A","time":1e30}`, want: []string{`field "time"`, "after the year 2099"}},
		"written time":      {events: `{"user":"u","item":"A","time":"15-11-2023"}`, want: []string{`"15-11-2023" is no time`}},
		"kind":              {events: `{"user":"u","item":"A","time":5,"kind":"buy"}`, want: []string{`"buy"`, "view, click, purchase, rating"}},
		"value":             {events: `{"user":"u","item":"A","time":5,"value":"many"}`, want: []string{`field "value"`, "many"}},
		"value overflows":   {events: `{"user":"u","item":"A","time":5,"value":1e39}`, want: []string{`field "value"`}},
		"user is a list":    {events: `{"user":["u"],"item":"A","time":5}`, want: []string{`field "user"`, "have a list"}},
		"fractional id":     {events: `{"user":1.5,"item":"A","time":5}`, want: []string{`field "user"`, "1.5"}},
		"empty":             {items: "", events: "", want: []string{"e is empty"}},
		"items only":        {items: jsonItems, want: []string{"no events and no slates"}},
		"duplicate item":    {items: jsonItems + `{"id":"A"}`, want: []string{"i:3:", `item "A"`, "one row"}},
		"item without id":   {items: `{"title":"x"}`, want: []string{"i:1:", `field "id"`}},
		"price":             {items: `{"id":"x","price":"cheap"}`, want: []string{`field "price"`, "cheap"}},
		"negative price":    {items: `{"id":"x","price":-1}`, want: []string{`field "price"`, "negative"}},
		"title object":      {items: `{"id":"x","title":{}}`, want: []string{`field "title"`, "object"}},
		"categories":        {items: `{"id":"x","categories":5}`, want: []string{`field "categories"`}},
		"attributes":        {items: `{"id":"x","attributes":"no"}`, want: []string{`field "attributes"`}},
		"slate twice":       {slates: jsonSlates + `{"id":"s1","candidates":["A"]}`, want: []string{"s:3:", `slate "s1"`, "twice"}},
		"slate empty":       {slates: `{"id":"s","candidates":[]}`, want: []string{"s:1:", `slate "s"`, "no candidates"}},
		"slate none":        {slates: `{"id":"s"}`, want: []string{"no candidates"}},
		"slate duplicates":  {slates: `{"id":"s","candidates":["A",{"item":"A"}]}`, want: []string{`candidates[1]: item "A" already stands at candidates[0]`}},
		"slate field":       {slates: `{"id":"s","candidates":[{"item":"A","rank":1}]}`, want: []string{`"candidates": [0]: unknown field "rank"`}},
		"slate candidate":   {slates: `{"id":"s","candidates":[{}]}`, want: []string{"[0]: item: missing"}},
		"slate grades":      {slates: `{"id":"s","candidates":["A"],"grades":[1,1]}`, want: []string{"2 grades for 1 candidates"}},
		"slate grade":       {slates: `{"id":"s","candidates":["A"],"grades":[7]}`, want: []string{"grades[0] is 7"}},
		"slate grade kind":  {slates: `{"id":"s","candidates":["A"],"grades":[0.5]}`, want: []string{`field "grades"`, "0.5"}},
		"slate scores":      {slates: `{"id":"s","candidates":["A"],"scores":[]}`, want: []string{"0 scores for 1 candidates"}},
		"slate future":      {slates: `{"id":"s","time":5,"candidates":["A"],"history":[{"item":"B","time":6}]}`, want: []string{"after the slate's time"}},
		"slate unsorted":    {slates: `{"id":"s","time":9,"candidates":["A"],"history":[{"item":"B","time":6},{"item":"B","time":5}]}`, want: []string{"oldest first"}},
		"slate history":     {slates: `{"id":"s","candidates":["A"],"history":[{"item":"B","time":-6}]}`, want: []string{`"history": [0]: time -6`}},
		"slate of one text": {slates: `{"id":"s","candidates":"A"}`, want: []string{"want a JSON list"}},
	} {
		opt := TableOptions{Format: "jsonl"}
		if c.items != "" {
			opt.Items = []string{file(t, "i", c.items)}
		}
		if c.events != "" || name == "empty" {
			opt.Events = []string{file(t, "e", c.events)}
		}
		if c.slates != "" {
			opt.Slates = []string{file(t, "s", c.slates)}
		}
		_, _, err := Tables(opt)
		wantInputError(t, name, err, c.want...)
	}
}

func TestCSVErrors(t *testing.T) {
	for name, c := range map[string]struct {
		events string
		want   []string
	}{
		"missing column":   {"user,product,time\nu,A,5\n", []string{"e: no column \"item\" for the events", "user, product, time", "events.item=COLUMN"}},
		"short record":     {csvEvents + "u,A\n", []string{"e:5:", "2 columns, want 5"}},
		"long record":      {csvEvents + "u,A,5,,,\n", []string{"e:5:", "6 columns, want 5"}},
		"column twice":     {"user,item,time,user\n", []string{"e:1:", `"user" stands twice`}},
		"not UTF-8":        {"user,item,time\nu,A,5\nu,\"two\nl\xe9nes\",5\n", []string{"e:3:", "not UTF-8"}},
		"header not UTF-8": {"us\xe9r,item,time\n", []string{"e:1:", "not UTF-8"}},
		"bare quote":       {"user,item,time\nu,A\"B,5\n", []string{"e:2:", "malformed CSV"}},
		"open quote":       {"user,item,time\nu,\"A,5\nu,B,6\n", []string{"e:2:", "malformed CSV"}},
		"header only":      {"user,item,time\n", []string{"no events"}},
		"empty cell":       {"user,item,time\nu,,5\n", []string{"e:2:", `field "item": missing`}},
		"bad time":         {"user,item,time\nu,A,5\nu,A,soon\n", []string{"e:3:", `field "time"`, "soon"}},
		"truncated gzip":   {zipped(t, csvEvents)[:50], []string{"ends early"}},
		"empty":            {"", []string{"e is empty"}},
	} {
		_, _, err := Tables(TableOptions{Format: "csv", Events: []string{file(t, "e", c.events)}})
		wantInputError(t, name, err, c.want...)
	}
	_, _, err := Tables(TableOptions{Format: "csv", Columns: map[string]string{"value": "stars"}, Events: []string{file(t, "e", csvEvents)}})
	wantInputError(t, "renamed column is missing", err, `no column "stars"`)
}

// An open quote must not take the rest of a large file into memory.
func TestCSVRecordIsBounded(t *testing.T) {
	s, err := openSource(file(t, "e", "user,item,time\nu,\"A,5\n"+strings.Repeat("u,B,6\n", 1<<19)))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.limit = 1 << 20
	c, err := openCSV(s)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.next()
	wantInputError(t, "open quote", err, "e:2:", "longer than 1 MiB")
}

func TestParquetErrors(t *testing.T) {
	opt := parquetOptions(t)
	whole, err := os.ReadFile(opt.Events[0])
	if err != nil {
		t.Fatal(err)
	}
	type other struct {
		User string `parquet:"customer"`
		Item string `parquet:"sku"`
		Time int64  `parquet:"time"`
	}
	for name, c := range map[string]struct {
		path string
		want []string
	}{
		"missing column": {parquetFile(t, "e", []other{{"u", "A", 5}}), []string{`no column "item"`, "customer, sku, time"}},
		"negative time":  {parquetFile(t, "e", []parquetEvent{{"u", "A", time.Unix(5, 0), "", 0}, {"u", "A", time.Unix(-5, 0), "", 0}}), []string{"e: row 2:", `field "time"`, "before 1970"}},
		"no such kind":   {parquetFile(t, "e", []parquetEvent{{"u", "A", time.Unix(5, 0), "buy", 0}}), []string{"e: row 1:", `"buy"`}},
		"not UTF-8":      {parquetFile(t, "e", []parquetEvent{{"u\xe9", "A", time.Unix(5, 0), "", 0}}), []string{"e: row 1:", "not UTF-8"}},
		"truncated":      {file(t, "e", string(whole[:len(whole)/2])), []string{"e is no readable Parquet file", "is the file whole?"}},
		"tiny":           {file(t, "e", "PAR1"), []string{"e is no readable Parquet file", "too short"}},
		"footer length":  {file(t, "e", "PAR1....\xff\xff\xff\xffPAR1"), []string{"e is no readable Parquet file", "longer than the file"}},
		"not Parquet":    {file(t, "e", jsonEvents), []string{"e is no readable Parquet file"}},
		"empty":          {file(t, "e", ""), []string{"e is empty"}},
		"no file":        {"/nowhere/e", []string{"no such file"}},
	} {
		_, _, err := Tables(TableOptions{Format: "parquet", Columns: opt.Columns, Events: []string{c.path}})
		wantInputError(t, name, err, c.want...)
	}
}

// A damaged Parquet file is an input error or reads as something; it never panics.
func TestParquetDamage(t *testing.T) {
	opt := parquetOptions(t)
	whole, err := os.ReadFile(opt.Events[0])
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	path := file(t, "e", "")
	for at := 0; at < len(whole); at += 3 {
		damaged := []byte(string(whole))
		damaged[at] ^= 0xff
		if err := os.WriteFile(path, damaged, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Tables(TableOptions{Format: "parquet", Columns: opt.Columns, Events: []string{path}}); err != nil {
			failed++
			if fault.Exit(err) != 2 {
				t.Errorf("byte %d: %v exits with %d", at, err, fault.Exit(err))
			}
		}
	}
	if failed < 20 {
		t.Errorf("only %d damaged files were refused", failed)
	}
}

func TestParquetManyRows(t *testing.T) {
	rows := make([]parquetEvent, 1000)
	for i := range rows {
		rows[i] = parquetEvent{"u", string(rune('A' + i%26)), time.Unix(int64(i), 0), "click", 0}
	}
	ds, s, err := Tables(TableOptions{Format: "parquet", Columns: map[string]string{"user": "customer"}, Events: []string{parquetFile(t, "e", rows)}})
	if err != nil || len(ds.Events) != 1000 || ds.Events[999].Time != 999 || s.Files[0].Lines != 1000 {
		t.Errorf("%+v, %v", s, err)
	}
}

// What slates lack is counted, one note a lack, and nothing is said of good ones.
func TestSlatesThatLackSomething(t *testing.T) {
	good := `{"id":"s1","candidates":["A","B"],"scores":[2,1],"grades":[0,1]}` + "\n"
	for slates, want := range map[string][]string{
		good: nil,
		good + `{"id":"s2","candidates":["A","B"],"scores":[2,1],"grades":[0,0]}`: {"1 of 2 slates have no positive"},
		good + `{"id":"s2","candidates":["A","B"],"grades":[1,0]}`:                {"1 of 2 slates have no scores"},
		good + `{"id":"s2","candidates":["A"],"grades":[1]}`:                      nil, // one candidate needs no score
	} {
		_, s, err := Tables(TableOptions{Format: "jsonl", Slates: []string{file(t, "s", slates)}})
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Notes) != len(want) || len(want) > 0 && !strings.HasPrefix(s.Notes[0], want[0]) {
			t.Errorf("%s: notes %q, want %q", slates, s.Notes, want)
		}
	}
}
