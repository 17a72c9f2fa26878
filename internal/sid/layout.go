package sid

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// File layout, little-endian. Header: magic (8 bytes), version, levels, width,
// live rows, reserved rows, bytes of all ids (uint32 each), nodes of the trie at
// levels 1 to 8 (uint32 each, 0 beyond the last level), catalog hash (32 bytes).
// Then the sections in the order of layout.sections, then the SHA-256 of all the
// bytes before it (32).
const (
	magic      = "GR2SIDX\n"
	version    = 2
	fields     = 6 + maxLevels
	headerSize = len(magic) + 4*fields + sha256.Size
)

// words is a section of uint32s, used where it lies: an index in memory and one
// in a mapped file are the same bytes.
type words []byte

func (w words) len() int            { return len(w) / 4 }
func (w words) at(i int) uint32     { return binary.LittleEndian.Uint32(w[4*i:]) }
func (w words) set(i int, v uint32) { binary.LittleEndian.PutUint32(w[4*i:], v) }

// layout is what the header says. Rows below live are the catalog's items by
// their numbers, the rows from live on are reserved.
type layout struct {
	levels, width, live, reserved, idBytes uint32

	nodes   [maxLevels]uint32 // of the trie at each level, the root not counted
	catalog Hash
}

func (l *layout) rows() int { return int(l.live) + int(l.reserved) }

// slots is the size of a hash table over all rows: a power of two that leaves a
// third of the slots empty or more.
func (l *layout) slots() int { return 1 << bits.Len(uint(l.rows())*3/2) }

// sections are the sizes of the parts between header and checksum.
func (l *layout) sections() []int {
	rows := l.rows()
	sizes := []int{
		4 * (rows + 1),       // where each id ends in ids, after a 0
		4 * l.slots(),        // rows by the hash of their id
		4 * l.slots(),        // rows by the hash of their code
		4 * int(l.live),      // live rows by code, equal codes by row
		rows * int(l.levels), // codes
	}
	above := 1
	for _, n := range l.nodes[:l.levels] {
		sizes = append(sizes, 4*(above+1), int(n)) // where the children of each node end, after a 0; label of each child
		above = int(n)
	}
	return append(sizes, 4*(above+1), int(l.idBytes)) // where the rows of each leaf end in the order; ids
}

// size is that of the image: all but the checksum.
func (l *layout) size() int {
	n := headerSize
	for _, s := range l.sections() {
		n += s
	}
	return n
}

func (l *layout) put(header []byte) {
	n := copy(header, magic)
	values := [fields]uint32{version, l.levels, l.width, l.live, l.reserved, l.idBytes}
	copy(values[6:], l.nodes[:])
	for i, v := range values {
		binary.LittleEndian.PutUint32(header[n+4*i:], v)
	}
	copy(header[n+4*fields:], l.catalog[:])
}

// index lays the sections over the image.
func (l *layout) index(image []byte) *Index {
	x := &Index{layout: *l, image: image}
	rest := image[headerSize:]
	sizes := l.sections()
	take := func() []byte {
		part := rest[:sizes[0]:sizes[0]]
		rest, sizes = rest[sizes[0]:], sizes[1:]
		return part
	}
	x.idEnds = take()
	x.byID = newTable(take(), l.rows())
	x.byCode = newTable(take(), l.rows())
	x.order, x.codes = take(), take()
	for level := range int(l.levels) {
		x.ends[level], x.labels[level] = take(), take()
	}
	x.first[1] = 1
	for level, n := range l.nodes[:l.levels] {
		x.first[level+2] = x.first[level+1] + Node(n)
	}
	x.ends[l.levels], x.ids = take(), take()
	return x
}
