package market

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/fault"
)

func TestDecodeSlate(t *testing.T) {
	catalog := tinyCatalog(t, 5)
	s, unknown, err := DecodeSlate([]byte(`{"id":"s1","user":"u","time":30,
		"history":[{"item":"e","time":10},{"item":"gone","time":15},{"item":"d","time":20}],
		"candidates":[{"item":"b","score":0.5},{"item":"a","score":-1}],"grades":[0,2]}`), catalog, map[string]int32{"u": 7})
	want := Slate{ID: "s1", User: 7, Time: 30, History: []Visit{{4, 10}, {3, 20}},
		Candidates: []Candidate{{1, .5}, {0, -1}}, Grades: []uint8{0, 2}}
	if err != nil || unknown != 1 || !reflect.DeepEqual(s, want) {
		t.Errorf("%+v, %d unknown, %v", s, unknown, err)
	}
}

func TestDecodeSlateAllows(t *testing.T) {
	catalog := tinyCatalog(t, 5)
	for name, c := range map[string]struct {
		json string
		want Slate
	}{
		"empty history":         {`{"id":"x","time":9,"history":[],"candidates":[{"item":"a"},{"item":"b"}]}`, Slate{ID: "x", User: -1, Time: 9, Candidates: []Candidate{{Item: 0}, {Item: 1}}}},
		"slate of one":          {`{"id":"x","time":9,"candidates":[{"item":"c","score":1}]}`, Slate{ID: "x", User: -1, Time: 9, Candidates: []Candidate{{2, 1}}}},
		"unknown user":          {`{"user":"nobody","candidates":[{"item":"a"}]}`, Slate{User: -1, Candidates: []Candidate{{Item: 0}}}},
		"time from the history": {`{"history":[{"item":"a","time":5}],"candidates":[{"item":"a"}]}`, Slate{User: -1, Time: 5, History: []Visit{{0, 5}}, Candidates: []Candidate{{Item: 0}}}},
		"visit without a time":  {`{"time":8,"history":[{"item":"a"},{"item":"b"}],"candidates":[{"item":"a"}]}`, Slate{User: -1, Time: 8, History: []Visit{{0, 8}, {1, 8}}, Candidates: []Candidate{{Item: 0}}}},
		"visit at its time":     {`{"time":8,"history":[{"item":"a","time":8}],"candidates":[{"item":"b"}],"grades":[]}`, Slate{User: -1, Time: 8, History: []Visit{{0, 8}}, Candidates: []Candidate{{Item: 1}}}},
	} {
		got, unknown, err := DecodeSlate([]byte(c.json), catalog, nil)
		if err != nil || unknown != 0 || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %d, %v; want %+v", name, got, unknown, err, c.want)
		}
	}
}

func TestDecodeSlateErrors(t *testing.T) {
	catalog := tinyCatalog(t, 5)
	long := strings.TrimSuffix(strings.Repeat(`{"item":"a"},`, MaxCandidates+1), ",")
	for name, c := range map[string]struct{ json, want string }{
		"unknown item":       {`{"id":"s","candidates":[{"item":"a"},{"item":"zz"}]}`, `slate "s": candidates[1]: unknown item "zz"`},
		"duplicate":          {`{"id":"s","candidates":[{"item":"b"},{"item":"a"},{"item":"b"}]}`, `slate "s": candidates[2]: item "b" already stands at candidates[0]`},
		"no candidates":      {`{"id":"s","history":[]}`, `slate "s": no candidates`},
		"null candidate":     {`{"candidates":[null]}`, `unknown item ""`},
		"too many":           {`{"id":"s","candidates":[` + long + `]}`, `51 candidates, at most 50`},
		"grades length":      {`{"id":"s","candidates":[{"item":"a"}],"grades":[1,0]}`, `2 grades for 1 candidates`},
		"grade range":        {`{"candidates":[{"item":"a"}],"grades":[3]}`, `grades[0] is 3`},
		"grade negative":     {`{"candidates":[{"item":"a"}],"grades":[-1]}`, `grades[0] is -1`},
		"unknown field":      {`{"id":"s","candidate":[]}`, `unknown field "candidate"`},
		"unknown inside":     {`{"candidates":[{"item":"a","rank":1}]}`, `unknown field "rank"`},
		"item is a number":   {`{"candidates":[{"item":5}]}`, `candidates.item: want a string, have number`},
		"time is text":       {`{"time":"now"}`, `time: want an integer, have string`},
		"time is a fraction": {`{"time":1.5}`, `time: want an integer, have number 1.5`},
		"score overflows":    {`{"candidates":[{"item":"a","score":1e99}]}`, `want a number in the range of float32`},
		"history is text":    {`{"history":"a,b"}`, `history: want a list, have string`},
		"a list":             {`[]`, `the slate: want an object, have array`},
		"negative time":      {`{"time":-1,"candidates":[{"item":"a"}]}`, `time -1 is before 1970`},
		"milliseconds":       {`{"time":1700000000000,"candidates":[{"item":"a"}]}`, `not milliseconds`},
		"history time":       {`{"time":5,"history":[{"item":"a","time":-4}],"candidates":[{"item":"a"}]}`, `history item "a": time -4`},
		"future history":     {`{"time":5,"history":[{"item":"a","time":6}],"candidates":[{"item":"a"}]}`, `time 6 is after the slate's time 5`},
		"newest first":       {`{"time":5,"history":[{"item":"a","time":4},{"item":"b","time":3}],"candidates":[{"item":"a"}]}`, `oldest first`},
		"empty":              {``, `no JSON object`},
		"cut off":            {`{"id":"s","candidates":[{"item":`, `ends early`},
		"malformed":          {`{"id":}`, `malformed JSON at byte 7`},
		"two objects":        {`{"candidates":[{"item":"a"}]}{}`, `more text follows`},
		"not UTF-8":          {"{\"id\":\"\xff\"}", `not UTF-8`},
	} {
		_, _, err := DecodeSlate([]byte(c.json), catalog, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
		if fault.KindOf(err) != fault.Input || strings.Contains(fmt.Sprint(err), "\n") {
			t.Errorf("%s: %v is no one-line input error", name, err)
		}
	}
}

func TestLongestSlateIsAllowed(t *testing.T) {
	items := make([]Item, MaxCandidates)
	s := Slate{ID: "long", User: -1}
	for i := range items {
		items[i].ID = fmt.Sprint(i)
		s.Candidates = append(s.Candidates, Candidate{Item: int32(i)})
	}
	catalog := newCatalog(items)
	data, err := EncodeSlate(&s, catalog, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, _, err := DecodeSlate(data, catalog, nil); err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestEncodeSlateForm(t *testing.T) {
	s := Slate{ID: "<s>", User: 0, Time: 9, History: []Visit{{1, 8}}, Candidates: []Candidate{{0, .5}}, Grades: []uint8{2}}
	got, err := EncodeSlate(&s, tinyCatalog(t, 2), []string{"u"})
	want := `{"id":"<s>","user":"u","time":9,"history":[{"item":"b","time":8}],"candidates":[{"item":"a","score":0.5}],"grades":[2]}`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v\nwant %s", got, err, want)
	}
}

func TestSlateRoundTrip(t *testing.T) {
	users := map[string]int32{}
	for seed := range uint64(50) {
		ds := randomDataset(t, rand.New(rand.NewPCG(seed, 5)), 4, 9, 1)
		for i, u := range ds.Users {
			users[u] = int32(i)
		}
		for i := range ds.Slates {
			data, err := EncodeSlate(&ds.Slates[i], ds.Catalog, ds.Users)
			if err != nil {
				t.Fatal(err)
			}
			got, unknown, err := DecodeSlate(data, ds.Catalog, users)
			if err != nil || unknown != 0 || !reflect.DeepEqual(got, ds.Slates[i]) {
				t.Fatalf("%s\nreads back as %+v (%v), was %+v", data, got, err, ds.Slates[i])
			}
		}
	}
}

// Whatever decodes is valid, and encodes to something that decodes to itself.
func FuzzDecodeSlate(f *testing.F) {
	catalog := tinyCatalog(f, 5)
	users := map[string]int32{"u": 0}
	f.Add([]byte(`{"id":"s1","user":"u","time":30,"history":[{"item":"e","time":10}],"candidates":[{"item":"b","score":0.5},{"item":"a"}],"grades":[0,2]}`))
	f.Add([]byte(`{"history":[{"item":"x"}],"candidates":[{"item":"a"}]}`))
	f.Add([]byte(`{"candidates":[{"item":"a"},{"item":"a"}],"grades":[null]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, _, err := DecodeSlate(data, catalog, users)
		if err != nil {
			if fault.KindOf(err) != fault.Input {
				t.Fatalf("kind of %v", err)
			}
			return
		}
		if err := s.Validate(catalog); err != nil {
			t.Fatal(err)
		}
		again, err := EncodeSlate(&s, catalog, []string{"u"})
		if err != nil {
			t.Fatal(err)
		}
		got, unknown, err := DecodeSlate(again, catalog, users)
		if err != nil || unknown != 0 || !reflect.DeepEqual(got, s) {
			t.Fatalf("%s\n%s\n%+v\n%+v %v", bytes.TrimSpace(data), again, s, got, err)
		}
	})
}
