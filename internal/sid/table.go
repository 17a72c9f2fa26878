package sid

import "math/bits"

// table is an open-addressing hash table of rows in a section of the file. A
// slot holds the row plus 1 in its low bits and, in the bits that rows leave
// over, a part of the hash, so that a probe seldom has to look at a row that is
// not the one sought; 0 is empty.
type table struct {
	slots   words
	rowBits int
}

func newTable(slots words, rows int) table { return table{slots, bits.Len(uint(rows))} }

// find is the slot of the row with this hash for which same holds, or the empty
// slot where it would stand; -1 in a full table, which only a forged file has.
func (t table) find(hash uint64, same func(row int32) bool) (slot int, row int32, ok bool) {
	mask := t.slots.len() - 1
	tag := uint32(hash>>32) >> t.rowBits
	for i := range t.slots.len() {
		slot = (int(uint32(hash)) + i) & mask
		s := t.slots.at(slot)
		if s == 0 {
			return slot, 0, false
		}
		if s>>t.rowBits != tag {
			continue
		}
		if row = t.row(s); same(row) {
			return slot, row, true
		}
	}
	return -1, 0, false
}

func (t table) row(slot uint32) int32 { return int32(slot&(1<<t.rowBits-1)) - 1 }

// put fills an empty slot that find gave.
func (t table) put(slot int, hash uint64, row int32) {
	t.slots.set(slot, uint32(hash>>32)>>t.rowBits<<t.rowBits|uint32(row+1))
}

// valid tells whether every slot names one of the rows.
func (t table) valid(rows int) bool {
	for i := range t.slots.len() {
		if s := t.slots.at(i); s != 0 && (t.row(s) < 0 || int(t.row(s)) >= rows) {
			return false
		}
	}
	return true
}
