package importer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/gr2/gr2/internal/fault"
)

// parquetRows streams the rows of a Parquet file as records.
type parquetRows struct {
	account
	file    *os.File
	rows    *parquet.GenericReader[any]
	batch   []any // rows read ahead
	ended   bool
	names   []string
	seconds map[string]int64 // timestamp columns: ticks in a second
	days    map[string]bool  // date columns
}

func openParquet(path string) (p *parquetRows, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Inputf("%w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() == 0 {
		return nil, fault.Inputf("%s is empty", path)
	}
	if err := checkFooter(f, info.Size()); err != nil {
		return nil, fault.Inputf("%s is no readable Parquet file: %w", path, err)
	}
	p = &parquetRows{account: newAccount(path, "parquet"), file: f, seconds: map[string]int64{}, days: map[string]bool{}}
	err = p.guard(func() error {
		file, err := parquet.OpenFile(f, info.Size())
		if err != nil {
			return fault.Inputf("%s is no readable Parquet file: %v", path, err)
		}
		p.rows = parquet.NewGenericReader[any](file)
		p.noteColumns(file.Schema())
		return nil
	})
	return p, err
}

// checkFooter looks at the last 8 bytes, the footer's length and the magic. The
// Parquet reader takes memory for a footer before it finds the length absurd.
func checkFooter(f io.ReaderAt, size int64) error {
	const tail, head = 8, 4
	var end [tail]byte
	if size < tail+head {
		return errors.New("it is too short")
	}
	if _, err := f.ReadAt(end[:], size-tail); err != nil {
		return err
	}
	if string(end[4:]) != "PAR1" {
		return errors.New("it does not end with PAR1; is the file whole?")
	}
	if n := int64(binary.LittleEndian.Uint32(end[:4])); n > size-tail-head {
		return fmt.Errorf("its footer of %d bytes is longer than the file", n)
	}
	return nil
}

// guard turns a panic of the Parquet reader, which a damaged file can cause,
// into an error.
func (p *parquetRows) guard(read func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fault.Inputf("%s: row %d: the Parquet file is damaged: %v", p.path, p.line, r)
		}
	}()
	return read()
}

// noteColumns remembers which columns hold times in other units than seconds.
func (p *parquetRows) noteColumns(schema *parquet.Schema) {
	for _, field := range schema.Fields() {
		p.names = append(p.names, field.Name())
		if !field.Leaf() || field.Type().LogicalType() == nil {
			continue
		}
		switch t := field.Type().LogicalType().Value.(type) {
		case *format.TimestampType:
			if t.Unit.Value != nil {
				p.seconds[field.Name()] = int64(1e9 / t.Unit.Value.Duration())
			}
		case *format.DateType:
			p.days[field.Name()] = true
		}
	}
}

func (p *parquetRows) columns() []string { return p.names }
func (p *parquetRows) Close() error      { return p.file.Close() }

func (p *parquetRows) where() string { return fmt.Sprintf("%s: row %d", p.path, p.line) }

func (p *parquetRows) next() (record, error) {
	if len(p.batch) == 0 {
		if err := p.guard(p.refill); err != nil {
			return nil, err
		}
	}
	if len(p.batch) == 0 {
		return nil, io.EOF
	}
	p.line++
	row := p.batch[0]
	p.batch = p.batch[1:]
	fields, ok := row.(map[string]any)
	if !ok {
		return nil, fault.Inputf("%s: the row has no named columns", p.where())
	}
	p.Lines++
	for name, ticks := range p.seconds {
		if v, ok := fields[name].(int64); ok {
			fields[name] = moment(floorDiv(v, ticks))
		}
	}
	for name := range p.days {
		if v, ok := fields[name].(int32); ok {
			fields[name] = moment(int64(v) * 86400)
		}
	}
	return fields, nil
}

// refill reads the next rows; none are left when it returns without any.
func (p *parquetRows) refill() error {
	if p.ended {
		return nil
	}
	rows := make([]any, 64)
	n, err := p.rows.Read(rows)
	p.batch, p.ended = rows[:n], err == io.EOF
	if err != nil && err != io.EOF {
		return fault.Inputf("%s: row %d: the Parquet file is damaged: %w", p.path, p.line+1, err)
	}
	if n == 0 && !p.ended {
		return fault.Inputf("%s: row %d: the Parquet file ends early", p.path, p.line+1)
	}
	return nil
}

// moment is a time that is in seconds already, whatever the unit of the table.
type moment int64

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
