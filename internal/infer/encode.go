package infer

// Encode takes sequences through the model, each from its start and alone, and
// calls visit once for each with the normalised hidden states of its
// tokens, (tokens, Hidden), or of the last one, (1, Hidden). states are visit's
// for the time of its call. A sequence gets the same bits in whatever company.
//
// A sequence that cannot be read is refused before anything is computed.
func (e *Engine) Encode(sequences [][]int32, lastOnly bool, visit func(i int, states []float32)) error {
	fresh := e.NewSession()
	for _, tokens := range sequences {
		if len(tokens) == 0 {
			return errEmpty
		}
		if err := fresh.check(tokens); err != nil {
			return err
		}
	}
	r := encoding{p: e.takePass(), lastOnly: lastOnly, visit: visit}
	defer e.putPass(r.p)
	for i, tokens := range sequences {
		if len(tokens) > shareRows {
			r.flush()
			r.readLong(i, tokens)
			continue
		}
		if len(r.p.places)+len(tokens) > blockRows {
			r.flush()
		}
		r.add(i, tokens)
	}
	r.flush()
	return nil
}

// encoding is Encode under way.
type encoding struct {
	p        *pass
	lastOnly bool
	visit    func(i int, states []float32)

	spare   spare
	caches  []*cache // of the short sequences in the pass
	numbers []int    // theirs
	states  []float32
}

func (r *encoding) newCache() *cache {
	c := newCache(r.p.e.cfg, r.p.e.rounds)
	c.spare = &r.spare
	return &c
}

// add puts a short sequence into the pass.
func (r *encoding) add(i int, tokens []int32) {
	c := r.newCache()
	r.caches, r.numbers = append(r.caches, c), append(r.numbers, i)
	first := len(r.p.places)
	r.p.add(c, tokens)
	r.want(first, len(tokens), true)
}

// want asks for the outputs of n rows; ends says that their sequence ends there.
func (r *encoding) want(first, n int, ends bool) {
	switch {
	case !r.lastOnly:
		for row := first; row < first+n; row++ {
			r.p.want(row)
		}
	case ends:
		r.p.want(first + n - 1)
	}
}

// flush runs the pass of short sequences and gives out their states.
func (r *encoding) flush() {
	if len(r.caches) == 0 {
		return
	}
	r.p.run()
	d := r.p.e.cfg.Hidden
	from := 0
	for j, c := range r.caches {
		rows := 1
		if !r.lastOnly {
			rows = c.length
		}
		r.visit(r.numbers[j], r.p.h[from*d:(from+rows)*d])
		from += rows
		c.release()
	}
	r.p.begin()
	r.caches, r.numbers = r.caches[:0], r.numbers[:0]
}

// readLong reads a long sequence, which fills passes of its own.
func (r *encoding) readLong(i int, tokens []int32) {
	c, d := r.newCache(), r.p.e.cfg.Hidden
	r.states = r.states[:0]
	for from := 0; from < len(tokens); from += blockRows {
		n := min(blockRows, len(tokens)-from)
		r.p.begin()
		r.p.add(c, tokens[from:from+n])
		r.want(0, n, from+n == len(tokens))
		r.p.run()
		r.states = append(r.states, r.p.h[:len(r.p.wanted)*d]...)
	}
	r.visit(i, r.states)
	c.release()
	r.p.begin()
}
