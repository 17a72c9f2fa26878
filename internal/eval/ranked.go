package eval

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/gzip"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/metric"
)

// Ranked is a test slate as every policy ranked it: what runs are compared by.
type Ranked struct {
	Order    string           `json:"order"`
	Split    string           `json:"split"`
	Slate    string           `json:"slate"`
	User     string           `json:"user"`
	Grades   []int            `json:"grades"`            // of the candidates as they came
	Missing  []int            `json:"missing,omitempty"` // of positives of the event that the slate lacks
	Rankings map[string][]int `json:"rankings"`          // by policy: places of candidates in the incoming order, from 0, best first
}

// RankedSlates are the slates of a test set as these policies ranked them. user
// names the user of a slate, who is the same in runs of other seeds.
func RankedSlates(t Test, policies []Policy, user func(*market.Slate) string) []Ranked {
	all := make([]Ranked, len(t.Slates))
	for i := range t.Slates {
		s := &t.Slates[i]
		all[i] = Ranked{Order: t.Order, Split: t.Split, Slate: s.ID, User: user(s), Grades: convert[int](s.Grades), Rankings: map[string][]int{}}
		if t.Missing != nil {
			all[i].Missing = convert[int](t.Missing[i])
		}
		for _, p := range policies {
			all[i].Rankings[p.Name] = p.Rankings[i]
		}
	}
	return all
}

func convert[To, From int | uint8](x []From) []To {
	out := make([]To, len(x))
	for i, v := range x {
		out[i] = To(v)
	}
	return out
}

// WriteRanked writes slates as gzipped JSON lines.
func WriteRanked(w io.Writer, all []Ranked) error {
	zip := gzip.NewWriter(w)
	lines := json.NewEncoder(zip)
	for i := range all {
		if err := lines.Encode(&all[i]); err != nil {
			return err
		}
	}
	return zip.Close()
}

// ReadRanked reads what WriteRanked wrote.
func ReadRanked(r io.Reader) ([]Ranked, error) {
	zip, err := gzip.NewReader(r)
	if err != nil {
		return nil, fault.Corruptf("%w", err)
	}
	lines := json.NewDecoder(zip)
	var all []Ranked
	for {
		var s Ranked
		err := lines.Decode(&s)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err == nil {
			err = s.check()
		}
		if err != nil {
			return nil, fault.Corruptf("slate %d: %w", len(all)+1, err)
		}
		all = append(all, s)
	}
}

func (s *Ranked) check() error {
	for _, g := range slices.Concat(s.Grades, s.Missing) {
		if g < 0 || g > 255 {
			return fmt.Errorf("%q has grade %d, which is none", s.Slate, g)
		}
	}
	for policy, ranking := range s.Rankings {
		if !IsPermutation(ranking, len(s.Grades)) {
			return fmt.Errorf("%q as ranked by %q is no permutation of its %d candidates: %v", s.Slate, policy, len(s.Grades), ranking)
		}
	}
	return nil
}

// judged is the slate for each of the policies in it, and for incoming and oracle.
func (s *Ranked) judged(slice string) map[string]metric.Judged {
	grades := convert[uint8](s.Grades)
	slates := []market.Slate{{Grades: grades, Candidates: make([]market.Candidate, len(grades))}}
	all := map[string]metric.Judged{
		Incoming: {Ranking: identity(len(grades))},
		Oracle:   {Ranking: OracleRankings(slates)[0]},
	}
	for policy, ranking := range s.Rankings {
		all[policy] = metric.Judged{Ranking: ranking}
	}
	if slice == EndToEnd {
		grades = append(grades, convert[uint8](s.Missing)...)
	}
	for policy, j := range all {
		j.Grades = grades
		all[policy] = j
	}
	return all
}

// positive tells whether a candidate is one.
func (s *Ranked) positive() bool {
	return slices.ContainsFunc(s.Grades, func(g int) bool { return g > int(market.GradeNone) })
}
