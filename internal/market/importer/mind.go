package importer

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gr2/gr2/internal/market"
)

// MINDOptions name the files of a MIND set.
type MINDOptions struct {
	Name      string
	Behaviors []string
	News      []string
}

// mindTime is how behaviors.tsv writes a moment, taken as UTC.
const mindTime = "1/2/2006 3:04:05 PM"

// MIND imports impressions as logged slates and their clicks as Click events.
// The history column has no times: its order is kept and every visit gets the
// time of the impression.
func MIND(opt MINDOptions) (*market.Dataset, market.Summary, error) {
	b := newBuilder("mind")
	if err := b.readAll(opt.News, b.news); err != nil {
		return nil, b.summary, err
	}
	seen := map[string]bool{}
	for i, path := range opt.Behaviors {
		// Impression ids start again in each part (train, dev) of the set.
		prefix := ""
		if i > 0 {
			prefix = fmt.Sprintf("%d/", i+1)
		}
		read := func(s *source) error { return b.behaviors(s, prefix, seen) }
		if err := b.readAll([]string{path}, read); err != nil {
			return nil, b.summary, err
		}
	}
	if b.shownTwice > 0 {
		b.note("%d news items were listed twice in one impression; each counts once", b.shownTwice)
	}
	return b.finish(opt.Name)
}

// tsv visits the lines of a UTF-8 file with exactly these columns, unquoted.
func (s *source) tsv(layout string, columns []string, visit func([]string) error) error {
	s.Layout = layout
	for {
		line, err := s.text()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if n := bytes.Count(line, []byte("\t")) + 1; n != len(columns) {
			return s.errorf("%d columns, want %d: %s", n, len(columns), strings.Join(columns, ", "))
		}
		if err := visit(strings.Split(string(line), "\t")); err != nil {
			return err
		}
	}
}

func (b *builder) news(s *source) error {
	if _, err := s.first(s.text); err != nil {
		return err
	}
	columns := []string{"news id", "category", "subcategory", "title", "abstract", "url", "title entities", "abstract entities"}
	return s.tsv("mind-news", columns, func(f []string) error {
		if f[0] == "" {
			return s.errorf("the news id is empty")
		}
		it := market.Item{ID: f[0], Categories: cleanAll(f[1:3]), Title: clean(f[3]), Description: clean(f[4])}
		if b.describe(it) {
			s.Kept++
		} else {
			s.drop("repeated item")
		}
		return nil
	})
}

func (b *builder) behaviors(s *source, prefix string, seen map[string]bool) error {
	if _, err := s.first(s.text); err != nil {
		return err
	}
	columns := []string{"impression id", "user id", "time", "history", "impressions"}
	return s.tsv("mind-behaviors", columns, func(f []string) error {
		id := prefix + f[0]
		switch {
		case f[0] == "":
			return s.errorf("the impression id is empty")
		case f[1] == "":
			return s.errorf("the user id is empty")
		case seen[id]:
			return s.errorf("impression %q stands there twice", f[0])
		}
		seen[id] = true
		slate, err := b.impression(s, id, f)
		if err != nil {
			return err
		}
		b.slates = append(b.slates, slate)
		for i, g := range slate.Grades {
			if g == market.GradeClick {
				b.events = append(b.events, market.Event{User: slate.User, Item: slate.Candidates[i].Item, Time: slate.Time, Kind: market.Click})
			}
		}
		s.Kept++
		return nil
	})
}

func (b *builder) impression(s *source, id string, f []string) (market.Slate, error) {
	when, err := time.Parse(mindTime, f[2])
	if err != nil {
		return market.Slate{}, s.errorf("time %q is not like 11/12/2019 2:14:46 PM", f[2])
	}
	t := when.Unix()
	if err := market.CheckTime(t); err != nil {
		return market.Slate{}, s.errorf("%w", err)
	}
	slate := market.Slate{ID: id, User: b.user(f[1]), Time: t}
	for _, news := range strings.Fields(f[3]) {
		slate.History = append(slate.History, market.Visit{Item: b.item(news), Time: t})
	}
	if slate.Candidates, slate.Grades, err = b.shown(s, strings.Fields(f[4])); err != nil {
		return market.Slate{}, err
	}
	return slate, nil
}

// shown reads the impressions column: N123-1 (clicked), N456-0 (not clicked), or
// N123 in a test part, whose clicks are not published.
func (b *builder) shown(s *source, entries []string) ([]market.Candidate, []uint8, error) {
	if len(entries) == 0 {
		return nil, nil, s.errorf("the impression shows no news")
	}
	var candidates []market.Candidate
	var grades []uint8
	labels := 0
	at := make(map[int32]int, len(entries))
	for _, entry := range entries {
		news, label, graded := strings.Cut(entry, "-")
		if news == "" || graded && label != "0" && label != "1" {
			return nil, nil, s.errorf("impression entry %q is not like N123-0 or N123-1", entry)
		}
		grade := uint8(market.GradeNone)
		if graded {
			labels++
			grade = label[0] - '0'
		}
		item := b.item(news)
		if first, dup := at[item]; dup { // keep the place it was first shown at, and the click
			grades[first] = max(grades[first], grade)
			b.shownTwice++
			continue
		}
		at[item] = len(candidates)
		candidates = append(candidates, market.Candidate{Item: item})
		grades = append(grades, grade)
	}
	switch labels {
	case len(entries):
		return candidates, grades, nil
	case 0:
		return candidates, nil, nil
	}
	return nil, nil, s.errorf("some entries of the impression have a click label and some have none")
}
