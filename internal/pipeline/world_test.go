package pipeline

import (
	"fmt"
	"testing"

	"github.com/gr2/gr2/internal/evidence"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
)

const (
	testUsers = 120
	testItems = 30
	testSteps = 6 // training events of a user; then one of validation
)

// newTestWorld is a run in memory up to its evidence: two incoming orders over
// the same requests, one training and one validation slate a user.
func newTestWorld(t *testing.T, change func(*Options)) *world {
	t.Helper()
	o := Options{Seed: 5,
		Data:     DataOptions{Protocol: market.ProtocolLeaveOneOut},
		Slates:   SlateOptions{Orders: []string{"sasrec", "bpr"}},
		Midtrain: MidtrainOptions{UserShare: .5},
		SFT:      SFTOptions{UserShare: 1, ValidShare: .3, ValidSlates: 1000},
	}
	o.Prompt.Evidence, o.Prompt.EvidenceBuckets = true, 8
	if change != nil {
		change(&o)
	}
	w := &world{job: &Job{Root: t.TempDir(), Options: o}, orders: map[string]*orderSet{}, notify: func(Progress) {}}
	w.data = &market.Dataset{Name: "test"}
	items := make([]market.Item, testItems)
	for i := range items {
		items[i] = market.Item{ID: fmt.Sprint("i", i), Title: fmt.Sprint("Brush ", i%7), Brand: fmt.Sprint("b", i%3)}
	}
	var err error
	if w.data.Catalog, err = market.NewCatalog(items); err != nil {
		t.Fatal(err)
	}
	for u := range testUsers {
		w.data.Users = append(w.data.Users, fmt.Sprint("u", u))
		r := rng.New(1, uint64(u))
		for e := range testSteps {
			w.data.Events = append(w.data.Events, market.Event{User: int32(u), Item: int32(r.IntN(testItems)), Time: int64(1e9 + 86400*e)})
		}
	}
	for _, order := range o.Slates.Orders {
		w.orders[order] = w.testOrder(order)
	}
	if w.stats, err = evidence.Build(w.data.Catalog, w.data.Events, evidence.Options{Users: w.data.Users}); err != nil {
		t.Fatal(err)
	}
	var rows [][]float32
	for _, c := range w.cases(w.stats, w.orders[o.Slates.Orders[0]].train.Slates, true) {
		rows = append(rows, c.Evidence...)
	}
	if w.buckets, err = evidence.FitBuckets(rows, o.promptOptions().EvidenceNames, o.Prompt.EvidenceBuckets-1); err != nil {
		t.Fatal(err)
	}
	return w
}

// testOrder gives every user a slate for the last training event and one for
// the event behind it. Slates of different orders for one request share its id.
func (w *world) testOrder(order string) *orderSet {
	set := &orderSet{}
	for u := range testUsers {
		events := w.data.Events[u*testSteps : (u+1)*testSteps]
		for _, p := range []struct {
			*part
			label   string
			history []market.Event
		}{{&set.train, "train", events[:testSteps-1]}, {&set.valid, "valid", events}} {
			s := market.Slate{ID: fmt.Sprintf("%s/u%d", p.label, u), User: int32(u), Time: 1e9 + 86400*int64(len(p.history))}
			for _, e := range p.history {
				s.History = append(s.History, market.Visit{Item: e.Item, Time: e.Time})
			}
			r := rng.New(2, rng.Key(order+s.ID))
			for i, item := range r.Perm(testItems)[:6] {
				s.Candidates = append(s.Candidates, market.Candidate{Item: int32(item), Score: float32(-i)})
			}
			s.Grades = make([]uint8, 6)
			s.Grades[r.IntN(6)] = market.GradeConvert
			p.Slates, p.Positives = append(p.Slates, s), append(p.Positives, 1)
		}
	}
	return set
}
