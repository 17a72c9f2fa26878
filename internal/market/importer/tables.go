package importer

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
)

// TableOptions name tables of items, events and ready-made slates.
type TableOptions struct {
	Name   string
	Format string // "jsonl", "csv" or "parquet"
	Items  []string
	Events []string
	Slates []string
	// Columns renames: "events.user": "customer_id" says that the field user of
	// the events stands in the column customer_id. Without a table ("user") it
	// holds for every table with that field.
	Columns map[string]string
	// TimeUnit of numeric times: "s" (default), "ms" or "us".
	TimeUnit string
}

// fieldsOf lists the fields of each table; those that it must have come first.
var fieldsOf = map[string]struct {
	names    []string
	required int
}{
	"items":  {[]string{"id", "title", "categories", "brand", "description", "price", "attributes"}, 1},
	"events": {[]string{"user", "item", "time", "kind", "value"}, 3},
	"slates": {[]string{"id", "candidates", "user", "time", "history", "scores", "grades"}, 2},
}

// Tables imports generic tables. Unlike published sets they are held to their
// word: a row that cannot be right is an error, not a count.
func Tables(opt TableOptions) (*market.Dataset, market.Summary, error) {
	b := newBuilder(opt.Format)
	t := &tables{builder: b, format: opt.Format, slateIDs: map[string]bool{}, columns: map[string]map[string]string{}}
	if err := t.configure(opt); err != nil {
		return nil, b.summary, err
	}
	for _, part := range []struct {
		name  string
		paths []string
		add   func(row) error
	}{
		{"items", opt.Items, t.addItem}, {"events", opt.Events, t.addEvent}, {"slates", opt.Slates, t.addSlate},
	} {
		for _, path := range part.paths {
			if err := t.read(part.name, path, part.add); err != nil {
				return nil, b.summary, err
			}
		}
	}
	return b.finish(opt.Name)
}

type tables struct {
	*builder
	format    string
	perSecond int64                        // ticks of numeric times
	columns   map[string]map[string]string // column of each field, by table
	slateIDs  map[string]bool
}

func (t *tables) configure(opt TableOptions) error {
	units := map[string]int64{"": 1, "s": 1, "ms": 1e3, "us": 1e6}
	if t.perSecond = units[opt.TimeUnit]; t.perSecond == 0 {
		return fault.Usagef("time unit %q is not one of s, ms, us", opt.TimeUnit)
	}
	if !slices.Contains([]string{"jsonl", "csv", "parquet"}, opt.Format) {
		return fault.Usagef("table format %q is not one of jsonl, csv, parquet", opt.Format)
	}
	for name, fields := range fieldsOf {
		t.columns[name] = map[string]string{}
		for _, f := range fields.names {
			t.columns[name][f] = f
		}
	}
	for _, qualified := range []bool{false, true} { // "events.user" wins over "user"
		for _, key := range sortedKeys(opt.Columns) {
			if strings.Contains(key, ".") != qualified {
				continue
			}
			if err := t.rename(key, opt.Columns[key]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tables) rename(key, column string) error {
	only, field, qualified := strings.Cut(key, ".")
	if !qualified {
		field = key
	}
	found := false
	for name, columns := range t.columns {
		if _, ok := columns[field]; ok && (!qualified || name == only) {
			columns[field] = column
			found = true
		}
	}
	if found {
		return nil
	}
	var known []string
	for _, name := range sortedKeys(fieldsOf) {
		for _, f := range fieldsOf[name].names {
			known = append(known, name+"."+f)
		}
	}
	return fault.Usagef("no field %q to rename; the fields are %s", key, strings.Join(known, ", "))
}

func (t *tables) open(path string) (table, error) {
	if t.format == "parquet" {
		return openParquet(path)
	}
	s, err := openSource(path)
	if err != nil {
		return nil, err
	}
	s.Layout = t.format
	if t.format == "jsonl" {
		return jsonLines{s}, nil
	}
	c, err := openCSV(s)
	if err != nil {
		s.Close()
		return nil, err
	}
	return csvRows{s, c}, nil
}

func (t *tables) read(name, path string, add func(row) error) error {
	file, err := t.open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	file.tally().Layout += " " + name
	if err := t.checkColumns(name, path, file.columns()); err != nil {
		return err
	}
	unused := map[string]bool{}
	used := map[string]bool{}
	for _, column := range t.columns[name] {
		used[column] = true
	}
	for {
		r, err := file.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		for column := range r {
			if !used[column] {
				unused[column] = true
			}
		}
		if err := add(row{r, t.columns[name]}); err != nil {
			return fault.Inputf("%s: %w", file.where(), err)
		}
		file.tally().Kept++
	}
	if len(unused) > 0 {
		t.note("%s: columns not used: %s", file.tally().Name, strings.Join(sortedKeys(unused), ", "))
	}
	t.summary.Files = append(t.summary.Files, file.tally().FileSummary)
	return nil
}

// checkColumns looks at the header of a file that has one.
func (t *tables) checkColumns(name, path string, have []string) error {
	if have == nil {
		return nil
	}
	fields := fieldsOf[name]
	for i, field := range fields.names {
		column := t.columns[name][field]
		if slices.Contains(have, column) {
			continue
		}
		if i < fields.required || column != field {
			return errNoColumn(path, name, field, column, have)
		}
	}
	return nil
}

// row is a record seen through the names of its columns.
type row struct {
	record
	column map[string]string
}

// get converts the value of a field; its error names the column.
func get[T any](r row, field string, as func(any) (T, error)) (T, error) {
	column := r.column[field]
	v, err := as(r.record[column])
	if err != nil {
		return v, fmt.Errorf("field %q: %w", column, err)
	}
	return v, nil
}

func (t *tables) addItem(r row) (err error) {
	var it market.Item
	if it.ID, err = get(r, "id", asID); err != nil {
		return err
	}
	text := func(field string) (s string) {
		if err == nil {
			s, err = get(r, field, asText)
		}
		return clean(s)
	}
	it.Title, it.Brand, it.Description = text("title"), text("brand"), text("description")
	if err != nil {
		return err
	}
	if it.Categories, err = get(r, "categories", asPath); err != nil {
		return err
	}
	if it.Price, err = get(r, "price", asPrice); err != nil {
		return err
	}
	if it.Attributes, err = get(r, "attributes", asAttributes); err != nil {
		return err
	}
	if !t.describe(it) {
		return fmt.Errorf("item %q was described before; give every item one row", it.ID)
	}
	return nil
}

func asPrice(v any) (float64, error) {
	if s, ok := v.(string); ok {
		price, ok := parsePrice(s)
		if !ok {
			return 0, fmt.Errorf("%.40q is no price", s)
		}
		return price, nil
	}
	price, err := asNumber(v)
	if err == nil && price < 0 {
		err = fmt.Errorf("price %g is negative", price)
	}
	return price, err
}

func (t *tables) asTime(v any) (int64, error) { return asTime(v, t.perSecond) }

func (t *tables) addEvent(r row) error {
	user, err := get(r, "user", asID)
	if err != nil {
		return err
	}
	item, err := get(r, "item", asID)
	if err != nil {
		return err
	}
	when, err := get(r, "time", t.asTime)
	if err != nil {
		return err
	}
	kind, err := get(r, "kind", asKind)
	if err != nil {
		return err
	}
	value, err := get(r, "value", asNumber)
	if err != nil {
		return err
	}
	t.events = append(t.events, market.Event{User: t.user(user), Item: t.item(item), Time: when, Kind: kind, Value: float32(value)})
	return nil
}

// asKind reads the name of a kind; absent means a click.
func asKind(v any) (market.EventKind, error) {
	name, err := asText(v)
	if err != nil || name == "" {
		return market.Click, err
	}
	kind, ok := market.ParseKind(name)
	if !ok {
		return 0, fmt.Errorf("kind %q is not one of view, click, purchase, rating", name)
	}
	return kind, nil
}
