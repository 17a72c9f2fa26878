package fit

import (
	"math"

	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/kernel"
)

// walker places items one after the other, each below a prefix with room.
type walker struct {
	books  *Codebooks
	levels int
	latent embed.Matrix
	norms  [][]float32
	codes  []uint8 // rows x levels: at first the nearest ones, in the end those assigned

	// placed counts the items below each prefix, by its length. It is nil for
	// lengths whose prefixes are never full, since each holds the whole catalog.
	placed []map[uint64]int32

	rank, residual []float32 // scratch: distance of each code; of one item
}

// newWalker counts the taken codes. Prefixes longer than fixed are counted even
// where they are never full.
func newWalker(books *Codebooks, latent embed.Matrix, near, taken []uint8, fixed int) *walker {
	w := &walker{books: books, levels: len(books.Levels), latent: latent, norms: books.norms(), codes: near,
		residual: make([]float32, latent.Cols), rank: make([]float32, books.Width)}
	items := latent.Rows + len(taken)/w.levels
	w.placed = make([]map[uint64]int32, w.levels+1)
	for n := range w.placed {
		if n > fixed || books.capacity(n) < items {
			w.placed[n] = make(map[uint64]int32)
		}
	}
	for ; len(taken) > 0; taken = taken[w.levels:] {
		for n := range w.levels {
			w.enter(taken[:n+1])
		}
	}
	return w
}

// pack is a prefix as a number; prefixes of one length have different ones.
func pack(prefix []uint8) uint64 {
	var k uint64
	for _, c := range prefix {
		k = k<<8 | uint64(c)
	}
	return k
}

// enter counts one item more below a prefix.
func (w *walker) enter(prefix []uint8) {
	if m := w.placed[len(prefix)]; m != nil {
		m[pack(prefix)]++
	}
}

// hasRoom tells whether one item more fits below a prefix.
func (w *walker) hasRoom(prefix []uint8) bool {
	m := w.placed[len(prefix)]
	return m == nil || int(m[pack(prefix)]) < w.books.capacity(len(prefix))
}

// unused tells whether no item is below a prefix of a length that is counted.
func (w *walker) unused(prefix []uint8) bool { return w.placed[len(prefix)][pack(prefix)] == 0 }

// code is the code of a row, in place.
func (w *walker) code(row int32) []uint8 {
	return w.codes[int(row)*w.levels : (int(row)+1)*w.levels]
}

// placeNearestFree is rule Free.
func (w *walker) placeNearestFree(order []int32) {
	for _, row := range order {
		w.descend(row, w.levels)
	}
}

// descend settles the first n levels of a row's code: at each the nearest code
// whose subtree has room. Below a prefix with room there is always a code with
// room, so it cannot fail. Most items find all of their nearest codes with room
// and need no distances.
func (w *walker) descend(row int32, n int) {
	code := w.code(row)
	astray := false // from the nearest codes, so that those of lower levels count no more
	for l := range n {
		if astray || !w.hasRoom(code[:l+1]) {
			code[l] = w.nearestWithRoom(row, code, l)
			astray = true
		}
		w.enter(code[:l+1])
	}
	if astray && n < w.levels {
		w.measure(row, code[:n])
		c, _ := lowest(w.rank)
		code[n] = uint8(c)
	}
}

func (w *walker) nearestWithRoom(row int32, code []uint8, level int) uint8 {
	w.measure(row, code[:level])
	for {
		c, _ := lowest(w.rank)
		code[level] = uint8(c)
		if w.hasRoom(code[:level+1]) {
			return uint8(c)
		}
		w.rank[c] = float32(math.NaN())
	}
}

// measure fills rank with |c|^2 - 2 c.r of each code c after a prefix; codes
// without a centroid are farther than all others.
func (w *walker) measure(row int32, prefix []uint8) {
	w.books.residual(w.latent.Row(int(row)), prefix, w.residual)
	w.books.distances(w.norms, len(prefix), w.residual, w.rank)
}

// distances fills rank with |c|^2 - 2 c.r of each code c of a level, infinity
// for those without a centroid.
func (b *Codebooks) distances(norms [][]float32, level int, residual, rank []float32) {
	book := b.Levels[level]
	for c := range book.Rows {
		rank[c] = norms[level][c] - 2*kernel.Dot(book.Row(c), residual)
	}
	for c := book.Rows; c < b.Width; c++ {
		rank[c] = float32(math.Inf(1))
	}
}

// lowest is the place of the least number that is no NaN, the first of equals,
// and that number; -1 when all are NaN.
func lowest(x []float32) (at int, value float32) {
	at = -1
	for i, v := range x {
		if v == v && (at < 0 || v < value) {
			at, value = i, v
		}
	}
	return at, value
}

// placeByDraw is rule RandomFree.
func (w *walker) placeByDraw(order []int32, ids []string, opt AssignOptions) {
	fixed := w.levels - opt.RandomLevels
	free := make([]uint8, 0, w.books.Width)
	for _, row := range order {
		w.descend(row, fixed)
		code := w.code(row)
		for l := fixed; l < w.levels; l++ {
			free = w.open(code, l, free[:0])
			code[l] = free[draw(opt.Seed, ids[row], l, len(free))]
			w.enter(code[:l+1])
		}
	}
}

// open appends the codes that nobody uses after code[:level], or, where all are
// used, those whose subtree has room.
func (w *walker) open(code []uint8, level int, free []uint8) []uint8 {
	saved := code[level]
	defer func() { code[level] = saved }()
	for _, unused := range []bool{true, false} {
		for c := range w.books.Width {
			code[level] = uint8(c)
			if unused && w.unused(code[:level+1]) || !unused && w.hasRoom(code[:level+1]) {
				free = append(free, uint8(c))
			}
		}
		if len(free) > 0 {
			break
		}
	}
	return free
}
