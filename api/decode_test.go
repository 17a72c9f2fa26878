package api_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/gr2/gr2/api"
)

const oneSlate = `{"id":"s1","user":"u1","time":100,
	"history":[{"item":"a","time":1},{"item":"b","time":100}],
	"candidates":[{"item":"c","score":1.5},{"item":"d"}],"grades":[0,2]}`

func TestDecodeSlate(t *testing.T) {
	got, err := api.DecodeSlate([]byte(oneSlate))
	if err != nil {
		t.Fatal(err)
	}
	want := api.Slate{ID: "s1", User: "u1", Time: 100,
		History:    []api.Visit{{Item: "a", Time: 1}, {Item: "b", Time: 100}},
		Candidates: []api.Candidate{{Item: "c", Score: 1.5}, {Item: "d"}},
		Grades:     []int{0, 2}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if err := got.Check(); err != nil {
		t.Error(err)
	}
}

// What Go writes, nil slices included, can be read back.
func TestSlateRoundTrip(t *testing.T) {
	want := api.Slate{ID: "x", Candidates: []api.Candidate{{Item: "é<b>", Score: -2}}}
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := api.DecodeSlate(data)
	if err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestDecodeRequestForms(t *testing.T) {
	one, err := api.DecodeRequest([]byte(oneSlate))
	if err != nil || one.Batch || len(one.Slates) != 1 {
		t.Errorf("single: %+v, %v", one, err)
	}
	two, err := api.DecodeRequest([]byte(`{"slates":[` + oneSlate + `,` + oneSlate + `]}`))
	if err != nil || !two.Batch || len(two.Slates) != 2 {
		t.Errorf("batch: %+v, %v", two, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	cases := []struct{ name, body, field, message string }{
		{"empty", ``, "", "ends early"},
		{"not JSON", `{id}`, "", "not JSON"},
		{"cut", `{"id":"a","history":[{"item":"x"`, "history[0]", "ends early"},
		{"array", `[]`, "", "must be an object, not an array"},
		{"null", `null`, "", "must be an object, not null"},
		{"two values", `{"id":"a"} {}`, "", "something follows"},
		{"not UTF-8", "{\"id\":\"\xff\"}", "", "not valid UTF-8"},
		{"unknown field", `{"idd":"a"}`, "idd", "not a field"},
		{"letter case", `{"ID":"a"}`, "ID", "not a field"},
		{"repeated field", `{"id":"a","id":"b"}`, "id", "twice"},
		{"id number", `{"id":1}`, "id", "must be text, not a number"},
		{"time text", `{"time":"now"}`, "time", "must be a number, not text"},
		{"time fraction", `{"time":1.5}`, "time", "whole number"},
		{"time in ms", `{"time":1400000000000}`, "time", "Unix seconds"},
		{"time before 1970", `{"time":-1}`, "time", "Unix seconds"},
		{"candidate text", `{"candidates":["a"]}`, "candidates[0]", "must be an object, not text"},
		{"candidate without item", `{"candidates":[{"score":1}]}`, "candidates[0]", "has no item"},
		{"candidate null item", `{"candidates":[{"item":null}]}`, "candidates[0].item", "not null"},
		{"candidate extra", `{"candidates":[{"item":"a"},{"item":"b","rank":1}]}`, "candidates[1].rank", "known: item, score"},
		{"score too large", `{"candidates":[{"item":"a","score":1e39}]}`, "candidates[0].score", "32-bit"},
		{"history extra", `{"history":[{"item":"a","kind":"x"}]}`, "history[0].kind", "known: item, time"},
		{"grades text", `{"grades":[0,"1"]}`, "grades[1]", "must be a number"},
		{"nested", `{"slates":[{"candidates":[{"item":"a"}]},{"candidates":[{"item":true}]}]}`, "slates[1].candidates[0].item", "not true or false"},
		{"both forms", `{"slates":[],"id":"a"}`, "slates", "either one slate"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := api.DecodeRequest([]byte(c.body))
			wantField(t, err, c.field, c.message)
		})
	}
}

func TestCheckRefuses(t *testing.T) {
	two := `"candidates":[{"item":"a"},{"item":"b"}]`
	cases := []struct{ name, body, field, message string }{
		{"no slates", `{"slates":[]}`, "slates", "is empty"},
		{"too many slates", `{"slates":[{` + two + `},{` + two + `},{` + two + `}]}`, "slates", "at most 2"},
		{"empty slate", `{"id":"a"}`, "candidates", "empty"},
		{"duplicate", `{"candidates":[{"item":"a"},{"item":"b"},{"item":"a"}]}`, "candidates[2].item", `"a" is a duplicate of candidates[0]`},
		{"too many candidates", `{"candidates":[{"item":"a"},{"item":"b"},{"item":"c"},{"item":"d"}]}`, "candidates", "at most 3"},
		{"too much history", `{` + two + `,"history":[{"item":"a"},{"item":"a"},{"item":"a"}]}`, "history", "at most 2"},
		{"empty item", `{"candidates":[{"item":""}]}`, "candidates[0].item", "is empty"},
		{"empty visit", `{` + two + `,"history":[{"item":""}]}`, "history[0].item", "is empty"},
		{"history out of order", `{` + two + `,"history":[{"item":"a","time":5},{"item":"b","time":4}]}`, "history[1].time", "oldest visit first"},
		{"history from the future", `{` + two + `,"time":9,"history":[{"item":"a","time":10}]}`, "history[0].time", "after the request"},
		{"timeless visit among others", `{` + two + `,"time":9,"history":[{"item":"a"},{"item":"b","time":8}]}`, "history[1].time", "before the visit"},
		{"grades short", `{` + two + `,"grades":[1]}`, "grades", "1 values for 2 candidates"},
		{"grade range", `{` + two + `,"grades":[0,3]}`, "grades[1]", "is 3"},
		{"inside a batch", `{"slates":[{` + two + `},{}]}`, "slates[1].candidates", "empty"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			req, err := api.DecodeRequest([]byte(c.body))
			if err != nil {
				t.Fatal(err)
			}
			wantField(t, req.Check(api.Limits{Slates: 2, Candidates: 3, History: 2}), c.field, c.message)
		})
	}
}

// Times may be left out: a visit without one is of the request's time, a
// request without one of the last visit's.
func TestCheckTakesMissingTimes(t *testing.T) {
	for _, history := range []string{
		`"time":9,"history":[{"item":"a","time":3},{"item":"b"}]`,
		`"history":[{"item":"a"},{"item":"b"}]`,
		`"history":[{"item":"a","time":5},{"item":"b","time":7}]`,
	} {
		s, err := api.DecodeSlate([]byte(`{"candidates":[{"item":"a"}],` + history + `}`))
		if err == nil {
			err = s.Check()
		}
		if err != nil {
			t.Errorf("%s: %v", history, err)
		}
	}
	s := api.Slate{History: []api.Visit{{Item: "a", Time: 7}}}
	if s.RequestTime() != 7 {
		t.Errorf("RequestTime %d, want the last visit's 7", s.RequestTime())
	}
}

func wantField(t *testing.T, err error, field, message string) {
	t.Helper()
	var fe *api.FieldError
	if !errors.As(err, &fe) {
		t.Fatalf("got %v, want a FieldError", err)
	}
	if fe.Field != field || !strings.Contains(fe.Message, message) {
		t.Errorf("got %q: %q\nwant %q: ...%s...", fe.Field, fe.Message, field, message)
	}
}

// Whatever comes in, the decoder gives a request or a FieldError, and what it
// takes can be written and read again unchanged.
func FuzzDecodeRequest(f *testing.F) {
	f.Add([]byte(oneSlate))
	f.Add([]byte(`{"slates":[` + oneSlate + `]}`))
	f.Add([]byte(`{"slates":[{"history":null,"grades":[]}]}`))
	f.Add([]byte(`{"id":"\ud800","time":-0,"candidates":[{"item":"a","score":1e-46}]}`))
	f.Add([]byte(`{"id":[{"a":[{}]}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		req, err := api.DecodeRequest(data)
		if err != nil {
			var fe *api.FieldError
			if !errors.As(err, &fe) || fe.Message == "" || len(fe.Error()) > 2000+len(data) {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		_ = req.Check(api.Limits{Slates: 3, Candidates: 3, History: 3})
		for i := range req.Slates {
			again, err := json.Marshal(req.Slates[i])
			if err != nil {
				t.Fatal(err)
			}
			back, err := api.DecodeSlate(again)
			if err != nil {
				t.Fatalf("%s: %v", again, err)
			}
			twice, _ := json.Marshal(back)
			if string(again) != string(twice) {
				t.Fatalf("%s\nread again: %s", again, twice)
			}
		}
	})
}
