package evidence

import (
	"slices"
	"strconv"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/sid"
)

// None is the excludeFold that leaves out nobody.
const None = -1

const maxFolds = 250

// Options of Build. A zero field takes its default.
type Options struct {
	// Users are the ids of the users by number; folds follow them. When nil, a
	// user's number in decimal stands for the id.
	Users []string `json:"-"`
	// Folds is how many groups the users are divided into; default 20, at most 250.
	Folds int `json:"folds"`
	// Window is how many positions apart two events of a user may be and still
	// count as co-engagement; default 5.
	Window int `json:"window"`
	// Decay is the weight of one more position of distance, in the logs and in
	// the history of a slate; default 0.7.
	Decay float64 `json:"decay"`
	// History is how many of a slate's last events are compared; default 6.
	History int `json:"history"`
	// PopPower damps co-engagement by popularity^PopPower; default 0.35.
	PopPower float64 `json:"pop_power"`
	// RecentDays is the span of recent popularity; default 30.
	RecentDays int `json:"recent_days"`
}

func (o Options) withDefaults() Options {
	setDefault(&o.Folds, 20)
	setDefault(&o.Window, 5)
	setDefault(&o.Decay, 0.7)
	setDefault(&o.History, 6)
	setDefault(&o.PopPower, 0.35)
	setDefault(&o.RecentDays, 30)
	return o
}

func setDefault[T int | float64](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// Validate names the field that is out of range.
func (o Options) Validate() error {
	o = o.withDefaults()
	switch {
	case o.Folds < 1 || o.Folds > maxFolds:
		return fault.Usagef("evidence: folds %d; use 1 to %d", o.Folds, maxFolds)
	case o.Window < 1 || o.Window > 1000:
		return fault.Usagef("evidence: window %d; use 1 to 1000 positions", o.Window)
	case !(o.Decay > 0 && o.Decay <= 1):
		return fault.Usagef("evidence: decay %v; use a weight above 0 and up to 1", o.Decay)
	case o.History < 1 || o.History > 1000:
		return fault.Usagef("evidence: history %d; use 1 to 1000 events", o.History)
	case !(o.PopPower >= 0 && o.PopPower <= 1):
		return fault.Usagef("evidence: pop_power %v; use 0 to 1", o.PopPower)
	case o.RecentDays < 1 || o.RecentDays > 36500:
		return fault.Usagef("evidence: recent_days %d; use 1 to 36500", o.RecentDays)
	}
	return nil
}

// foldSeed keeps user folds apart from every other use of the ids' hashes.
const foldSeed = 0x65766964656e6365 // "evidence"

// Fold is the fold, 0 to folds-1, of the user with this id: a fixed hash.
func Fold(user string, folds int) int {
	return int(rng.Hash(foldSeed, rng.Key(user)) % uint64(folds))
}

// Stats are the counts behind the evidence, kept by user fold.
type Stats struct {
	opt     Options // resolved, without Users
	catalog sid.Hash
	content []content // of each item; not stored, the catalog has it
	log     itemLog
	pairs   pairTable
	shelves shelves // of catalog and pairs
}

// Build counts the events, which must be those of the training part; their
// order does not matter but inside equal times of one user, where the order
// given is the order taken.
func Build(catalog *market.Catalog, events []market.Event, opt Options) (*Stats, error) {
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	opt = opt.withDefaults()
	users := int32(len(opt.Users))
	for i, e := range events {
		switch {
		case e.Item < 0 || int(e.Item) >= catalog.Len():
			return nil, fault.Inputf("evidence: event %d names item %d; the catalog has %d", i, e.Item, catalog.Len())
		case e.User < 0 || (opt.Users != nil && e.User >= users):
			return nil, fault.Inputf("evidence: event %d names user %d; there are %d", i, e.User, users)
		}
	}
	events = slices.Clone(events)
	slices.SortStableFunc(events, byUserThenTime)
	folds := foldsOf(events, opt)
	s := &Stats{opt: opt, catalog: sid.CatalogHash(catalog), content: describe(catalog)}
	s.opt.Users = nil
	s.log = newItemLog(catalog.Len(), events, folds)
	s.pairs = countPairs(catalog.Len(), events, folds, opt)
	s.shelves = newShelves(catalog, &s.pairs, opt.Folds)
	return s, nil
}

// After is the first moment behind all events: the time of a request that has
// none of its own.
func (s *Stats) After() int64 {
	last := int64(0)
	for _, t := range s.log.time {
		last = max(last, t)
	}
	return last + 1
}

// Options are the resolved options of Build.
func (s *Stats) Options() Options { return s.opt }

func byUserThenTime(a, b market.Event) int {
	if a.User != b.User {
		return int(a.User) - int(b.User)
	}
	switch {
	case a.Time < b.Time:
		return -1
	case a.Time > b.Time:
		return 1
	}
	return 0
}

// foldsOf gives the fold of each event's user; events are grouped by user.
func foldsOf(events []market.Event, opt Options) []uint8 {
	folds := make([]uint8, len(events))
	for i, e := range events {
		switch {
		case i > 0 && events[i-1].User == e.User:
			folds[i] = folds[i-1]
		case opt.Users != nil:
			folds[i] = uint8(Fold(opt.Users[e.User], opt.Folds))
		default:
			folds[i] = uint8(Fold(strconv.Itoa(int(e.User)), opt.Folds))
		}
	}
	return folds
}
