package baseline

// axis is one hyper-parameter of C with the values to try, in order.
type axis[C any] struct {
	values []float64
	set    func(c *C, v float64)
}

// descend is coordinate ascent over small grids: each axis in turn takes the
// value with the best score, the others held fixed, until a whole pass changes
// nothing or passes are over. Equal scores keep the earlier value, so the
// result is determined by the grid. score is called once per configuration.
func descend[C comparable](start C, axes []axis[C], passes int, score func(C) (float64, error)) (C, error) {
	known := map[C]float64{}
	cached := func(c C) (float64, error) {
		if s, ok := known[c]; ok {
			return s, nil
		}
		s, err := score(c)
		known[c] = s
		return s, err
	}
	best := start
	top, err := cached(best)
	for range passes {
		before := best
		for _, a := range axes {
			for _, v := range a.values {
				c := best
				a.set(&c, v)
				s, e := cached(c)
				if e != nil {
					return best, e
				}
				if s > top {
					best, top = c, s
				}
			}
		}
		if best == before {
			break
		}
	}
	return best, err
}
