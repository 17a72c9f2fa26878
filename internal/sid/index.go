package sid

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
)

const (
	// Levels is the usual length of a code.
	Levels = 4
	// Width is the usual number of codes a level has.
	Width = 256

	maxLevels = 8 // a whole code must fit one uint64 key
	maxWidth  = 256
)

// Hash names a catalog: see CatalogHash.
type Hash [sha256.Size]byte

// String is the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// CatalogHash is the SHA-256 of the item ids in the order of their numbers,
// each preceded by its length. Two catalogs with the same hash number the same
// items the same way.
func CatalogHash(c *market.Catalog) Hash {
	digest := sha256.New()
	var length [8]byte
	for i := range c.Items {
		binary.LittleEndian.PutUint64(length[:], uint64(len(c.Items[i].ID)))
		digest.Write(length[:])
		digest.Write([]byte(c.Items[i].ID))
	}
	return Hash(digest.Sum(nil))
}

// Index maps items to codes and back.
type Index struct {
	levels, width int
	catalog       Hash
	codes         []uint8  // items x levels
	keys          []uint64 // codes as big-endian numbers, ascending
	items         []int32  // the item of each key; equal keys by item number
}

// New makes the index of codes (items x levels, row-major; kept, not copied)
// for the catalog with this hash.
func New(catalog Hash, levels, width int, codes []uint8) (*Index, error) {
	switch {
	case levels < 1 || levels > maxLevels:
		return nil, fault.Inputf("sid: %d levels; use 1 to %d", levels, maxLevels)
	case width < 2 || width > maxWidth:
		return nil, fault.Inputf("sid: width %d; use 2 to %d", width, maxWidth)
	case len(codes)%levels != 0:
		return nil, fault.Inputf("sid: %d codes are not a whole number of items of %d levels", len(codes), levels)
	}
	for i, c := range codes {
		if int(c) >= width {
			return nil, fault.Inputf("sid: item %d has code %d at level %d; the width is %d", i/levels, c, i%levels, width)
		}
	}
	x := &Index{levels: levels, width: width, catalog: catalog, codes: codes}
	x.sortKeys()
	return x, nil
}

func (x *Index) sortKeys() {
	x.items = make([]int32, x.Len())
	for i := range x.items {
		x.items[i] = int32(i)
	}
	slices.SortStableFunc(x.items, func(a, b int32) int {
		return slices.Compare(x.Code(a), x.Code(b))
	})
	x.keys = make([]uint64, len(x.items))
	for i, item := range x.items {
		x.keys[i] = key(x.Code(item), x.levels)
	}
}

// key packs a prefix into a number, first level highest; missing levels are 0.
func key(prefix []uint8, levels int) uint64 {
	var k uint64
	for l := range levels {
		k <<= 8
		if l < len(prefix) {
			k |= uint64(prefix[l])
		}
	}
	return k
}

// Len is the number of items.
func (x *Index) Len() int { return len(x.codes) / x.levels }

// Levels is the length of a code.
func (x *Index) Levels() int { return x.levels }

// Width is the number of codes a level has.
func (x *Index) Width() int { return x.width }

// Catalog is the hash of the catalog that the item numbers belong to.
func (x *Index) Catalog() Hash { return x.catalog }

// Code is the item's code, nil when the index has no such item. The slice
// belongs to the index.
func (x *Index) Code(item int32) []uint8 {
	if item < 0 || int(item) >= x.Len() {
		return nil
	}
	at := int(item) * x.levels
	return x.codes[at : at+x.levels : at+x.levels]
}

// Lookup is the item with this code; see the package comment for shared codes.
func (x *Index) Lookup(code []uint8) (int32, bool) {
	if len(code) != x.levels {
		return 0, false
	}
	at, ok := slices.BinarySearch(x.keys, key(code, x.levels))
	if !ok {
		return 0, false
	}
	return x.items[at], true
}

// Children is the codes, ascending, that may follow prefix in the code of some
// item: the trie for constrained decoding. It is empty for a whole code and for
// a prefix no item has.
func (x *Index) Children(prefix []uint8) []uint8 {
	if len(prefix) >= x.levels {
		return nil
	}
	shift := 8 * uint(x.levels-len(prefix)-1) // of the level that follows
	low := key(prefix, x.levels)
	rest := x.keys
	var out []uint8
	for code := 0; code < x.width; code++ {
		at, _ := slices.BinarySearch(rest, low|uint64(code)<<shift)
		rest = rest[at:]
		if len(rest) == 0 || rest[0]>>shift>>8 != low>>shift>>8 {
			break
		}
		code = int(uint8(rest[0] >> shift))
		out = append(out, uint8(code))
	}
	return out
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
