package pipeline

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/gzip"

	"github.com/gr2/gr2/internal/baseline"
	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
)

// orderSet is the slates of one incoming order.
type orderSet struct {
	train, valid, test part
}

// part is the slates of one part of the split that hold a positive. The others
// cannot be ranked better or worse and are only counted.
type part struct {
	Slates []market.Slate `json:"-"`
	// Positives counts the positives of each slate's event, also those that
	// the slate lacks.
	Positives []int              `json:"positives"`
	Events    int                `json:"events"`             // requests in all, but for those left out
	LeftOut   int                `json:"left_out,omitempty"` // impressions of more candidates than a prompt shows
	Full      *baseline.Measures `json:"full,omitempty"`     // of the order over the whole catalog
}

// missing lists the grades of the positives that each slate lacks.
func (p *part) missing() [][]uint8 {
	out := make([][]uint8, len(p.Slates))
	for i := range p.Slates {
		have := 0
		top := uint8(0)
		for _, g := range p.Slates[i].Grades {
			if g > market.GradeNone {
				have++
				top = max(top, g)
			}
		}
		for ; have < p.Positives[i]; have++ {
			out[i] = append(out[i], top)
		}
	}
	return out
}

// parts are the three by name.
func (s *orderSet) parts() []namedPart {
	return []namedPart{{"train", &s.train}, {"valid", &s.valid}, {"test", &s.test}}
}

type namedPart struct {
	name string
	*part
}

func slateFile(dir, order, part string) string {
	return filepath.Join(dir, fmt.Sprintf("slates-%s-%s.jsonl.gz", order, part))
}

// writeSlates stores slates in the public JSON form, one a line.
func (w *world) writeSlates(path string, slates []market.Slate) error {
	return durable.Write(path, func(out io.Writer) error {
		zip, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
		if err != nil {
			return err
		}
		for i := range slates {
			line, err := market.EncodeSlate(&slates[i], w.data.Catalog, w.data.Users)
			if err != nil {
				return err
			}
			if _, err := zip.Write(append(line, '\n')); err != nil {
				return err
			}
		}
		return zip.Close()
	})
}

// readSlates reads what writeSlates stored.
func (w *world) readSlates(path string) ([]market.Slate, error) {
	users := make(map[string]int32, len(w.data.Users))
	for n, id := range w.data.Users {
		users[id] = int32(n)
	}
	var slates []market.Slate
	err := readFile(path, func(in io.Reader) error {
		zip, err := gzip.NewReader(in)
		if err != nil {
			return fault.Corruptf("%w", err)
		}
		lines := bufio.NewReader(zip)
		for n := 1; ; n++ {
			line, err := lines.ReadBytes('\n')
			if errors.Is(err, io.EOF) && len(line) == 0 {
				return nil
			}
			if err != nil {
				return fault.Corruptf("line %d: %w", n, err)
			}
			slate, _, err := market.DecodeSlate(line, w.data.Catalog, users)
			if err != nil {
				return fmt.Errorf("line %d: %w", n, err)
			}
			slates = append(slates, slate)
		}
	})
	return slates, err
}

func partFile(dir, order, part string) string {
	return filepath.Join(dir, fmt.Sprintf("slates-%s-%s.json", order, part))
}

// saveOrder stores the slates of one order.
func (w *world) saveOrder(dir, order string, s *orderSet) error {
	for _, p := range s.parts() {
		if err := w.writeSlates(slateFile(dir, order, p.name), p.Slates); err != nil {
			return err
		}
		if err := durable.WriteJSON(partFile(dir, order, p.name), p.part); err != nil {
			return err
		}
	}
	return nil
}

// slates of one order, from the baseline stage.
func (w *world) slates(order string) (*orderSet, error) {
	if s := w.orders[order]; s != nil {
		return s, nil
	}
	if _, err := w.dataset(); err != nil {
		return nil, err
	}
	s, dir := &orderSet{}, w.path(StageBaseline)
	for _, p := range s.parts() {
		if err := readJSON(partFile(dir, order, p.name), p.part); err != nil {
			return nil, err
		}
		slates, err := w.readSlates(slateFile(dir, order, p.name))
		if err != nil {
			return nil, err
		}
		if p.Slates = slates; len(slates) != len(p.Positives) {
			return nil, fault.Corruptf("%s: %d slates, expected %d", slateFile(dir, order, p.name), len(slates), len(p.Positives))
		}
	}
	w.orders[order] = s
	return s, nil
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fault.Corruptf("%s: %w", path, err)
	}
	return nil
}
