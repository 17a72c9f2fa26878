package importer

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"

	"github.com/gr2/gr2/internal/fault"
)

// maxLine bounds the memory that one line can claim, in bytes.
const maxLine = 64 << 20

// source is an open text file, unzipped on the way, and the account of its
// lines.
type source struct {
	account
	file  *os.File
	read  *bufio.Reader
	limit int // longest line in bytes
	long  []byte
	held  []byte // a line that was peeked at
}

// openSource opens a plain or gzipped file. An empty one is an error.
func openSource(path string) (*source, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Inputf("%w", err)
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		f.Close()
		return nil, fault.Inputf("%s is a folder; name the file", path)
	}
	s := &source{account: newAccount(path, ""), file: f, limit: maxLine, read: bufio.NewReaderSize(f, 1<<18)}
	if err := s.unwrap(); err != nil {
		f.Close()
		return nil, err
	}
	return s, nil
}

// unwrap takes off a gzip layer and a byte order mark.
func (s *source) unwrap() error {
	if magic, _ := s.read.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		zip, err := gzip.NewReader(s.read)
		if err != nil {
			return s.broken(err)
		}
		s.read = bufio.NewReaderSize(zip, 1<<18)
	}
	mark, err := s.read.Peek(3)
	if bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
		_, err = s.read.Discard(3)
	}
	if err != nil && err != io.EOF {
		return s.broken(err)
	}
	if _, err := s.read.Peek(1); err == io.EOF {
		return fault.Inputf("%s is empty", s.path)
	}
	return nil
}

func (s *source) Close() error { return s.file.Close() }

// next returns the next line without its end, or io.EOF. The memory is valid
// until the following call.
func (s *source) next() ([]byte, error) {
	if s.held != nil {
		line := s.held
		s.held = nil
		return line, nil
	}
	line, err := s.scan()
	if err != nil {
		return nil, err
	}
	s.line++
	s.Lines++
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), nil
}

func (s *source) scan() ([]byte, error) {
	s.long = s.long[:0]
	for {
		part, err := s.read.ReadSlice('\n')
		if len(s.long)+len(part) > s.limit {
			s.line++
			return nil, s.errorf("the line is longer than %d MiB; is this a file of lines?", s.limit>>20)
		}
		if err == nil && len(s.long) == 0 {
			return part, nil
		}
		s.long = append(s.long, part...)
		switch {
		case err == nil:
			return s.long, nil
		case err == io.EOF && len(s.long) > 0:
			return s.long, nil
		case err == io.EOF:
			return nil, io.EOF
		case err != bufio.ErrBufferFull:
			s.line++
			return nil, s.broken(err)
		}
	}
}

// text is next for files that must be UTF-8; it skips blank lines.
func (s *source) text() ([]byte, error) {
	for {
		line, err := s.next()
		if err != nil {
			return nil, err
		}
		if !utf8.Valid(line) {
			return nil, s.errorf("the line is not UTF-8; convert the file")
		}
		if len(bytes.TrimSpace(line)) > 0 {
			return line, nil
		}
		s.drop("blank line")
	}
}

// first returns the first line that is not blank and leaves it to be read again.
func (s *source) first(read func() ([]byte, error)) ([]byte, error) {
	line, err := read()
	if err == io.EOF {
		return nil, fault.Inputf("%s holds blank lines only", s.path)
	}
	s.held = line
	return line, err
}

// broken names the file when its bytes cannot be read.
func (s *source) broken(err error) error {
	var system *fs.PathError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return s.errorf("the gzip data ends early; fetch the file again")
	case errors.As(err, &system):
		return err
	default:
		return s.errorf("%v; fetch the file again", err)
	}
}
