package nn

// arena hands out float32 slices that live until reset. It keeps what it once
// needed, so that the second step of the same shape allocates nothing.
type arena struct {
	blocks [][]float32 // one, but for a step that needs more than any before
	at     mark
	peak   int // most elements ever live at once
}

// mark is a position in an arena, to which release returns.
type mark struct{ block, used, live int }

const arenaBlock = 1 << 20 // elements of the first block

// take returns n elements with arbitrary contents.
func (a *arena) take(n int) []float32 {
	a.at.live += n
	a.peak = max(a.peak, a.at.live)
	for ; a.at.block < len(a.blocks); a.at.block, a.at.used = a.at.block+1, 0 {
		b := a.blocks[a.at.block]
		if end := a.at.used + n; end <= len(b) {
			s := b[a.at.used:end:end]
			a.at.used = end
			return s
		}
	}
	size := arenaBlock
	if len(a.blocks) > 0 {
		size = 2 * len(a.blocks[len(a.blocks)-1])
	}
	a.blocks = append(a.blocks, make([]float32, max(size, n)))
	a.at.used = n
	return a.blocks[a.at.block][:n:n]
}

// zeros returns n zeros.
func (a *arena) zeros(n int) []float32 {
	s := a.take(n)
	clear(s)
	return s
}

func (a *arena) release(m mark) { a.at = m }

// reset takes everything back. Several blocks become one that would have done.
func (a *arena) reset() {
	a.at = mark{}
	if len(a.blocks) > 1 {
		a.blocks = nil // before the next line, so that both need not exist at once
		a.blocks = [][]float32{make([]float32, a.peak)}
	}
}

// reserve makes room for n elements, before the first take after a reset.
func (a *arena) reserve(n int) {
	a.peak = max(a.peak, n)
	if len(a.blocks) == 0 || len(a.blocks[0]) < n {
		a.blocks = nil
		a.blocks = [][]float32{make([]float32, n)}
	}
}

// pool hands out structs that live until reset, each at a fixed address.
type pool[T any] struct {
	items []*T
	used  int
}

// put stores v in the next struct and returns its address.
func (p *pool[T]) put(v T) *T {
	if p.used == len(p.items) {
		p.items = append(p.items, new(T))
	}
	item := p.items[p.used]
	p.used++
	*item = v
	return item
}

// reset forgets the structs but keeps their memory. What they point to stays
// reachable until they are put again, at most one step's worth.
func (p *pool[T]) reset() { p.used = 0 }

// lists hands out lists that live until reset.
type lists[T any] struct{ room []T }

// take returns an empty list with room for n.
func (l *lists[T]) take(n int) []T {
	at := len(l.room)
	if cap(l.room) < at+n {
		l.room = make([]T, 0, 2*(at+n)) // lists handed out keep the old memory
		at = 0
	}
	l.room = l.room[:at+n]
	return l.room[at : at : at+n]
}

func (l *lists[T]) reset() { l.room = l.room[:0] }
