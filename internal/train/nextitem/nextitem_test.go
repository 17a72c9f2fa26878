package nextitem

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/baseline"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/sid"
	"pgregory.net/rapid"
)

func indexOf(t testing.TB, levels, width int, codes []uint8) *sid.Index {
	t.Helper()
	x, err := sid.New(names(len(codes)/levels), levels, width, codes)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// names is n item ids.
func names(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprint(i)
	}
	return ids
}

// grid is n items with the digits of their number, most significant first, as
// codes.
func grid(t testing.TB, n, levels, width int) *sid.Index {
	codes := make([]uint8, 0, n*levels)
	for i := range n {
		code := make([]uint8, levels)
		for l, rest := levels-1, i; l >= 0; l, rest = l-1, rest/width {
			code[l] = uint8(rest % width)
		}
		codes = append(codes, code...)
	}
	return indexOf(t, levels, width, codes)
}

// tiny is a model that trains within a second.
func tiny() Options {
	o := Default()
	o.Hidden, o.Layers, o.Heads, o.KVHeads, o.Intermediate = 32, 2, 2, 1, 48
	o.History, o.Epochs, o.BatchTokens, o.LR, o.Dropout = 6, 6, 512, 5e-3, .05
	o.Beam, o.ValidBeam, o.ValidTargets, o.Seed = 20, 10, 50, 3
	return o
}

func drawIndex(t *rapid.T) *sid.Index {
	levels := rapid.IntRange(1, 4).Draw(t, "levels")
	width := rapid.SampledFrom([]int{2, 3, 8}).Draw(t, "width")
	n := rapid.IntRange(1, 60).Draw(t, "items")
	code := rapid.Custom(func(t *rapid.T) uint8 { return uint8(rapid.IntRange(0, width-1).Draw(t, "code")) })
	x, err := sid.New(names(n), levels, width, rapid.SliceOfN(code, n*levels, n*levels).Draw(t, "codes"))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// The trie has the children that the index says, every item's path ends at a
// node that holds it with those of its code, and Skip knows what is all seen.
func TestTrieIsTheIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		index := drawIndex(t)
		trie := newTrie(index)
		var history []market.Visit
		for _, item := range rapid.SliceOf(rapid.Int32Range(0, int32(index.Len()-1))).Draw(t, "history") {
			history = append(history, market.Visit{Item: item})
		}
		skip := trie.without(history)
		var walk func(number int32, prefix []uint8)
		walk = func(number int32, prefix []uint8) {
			var want []int32
			for _, c := range index.Children(prefix) {
				want = append(want, trie.token(len(prefix), c))
			}
			tokens, nodes := trie.Children(number)
			if !slices.Equal(tokens, want) {
				t.Fatalf("children of %v are %v, want %v", prefix, tokens, want)
			}
			allSeen := true
			for item := range int32(index.Len()) {
				if slices.Equal(index.Code(item)[:len(prefix)], prefix) && !visited(history, item) {
					allSeen = false
				}
			}
			if skip(number) != allSeen {
				t.Fatalf("prefix %v is skipped: %v, want %v", prefix, skip(number), allSeen)
			}
			for i, n := range nodes {
				walk(n, append(slices.Clone(prefix), index.Children(prefix)[i]))
			}
		}
		walk(0, nil)
		for item := range int32(index.Len()) {
			tokens, among := trie.path(item, nil, nil)
			for l, c := range index.Code(item) {
				if tokens[l] != trie.token(l, c) || !slices.Contains(among[l], tokens[l]) {
					t.Fatalf("path of %v is %v among %v", index.Code(item), tokens, among)
				}
			}
		}
	})
}

func TestDocuments(t *testing.T) {
	v := newVocabulary(newTrie(grid(t, 4, 2, 4)), true)
	visits := []market.Visit{{Item: 1, Time: 0}, {Item: 3, Time: day - 1}, {Item: 2, Time: 40 * day}}
	gap := func(class int32) int32 { return v.begin + 1 + class }
	want := []int32{v.begin, 0, 5, gap(0), 0, 7, gap(3)}
	if got := v.prompt(visits[:2], visits[2].Time); !slices.Equal(got, want) {
		t.Errorf("prompt %v, want %v", got, want)
	}
	var train []market.Event
	for _, x := range visits {
		train = append(train, market.Event{Item: x.Item, Time: x.Time})
	}
	s := newSource(v, train, 5, 1)
	e, err := s.Example(0, 0)
	if err != nil || s.Len() != 1 {
		t.Fatal(err, s.Len())
	}
	if got := append(want, 0, 6); !slices.Equal(e.Tokens, got) {
		t.Errorf("document %v, want %v", e.Tokens, got)
	}
	// The first level has one code only, and the first item no history.
	if want := []float32{0, 0, 0, 0, 0, 1, 0, 0, 1}; !slices.Equal(e.Weights, want) {
		t.Errorf("weights %v, want %v", e.Weights, want)
	}
}

// Every visit but a user's first is a target once, behind at most as many as are
// read.
func TestWindowsCoverEveryTarget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		history := rapid.IntRange(1, 5).Draw(t, "history")
		lengths := rapid.SliceOfN(rapid.IntRange(1, 20), 1, 5).Draw(t, "lengths")
		var train []market.Event
		want := 0
		for user, n := range lengths {
			want += n - 1
			for i := range n {
				train = append(train, market.Event{User: int32(user), Item: int32(len(train)), Time: int64(i)})
			}
		}
		seen := map[int32]bool{}
		for _, w := range newSource(vocabulary{}, train, history, 1).windows {
			if len(w) > history+1 {
				t.Fatalf("a window of %d visits, %d are read", len(w), history)
			}
			for i, v := range w[1:] {
				if v.Item != w[i].Item+1 || seen[v.Item] {
					t.Fatalf("visit %d is a target twice, or not the next one", v.Item)
				}
				seen[v.Item] = true
			}
		}
		if len(seen) != want {
			t.Fatalf("%d targets, want %d", len(seen), want)
		}
	})
}

// cycle is a market in which item i is followed by i+step: learnable to the end.
func cycle(users, items int) *market.Split {
	split := &market.Split{Protocol: market.ProtocolLeaveOneOut}
	for u := range int32(users) {
		at := int32(rng.Hash(1, uint64(u)) % uint64(items))
		var visits []market.Visit
		for i := range int64(8) {
			visits = append(visits, market.Visit{Item: at, Time: i * day})
			at = (at + 7) % int32(items)
		}
		for _, v := range visits[:6] {
			split.Train = append(split.Train, market.Event{User: u, Item: v.Item, Time: v.Time})
		}
		target := func(i int) market.Target {
			return market.Target{User: u, Time: visits[i].Time, Items: []int32{visits[i].Item}, History: visits[:i]}
		}
		split.Valid, split.Test = append(split.Valid, target(6)), append(split.Test, target(7))
	}
	return split
}

func fitted(t testing.TB, o Options, split *market.Split, index *sid.Index) *Recommender {
	t.Helper()
	r, _, err := Fit(context.Background(), t.TempDir(), index, split, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestLearnsACycle(t *testing.T) {
	split, index := cycle(200, 60), grid(t, 60, 3, 4)
	o := tiny()
	o.Epochs, o.BatchTokens, o.History = 40, 256, 5
	split.Valid = nil // its R@10 is 1 long before R@1
	r := fitted(t, o, split, index)
	each, err := r.Evaluate(t.Context(), split.Test, false)
	if err != nil {
		t.Fatal(err)
	}
	if m := baseline.Mean(each); m.R1 < .9 || m.Targets != 200 {
		t.Errorf("%+v, want R@1 of nearly 1", m)
	}
	out, err := r.Recommend(t.Context(), []baseline.Query{{History: split.Test[0].History, Now: split.Test[0].Time}}, 5)
	if err != nil || len(out[0]) != 5 || out[0][0].Item != split.Test[0].Items[0] {
		t.Errorf("recommended %v, %v; want %d first", out, err, split.Test[0].Items[0])
	}
}

// The same seed gives the same weights on any number of threads.
func TestSeedAloneDecides(t *testing.T) {
	split, index := cycle(60, 60), grid(t, 60, 3, 4)
	run := func(threads int, seed uint64) []float32 {
		defer kernel.SetThreads(kernel.Threads())
		kernel.SetThreads(threads)
		o := tiny()
		o.Epochs, o.Seed = 2, seed
		return fitted(t, o, split, index).Model().Embed.Data
	}
	one := run(1, 1)
	if !slices.Equal(one, run(2, 1)) {
		t.Error("weights depend on the number of threads")
	}
	if slices.Equal(one, run(1, 2)) {
		t.Error("weights do not depend on the seed")
	}
}

// A beam as wide as the catalog scores all of it, and its probabilities are
// those that training maximises.
func TestFullBeamIsTheTrainedDistribution(t *testing.T) {
	split, index := cycle(60, 60), grid(t, 60, 3, 4)
	o := tiny()
	o.Epochs, o.Beam = 2, 60
	r := fitted(t, o, split, index)
	target := split.Test[0]
	mass := 0.0
	err := r.search(t.Context(), []baseline.Query{{History: target.History, Now: target.Time}}, 60, true, func(_ int, found []group) {
		if len(found) != 60 {
			t.Errorf("%d of 60 items found", len(found))
		}
		for _, g := range found {
			mass += math.Exp(float64(g.logProb))
		}
	})
	if err != nil || math.Abs(mass-1) > 1e-4 {
		t.Errorf("the items have a probability of %g, %v", mass, err)
	}
}

// Seen items do not come up, whatever the beam, and take no place of others.
func TestSeenItemsAreLeftOut(t *testing.T) {
	split, index := cycle(60, 60), grid(t, 60, 3, 4)
	o := tiny()
	o.Epochs, o.Beam = 2, 60
	r := fitted(t, o, split, index)
	for _, target := range split.Test[:10] {
		out, err := r.Recommend(t.Context(), []baseline.Query{{History: target.History, Now: target.Time}}, 60)
		if err != nil {
			t.Fatal(err)
		}
		if len(out[0]) != 60-len(target.History) {
			t.Errorf("%d items recommended of %d that are new", len(out[0]), 60-len(target.History))
		}
		for _, x := range out[0] {
			if visited(target.History, x.Item) {
				t.Errorf("item %d was seen", x.Item)
			}
		}
	}
}

// Items of one code, and codes of one score, stand at their expected rank.
func TestRanksOfEqualScores(t *testing.T) {
	found := []group{{[]int32{4}, -1}, {[]int32{7, 2, 9}, -2}, {[]int32{1}, -3}, {[]int32{5, 3}, -3}}
	for item, want := range map[int32]float64{4: 1, 7: 3, 2: 3, 9: 3, 1: 6, 5: 6, 3: 6, 8: math.Inf(1)} {
		if got := ranks(found, []int32{item})[0]; got != want {
			t.Errorf("item %d has rank %g, want %g", item, got, want)
		}
	}
}

// Two items of one code are both recommended, by number.
func TestSharedCodes(t *testing.T) {
	codes := []uint8{0, 0, 1, 1, 0, 1, 0, 0} // items 0 and 3 are alike
	r, err := New(indexOf(t, 2, 2, codes), tiny())
	if err != nil {
		t.Fatal(err)
	}
	out, err := r.Recommend(t.Context(), []baseline.Query{{}}, 4)
	if err != nil || len(out[0]) != 4 {
		t.Fatal(out, err)
	}
	at := slices.IndexFunc(out[0], func(x Recommendation) bool { return x.Item == 0 })
	if at < 0 || at+1 >= 4 || out[0][at+1].Item != 3 || out[0][at].LogProb != out[0][at+1].LogProb {
		t.Errorf("items 0 and 3 share a code: %v", out[0])
	}
	out, err = r.Recommend(t.Context(), []baseline.Query{{History: []market.Visit{{Item: 0}}}}, 4)
	if err != nil || len(out[0]) != 3 {
		t.Errorf("behind item 0: %v, %v", out, err)
	}
}

func TestDrawTargets(t *testing.T) {
	split := cycle(100, 60)
	drawn := drawTargets(split.Valid, 30, 1)
	if len(drawn) != 30 || !slices.IsSortedFunc(drawn, func(a, b market.Target) int { return int(a.User - b.User) }) {
		t.Errorf("%d drawn", len(drawn))
	}
	if other := drawTargets(split.Valid, 30, 2); fmt.Sprint(other) == fmt.Sprint(drawn) {
		t.Error("the seed changes nothing")
	}
	if all := drawTargets(split.Valid, 0, 1); len(all) != 100 {
		t.Errorf("%d of all drawn", len(all))
	}
}

func TestRefuses(t *testing.T) {
	index := grid(t, 8, 3, 2)
	for name, change := range map[string]func(*Options){
		"hidden": func(o *Options) { o.Hidden = 33 }, "layers": func(o *Options) { o.Layers = 0 },
		"kv_heads": func(o *Options) { o.KVHeads = 3 }, "history": func(o *Options) { o.History = 0 },
		"lr": func(o *Options) { o.LR = 0 }, "dropout": func(o *Options) { o.Dropout = 1 }, "beam": func(o *Options) { o.Beam = 0 },
	} {
		o := tiny()
		change(&o)
		if _, err := New(index, o); fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := Fit(t.Context(), t.TempDir(), index, &market.Split{}, tiny(), nil); fault.KindOf(err) != fault.Input {
		t.Errorf("no events: %v", err)
	}
}
