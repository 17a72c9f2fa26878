package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/fault"
)

// File layout, little-endian: magic (8 bytes), length of a vector, length of the
// embedder's name (uint32 each), name, CRC-32C of all that; then records: key
// (16), vector (float32 each), CRC-32C of both. A later record of a key replaces
// an earlier one. A part of a record at the end is the trace of a killed process.
const (
	magic  = "GR2VEC1\n"
	keyLen = 16
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// key is the first bytes of the SHA-256 of embedder and text.
type key [keyLen]byte

func keyOf(name, text string) key {
	h := sha256.New()
	fmt.Fprintf(h, "%d:%s:", len(name), name)
	io.WriteString(h, text)
	return key(h.Sum(nil)[:keyLen])
}

// short is what memory holds of a key. Where two share it, the later one hides
// the other.
func (k key) short() uint64 { return binary.LittleEndian.Uint64(k[:]) }

// store is the file of one embedder. It does not synchronise.
type store struct {
	f      *os.File
	path   string
	dim    int
	header int64
	places map[uint64]uint32 // short key -> number of its last record
	count  uint32            // records in the file
}

func header(name string, dim int) []byte {
	b := []byte(magic)
	b = binary.LittleEndian.AppendUint32(b, uint32(dim))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(name)))
	b = append(b, name...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// openStore opens the file of the embedder; without one the error is
// fs.ErrNotExist.
func openStore(path, name string) (*store, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	s := &store{f: f, path: path, places: map[uint64]uint32{}}
	if err = s.readHeader(name); err == nil {
		err = s.index()
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return s, nil
}

// createStore makes an empty file of the embedder and opens it.
func createStore(path, name string, dim int) (*store, error) {
	if err := durable.WriteBytes(path, header(name, dim)); err != nil {
		return nil, err
	}
	return openStore(path, name)
}

func (s *store) readHeader(name string) error {
	fixed := make([]byte, len(magic)+8)
	_, err := s.f.ReadAt(fixed, 0)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return err
	case err != nil || !bytes.HasPrefix(fixed, []byte(magic)):
		return s.corrupt("it does not begin as a cache of vectors does")
	}
	s.dim = int(binary.LittleEndian.Uint32(fixed[len(magic):]))
	want := header(name, s.dim)
	got := make([]byte, len(want))
	if _, err := s.f.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) || s.dim < 1 || s.dim > 1<<20 {
		return s.corrupt("its header is not that of %s", name)
	}
	s.header = int64(len(want))
	return nil
}

func (s *store) corrupt(format string, args ...any) error {
	return fault.Corruptf("%s: the file is damaged: "+format+"; remove it", append([]any{s.path}, args...)...)
}

// recordLen is the bytes of a record.
func (s *store) recordLen() int { return keyLen + 4*s.dim + crc32.Size }

func (s *store) offset(record uint32) int64 { return s.header + int64(record)*int64(s.recordLen()) }

// index cuts the rest of a broken append from the file and finds the keys.
// Whether a record is sound is asked when it is read.
func (s *store) index() error {
	info, err := s.f.Stat()
	if err != nil {
		return err
	}
	records := (info.Size() - s.header) / int64(s.recordLen())
	if records > math.MaxUint32 {
		return fault.Inputf("%s holds more than %d vectors; remove it", s.path, uint32(math.MaxUint32))
	}
	if err := s.f.Truncate(s.offset(uint32(records))); err != nil {
		return err
	}
	buffer := make([]byte, max(1, 1<<20/s.recordLen())*s.recordLen())
	for s.count < uint32(records) {
		n := min(len(buffer), int(uint32(records)-s.count)*s.recordLen())
		if _, err := s.f.ReadAt(buffer[:n], s.offset(s.count)); err != nil {
			return fmt.Errorf("%s: %w", s.path, err)
		}
		for at := 0; at < n; at += s.recordLen() {
			s.places[key(buffer[at:at+keyLen]).short()] = s.count
			s.count++
		}
	}
	return nil
}

// read fills row (dim) with the vector of the key and reports whether there is
// a sound one.
func (s *store) read(k key, row []float32) (bool, error) {
	record, ok := s.places[k.short()]
	if !ok {
		return false, nil
	}
	buffer := make([]byte, s.recordLen())
	if _, err := s.f.ReadAt(buffer, s.offset(record)); err != nil {
		return false, fmt.Errorf("%s: %w", s.path, err)
	}
	body, sum := buffer[:len(buffer)-crc32.Size], buffer[len(buffer)-crc32.Size:]
	if key(body[:keyLen]) != k || crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(sum) {
		return false, nil
	}
	for i := range row {
		row[i] = math.Float32frombits(binary.LittleEndian.Uint32(body[keyLen+4*i:]))
	}
	return true, nil
}

// append adds one record a key; row gives its vector (dim). When the disk is
// full the file stays as it was.
func (s *store) append(keys []key, row func(i int) []float32) error {
	buffer := make([]byte, 0, len(keys)*s.recordLen())
	for i, k := range keys {
		at := len(buffer)
		buffer = append(buffer, k[:]...)
		for _, x := range row(i) {
			buffer = binary.LittleEndian.AppendUint32(buffer, math.Float32bits(x))
		}
		buffer = binary.LittleEndian.AppendUint32(buffer, crc32.Checksum(buffer[at:], castagnoli))
	}
	if _, err := s.f.WriteAt(buffer, s.offset(s.count)); err != nil {
		s.f.Truncate(s.offset(s.count)) // what is left of it would be overwritten
		return fmt.Errorf("cache of text embeddings: %w", err)
	}
	for _, k := range keys {
		s.places[k.short()] = s.count
		s.count++
	}
	return nil
}
