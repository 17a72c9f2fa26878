package sid

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"

	"github.com/gr2/gr2/internal/fault"
)

// File layout, little-endian: magic (8 bytes), version, levels, width, items
// (uint32 each), catalog hash (32), codes (items x levels), SHA-256 of all the
// bytes before it (32).
const (
	magic      = "GR2SIDX\n"
	version    = 1
	headerSize = len(magic) + 4*4 + sha256.Size
)

// Write stores the index.
func (x *Index) Write(w io.Writer) error {
	file := make([]byte, 0, headerSize+len(x.codes)+sha256.Size)
	file = append(file, magic...)
	for _, v := range []int{version, x.levels, x.width, x.Len()} {
		file = binary.LittleEndian.AppendUint32(file, uint32(v))
	}
	file = append(file, x.catalog[:]...)
	file = append(file, x.codes...)
	sum := sha256.Sum256(file)
	_, err := w.Write(append(file, sum[:]...))
	return err
}

// Read loads an index and verifies it. A file that is truncated, damaged or of
// another kind is a fault.Corrupt that says so; Check the result against the
// catalog.
func Read(r io.Reader) (*Index, error) {
	file, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(file, []byte(magic)) {
		return nil, fault.Corruptf("sid index: the file does not begin with %q: it is no semantic ID index, build it again", magic)
	}
	if len(file) < headerSize+sha256.Size {
		return nil, fault.Corruptf("sid index: truncated: %d bytes, a header needs %d: build it again", len(file), headerSize+sha256.Size)
	}
	var field [4]uint32
	for i := range field {
		field[i] = binary.LittleEndian.Uint32(file[len(magic)+4*i:])
	}
	if field[0] != version {
		return nil, fault.Corruptf("sid index: version %d, this program reads %d: build it again", field[0], version)
	}
	levels, width, items := field[1], field[2], field[3]
	want := uint64(headerSize) + uint64(levels)*uint64(items) + sha256.Size
	switch size := uint64(len(file)); {
	case size < want:
		return nil, fault.Corruptf("sid index: truncated: %d bytes of %d: build it again", size, want)
	case size > want:
		return nil, fault.Corruptf("sid index: %d bytes after the end: build it again", size-want)
	}
	body, sum := file[:len(file)-sha256.Size], file[len(file)-sha256.Size:]
	if got := sha256.Sum256(body); !bytes.Equal(got[:], sum) {
		return nil, fault.Corruptf("sid index: checksum %x, the file says %x: it is damaged, build it again", got[:6], sum[:6])
	}
	x, err := New(Hash(body[headerSize-sha256.Size:headerSize]), int(levels), int(width), body[headerSize:])
	if err != nil {
		return nil, fault.Corruptf("sid index: %v: build it again", err)
	}
	return x, nil
}
