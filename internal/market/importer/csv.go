package importer

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/gr2/gr2/internal/fault"
)

// csvReader reads the records of a CSV source with a header (RFC 4180). Tabs
// separate when the header has tabs and no comma.
type csvReader struct {
	source *source
	csv    *csv.Reader
	budget *budget
	header []string
}

func openCSV(s *source) (*csvReader, error) {
	line, err := s.first(s.next)
	if err != nil {
		return nil, err
	}
	head := bytes.NewReader(append(bytes.Clone(line), '\n'))
	s.held, s.line, s.Lines = nil, 0, 0
	c := &csvReader{source: s, budget: &budget{from: io.MultiReader(head, s.read)}}
	c.csv = csv.NewReader(c.budget)
	if bytes.IndexByte(line, ',') < 0 && bytes.IndexByte(line, '\t') >= 0 {
		c.csv.Comma = '\t'
	}
	if c.header, err = c.next(); err != nil {
		return nil, err
	}
	s.Lines = 0 // the header is no record
	seen := map[string]bool{}
	for i, name := range c.header {
		name = strings.TrimSpace(name)
		if seen[name] {
			return nil, s.errorf("column %q stands twice in the header", name)
		}
		seen[name] = true
		c.header[i] = name
	}
	return c, nil
}

// next returns the next record, or io.EOF.
func (c *csvReader) next() ([]string, error) {
	c.budget.left = c.source.limit
	record, err := c.csv.Read()
	if err == io.EOF {
		return nil, err
	}
	var parse *csv.ParseError
	switch {
	case errors.As(err, &parse) && parse.Err == csv.ErrFieldCount:
		c.source.line = parse.Line
		return nil, c.source.errorf("%d columns, want %d", len(record), len(c.header))
	case errors.As(err, &parse):
		c.source.line = parse.StartLine
		return nil, c.source.errorf("malformed CSV record: %v", parse.Err)
	case errors.Is(err, errLong):
		c.source.line++
		return nil, c.source.errorf("the record is longer than %d MiB; is a quote left open?", c.source.limit>>20)
	case err != nil:
		return nil, c.source.broken(err)
	}
	c.source.line, _ = c.csv.FieldPos(0)
	c.source.Lines++
	for i, field := range record {
		if !utf8.ValidString(field) {
			c.source.line, _ = c.csv.FieldPos(i)
			return nil, c.source.errorf("the line is not UTF-8; convert the file")
		}
	}
	return record, nil
}

// csvFields reads CSV records of n fields below a header of as many.
func (s *source) csvFields(n int) (fieldReader, error) {
	c, err := openCSV(s)
	if err != nil {
		return nil, err
	}
	if len(c.header) != n {
		return nil, s.errorf("%d columns, want %d", len(c.header), n)
	}
	return c.next, nil
}

var errLong = errors.New("record too long")

// budget fails when one record takes more bytes than are left; encoding/csv
// itself would take in the whole file behind an open quote.
type budget struct {
	from io.Reader
	left int
}

func (b *budget) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errLong
	}
	n, err := b.from.Read(p)
	b.left -= n
	return n, err
}

// errNoColumn names the columns that are there, to find the one that was meant.
func errNoColumn(path, table, field, column string, have []string) error {
	return fault.Inputf("%s: no column %q for the %s; the file has %s; say which one it is with %s.%s=COLUMN",
		path, column, table, strings.Join(have, ", "), table, field)
}
