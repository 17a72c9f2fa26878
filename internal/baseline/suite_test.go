package baseline

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/market"
)

func TestResultDoesNotDependOnThreads(t *testing.T) {
	ds := ring(t, 80, 30, 1)
	split := leaveOneOut(t, ds)
	cfg := smallConfig()
	cfg.Tune = true
	run := func(threads int, seed uint64) (Config, []*SlateSet) {
		kernel.SetThreads(threads)
		defer kernel.SetThreads(0)
		cfg.Seed = seed
		s := train(t, ds, split, cfg, Options{})
		var sets []*SlateSet
		for _, order := range Orders() {
			sets = append(sets, slatesOf(t, s, order))
		}
		return s.Config(), sets
	}
	config1, sets1 := run(1, 1)
	config4, sets4 := run(4, 1)
	if config1 != config4 || !reflect.DeepEqual(sets1, sets4) {
		t.Error("1 and 4 threads give different slates")
	}
	if _, other := run(4, 2); reflect.DeepEqual(sets1, other) {
		t.Error("another seed gives the same slates")
	}
}

// The test targets must not matter to what is fitted.
func TestTrainDoesNotReadTheTestTargets(t *testing.T) {
	ds := ring(t, 60, 30, 1)
	split := leaveOneOut(t, ds)
	cfg := smallConfig()
	cfg.Tune = true
	whole := train(t, ds, split, cfg, Options{})
	blind := *split
	blind.Test = nil
	if other := train(t, ds, &blind, cfg, Options{}); other.Config() != whole.Config() {
		t.Errorf("without test targets the configuration is %+v, with them %+v", other.Config(), whole.Config())
	}
}

// What a held-out user did must not reach the models that order that user's
// training slates.
func TestCrossFitNeverSawTheUser(t *testing.T) {
	ds := ring(t, 60, 30, 1)
	split := leaveOneOut(t, ds)
	cfg := smallConfig()
	s := train(t, ds, split, cfg, Options{})
	const victim = 11
	changed := *split
	changed.Train = slices.Clone(split.Train)
	for i, e := range changed.Train {
		if e.User == victim {
			changed.Train[i].Item = (e.Item + 13) % 30
		}
	}
	other := train(t, ds, &changed, cfg, Options{})
	for _, order := range Orders() {
		for fold := range cfg.Slates.Folds {
			a, b := make([]float32, 30), make([]float32, 30)
			for i, suite := range []*Suite{s, other} {
				suite.epochs = 4
				r, err := suite.foldRanker(t.Context(), order, fold)
				if err != nil {
					t.Fatal(err)
				}
				r.Scores(visits(4, 5), 0, [][]float32{a, b}[i])
			}
			own := fold == s.fold(victim)
			if same := slices.Equal(a, b); same != own {
				t.Errorf("%s, fold %d (the user's own: %v): scores equal = %v", order, fold, own, same)
			}
		}
	}
}

func TestTrainingSlatesComeFromTheOwnFold(t *testing.T) {
	ds := ring(t, 60, 30, 1)
	s := train(t, ds, leaveOneOut(t, ds), smallConfig(), Options{Orders: []string{OrderKNN}})
	set := slatesOf(t, s, OrderKNN)
	if len(set.Train.Slates) == 0 {
		t.Fatal("no training slates")
	}
	for _, slate := range set.Train.Slates {
		r, err := s.foldRanker(t.Context(), OrderKNN, s.fold(slate.User))
		if err != nil {
			t.Fatal(err)
		}
		row := make([]float32, 30)
		r.Scores(slate.History, slate.Time, row)
		maskSeen(row, slate.History)
		for i, item := range topK(row, s.cfg.Slates.K, s.ties) {
			if slate.Candidates[i].Item != item {
				t.Fatalf("slate %s is not the top of the ranker without its user", slate.ID)
			}
		}
	}
}

func TestSlates(t *testing.T) {
	ds := ring(t, 60, 30, 1)
	split := leaveOneOut(t, ds)
	s := train(t, ds, split, smallConfig(), Options{Orders: []string{OrderKNN}})
	set := slatesOf(t, s, OrderKNN)
	if set.Test.Events != len(split.Test) || set.Valid.Events != len(split.Valid) {
		t.Errorf("events %d and %d, want %d and %d", set.Valid.Events, set.Test.Events, len(split.Valid), len(split.Test))
	}
	seen := map[string]bool{}
	for _, part := range []Part{set.Train, set.Valid, set.Test} {
		if len(part.Slates) == 0 || len(part.Slates) > part.Events || len(part.Positives) != len(part.Slates) {
			t.Errorf("%d slates, %d positives, %d events", len(part.Slates), len(part.Positives), part.Events)
		}
		for _, slate := range part.Slates {
			checkSlate(t, &slate)
			if seen[slate.ID] {
				t.Errorf("id %s occurs twice", slate.ID)
			}
			seen[slate.ID] = true
		}
	}
	if hits := float64(len(set.Test.Slates)) / float64(set.Test.Events); hits < set.Test.Full.R5-1e-9 {
		t.Errorf("%.3f of the events have a slate of 5, but R@5 is %.3f", hits, set.Test.Full.R5)
	}
}

func checkSlate(t *testing.T, slate *market.Slate) {
	t.Helper()
	if len(slate.Candidates) != 5 || len(slate.Grades) != 5 || !slate.Positive() {
		t.Fatalf("slate %s: %d candidates, grades %v", slate.ID, len(slate.Candidates), slate.Grades)
	}
	for i, c := range slate.Candidates {
		if c.Score > 0 || i > 0 && c.Score > slate.Candidates[i-1].Score {
			t.Errorf("slate %s: scores are no falling log-probabilities", slate.ID)
		}
		for _, v := range slate.History {
			if v.Item == c.Item {
				t.Errorf("slate %s shows an item of its history", slate.ID)
			}
		}
	}
}

func TestKeepSeenShowsTheHistoryAgain(t *testing.T) {
	ds := ring(t, 60, 12, 1)
	cfg := smallConfig()
	cfg.KeepSeen = true
	s := train(t, ds, leaveOneOut(t, ds), cfg, Options{Orders: []string{OrderPopularity}})
	for _, slate := range slatesOf(t, s, OrderPopularity).Test.Slates {
		for _, c := range slate.Candidates {
			if slices.ContainsFunc(slate.History, func(v market.Visit) bool { return v.Item == c.Item }) {
				return
			}
		}
	}
	t.Error("no slate shows an item again")
}

func TestLastRequests(t *testing.T) {
	seq := []market.Visit{{Item: 1, Time: 1}, {Item: 2, Time: 2}, {Item: 5, Time: 3}, {Item: 4, Time: 3}, {Item: 6, Time: 4}, {Item: 7, Time: 5}}
	cfg := SlateConfig{PrefixMax: 3, MinHistory: 2}
	type request struct {
		items   []int32
		history int
	}
	for _, c := range []struct {
		baskets bool
		min     int
		want    []request
	}{
		{false, 2, []request{{[]int32{4}, 3}, {[]int32{6}, 4}, {[]int32{7}, 5}}},
		{true, 2, []request{{[]int32{4, 5}, 2}, {[]int32{6}, 4}, {[]int32{7}, 5}}},
		{true, 3, []request{{[]int32{6}, 4}, {[]int32{7}, 5}}},
		{false, 6, nil},
	} {
		cfg.MinHistory = c.min
		var got []request
		for _, r := range lastRequests(3, seq, c.baskets, cfg) {
			got = append(got, request{r.Items, len(r.History)})
			if c.baskets && r.History[len(r.History)-1].Time >= r.Time {
				t.Errorf("a history reaches into its own moment")
			}
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("baskets %v, min %d: got %v, want %v", c.baskets, c.min, got, c.want)
		}
	}
}

// A time split has baskets, users the fit never saw and empty histories.
func TestTimeSplit(t *testing.T) {
	ds := ring(t, 120, 30, 2)
	split, err := market.TimeSplit(ds, .15, .15, 3, 3)
	if err != nil {
		t.Fatal(err)
	}
	split.Test = append(split.Test, market.Target{User: 5, Time: split.Test[0].Time, Items: []int32{3}})
	s := train(t, ds, split, smallConfig(), Options{})
	for _, order := range Orders() {
		set := slatesOf(t, s, order)
		several := 0
		for i, slate := range set.Train.Slates {
			if slate.History[len(slate.History)-1].Time >= slate.Time {
				t.Fatalf("%s: slate %s knows its own moment", order, slate.ID)
			}
			if set.Train.Positives[i] > 1 {
				several++
			}
		}
		if several == 0 || set.Test.Events != len(split.Test) || len(set.Test.Slates) == 0 {
			t.Errorf("%s: %d training baskets, %d test slates of %d events", order, several, len(set.Test.Slates), set.Test.Events)
		}
	}
}

func TestLoggedSplitIsRefused(t *testing.T) {
	ds := ring(t, 30, 12, 1)
	split := &market.Split{Protocol: market.ProtocolLogged, Train: ds.Events}
	s := train(t, ds, split, smallConfig(), Options{Orders: []string{OrderKNN}})
	if _, err := s.BuildSlates(t.Context(), OrderKNN); fault.KindOf(err) != fault.Usage {
		t.Errorf("got %v, want a usage error", err)
	}
}

// A run that is cut at any model and started again ends as an unbroken one.
func TestResume(t *testing.T) {
	ds := ring(t, 60, 30, 1)
	split := leaveOneOut(t, ds)
	cfg := smallConfig()
	cfg.Tune, cfg.TuneTargets = true, 20
	want := slatesOf(t, train(t, ds, split, cfg, Options{}), OrderBlend)
	dir := t.TempDir()
	steps := 0
	run := func(limit int) (*SlateSet, error) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		left := limit
		s, err := Train(ctx, ds, split, cfg, Options{Dir: dir, Orders: []string{OrderBlend}, Progress: func(p Progress) {
			if steps++; p.Stage != "load" {
				if left--; left == 0 {
					cancel()
				}
			}
		}})
		if err != nil {
			return nil, err
		}
		return s.BuildSlates(ctx, OrderBlend)
	}
	interrupted := 0
	for limit := 40; ; limit += 7 {
		got, err := run(limit)
		if errors.Is(err, context.Canceled) {
			interrupted++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Error("the resumed run ends elsewhere")
		}
		break
	}
	if interrupted < 2 {
		t.Errorf("only %d interruptions", interrupted)
	}
	steps = 0
	if _, err := run(1000); err != nil || steps > 30 {
		t.Errorf("a finished run takes %d steps again, error %v", steps, err)
	}
}

// A loaded model is the model that was saved, to the bit.
func TestLoadedEqualsFitted(t *testing.T) {
	ds := ring(t, 200, 300, 1) // more items than the panel of BPR's fold-in
	split := leaveOneOut(t, ds)
	cfg := smallConfig()
	cfg.Tune = true
	opt := Options{Dir: t.TempDir()}
	fitted := train(t, ds, split, cfg, opt)
	loads := 0
	opt.Progress = func(p Progress) {
		if p.Stage == "load" {
			loads++
		}
	}
	loaded := train(t, ds, split, cfg, opt)
	if loads != 4 || loaded.Config() != fitted.Config() {
		t.Errorf("%d models loaded, configuration %+v, want 4 and %+v", loads, loaded.Config(), fitted.Config())
	}
	for _, order := range Orders() {
		a, b := make([]float32, 300), make([]float32, 300)
		fitted.full[order].Scores(visits(4, 5, 9), 0, a)
		loaded.full[order].Scores(visits(4, 5, 9), 0, b)
		if !slices.Equal(a, b) {
			t.Errorf("%s: the loaded model gives other scores", order)
		}
	}
}

func TestStaleArtifactIsReplaced(t *testing.T) {
	ds := ring(t, 40, 20, 1)
	cfg, dir := smallConfig(), t.TempDir()
	split := leaveOneOut(t, ds)
	opt := Options{Dir: dir, Orders: []string{OrderKNN}}
	train(t, ds, split, cfg, opt)
	cfg.KNN.Decay = .5
	s := train(t, ds, split, cfg, opt)
	if got := s.full[OrderKNN].(*itemKNN).cfg.Decay; got != .5 {
		t.Errorf("decay %v of the stale artifact", got)
	}
	cfg.Tune = true
	retuned := false
	opt.Progress = func(p Progress) { retuned = retuned || p.Stage == "tune" }
	train(t, ds, split, cfg, opt)
	if !retuned {
		t.Error("an untuned artifact serves a tuned run")
	}
}

func TestCorruptArtifact(t *testing.T) {
	ds := ring(t, 40, 20, 1)
	split := leaveOneOut(t, ds)
	dir := t.TempDir()
	opt := Options{Dir: dir, Orders: []string{OrderBPR}}
	train(t, ds, split, smallConfig(), opt)
	path := filepath.Join(dir, "bpr.bin")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	for name, data := range map[string][]byte{"empty": nil, "cut": whole[:len(whole)-7], "head": whole[:20], "flipped bit": flipped, "foreign": []byte(strings.Repeat("x", 200))} {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Train(t.Context(), ds, split, smallConfig(), opt)
		if fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want a corruption error that names the file", name, err)
		}
	}
}

func TestValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	for field, spoil := range map[string]func(c *Config){
		"tune_targets":       func(c *Config) { c.TuneTargets = 0 },
		"knn.window":         func(c *Config) { c.KNN.Window = 0 },
		"knn.decay":          func(c *Config) { c.KNN.Decay = 1.1 },
		"knn.backoff":        func(c *Config) { c.KNN.Backoff = 0 },
		"ials.reg":           func(c *Config) { c.IALS.Reg = 0 },
		"ials.dim":           func(c *Config) { c.IALS.Dim = 4096 },
		"bpr.epochs":         func(c *Config) { c.BPR.Epochs = 0 },
		"bpr.rate":           func(c *Config) { c.BPR.Rate = -1 },
		"sasrec.heads":       func(c *Config) { c.SASRec.Heads = 3 },
		"sasrec.dropout":     func(c *Config) { c.SASRec.Dropout = 1 },
		"blend.knn":          func(c *Config) { c.Blend.KNN = -1 },
		"slates.k":           func(c *Config) { c.Slates.K = 51 },
		"slates.grade":       func(c *Config) { c.Slates.Grade = 3 },
		"slates.folds":       func(c *Config) { c.Slates.Folds = 1 },
		"slates.min_history": func(c *Config) { c.Slates.MinHistory = 0 },
	} {
		c := DefaultConfig()
		spoil(&c)
		if err := c.Validate(); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: got %v", field, err)
		}
	}
}
