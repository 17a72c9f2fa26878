package fit

import (
	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/sid"
)

// Growth says what became of a catalog's items.
type Growth struct {
	Kept     int `json:"kept"`     // had a code before, and have it still
	Added    int `json:"added"`    // were coded by the quantizer as it was
	Reserved int `json:"reserved"` // left the catalog; nobody gets their codes
}

// Grow makes the index of a catalog with these item ids from an earlier one.
// Items that the old index knows, those it reserves included, keep their codes.
// The others are coded by the quantizer without a new fit: vectors gives the
// embeddings of the items with these numbers, in their order. By a rule of
// unique codes no new item gets a code that an old one has or had, so a code
// never changes its meaning.
//
// Items that come together share out codes as in Assign; of items that come one
// catalog after the other the earlier ones choose first.
func Grow(old *sid.Index, q *Quantizer, opt AssignOptions, ids []string, vectors func(items []int32) (embed.Matrix, error)) (*sid.Index, Growth, error) {
	levels := old.Levels()
	if levels != len(q.Books.Levels) || old.Width() != q.Books.Width {
		return nil, Growth{}, fault.Inputf("sid: the index has %d levels of width %d, the quantizer %d of width %d: they were not fitted together",
			levels, old.Width(), len(q.Books.Levels), q.Books.Width)
	}
	codes := make([]uint8, len(ids)*levels, (len(ids)+old.Rows())*levels)
	known := make([]bool, old.Rows())
	var fresh []int32
	var freshIDs []string
	for i, id := range ids {
		row, ok := old.Row(id)
		if !ok {
			fresh, freshIDs = append(fresh, int32(i)), append(freshIDs, id)
			continue
		}
		known[row] = true
		copy(codes[i*levels:], old.Code(row))
	}
	opt.Taken = make([]uint8, 0, old.Rows()*levels)
	all := append(make([]string, 0, len(ids)), ids...)
	for row, here := range known {
		code := old.Code(int32(row))
		opt.Taken = append(opt.Taken, code...)
		if !here {
			all, codes = append(all, old.ID(int32(row))), append(codes, code...)
		}
	}
	if len(fresh) > 0 {
		emb, err := vectors(fresh)
		if err != nil {
			return nil, Growth{}, err
		}
		if emb.Cols != q.InputDim() {
			return nil, Growth{}, fault.Inputf("sid: embeddings of length %d for a quantizer of length %d: they were not made by its embedder", emb.Cols, q.InputDim())
		}
		assigned, err := Assign(q, q.Latent(emb), freshIDs, opt)
		if err != nil {
			return nil, Growth{}, err
		}
		for k, i := range fresh {
			copy(codes[int(i)*levels:], assigned[k*levels:(k+1)*levels])
		}
	}
	index, err := sid.NewReserving(all, len(ids), levels, old.Width(), codes)
	return index, Growth{Kept: len(ids) - len(fresh), Added: len(fresh), Reserved: len(all) - len(ids)}, err
}
