package infer

import "github.com/gr2/gr2/internal/lm"

// pageLen is the number of positions in a page of the cache: the unit of
// sharing between forks and of attention's matrix products.
const pageLen = 64

// page holds the keys and values of pageLen positions: for each layer the keys
// and then the values, each (KVHeads, pageLen, HeadDim).
type page []float32

// cache is the keys and values of one session. Pages are shared with forks; one
// that is not owned is read-only and gets copied before it is written.
type cache struct {
	layers, heads, headDim int

	length int // positions filled
	pages  []page
	owned  []bool // parallel to pages
	spare  *spare // where pages come from and go to; nil: the garbage collector
}

// spare is pages that nobody uses. It belongs to one goroutine.
type spare struct{ pages []page }

func newCache(c lm.Config) cache {
	return cache{layers: c.Layers, heads: c.KVHeads, headDim: c.HeadDim}
}

// keys returns the keys of one head in a page, (pageLen, HeadDim).
func (c *cache) keys(page, layer, head int) []float32 { return c.stripe(page, 2*layer, head) }

// values is keys for the values.
func (c *cache) values(page, layer, head int) []float32 { return c.stripe(page, 2*layer+1, head) }

func (c *cache) stripe(page, slot, head int) []float32 {
	size := pageLen * c.headDim
	at := (slot*c.heads + head) * size
	return c.pages[page][at : at+size]
}

// reserve makes the next n positions writable.
func (c *cache) reserve(n int) {
	for i := c.length / pageLen; i*pageLen < c.length+n; i++ {
		switch {
		case i == len(c.pages):
			c.pages = append(c.pages, c.newPage())
			c.owned = append(c.owned, true)
		case !c.owned[i]:
			c.pages[i] = c.copyPage(c.pages[i], c.length-i*pageLen)
			c.owned[i] = true
		}
	}
}

// newPage returns a page with arbitrary content.
func (c *cache) newPage() page {
	if s := c.spare; s != nil && len(s.pages) > 0 {
		last := len(s.pages) - 1
		p := s.pages[last]
		s.pages = s.pages[:last]
		return p
	}
	return make(page, 2*c.layers*c.heads*pageLen*c.headDim)
}

// copyPage copies the first positions of a page; the rest is not in use.
func (c *cache) copyPage(old page, positions int) page {
	fresh := c.newPage()
	stripe := pageLen * c.headDim
	used := max(0, positions) * c.headDim
	for at := 0; at < len(old); at += stripe {
		copy(fresh[at:at+used], old[at:at+used])
	}
	return fresh
}

// fork returns a cache with the same content. From here on the filled pages
// belong to neither.
func (c *cache) fork() cache {
	filled := (c.length + pageLen - 1) / pageLen
	clear(c.owned[:filled])
	f := *c
	f.pages = append([]page(nil), c.pages[:filled]...)
	f.owned = make([]bool, filled)
	return f
}

// branch is fork for a cache with spare pages, one of whose two will be released
// before the other is done: a last page that is not full is copied at once, so
// that both own theirs.
func (c *cache) branch() cache {
	last, used := c.length/pageLen, c.length%pageLen
	if used == 0 || !c.owned[last] {
		return c.fork()
	}
	f := c.fork()
	c.owned[last] = true
	f.pages[last], f.owned[last] = c.copyPage(c.pages[last], used), true
	return f
}

// release gives the pages that nobody else uses to the spare ones. The cache is
// lost.
func (c *cache) release() {
	for i, p := range c.pages {
		if c.owned[i] {
			c.spare.pages = append(c.spare.pages, p)
		}
	}
	c.pages, c.owned, c.length = nil, nil, 0
}
