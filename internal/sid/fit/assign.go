package fit

import (
	"cmp"
	"math"
	"slices"

	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/rng"
)

var orderStream = rng.Key("sid/fit/order")

// Assign gives each row of emb, whose item ids stand beside it, a unique code
// by the rule of the package comment (rows x levels). Beyond Width^Levels items
// it fails. Codes without a centroid come after all others, by number.
func Assign(books *Codebooks, emb embed.Matrix, ids []string, seed uint64) ([]uint8, error) {
	a := assigner{books: books, levels: len(books.Levels), taken: make(map[node]int)}
	if len(ids) != emb.Rows {
		return nil, fault.Inputf("sid: %d ids for %d embeddings", len(ids), emb.Rows)
	}
	if emb.Rows > a.capacity(0) {
		return nil, fault.Usagef("sid: %d items, but %d levels of width %d hold %d: add a level", emb.Rows, a.levels, books.Width, a.capacity(0))
	}
	for _, book := range books.Levels {
		a.norms = append(a.norms, squaredNorms(book))
	}
	codes := make([]uint8, emb.Rows*a.levels)
	residual := make([]float32, emb.Cols)
	for _, i := range hashOrder(ids, seed) {
		copy(residual, emb.Row(i))
		a.place(residual, codes[i*a.levels:(i+1)*a.levels])
	}
	return codes, nil
}

// hashOrder is the order in which items choose: by seeded hash of the id, then
// by the id.
func hashOrder(ids []string, seed uint64) []int {
	hashes := make([]uint64, len(ids))
	order := make([]int, len(ids))
	for i, id := range ids {
		order[i], hashes[i] = i, rng.Hash(seed, orderStream, rng.Key(id))
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(hashes[a], hashes[b]), cmp.Compare(ids[a], ids[b]))
	})
	return order
}

// node is a prefix of a code: its length and its bytes as a number.
type node struct {
	level  int
	prefix uint64
}

type assigner struct {
	books  *Codebooks
	levels int
	norms  [][]float32
	taken  map[node]int // items placed below each prefix
	rank   []float32    // scratch: distance of each code
}

// capacity is how many items fit below a prefix of this length.
func (a *assigner) capacity(level int) int {
	n := 1
	for range a.levels - level {
		if n > math.MaxInt32 {
			break
		}
		n *= a.books.Width
	}
	return n
}

// place walks one item down the levels and fills its code; residual is
// consumed. Below a prefix with room there is always a code with room, so the
// walk cannot fail.
func (a *assigner) place(residual []float32, code []uint8) {
	at := node{}
	for level := range a.levels {
		a.distances(level, residual)
		room := a.capacity(level + 1)
		for {
			c := nearestLeft(a.rank)
			next := node{level + 1, at.prefix<<8 | uint64(c)}
			if a.taken[next] < room {
				a.taken[next]++
				code[level], at = uint8(c), next
				break
			}
			a.rank[c] = float32(math.NaN())
		}
		if book := a.books.Levels[level]; int(code[level]) < book.Rows {
			kernel.Axpy(-1, book.Row(int(code[level])), residual)
		}
	}
}

// distances fills rank with |c|^2 - 2 c.r of each code c, infinity for a code
// without a centroid.
func (a *assigner) distances(level int, residual []float32) {
	a.rank = a.rank[:0]
	book := a.books.Levels[level]
	for c := range book.Rows {
		a.rank = append(a.rank, a.norms[level][c]-2*kernel.Dot(book.Row(c), residual))
	}
	for range a.books.Width - book.Rows {
		a.rank = append(a.rank, float32(math.Inf(1)))
	}
}

// nearestLeft is the code with the least distance that is not NaN, which marks
// a full one; the lowest of equals.
func nearestLeft(rank []float32) int {
	best := -1
	for c, d := range rank {
		if d == d && (best < 0 || d < rank[best]) {
			best = c
		}
	}
	return best
}
