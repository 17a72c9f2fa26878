package importer

import (
	"reflect"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/market"
)

const mindNews = "N1\tsports\tgolf\tA &amp; B\tAbout  it\thttp://x\t[]\t[]\nN2\tnews\tworld\tSecond\t\thttp://y\t[]\t[]\n"

func TestMIND(t *testing.T) {
	behaviors := "7\tU1\t11/12/2019 2:14:46 PM\tN5 N1 N5\tN2-1 N1-0 N9-1\r\n8\tU2\t11/9/2019 12:00:00 AM\t\tN1-0 N1-1 N2-0\r\n"
	test := "7\tU1\t11/15/2019 1:00:00 AM\tN1\tN2 N1\n"
	ds, s, err := MIND(MINDOptions{Name: "m", News: []string{file(t, "n", mindNews)}, Behaviors: []string{file(t, "b", behaviors), file(t, "t", test)}})
	if err != nil {
		t.Fatal(err)
	}
	wantCounts(t, s, market.Counts{Users: 2, Items: 4, Events: 3, Slates: 3})
	if s.Candidates != 3 || s.TextShown != 2 || s.NoMetadata != 2 || len(s.Notes) != 3 ||
		s.Notes[1] != "1 of 3 slates have no grades and are left out of training and measurement" || !strings.HasPrefix(s.Notes[2], "3 of 3 slates have no scores: train without scoreGap") {
		t.Errorf("summary %+v", s)
	}
	if it := itemOf(t, ds, "N1"); it.Title != "A & B" || it.Description != "About it" || !reflect.DeepEqual(it.Categories, []string{"sports", "golf"}) {
		t.Errorf("%+v", it)
	}
	id := func(item int32) string { return ds.Catalog.Items[item].ID }
	early, late, unlabelled := ds.Slates[0], ds.Slates[1], ds.Slates[2]
	if early.ID != "8" || early.Time != 1573257600 || early.History != nil || !reflect.DeepEqual(early.Grades, []uint8{1, 0}) {
		t.Errorf("%+v", early)
	}
	if late.Time != 1573568086 || ds.Users[late.User] != "U1" || !reflect.DeepEqual(late.Grades, []uint8{1, 0, 1}) {
		t.Errorf("%+v", late)
	}
	var history []string
	for _, v := range late.History {
		history = append(history, id(v.Item))
		if v.Time != late.Time {
			t.Errorf("visit %+v of the impression at %d", v, late.Time)
		}
	}
	if !reflect.DeepEqual(history, []string{"N5", "N1", "N5"}) {
		t.Errorf("history %v", history)
	}
	if unlabelled.ID != "2/7" || unlabelled.Grades != nil || id(unlabelled.Candidates[0].Item) != "N2" {
		t.Errorf("%+v", unlabelled)
	}
}

func TestMINDErrors(t *testing.T) {
	const good = "7\tU1\t11/12/2019 2:14:46 PM\tN5\tN2-1\n"
	for name, c := range map[string]struct {
		behaviors, news string
		want            []string
	}{
		"columns":        {good + "8\tU1\t11/12/2019 2:14:46 PM\tN2-1\n", mindNews, []string{"b:2:", "4 columns, want 5: impression id"}},
		"news columns":   {good, mindNews + "N3\tx\n", []string{"n:3:", "2 columns, want 8"}},
		"time":           {"7\tU1\t2019-11-12\tN5\tN2-1\n", mindNews, []string{"b:1:", `"2019-11-12"`, "11/12/2019 2:14:46 PM"}},
		"old time":       {"7\tU1\t11/12/1919 2:14:46 PM\tN5\tN2-1\n", mindNews, []string{"b:1:", "before 1970"}},
		"label":          {"7\tU1\t11/12/2019 2:14:46 PM\tN5\tN2-2\n", mindNews, []string{`"N2-2"`}},
		"no news":        {"7\tU1\t11/12/2019 2:14:46 PM\tN5\t\n", mindNews, []string{"b:1:", "shows no news"}},
		"mixed labels":   {"7\tU1\t11/12/2019 2:14:46 PM\tN5\tN1 N2-1\n", mindNews, []string{"click label"}},
		"twice":          {good + good, mindNews, []string{"b:2:", `"7"`, "twice"}},
		"no user":        {"7\t\t11/12/2019 2:14:46 PM\tN5\tN2-1\n", mindNews, []string{"user id is empty"}},
		"news not UTF-8": {good, mindNews + "N3\tx\ty\tCaf\xe9\t\t\t\t\n", []string{"n:3:", "not UTF-8"}},
		"empty":          {"", mindNews, []string{"b is empty"}},
	} {
		_, _, err := MIND(MINDOptions{News: []string{file(t, "n", c.news)}, Behaviors: []string{file(t, "b", c.behaviors)}})
		wantInputError(t, name, err, c.want...)
	}
}
