package infer

import "github.com/gr2/gr2/internal/kernel"

const (
	// tileRows bounds the query rows of one head that attend together.
	tileRows = 64
)

// tile is a set of query vectors that attend together and share a key-value
// head: rows of one query head, or, of a single row, all query heads of the
// group (GQA). The rows may be of several sequences, whole ones then, whose
// caches begin with the same page.
type tile struct {
	row, rows   int
	head, heads int // query heads; vector i is of row row+i/heads
	keys        int // the most that a row sees
}

// layOut cuts the rows under way into tiles. A sequence's rows stay together
// when they are few, so its tile does not depend on the company.
func (p *pass) layOut() {
	c := &p.e.cfg
	p.tiles, p.work = p.tiles[:0], 0
	for row := 0; row < len(p.places); {
		t := p.company(row)
		if t.rows == 1 {
			t.heads = c.Heads / c.KVHeads
		}
		for t.head = 0; t.head < c.Heads; t.head += t.heads {
			p.tiles = append(p.tiles, t)
		}
		p.work += 2 * t.rows * t.keys * c.Heads * c.HeadDim
		row += t.rows
	}
}

// company is the tile of the first head that begins at row.
func (p *pass) company(row int) tile {
	t := tile{row: row, heads: 1}
	for at := row; at < len(p.places); {
		end := p.sequenceEnd(at)
		if at > row && (end-row > shareRows || !samePage(p.places[row].cache, p.places[at].cache, 0)) {
			break
		}
		t.rows = end - row
		t.keys = max(t.keys, p.places[end-1].pos+1)
		at = end
	}
	if t.rows > tileRows {
		t.rows = tileRows
		t.keys = p.places[row+tileRows-1].pos + 1
	}
	return t
}

// sequenceEnd is the end of the rows that are of the same sequence as row.
func (p *pass) sequenceEnd(row int) int {
	c := p.places[row].cache
	for row++; row < len(p.places) && p.places[row].cache == c; row++ {
	}
	return row
}

func (p *pass) attendAll() {
	if kernel.WorthSharing(p.work) {
		kernel.Parallel(len(p.tiles), p.attTask)
		return
	}
	for i := range p.tiles {
		p.attTask(i)
	}
}

// attend computes tile i: scores against the keys, page by page, a softmax over
// what each row sees, and the weighted sum of values. Rows that hold a page in
// common meet it in one product.
func (p *pass) attend(i int) {
	t := &p.tiles[i]
	c := &p.e.cfg
	hd, kv := c.HeadDim, t.head/(c.Heads/c.KVHeads)
	stride := hd
	if t.rows > 1 {
		stride = c.Heads * hd
	}
	at := t.row*c.Heads*hd + t.head*hd
	q, att := p.q[at:], p.att[at:]
	widened := 0
	if p.e.rounds {
		widened = pageLen * hd
	}
	buffer := p.e.takeScores(widened + (t.rows*t.heads+1)*t.keys)
	wide, scores := buffer[:widened], buffer[widened:]
	for from := 0; from < t.keys; from += pageLen {
		for s := (stretch{}); p.next(t, &s, from/pageLen); {
			// One vector goes with the one behind it, as in apply. What that
			// writes into the next row's scores is overwritten in its turn.
			kernel.Gemm(false, true, max(2, s.rows*t.heads), s.keys, hd, attentionScale(hd), q[s.row*stride:], stride,
				s.cache.get(keysOf(p.index), kv, from/pageLen, s.keys, wide), hd, 0, scores[s.row*t.keys+from:], t.keys)
		}
	}
	for v := range t.rows * t.heads {
		row := scores[v*t.keys : (v+1)*t.keys]
		seen := p.places[t.row+v/t.heads].pos + 1
		kernel.Softmax(row[:seen])
		clear(row[seen:])
	}
	var keep float32
	for from := 0; from < t.keys; from += pageLen {
		for s := (stretch{}); p.next(t, &s, from/pageLen); {
			kernel.Gemm(false, false, s.rows*t.heads, hd, s.keys, 1, scores[s.row*t.keys+from:], t.keys,
				s.cache.get(valuesOf(p.index), kv, from/pageLen, s.keys, wide), hd, keep, att[s.row*stride:], stride)
		}
		keep = 1
	}
	p.e.putScores(buffer)
}

// stretch is rows of a tile, counted from its first, that hold a page in common.
type stretch struct {
	row, rows int
	keys      int    // of the page, as many as the rows see
	cache     *cache // of the first of the rows
}

// next moves s on to the tile's next rows that see something of the page.
//
// Sequences that share a page see all of it: nobody has written to it since it
// became shared, and a row's own position is always in a page of its own.
func (p *pass) next(t *tile, s *stretch, page int) bool {
	row, end := t.row+s.row+s.rows, t.row+t.rows
	for row < end {
		s.cache, s.keys = p.places[row].cache, 0
		to := row
		for to < end && (to == row || samePage(s.cache, p.places[to].cache, page)) {
			to = min(p.sequenceEnd(to), end)
			s.keys = max(s.keys, min(pageLen, p.places[to-1].pos+1-page*pageLen))
		}
		if s.keys > 0 {
			s.row, s.rows = row-t.row, to-row
			return true
		}
		row = to
	}
	return false
}

// samePage reports whether both caches hold the same page at an index.
func samePage(a, b *cache, index int) bool {
	return index < len(a.pages) && index < len(b.pages) && a.pages[index].is(b.pages[index])
}
