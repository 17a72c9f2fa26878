package importer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
)

// seed freezes the numbering and the order inside ties of imported data. It
// is no option: a data set is the same on every machine.
const seed = 0

// builder collects users, items, events and slates under temporary numbers in
// the order of the files; finish replaces them.
type builder struct {
	userOf  map[string]int32
	itemOf  map[string]int32
	users   []string
	items   []market.Item
	known   []bool // by item: metadata was read
	events  []market.Event
	slates  []market.Slate
	summary market.Summary

	shownTwice int // MIND: repeats of a news item within its impression
}

func newBuilder(source string) *builder {
	return &builder{userOf: map[string]int32{}, itemOf: map[string]int32{}, summary: market.Summary{Source: source}}
}

func (b *builder) user(id string) int32 {
	n, ok := b.userOf[id]
	if !ok {
		n = int32(len(b.users))
		b.userOf[id] = n
		b.users = append(b.users, id)
	}
	return n
}

func (b *builder) item(id string) int32 {
	n, ok := b.itemOf[id]
	if !ok {
		n = int32(len(b.items))
		b.itemOf[id] = n
		b.items = append(b.items, market.Item{ID: id})
		b.known = append(b.known, false)
	}
	return n
}

// describe gives an item its metadata. The first description stays; fresh is
// false when there was one. One without a title gives way to one with.
func (b *builder) describe(it market.Item) (fresh bool) {
	n := b.item(it.ID)
	fresh = !b.known[n]
	if fresh || b.items[n].Title == "" && it.Title != "" {
		b.items[n] = it
	}
	b.known[n] = true
	return fresh
}

func (b *builder) note(format string, args ...any) {
	b.summary.Notes = append(b.summary.Notes, fmt.Sprintf(format, args...))
}

// readAll streams each file through read and closes it.
func (b *builder) readAll(paths []string, read func(*source) error) error {
	for _, path := range paths {
		s, err := openSource(path)
		if err != nil {
			return err
		}
		err = read(s)
		s.Close()
		if err != nil {
			return err
		}
		b.summary.Files = append(b.summary.Files, s.FileSummary)
	}
	return nil
}

// noteSlates counts slates that lack what training, measuring or serving asks for.
func (b *builder) noteSlates(slates []market.Slate) {
	var ungraded, negative, unscored int
	for i := range slates {
		s := &slates[i]
		switch {
		case s.Grades == nil:
			ungraded++
		case !s.Positive():
			negative++
		}
		if !s.Scored() {
			unscored++
		}
	}
	for _, c := range []struct {
		n    int
		what string
	}{
		{ungraded, "have no grades and are left out of training and measurement"},
		{negative, "have no positive and teach nothing"},
		{unscored, "have no scores: train without scoreGap (prompt.evidence_names), for a policy that shows it refuses slates without them"},
	} {
		if c.n > 0 {
			b.note("%d of %d slates %s", c.n, len(slates), c.what)
		}
	}
}

func (b *builder) finish(name string) (*market.Dataset, market.Summary, error) {
	if len(b.events) == 0 && len(b.slates) == 0 {
		return nil, b.summary, fault.Inputf("no events and no slates were found: %s", b.account())
	}
	catalog, err := market.NewCatalog(b.items)
	if err != nil {
		return nil, b.summary, err
	}
	ds := &market.Dataset{Name: name, Catalog: catalog, Users: b.users, Events: b.events, Slates: b.slates}
	b.countItems()
	ds.Number(seed)
	ds.Sort(seed)
	ds.Events = slices.CompactFunc(ds.Events, func(a, b market.Event) bool {
		return a.User == b.User && a.Item == b.Item && a.Time == b.Time && a.Kind == b.Kind
	})
	b.summary.Duplicates = len(b.events) - len(ds.Events)
	sortSlates(ds.Slates)
	b.noteSlates(ds.Slates)
	b.summary.Counts = ds.Counts()
	b.span(ds)
	summary := b.summary
	ds.Source = &summary
	return ds, b.summary, nil
}

// account lists per file what was kept and why the rest was not.
func (b *builder) account() string {
	var parts []string
	for _, f := range b.summary.Files {
		text := fmt.Sprintf("%s: %d lines, %d kept", f.Name, f.Lines, f.Kept)
		for _, reason := range sortedKeys(f.Dropped) {
			text += fmt.Sprintf(", %d %s", f.Dropped[reason], reason)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}

func (b *builder) countItems() {
	shown := make([]bool, len(b.items))
	for i := range b.slates {
		for _, c := range b.slates[i].Candidates {
			shown[c.Item] = true
		}
	}
	for i := range b.items {
		hasText := b.items[i].Title != ""
		if !hasText {
			b.summary.NoText++
		}
		if !b.known[i] {
			b.summary.NoMetadata++
		}
		if shown[i] {
			b.summary.Candidates++
			if hasText {
				b.summary.TextShown++
			}
		}
	}
}

func (b *builder) span(ds *market.Dataset) {
	first, last := int64(market.MaxTime), int64(0)
	for _, e := range ds.Events {
		first, last = min(first, e.Time), max(last, e.Time)
	}
	if len(ds.Events) == 0 {
		for i := range ds.Slates {
			first, last = min(first, ds.Slates[i].Time), max(last, ds.Slates[i].Time)
		}
	}
	b.summary.FirstTime, b.summary.LastTime = first, last
}

// sortSlates orders by time, ties by a hash of the id.
func sortSlates(slates []market.Slate) {
	slices.SortFunc(slates, func(a, b market.Slate) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time),
			cmp.Compare(rng.Hash(seed, rng.Key(a.ID)), rng.Hash(seed, rng.Key(b.ID))), cmp.Compare(a.ID, b.ID))
	})
}
