package midtrain

import (
	"math/rand/v2"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/prompt"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/text"
)

// Mixture is the share of each task among the examples. Shares need not sum
// to one; they are normalised.
type Mixture struct {
	Sequence float64 // history SIDs -> next SID
	Persona  float64 // SIDs interleaved with the text of what the user did
	Caption  float64 // SID -> title, brand, category, and title -> SID
	Text     float64 // plain language: item texts as they stand
}

func (m Mixture) sum() float64 { return m.Sequence + m.Persona + m.Caption + m.Text }

// Source draws mid-training examples; it implements train.Source.
type Source struct {
	builder   *prompt.Builder
	catalog   *market.Catalog
	sequences [][]market.Visit // one a user, at least two visits, oldest first
	mixture   Mixture
	examples  int
	seed      uint64
}

// New makes a source of so many examples an epoch. events are the training
// part of the split in its order; include says which users' sequences may be
// read (those whose later slates will not train the policy).
func New(b *prompt.Builder, catalog *market.Catalog, events []market.Event, include func(user int32) bool, m Mixture, examples int, seed uint64) (*Source, error) {
	s := &Source{builder: b, catalog: catalog, mixture: m, examples: examples, seed: seed}
	for from := 0; from < len(events); {
		to := from
		for to < len(events) && events[to].User == events[from].User {
			to++
		}
		if to-from >= 2 && include(events[from].User) {
			s.sequences = append(s.sequences, visits(events[from:to]))
		}
		from = to
	}
	if len(s.sequences) == 0 {
		s.mixture.Sequence, s.mixture.Persona = 0, 0
	}
	if s.mixture.sum() <= 0 {
		return nil, fault.Usagef("midtrain: the mixture gives no weight to a task that the data feeds (%d users have two events); set midtrain.caption above 0", len(s.sequences))
	}
	return s, nil
}

func visits(events []market.Event) []market.Visit {
	out := make([]market.Visit, len(events))
	for i, e := range events {
		out[i] = market.Visit{Item: e.Item, Time: e.Time}
	}
	return out
}

// Len is the number of examples of an epoch.
func (s *Source) Len() int { return s.examples }

// Sequences is the number of users whose sequences are read.
func (s *Source) Sequences() int { return len(s.sequences) }

// Example draws the task, then the user or item, from the coordinates.
func (s *Source) Example(epoch, i int) (prompt.Example, error) {
	r := rng.New(s.seed, rng.Key("midtrain"), uint64(epoch), uint64(i))
	at := r.Float64() * s.mixture.sum()
	m := &s.mixture
	switch {
	case at < m.Sequence:
		return s.builder.Sequence(s.stretch(r), r), nil
	case at < m.Sequence+m.Persona:
		return s.builder.Persona(s.stretch(r), r), nil
	case at < m.Sequence+m.Persona+m.Caption:
		return s.builder.Caption(int32(r.IntN(s.catalog.Len())), r), nil
	default:
		return s.builder.Text(text.ItemText(&s.catalog.Items[r.IntN(s.catalog.Len())])), nil
	}
}

// stretchMax bounds the visits of one example; long histories are read in
// random stretches over the epochs.
const stretchMax = 24

// stretch is a run of consecutive visits of a random user.
func (s *Source) stretch(r *rand.Rand) []market.Visit {
	seq := s.sequences[r.IntN(len(s.sequences))]
	if len(seq) <= stretchMax {
		return seq
	}
	from := r.IntN(len(seq) - stretchMax + 1)
	return seq[from : from+stretchMax]
}
