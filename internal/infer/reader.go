package infer

// reader reads the pending tokens of many sequences in few passes.
type reader struct {
	waiting []*Session // for the next run
	reading []*Session // in the pass being put together
}

// add has the pending tokens of s, if any, read by the next run.
func (r *reader) add(s *Session) { r.waiting = append(r.waiting, s) }

// run reads what was added. A long run of tokens, such as a prompt, fills a pass
// of its own and gains nothing by company.
func (r *reader) run(e *Engine) {
	p := e.takePass()
	for _, s := range r.waiting {
		n := len(s.pending)
		if n == 0 || n > shareRows {
			s.read()
			continue
		}
		if len(p.places)+n > blockRows {
			r.pass(p)
		}
		p.add(&s.cache, s.pending)
		p.want(len(p.places) - 1)
		r.reading = append(r.reading, s)
	}
	r.pass(p)
	e.putPass(p)
	clear(r.waiting)
	r.waiting = r.waiting[:0]
}

// pass runs the pass put together.
func (r *reader) pass(p *pass) {
	if len(r.reading) == 0 {
		return
	}
	p.run()
	for i, s := range r.reading {
		s.arrive(p.output(i))
	}
	p.begin()
	clear(r.reading)
	r.reading = r.reading[:0]
}
