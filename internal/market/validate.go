package market

import (
	"errors"
	"fmt"
)

// Validate says what is wrong with a slate whose items are in the catalog:
// no candidates or one twice, grades that do not fit, a time that cannot be,
// a history that is not oldest first or reaches past the request. Visits at
// the very time of the request are allowed, see LeaveOneOut.
func (s *Slate) Validate(catalog *Catalog) error {
	if err := CheckTime(s.Time); err != nil {
		return err
	}
	if len(s.Candidates) == 0 {
		return errors.New("no candidates; give at least one")
	}
	at := make(map[int32]int, len(s.Candidates))
	for i, c := range s.Candidates {
		if first, dup := at[c.Item]; dup {
			return fmt.Errorf("candidates[%d]: item %q already stands at candidates[%d]; give each item once", i, catalog.Items[c.Item].ID, first)
		}
		at[c.Item] = i
	}
	if err := s.validateGrades(); err != nil {
		return err
	}
	return s.validateHistory(catalog)
}

func (s *Slate) validateGrades() error {
	if s.Grades != nil && len(s.Grades) != len(s.Candidates) {
		return fmt.Errorf("%d grades for %d candidates; give one for each, or none", len(s.Grades), len(s.Candidates))
	}
	for i, g := range s.Grades {
		if g > GradeConvert {
			return errGrade(i, int(g))
		}
	}
	return nil
}

func (s *Slate) validateHistory(catalog *Catalog) error {
	last := int64(0)
	for _, v := range s.History {
		id := catalog.Items[v.Item].ID
		if err := CheckTime(v.Time); err != nil {
			return fmt.Errorf("history item %q: %w", id, err)
		}
		if v.Time > s.Time {
			return fmt.Errorf("history item %q: time %d is after the slate's time %d", id, v.Time, s.Time)
		}
		if v.Time < last {
			return fmt.Errorf("history item %q: time %d is before that of the visit in front of it; give the oldest first", id, v.Time)
		}
		last = v.Time
	}
	return nil
}

func errGrade(i, grade int) error {
	return fmt.Errorf("grades[%d] is %d; want %d (ignored), %d (clicked) or %d (converted)", i, grade, GradeNone, GradeClick, GradeConvert)
}
