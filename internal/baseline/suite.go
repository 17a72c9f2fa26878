package baseline

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"sort"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
)

// Options are the surroundings of Train.
type Options struct {
	Dir      string         // folder of the model artifacts; "" keeps none
	Orders   []string       // rankers to fit; nil is all
	Progress func(Progress) // called from one goroutine; may be nil
}

// Progress tells how far one model is.
type Progress struct {
	Model string  // name of the order
	Fold  int     // user fold that is held out, -1 for the full model
	Stage string  // "tune", "fit", "load" or "slates"
	Done  int     // of Total, in steps of the stage
	Total int     // 0 when unknown
	Value float64 // valid N@10 where the stage measures it
}

// Suite holds the fitted rankers of one split and what is needed to fit them
// again without a user fold. Its Rankers are safe for concurrent use; it is
// itself for one goroutine.
type Suite struct {
	cfg    Config // resolved: after tuning
	given  Config
	ds     *market.Dataset
	split  *market.Split
	log    *trainLog
	valid  []market.Target // those that tune
	data   string          // digest of what the models depend on
	store  store
	report func(Progress)
	ties   []uint64 // frozen hash of each item
	full   map[string]Ranker
	folds  map[string]model // by artifactName
	epochs int              // of the full SASRec
}

// Orders lists every order, weakest first.
func Orders() []string {
	return []string{OrderPopularity, OrderKNN, OrderIALS, OrderBPR, OrderSASRec, OrderBlend}
}

// Train fits the rankers on the train part of the split and tunes them on the
// validation targets. The test targets are not read.
func Train(ctx context.Context, ds *market.Dataset, split *market.Split, cfg Config, opt Options) (*Suite, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if len(split.Train) == 0 || ds.Catalog.Len() == 0 {
		return nil, fault.Inputf("data set %q: the train part of the split has no events, so there is nothing to fit the baselines on", ds.Name)
	}
	s := &Suite{cfg: cfg, given: cfg, ds: ds, split: split, store: store{opt.Dir}, report: opt.Progress, full: map[string]Ranker{}, folds: map[string]model{}}
	if s.report == nil {
		s.report = func(Progress) {}
	}
	s.log = newTrainLog(split, ds.Catalog.Len())
	s.data = digest(ds, split)
	s.ties = make([]uint64, ds.Catalog.Len())
	for i := range s.ties {
		s.ties[i] = rng.Hash(cfg.Seed, tieStream, rng.Key(ds.Catalog.Items[i].ID))
	}
	if cfg.Tune {
		s.valid = s.sampleTargets(split.Valid, cfg.TuneTargets)
	}
	for _, order := range opt.Orders {
		if !slices.Contains(Orders(), order) {
			return nil, fault.Usagef("there is no order %q; choose among %v", order, Orders())
		}
	}
	for _, order := range neededOrders(opt.Orders) {
		if err := s.fitFull(ctx, order); err != nil {
			return nil, err
		}
	}
	return s, nil
}

var (
	tieStream  = rng.Key("baseline/tie")
	foldStream = rng.Key("baseline/fold")
	tuneStream = rng.Key("baseline/tune")
)

// neededOrders closes the wish over dependencies, in the order of fitting.
func neededOrders(wish []string) []string {
	if wish == nil {
		return Orders()
	}
	var need []string
	for _, o := range Orders() {
		part := slices.Contains(wish, OrderBlend) && slices.Contains(blendParts, o)
		if part || slices.Contains(wish, o) {
			need = append(need, o)
		}
	}
	return need
}

var blendParts = []string{OrderKNN, OrderIALS, OrderSASRec}

// Config is the configuration after tuning.
func (s *Suite) Config() Config { return s.cfg }

// Ranker is the fitted ranker of an order.
func (s *Suite) Ranker(order string) (Ranker, error) {
	if r := s.full[order]; r != nil {
		return r, nil
	}
	return nil, fault.Usagef("there is no fitted ranker for the order %q; fitted are %v", order, s.fitted())
}

func (s *Suite) fitted() []string {
	var names []string
	for _, o := range Orders() {
		if s.full[o] != nil {
			names = append(names, o)
		}
	}
	return names
}

// sampleTargets draws n targets by a hash of the user's id and keeps their
// order.
func (s *Suite) sampleTargets(targets []market.Target, n int) []market.Target {
	if len(targets) <= n {
		return targets
	}
	keys := make([]uint64, len(targets))
	for i, t := range targets {
		keys[i] = rng.Hash(s.cfg.Seed, tuneStream, rng.Key(s.ds.Users[t.User]), uint64(t.Time))
	}
	sorted := slices.Clone(keys)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i] < sorted[j] })
	var drawn []market.Target
	for i, t := range targets {
		if keys[i] < sorted[n] {
			drawn = append(drawn, t)
		}
	}
	return drawn
}

// fold is the user fold of a user: a seeded hash of the id.
func (s *Suite) fold(user int32) int {
	return int(rng.Hash(s.cfg.Seed, foldStream, rng.Key(s.ds.Users[user])) % uint64(s.cfg.Slates.Folds))
}

// digest identifies the train part and the validation targets.
func digest(ds *market.Dataset, split *market.Split) string {
	sum := sha256.New()
	put := func(v ...any) {
		for _, x := range v {
			_ = binary.Write(sum, binary.LittleEndian, x) // a hash never fails
		}
	}
	put([]byte(split.Protocol), int64(ds.Catalog.Len()))
	for i := range ds.Catalog.Items {
		put(rng.Key(ds.Catalog.Items[i].ID))
	}
	for _, e := range split.Train {
		put([]int64{int64(e.User), int64(e.Item), e.Time})
	}
	for _, t := range split.Valid {
		put([]int64{int64(t.User), t.Time, int64(len(t.History))}, t.Items)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// key names everything that a model depends on.
func (s *Suite) key(parts ...any) string {
	raw, _ := json.Marshal(append([]any{s.data, s.cfg.Seed}, parts...)) // numbers and strings only
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// artifactName is the file of a model; fold -1 is the full model.
func artifactName(order string, fold int) string {
	if fold < 0 {
		return order
	}
	return fmt.Sprintf("%s.fold%d", order, fold)
}
