package infer

import (
	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/lm"
)

// pageLen is the number of positions in a page of the cache: the unit of
// sharing between forks and of attention's matrix products.
const pageLen = 64

// page holds the keys and values of pageLen positions: for each layer the keys
// and then the values, each (KVHeads, pageLen, HeadDim). One of the slices is nil.
type page struct {
	full []float32
	half []uint16 // IEEE 754 binary16
}

// is reports whether both are the same page.
func (p page) is(o page) bool {
	if p.half != nil {
		return o.half != nil && &p.half[0] == &o.half[0]
	}
	return o.full != nil && &p.full[0] == &o.full[0]
}

// cache is the keys and values of one session. Pages are shared with forks; one
// that is not owned is read-only and gets copied before it is written.
type cache struct {
	layers, heads, headDim int
	halves                 bool // pages have half

	length int // positions filled
	pages  []page
	owned  []bool // parallel to pages
	spare  *spare // where pages come from and go to; nil: the garbage collector
}

// spare is pages that nobody uses. It belongs to one goroutine.
type spare struct{ pages []page }

func newCache(c lm.Config, halves bool) cache {
	return cache{layers: c.Layers, heads: c.KVHeads, headDim: c.HeadDim, halves: halves}
}

// slot is the keys or the values of a layer.
type slot int

func keysOf(layer int) slot   { return slot(2 * layer) }
func valuesOf(layer int) slot { return slot(2*layer + 1) }

// at is where a position's vector of one head begins in its page.
func (c *cache) at(s slot, head, pos int) int {
	return ((int(s)*c.heads+head)*pageLen + pos%pageLen) * c.headDim
}

// put stores a vector of one head, (HeadDim), at a position.
func (c *cache) put(s slot, head, pos int, x []float32) {
	p, at := c.pages[pos/pageLen], c.at(s, head, pos)
	if c.halves {
		kernel.ToHalves(p.half[at:at+c.headDim], x)
		return
	}
	copy(p.full[at:at+c.headDim], x)
}

// get returns the first n vectors of one head in a page, (n, HeadDim), in wide if
// they have to be widened.
func (c *cache) get(s slot, head, page, n int, wide []float32) []float32 {
	p, at, size := c.pages[page], c.at(s, head, 0), n*c.headDim
	if c.halves {
		kernel.FromHalves(wide[:size], p.half[at:at+size])
		return wide[:size]
	}
	return p.full[at : at+size]
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
	size := 2 * c.layers * c.heads * pageLen * c.headDim
	if c.halves {
		return page{half: make([]uint16, size)}
	}
	return page{full: make([]float32, size)}
}

// copyPage copies the first positions of a page; the rest is not in use.
func (c *cache) copyPage(old page, positions int) page {
	fresh := c.newPage()
	stripe, used := pageLen*c.headDim, max(0, positions)*c.headDim
	copyStripes(fresh.full, old.full, stripe, used)
	copyStripes(fresh.half, old.half, stripe, used)
	return fresh
}

// copyStripes copies the first used elements of each stripe.
func copyStripes[T any](dst, src []T, stripe, used int) {
	for at := 0; at < len(src); at += stripe {
		copy(dst[at:at+used], src[at:at+used])
	}
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
