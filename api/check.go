package api

import "fmt"

// Limits bound a request. Zero means no bound.
type Limits struct {
	Slates     int // per request
	Candidates int // per slate
	History    int // visits per slate
}

// Check reports the first thing that makes the slate senseless, as a
// FieldError: no candidates, a candidate twice, an item without a name, grades
// that do not fit, visits out of order or after the request. Whether the
// catalog knows the items is for its owner to say.
func (s *Slate) Check() error {
	if len(s.Candidates) == 0 {
		return field("candidates", "the slate is empty; give at least one candidate")
	}
	first := make(map[string]int, len(s.Candidates))
	for i, c := range s.Candidates {
		if c.Item == "" {
			return field(at("candidates", i, "item"), "is empty")
		}
		if j, dup := first[c.Item]; dup {
			return field(at("candidates", i, "item"), "%q is a duplicate of candidates[%d]", clip(c.Item), j)
		}
		first[c.Item] = i
	}
	if err := s.checkHistory(); err != nil {
		return err
	}
	return s.checkGrades()
}

func (s *Slate) checkHistory() error {
	now := s.RequestTime()
	last := int64(0)
	for i, v := range s.History {
		if v.Item == "" {
			return field(at("history", i, "item"), "is empty")
		}
		t := v.Time
		if t == 0 {
			t = now
		}
		if t < last {
			return field(at("history", i, "time"), "%d is before the visit above it (%d); give the oldest visit first", t, last)
		}
		last = t
	}
	if last > now {
		return field(at("history", len(s.History)-1, "time"), "%d is after the request (%d); a history holds what was known then", last, now)
	}
	return nil
}

func (s *Slate) checkGrades() error {
	if s.Grades == nil {
		return nil
	}
	if len(s.Grades) != len(s.Candidates) {
		return field("grades", "has %d values for %d candidates; give one for each, or none", len(s.Grades), len(s.Candidates))
	}
	for i, g := range s.Grades {
		if g < 0 || g > 2 {
			return field(at("grades", i, ""), "is %d; grades are 0, 1 (click) or 2 (conversion)", g)
		}
	}
	return nil
}

// Check reports the first slate of the request that is wrong or over a limit,
// as a FieldError. Nothing over a limit is ever cut.
func (r *Request) Check(lim Limits) error {
	if len(r.Slates) == 0 {
		return field("slates", "is empty; give at least one slate")
	}
	if lim.Slates > 0 && len(r.Slates) > lim.Slates {
		return field("slates", "has %d slates, at most %d are allowed; send several requests", len(r.Slates), lim.Slates)
	}
	for i := range r.Slates {
		err := r.Slates[i].within(lim)
		if err == nil {
			err = r.Slates[i].Check()
		}
		if err != nil {
			return r.Locate(i, err)
		}
	}
	return nil
}

func (s *Slate) within(lim Limits) error {
	if lim.Candidates > 0 && len(s.Candidates) > lim.Candidates {
		return field("candidates", "has %d items, at most %d are allowed", len(s.Candidates), lim.Candidates)
	}
	if lim.History > 0 && len(s.History) > lim.History {
		return field("history", "has %d visits, at most %d are allowed; send the latest ones", len(s.History), lim.History)
	}
	return nil
}

// Locate turns the FieldError of slate i into one of the whole request. Other
// errors stay as they are.
func (r *Request) Locate(i int, err error) error {
	fe, ok := err.(*FieldError)
	if !ok || !r.Batch {
		return err
	}
	return fe.Under(fmt.Sprintf("slates[%d]", i))
}

func field(path, format string, args ...any) error {
	return &FieldError{Field: path, Message: fmt.Sprintf(format, args...)}
}

func at(list string, i int, name string) string {
	if name == "" {
		return fmt.Sprintf("%s[%d]", list, i)
	}
	return fmt.Sprintf("%s[%d].%s", list, i, name)
}
