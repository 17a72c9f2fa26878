package infer

import "github.com/gr2/gr2/internal/kernel"

const (
	// tileRows is the number of query rows of one head that attend together.
	tileRows = 64
	// parallelWork is the number of multiply-adds worth waking helpers for.
	parallelWork = 1 << 19
)

// tile is a set of query vectors that share a key-value head: rows of one query
// head, or, of a single row, all query heads of the group (GQA).
type tile struct {
	at, rows, stride int // in q and att, where the first vector lies
	head             int // key-value head
	seen, grow       int // keys the first vector sees; how many more each next one
}

// attendAll computes att from q and the cache, for the rows from first on.
func (p *pass) attendAll() {
	c := &p.e.cfg
	rows := p.rows - p.first
	tasks := c.KVHeads
	if rows > 1 {
		tasks = c.Heads * ((rows + tileRows - 1) / tileRows)
	}
	work := 2 * rows * c.Heads * c.HeadDim * (p.base + p.rows)
	if work >= parallelWork {
		kernel.Parallel(tasks, p.attTask)
		return
	}
	for i := range tasks {
		p.attTask(i)
	}
}

func (p *pass) tile(i int) tile {
	c := &p.e.cfg
	group, width := c.Heads/c.KVHeads, c.Heads*c.HeadDim
	if p.rows-p.first == 1 {
		return tile{
			at: p.first*width + i*group*c.HeadDim, rows: group, stride: c.HeadDim,
			head: i, seen: p.base + p.first + 1,
		}
	}
	head, row := i%c.Heads, p.first+i/c.Heads*tileRows
	return tile{
		at: row*width + head*c.HeadDim, rows: min(tileRows, p.rows-row), stride: width,
		head: head / group, seen: p.base + row + 1, grow: 1,
	}
}

// attend computes tile i: scores against all keys that its last row sees, page
// by page, a softmax over what each row sees, and the weighted sum of values.
func (p *pass) attend(i int) {
	t := p.tile(i)
	hd := p.e.cfg.HeadDim
	keys := t.seen + (t.rows-1)*t.grow
	scores := p.e.takeScores(t.rows * keys)
	for from := 0; from < keys; from += pageLen {
		kernel.Gemm(false, true, t.rows, min(pageLen, keys-from), hd, attentionScale(hd),
			p.q[t.at:], t.stride, p.cache.keys(from/pageLen, p.index, t.head), hd, 0, scores[from:], keys)
	}
	for r := range t.rows {
		row := scores[r*keys : (r+1)*keys]
		seen := t.seen + r*t.grow
		kernel.Softmax(row[:seen])
		clear(row[seen:])
	}
	var keep float32
	for from := 0; from < keys; from += pageLen {
		kernel.Gemm(false, false, t.rows, hd, min(pageLen, keys-from), 1,
			scores[from:], keys, p.cache.values(from/pageLen, p.index, t.head), hd, keep, p.att[t.at:], t.stride)
		keep = 1
	}
	p.e.putScores(scores)
}
