package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"io"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/sid"
)

// File layout: magic (8 bytes), version (uint32, little-endian), catalog hash
// (32), then unsigned varints: the options as JSON preceded by its length, the
// number of items, for each item its events (count; then time minus the one
// before, the first as zigzag; fold), for each item its partners of higher
// number (count; then partner minus the one before, fold, near, day, next from
// this item, next from the partner); last the SHA-256 of all the bytes before.
const (
	magic      = "GR2EVID\n"
	version    = 1
	headerSize = len(magic) + 4 + sha256.Size
)

// Write stores the statistics.
func (s *Stats) Write(w io.Writer) error {
	options, err := json.Marshal(s.opt)
	if err != nil {
		return err
	}
	file := binary.LittleEndian.AppendUint32([]byte(magic), version)
	file = append(file, s.catalog[:]...)
	file = binary.AppendUvarint(file, uint64(len(options)))
	file = append(file, options...)
	items := len(s.content)
	file = binary.AppendUvarint(file, uint64(items))
	for item := range items {
		file = s.log.appendItem(file, item)
	}
	for item := range items {
		file = s.pairs.appendItem(file, int32(item))
	}
	sum := sha256.Sum256(file)
	_, err = w.Write(append(file, sum[:]...))
	return err
}

func (l *itemLog) appendItem(file []byte, item int) []byte {
	lo, hi := l.start[item], l.start[item+1]
	file = binary.AppendUvarint(file, uint64(hi-lo))
	for i := lo; i < hi; i++ {
		if i == lo {
			file = binary.AppendVarint(file, l.time[i])
		} else {
			file = binary.AppendUvarint(file, uint64(l.time[i]-l.time[i-1]))
		}
		file = binary.AppendUvarint(file, uint64(l.fold[i]))
	}
	return file
}

// appendItem stores the half of the table that the other half mirrors.
func (t *pairTable) appendItem(file []byte, item int32) []byte {
	lo, hi := t.start[item], t.start[item+1]
	for lo < hi && t.partner[lo] < item {
		lo++
	}
	file = binary.AppendUvarint(file, uint64(hi-lo))
	before := item
	for i := lo; i < hi; i++ {
		partner, s := t.partner[i], t.strength[i]
		back := t.entry(partner, item, t.fold[i])
		for _, v := range []uint32{uint32(partner - before), uint32(t.fold[i]), s.near, s.day, s.next, back.next} {
			file = binary.AppendUvarint(file, uint64(v))
		}
		before = partner
	}
	return file
}

// Read loads statistics of this catalog and verifies them. A file that is
// truncated, damaged or of another kind is a fault.Corrupt that says so; one of
// another catalog is a fault.Input.
func Read(catalog *market.Catalog, r io.Reader) (*Stats, error) {
	file, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	body, err := verify(file)
	if err != nil {
		return nil, err
	}
	s := &Stats{catalog: sid.Hash(body[headerSize-sha256.Size : headerSize])}
	if h := sid.CatalogHash(catalog); h != s.catalog {
		return nil, fault.Inputf("evidence: the statistics belong to catalog %.12s, not %.12s: build them for this catalog", s.catalog, h)
	}
	c := &cursor{rest: body[headerSize:]}
	if err := json.Unmarshal(c.take(c.count(1)), &s.opt); err != nil || s.opt.Validate() != nil {
		return nil, fault.Corruptf("evidence file: its options make no sense: build it again")
	}
	s.opt = s.opt.withDefaults()
	if items := c.count(2); items != catalog.Len() {
		return nil, fault.Corruptf("evidence file: %d items, the catalog has %d: build it again", items, catalog.Len())
	}
	s.log = c.itemLog(catalog.Len(), s.opt.Folds)
	s.pairs = c.pairTable(catalog.Len(), s.opt.Folds)
	if c.bad || len(c.rest) > 0 {
		return nil, fault.Corruptf("evidence file: its counts contradict each other: build it again")
	}
	s.content = describe(catalog)
	s.shelves = newShelves(catalog, &s.pairs, s.opt.Folds)
	return s, nil
}

// verify checks magic, version and checksum and returns what stands before the
// checksum.
func verify(file []byte) ([]byte, error) {
	if !bytes.HasPrefix(file, []byte(magic)) {
		return nil, fault.Corruptf("evidence file: it does not begin with %q: it holds no evidence, build it again", magic)
	}
	if len(file) < headerSize+sha256.Size {
		return nil, fault.Corruptf("evidence file: truncated: %d bytes, a header needs %d: build it again", len(file), headerSize+sha256.Size)
	}
	if v := binary.LittleEndian.Uint32(file[len(magic):]); v != version {
		return nil, fault.Corruptf("evidence file: version %d, this program reads %d: build it again", v, version)
	}
	body, sum := file[:len(file)-sha256.Size], file[len(file)-sha256.Size:]
	if got := sha256.Sum256(body); !bytes.Equal(got[:], sum) {
		return nil, fault.Corruptf("evidence file: checksum %x, the file ends in %x: it is truncated or damaged, build it again", got[:6], sum[:6])
	}
	return body, nil
}

// cursor reads varints; once bad it stays bad and reads zeros.
type cursor struct {
	rest []byte
	bad  bool
}

func (c *cursor) fail() {
	c.bad, c.rest = true, nil
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.rest)
	if n <= 0 {
		c.fail()
		return 0
	}
	c.rest = c.rest[n:]
	return v
}

func (c *cursor) varint() int64 {
	v, n := binary.Varint(c.rest)
	if n <= 0 {
		c.fail()
		return 0
	}
	c.rest = c.rest[n:]
	return v
}

// below reads a number that must be less than limit.
func (c *cursor) below(limit uint64) uint64 {
	v := c.uvarint()
	if v >= limit {
		c.fail()
		return 0
	}
	return v
}

// count reads how many things of at least size bytes follow, and so never
// exceeds what is left to read.
func (c *cursor) count(size int) int {
	v := c.uvarint()
	if v > uint64(len(c.rest)/size) {
		c.fail()
		return 0
	}
	return int(v)
}

func (c *cursor) take(n int) []byte {
	out := c.rest[:n]
	c.rest = c.rest[n:]
	return out
}

func (c *cursor) itemLog(items, folds int) itemLog {
	l := itemLog{start: make([]int, items+1)}
	for item := range items {
		for i := range c.count(2) {
			if i == 0 {
				l.time = append(l.time, c.varint())
			} else {
				l.time = append(l.time, l.time[len(l.time)-1]+int64(c.below(1<<62)))
			}
			l.fold = append(l.fold, uint8(c.below(uint64(folds))))
		}
		l.start[item+1] = len(l.time)
	}
	return l
}

// pairTable reads the stored half and mirrors it. Item by item, a row first
// gets its lower partners, while those are read, then its higher ones; so rows
// ascend.
func (c *cursor) pairTable(items, folds int) pairTable {
	rows := make([][]link, items)
	const limit = 1 << 32
	for item := range items {
		partner := uint64(item)
		for range c.count(6) {
			partner += c.uvarint()
			if partner >= uint64(items) || partner == uint64(item) {
				c.fail()
				break
			}
			fold := uint8(c.below(uint64(folds)))
			near, day := uint32(c.below(limit)), uint32(c.below(limit))
			there, back := uint32(c.below(limit)), uint32(c.below(limit))
			rows[item] = append(rows[item], link{int32(partner), fold, strength{near: near, day: day, next: there}})
			rows[partner] = append(rows[partner], link{int32(item), fold, strength{near: near, day: day, next: back}})
		}
	}
	t := pairTable{start: make([]int, items+1)}
	for item, row := range rows {
		for _, l := range row {
			t.partner = append(t.partner, l.partner)
			t.fold = append(t.fold, l.fold)
			t.strength = append(t.strength, l.strength)
		}
		t.start[item+1] = len(t.partner)
	}
	return t
}
