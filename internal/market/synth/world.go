package synth

import (
	"bufio"
	"encoding/json"
	"io"
	"sort"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
)

// GainsFile is the name of the file of expected gains in a dataset folder.
const GainsFile = "gains.jsonl"

// World is the truth behind a generated data set. It shares nothing with it
// that the data set's methods change, but knows users and items by the numbers
// that Generate gave them: after Dataset.Number or KCore use Gains, which goes
// by ids. It is for one goroutine.
type World struct {
	p      Params
	g      *goods
	users  []user
	events [][]market.Event // by user, by time
	state  state
}

// ExaminedFrom is the time from which on slates were examined in full, so that
// their grades are unbiased.
func (w *World) ExaminedFrom() int64 { return w.p.examinedFrom() }

// Outcomes tells what to expect of each candidate if examined, by
// oracle-latent knowledge: the user's taste and traits, and all their events
// strictly before the slate's time (from the logs; s.History is not read).
// Candidates may be any items of the catalog.
func (w *World) Outcomes(s *market.Slate) ([]Outcome, error) {
	if s.User < 0 || int(s.User) >= len(w.users) {
		return nil, fault.Inputf("synth: slate %q: user %d is not one of the %d of this market", s.ID, s.User, len(w.users))
	}
	events := w.events[s.User]
	past := sort.Search(len(events), func(i int) bool { return events[i].Time >= s.Time })
	w.state.observe(&w.p, w.g, &w.users[s.User], events[:past], s.Time)
	all := make([]Outcome, len(s.Candidates))
	for i, c := range s.Candidates {
		if c.Item < 0 || int(c.Item) >= len(w.g.items) {
			return nil, fault.Inputf("synth: slate %q: candidate %d has item number %d, the catalog has %d items", s.ID, i, c.Item, len(w.g.items))
		}
		all[i] = w.p.outcome(w.state.utility(&w.p, w.g, c.Item))
	}
	return all, nil
}

// Order is the Bayes-optimal ranking of a slate: by falling expected gain,
// ties in the order shown.
func (w *World) Order(s *market.Slate) ([]int, error) {
	outcomes, err := w.Outcomes(s)
	if err != nil {
		return nil, err
	}
	return byGain(len(outcomes), func(i int) float64 { return outcomes[i].Gain() }), nil
}

func byGain(k int, gain func(i int) float64) []int {
	order := make([]int, k)
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return gain(order[a]) > gain(order[b]) })
	return order
}

// gainsLine is one line of GainsFile.
type gainsLine struct {
	ID    string             `json:"id"`
	Gains map[string]float64 `json:"gains"` // by item id
}

// WriteGains writes the expected gain of every candidate of the slates as JSON
// lines, {"id":slate,"gains":{item:gain}}: with it the ceiling can be shown
// where only the dataset folder is known.
func (w *World) WriteGains(out io.Writer, slates []market.Slate) error {
	buffer := bufio.NewWriter(out)
	enc := json.NewEncoder(buffer)
	for i := range slates {
		outcomes, err := w.Outcomes(&slates[i])
		if err != nil {
			return err
		}
		line := gainsLine{ID: slates[i].ID, Gains: make(map[string]float64, len(outcomes))}
		for c, o := range outcomes {
			line.Gains[w.g.catalog.Items[slates[i].Candidates[c].Item].ID] = o.Gain()
		}
		if err := enc.Encode(line); err != nil {
			return err
		}
	}
	return buffer.Flush()
}

// Gains are the expected gains of logged slates, by slate id and item id.
type Gains map[string]map[string]float64

// ReadGains reads what WriteGains wrote; name is for messages.
func ReadGains(in io.Reader, name string) (Gains, error) {
	gains := Gains{}
	dec := json.NewDecoder(in)
	for n := 1; ; n++ {
		var line gainsLine
		switch err := dec.Decode(&line); {
		case err == io.EOF:
			return gains, nil
		case err != nil:
			return nil, fault.Corruptf("%s:%d: %v; write the data set again", name, n, err)
		case line.ID == "":
			return nil, fault.Corruptf("%s:%d: no slate id; write the data set again", name, n)
		}
		gains[line.ID] = line.Gains
	}
}

// Order is the Bayes-optimal ranking of a logged slate, whatever the order of
// its candidates; ties stay in that order.
func (g Gains) Order(s *market.Slate, catalog *market.Catalog) ([]int, error) {
	known, ok := g[s.ID]
	if !ok {
		return nil, fault.Inputf("gains: slate %q has none; they belong to another data set", s.ID)
	}
	values := make([]float64, len(s.Candidates))
	for i, c := range s.Candidates {
		id := catalog.Items[c.Item].ID
		if values[i], ok = known[id]; !ok {
			return nil, fault.Inputf("gains: slate %q has none for item %q; they belong to another data set", s.ID, id)
		}
	}
	return byGain(len(values), func(i int) float64 { return values[i] }), nil
}
