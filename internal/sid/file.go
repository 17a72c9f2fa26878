package sid

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/gr2/gr2/internal/fault"
)

// Write stores the index.
func (x *Index) Write(w io.Writer) error {
	sum := sha256.Sum256(x.image)
	if _, err := w.Write(x.image); err != nil {
		return err
	}
	_, err := w.Write(sum[:])
	return err
}

// Read loads an index and verifies it. A file that is truncated, damaged or of
// another kind is a fault.Corrupt that says so; Check the result against the
// catalog.
func Read(r io.Reader) (*Index, error) {
	header, err := io.ReadAll(io.LimitReader(r, int64(headerSize)))
	if err != nil {
		return nil, err
	}
	l, err := parseHeader(header)
	if err != nil {
		return nil, err
	}
	// One byte more than the header asks for shows that something follows.
	rest, err := io.ReadAll(io.LimitReader(r, int64(l.size()+sha256.Size-headerSize+1)))
	if err != nil {
		return nil, err
	}
	return load(append(header, rest...))
}

// Open maps the index file at path into memory and verifies it whole, which
// reads it once, so that no later access can fail. Files are replaced and never rewritten in place (see durable),
// so a mapped one does not change. Errors name the file. Close the index to
// release it.
func Open(path string) (*Index, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	file, unmap, err := mapFile(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	x, err := load(file)
	if err != nil {
		unmap()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	x.close = unmap
	return x, nil
}

// parseHeader reads the header and bounds what it says, so that sizes computed
// from it cannot overflow.
func parseHeader(header []byte) (*layout, error) {
	if !bytes.HasPrefix(header, []byte(magic)) {
		return nil, fault.Corruptf("sid index: the file does not begin with %q: it is no semantic ID index, build it again", magic)
	}
	if len(header) >= len(magic)+4 {
		if v := binary.LittleEndian.Uint32(header[len(magic):]); v != version {
			return nil, fault.Corruptf("sid index: version %d, this program reads %d: build it again", v, version)
		}
	}
	if len(header) < headerSize {
		return nil, fault.Corruptf("sid index: truncated: %d bytes, a header needs %d: build it again", len(header), headerSize)
	}
	field := words(header[len(magic)+4:])
	l := &layout{levels: field.at(0), width: field.at(1), live: field.at(2), reserved: field.at(3), idBytes: field.at(4)}
	for i := range l.nodes {
		l.nodes[i] = field.at(5 + i)
	}
	if err := check(int(l.levels), int(l.width), nil); err != nil {
		return nil, fault.Corruptf("sid index: %v: build it again", err)
	}
	if rows := uint64(l.live) + uint64(l.reserved); rows > maxRows {
		return nil, fault.Corruptf("sid index: %d items, an index holds up to %d: build it again", rows, maxRows)
	}
	for i, n := range l.nodes {
		if n > l.live {
			return nil, fault.Corruptf("sid index: %d prefixes at level %d of %d items: build it again", n, i+1, l.live)
		}
	}
	copy(l.catalog[:], header[headerSize-sha256.Size:])
	return l, nil
}

// load verifies a whole file and makes the index that shares its bytes.
func load(file []byte) (*Index, error) {
	l, err := parseHeader(file[:min(len(file), headerSize)])
	if err != nil {
		return nil, err
	}
	switch want := l.size() + sha256.Size; {
	case len(file) < want:
		return nil, fault.Corruptf("sid index: truncated: %d bytes of %d: build it again", len(file), want)
	case len(file) > want:
		return nil, fault.Corruptf("sid index: more than the %d bytes of its items: build it again", want)
	}
	image, sum := file[:l.size()], file[l.size():]
	if got := sha256.Sum256(image); !bytes.Equal(got[:], sum) {
		return nil, fault.Corruptf("sid index: its bytes do not have the checksum at its end: it is damaged, build it again")
	}
	x := l.index(image)
	if part := x.invalid(); part != "" {
		return nil, fault.Corruptf("sid index: its %s contradict its header: build it again", part)
	}
	return x, nil
}

// invalid names a section that would lead outside another one; a file that was
// written by Write has none.
func (x *Index) invalid() string {
	switch {
	case !ascends(x.idEnds, len(x.ids)):
		return "item ids"
	case check(x.Levels(), x.Width(), x.codes) != nil:
		return "codes"
	case !x.byID.valid(x.rows()) || !x.byCode.valid(x.rows()):
		return "hash tables"
	}
	for i := range x.order.len() {
		if x.order.at(i) >= x.live {
			return "trie"
		}
	}
	for level := range x.Levels() {
		labels := x.labels[level]
		if check(1, x.Width(), labels) != nil || !ascends(x.ends[level], len(labels)) {
			return "trie"
		}
	}
	if !ascends(x.ends[x.levels], x.Len()) {
		return "trie"
	}
	return ""
}

// ascends tells whether the numbers rise from 0 to last.
func ascends(w words, last int) bool {
	before := uint32(0)
	for i := range w.len() {
		v := w.at(i)
		if v < before || i == 0 && v != 0 {
			return false
		}
		before = v
	}
	return int(before) == last
}
