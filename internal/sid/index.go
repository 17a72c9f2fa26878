package sid

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"iter"
	"math"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
)

const (
	// Levels is the usual length of a code.
	Levels = 4
	// Width is the usual number of codes a level has.
	Width = 256

	maxLevels = 8 // a whole code must fit one uint64 key
	maxWidth  = 256
	maxRows   = 1 << 27 // so that maxLevels nodes for each fit a Node
)

// Hash names a catalog: see CatalogHash.
type Hash [sha256.Size]byte

// String is the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// CatalogHash is the SHA-256 of the item ids in the order of their numbers,
// each preceded by its length. Two catalogs with the same hash number the same
// items the same way.
func CatalogHash(c *market.Catalog) Hash {
	return hashIDs(func(yield func(string) bool) {
		for i := range c.Items {
			if !yield(c.Items[i].ID) {
				return
			}
		}
	})
}

func hashIDs(ids iter.Seq[string]) Hash {
	digest := sha256.New()
	var buf []byte
	for id := range ids {
		buf = binary.LittleEndian.AppendUint64(buf[:0], uint64(len(id)))
		digest.Write(append(buf, id...))
	}
	return Hash(digest.Sum(nil))
}

// IDs is the ids of a catalog's items by their numbers.
func IDs(c *market.Catalog) []string {
	ids := make([]string, c.Len())
	for i := range ids {
		ids[i] = c.Items[i].ID
	}
	return ids
}

// Index maps items to codes and back. See the package comment for live and
// reserved rows.
type Index struct {
	layout
	image  []byte // header and sections, which the following share
	idEnds words
	byID   table
	byCode table
	order  words
	codes  []uint8
	first  [maxLevels + 2]Node // of each level; then their number
	ends   [maxLevels + 1]words
	labels [maxLevels][]uint8
	ids    []byte
	close  func() error // unmaps the file; nil for an index in memory
}

// New makes the index of the catalog whose item i has the id ids[i] and the code
// codes[i*levels : (i+1)*levels].
func New(ids []string, levels, width int, codes []uint8) (*Index, error) {
	return NewReserving(ids, len(ids), levels, width, codes)
}

// NewReserving is New of a catalog of the first live ids. The others once were
// in the catalog, and their codes stay theirs.
func NewReserving(ids []string, live, levels, width int, codes []uint8) (*Index, error) {
	if err := check(levels, width, codes); err != nil {
		return nil, err
	}
	switch {
	case len(codes) != len(ids)*levels:
		return nil, fault.Inputf("sid: %d codes for %d items of %d levels", len(codes), len(ids), levels)
	case live < 0 || live > len(ids) || len(ids) > maxRows:
		return nil, fault.Inputf("sid: %d of %d items are live; an index holds up to %d items", live, len(ids), maxRows)
	}
	l := layout{levels: uint32(levels), width: uint32(width), live: uint32(live), reserved: uint32(len(ids) - live)}
	bytes := uint64(0)
	for _, id := range ids {
		bytes += uint64(len(id))
	}
	if bytes > math.MaxUint32 {
		return nil, fault.Inputf("sid: the item ids have %d bytes; an index holds up to 4 GiB", bytes)
	}
	l.idBytes = uint32(bytes)
	l.catalog = hashIDs(func(yield func(string) bool) {
		for _, id := range ids[:live] {
			if !yield(id) {
				return
			}
		}
	})
	order := sortRows(codes, levels, live)
	parts := parting(order, codes, levels)
	l.countNodes(parts)

	image := make([]byte, l.size())
	l.put(image)
	x := l.index(image)
	copy(x.codes, codes)
	x.fillTrie(order, parts)
	return x, x.fillTables(ids)
}

func check(levels, width int, codes []uint8) error {
	switch {
	case levels < 1 || levels > maxLevels:
		return fault.Inputf("sid: %d levels; use 1 to %d", levels, maxLevels)
	case width < 2 || width > maxWidth:
		return fault.Inputf("sid: width %d; use 2 to %d", width, maxWidth)
	case len(codes)%levels != 0:
		return fault.Inputf("sid: %d codes are not a whole number of items of %d levels", len(codes), levels)
	}
	for i, c := range codes {
		if int(c) >= width {
			return fault.Inputf("sid: item %d has code %d at level %d; the width is %d", i/levels, c, i%levels, width)
		}
	}
	return nil
}

// fillTables writes the ids and both hash tables. Of rows that share a code the
// first is found, so a live one if there is any.
func (x *Index) fillTables(ids []string) error {
	end := 0
	for i, id := range ids {
		end += copy(x.ids[end:], id)
		x.idEnds.set(i+1, uint32(end))
		slot, first, known := x.byID.find(idHash(id), func(row int32) bool { return ids[row] == id })
		if known {
			return fault.Inputf("sid: items %d and %d have the same id %q", first, i, id)
		}
		x.byID.put(slot, idHash(id), int32(i))

		code := x.Code(int32(i))
		hash := codeHash(code)
		if slot, _, known = x.byCode.find(hash, func(row int32) bool { return bytes.Equal(x.Code(row), code) }); !known {
			x.byCode.put(slot, hash, int32(i))
		}
	}
	return nil
}

func idHash(id string) uint64 { return rng.Hash(0, rng.Key(id)) }

func codeHash(code []uint8) uint64 {
	var k uint64
	for _, c := range code {
		k = k<<8 | uint64(c)
	}
	return rng.Hash(0, k)
}

// Len is the number of items of the catalog.
func (x *Index) Len() int { return int(x.live) }

// Rows is the number of items including those whose codes are reserved, which
// have the numbers from Len on.
func (x *Index) Rows() int { return x.rows() }

// Levels is the length of a code.
func (x *Index) Levels() int { return int(x.levels) }

// Width is the number of codes a level has.
func (x *Index) Width() int { return int(x.width) }

// Catalog is the hash of the catalog that the item numbers belong to.
func (x *Index) Catalog() Hash { return x.catalog }

// Code is the row's code, nil when the index has no such row. The slice belongs
// to the index and must not be changed.
func (x *Index) Code(row int32) []uint8 {
	if row < 0 || int(row) >= x.rows() {
		return nil
	}
	at, levels := int(row)*x.Levels(), x.Levels()
	return x.codes[at : at+levels : at+levels]
}

// ID is the row's item id, empty when the index has no such row.
func (x *Index) ID(row int32) string {
	if row < 0 || int(row) >= x.rows() {
		return ""
	}
	return string(x.id(row))
}

func (x *Index) id(row int32) []byte {
	return x.ids[x.idEnds.at(int(row)):x.idEnds.at(int(row)+1)]
}

// Row is the row of an item id, live or reserved.
func (x *Index) Row(id string) (int32, bool) {
	_, row, ok := x.byID.find(idHash(id), func(row int32) bool { return string(x.id(row)) == id })
	return row, ok
}

// Holder is the row that has a code, live or reserved; see the package comment
// for shared codes.
func (x *Index) Holder(code []uint8) (int32, bool) {
	if len(code) != x.Levels() {
		return 0, false
	}
	_, row, ok := x.byCode.find(codeHash(code), func(row int32) bool { return bytes.Equal(x.Code(row), code) })
	return row, ok
}

// Lookup is the item of the catalog with this code.
func (x *Index) Lookup(code []uint8) (int32, bool) {
	row, ok := x.Holder(code)
	if !ok || int(row) >= x.Len() {
		return 0, false
	}
	return row, true
}

// Check refuses an index that was made for another catalog.
func (x *Index) Check(c *market.Catalog) error {
	if x.Len() != c.Len() {
		return fault.Inputf("sid: the index has %d items, the catalog %d: build the index for this catalog", x.Len(), c.Len())
	}
	if h := CatalogHash(c); h != x.catalog {
		return fault.Inputf("sid: the index belongs to catalog %.12s, not %.12s: build the index for this catalog", x.catalog, h)
	}
	return nil
}

// Close releases the file of an index that Open mapped. The index and every
// slice it gave must not be used afterwards.
func (x *Index) Close() error {
	if x.close == nil {
		return nil
	}
	return x.close()
}
