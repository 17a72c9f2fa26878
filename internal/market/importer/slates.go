package importer

import (
	"errors"
	"fmt"

	"github.com/gr2/gr2/internal/market"
)

// addSlate reads a ready-made slate: the public JSON form, with candidates and
// history also as plain lists of ids, and scores beside them.
func (t *tables) addSlate(r row) (err error) {
	s := market.Slate{User: -1}
	if s.ID, err = get(r, "id", asID); err != nil {
		return err
	}
	if t.slateIDs[s.ID] {
		return fmt.Errorf("slate %q stands there twice; give every slate its own id", s.ID)
	}
	t.slateIDs[s.ID] = true
	if err := t.fillSlate(&s, r); err != nil {
		return fmt.Errorf("slate %q: %w", s.ID, err)
	}
	t.slates = append(t.slates, s)
	return nil
}

func (t *tables) fillSlate(s *market.Slate, r row) (err error) {
	user, err := get(r, "user", asID)
	if err != nil && !errors.Is(err, errAbsent) {
		return err
	}
	if err == nil {
		s.User = t.user(user)
	}
	if s.Candidates, err = get(r, "candidates", t.asCandidates); err != nil {
		return err
	}
	if err := setScores(s, r); err != nil {
		return err
	}
	if s.Grades, err = get(r, "grades", asGrades); err != nil {
		return err
	}
	history, err := get(r, "history", t.asHistory)
	if err != nil {
		return err
	}
	s.Time, err = get(r, "time", t.asTime)
	if errors.Is(err, errAbsent) {
		s.Time, err = lastTime(history), nil
	}
	if err != nil {
		return err
	}
	s.History = history
	for i := range s.History {
		if s.History[i].Time == noTime {
			s.History[i].Time = s.Time
		}
	}
	return s.Validate(&market.Catalog{Items: t.items})
}

// noTime marks a visit whose time is that of the slate.
const noTime = -1

func lastTime(history []market.Visit) int64 {
	if n := len(history); n > 0 && history[n-1].Time != noTime {
		return history[n-1].Time
	}
	return 0
}

// entry reads an element of a list: an id, or an object with the item's id and
// one more value.
func (t *tables) entry(v any, other string) (item int32, value any, err error) {
	if fields, ok := v.(map[string]any); ok {
		for _, name := range sortedKeys(fields) {
			if name != "item" && name != other {
				return 0, nil, fmt.Errorf("unknown field %q; want item and %s", name, other)
			}
		}
		v, value = fields["item"], fields[other]
	}
	id, err := asID(v)
	if err != nil {
		return 0, nil, fmt.Errorf("item: %w", err)
	}
	return t.item(id), value, nil
}

func (t *tables) asCandidates(v any) ([]market.Candidate, error) {
	list, err := asList(v)
	if err != nil {
		return nil, err
	}
	out := make([]market.Candidate, len(list))
	for i, e := range list {
		item, score, err := t.entry(e, "score")
		if err != nil {
			return nil, fmt.Errorf("[%d]: %w", i, err)
		}
		x, err := asNumber(score)
		if err != nil {
			return nil, fmt.Errorf("[%d]: score: %w", i, err)
		}
		out[i] = market.Candidate{Item: item, Score: float32(x)}
	}
	return out, nil
}

func setScores(s *market.Slate, r row) error {
	scores, err := get(r, "scores", asList)
	if err != nil || scores == nil {
		return err
	}
	if len(scores) != len(s.Candidates) {
		return fmt.Errorf("%d scores for %d candidates", len(scores), len(s.Candidates))
	}
	for i, v := range scores {
		x, err := asNumber(v)
		if err != nil {
			return fmt.Errorf("scores[%d]: %w", i, err)
		}
		s.Candidates[i].Score = float32(x)
	}
	return nil
}

func asGrades(v any) ([]uint8, error) {
	list, err := asList(v)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	out := make([]uint8, len(list))
	for i, v := range list {
		x, err := asNumber(v)
		if err != nil || x != float64(uint8(x)) {
			return nil, fmt.Errorf("[%d]: %v is no grade; want 0, 1 or 2", i, v)
		}
		out[i] = uint8(x)
	}
	return out, nil
}

func (t *tables) asHistory(v any) ([]market.Visit, error) {
	list, err := asList(v)
	if err != nil {
		return nil, err
	}
	var out []market.Visit
	for i, e := range list {
		item, when, err := t.entry(e, "time")
		if err != nil {
			return nil, fmt.Errorf("[%d]: %w", i, err)
		}
		visit := market.Visit{Item: item, Time: noTime}
		if when != nil {
			if visit.Time, err = t.asTime(when); err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
		}
		out = append(out, visit)
	}
	return out, nil
}
