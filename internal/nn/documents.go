package nn

// lane is the unit of keys: tiles begin at multiples of it within a document.
const lane = 32

// documents is how the rows of a batch see each other: a row sees the rows of
// its own document up to itself and every document above it, its parent, the
// parent's parent and so on, as a whole. Documents without a parent are the
// roots of trees, and a tree is a run of documents.
type documents struct {
	first   []int32 // first row of each document
	parents []int32 // document above each, -1 for none; nil where all are roots
	rows    int
	queries int // rows of a tile at most
	keys    int // columns of a tile at most
	blocks  []block
	trees   []int32 // first block of each tree
}

// block is a run of query rows with the same documents above them: rows of one
// document, or of siblings, each whole.
type block struct {
	doc    int32 // of the first row
	lo, hi int32 // rows
}

// tile is query rows lo..hi against keys from..to. Row r sees all of them, or,
// on the diagonal, those up to r itself.
type tile struct {
	lo, hi, from, to int
	diagonal         bool
}

// seen is how many of the keys row r sees.
func (t *tile) seen(r int) int {
	if t.diagonal {
		return r + 1 - t.from
	}
	return t.to - t.from
}

// documents cuts the rows of a batch into blocks.
func (t *Tape) documents(rows int, first, parents []int32) *documents {
	if rows > 0 {
		want("first document", 0, int(first[0]))
	}
	if parents != nil {
		want("parents", len(first), len(parents))
	}
	d := t.layouts.put(documents{first: first, parents: parents, rows: rows, queries: t.limits.queries, keys: t.limits.keys})
	d.blocks = t.blocks.take(rows/(d.queries/2) + len(first))
	d.trees = t.ints.take(len(first))
	for doc := 0; doc < len(first); {
		if d.parent(doc) < 0 {
			d.trees = append(d.trees, int32(len(d.blocks)))
		}
		doc = d.cut(doc)
	}
	return d
}

// cut appends the blocks of a document, or of it and the siblings that follow
// and fit into one block, and returns the document after them.
func (d *documents) cut(doc int) int {
	lo, hi := d.span(doc)
	next := doc + 1
	for next < len(d.first) && d.parent(doc) >= 0 && d.parent(next) == d.parent(doc) {
		_, end := d.span(next)
		if end-lo > d.queries {
			break
		}
		hi, next = end, next+1
	}
	rows := d.queries
	if hi-lo > d.queries && hi-lo <= d.keys {
		rows = d.queries / 2 // scores above the diagonal would cost more than smaller blocks do
	}
	for ; lo < hi; lo += rows {
		d.blocks = append(d.blocks, block{int32(doc), int32(lo), int32(min(hi, lo+rows))})
	}
	return next
}

// parent is the document above doc, -1 for none.
func (d *documents) parent(doc int) int {
	if d.parents == nil {
		return -1
	}
	return int(d.parents[doc])
}

// span is the range of rows of a document.
func (d *documents) span(doc int) (lo, hi int) {
	if doc+1 < len(d.first) {
		return int(d.first[doc]), int(d.first[doc+1])
	}
	return int(d.first[doc]), d.rows
}

// tree is the blocks of tree i.
func (d *documents) tree(i int) []block {
	if i+1 < len(d.trees) {
		return d.blocks[d.trees[i]:d.trees[i+1]]
	}
	return d.blocks[d.trees[i]:]
}

// tileSize is the number of scores in the largest tile there can be.
func (d *documents) tileSize() int { return min(d.queries, d.rows) * min(d.keys, d.rows) }

// single tells whether all that the rows of a block see is one tile.
func (d *documents) single(b block) bool {
	return d.parent(int(b.doc)) < 0 && int(b.hi-d.first[b.doc]) <= d.keys
}

// tiles visits what the rows of a block see, tile by tile. For each row its
// tile on the diagonal comes first, so no row starts with a tile in which it
// sees nothing.
func (d *documents) tiles(b block, visit func(tile)) {
	for doc := int(b.doc); doc < len(d.first) && d.first[doc] < b.hi; doc++ {
		start, end := d.span(doc)
		lo, hi := max(int(b.lo), start), min(int(b.hi), end)
		d.pieces(tile{lo, hi, start, hi, true}, visit)
	}
	for doc := d.parent(int(b.doc)); doc >= 0; doc = d.parent(doc) {
		start, end := d.span(doc)
		d.pieces(tile{int(b.lo), int(b.hi), start, end, false}, visit)
	}
}

// pieces visits a tile in pieces of up to d.keys keys, the last ones first, all
// of about the same size. Only the first piece has the diagonal.
func (d *documents) pieces(t tile, visit func(tile)) {
	n := (t.to - t.from + d.keys - 1) / d.keys
	for start := t.from; n > 0; n-- {
		left := (t.to - start) * (n - 1) / n
		t.from = start + (left+lane-1)&^(lane-1)
		visit(t)
		t.to, t.diagonal = t.from, false
	}
}
