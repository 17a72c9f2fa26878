package baseline

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
)

func drawLog(t *rapid.T, items int) *trainLog {
	log := &trainLog{items: items}
	for u := range rapid.IntRange(1, 6).Draw(t, "users") {
		log.users = append(log.users, int32(u))
		var seq []market.Visit
		for i := range rapid.IntRange(1, 9).Draw(t, "events") {
			seq = append(seq, market.Visit{Item: int32(rapid.IntRange(0, items-1).Draw(t, "item")), Time: int64(i / 2)})
		}
		log.seqs = append(log.seqs, seq)
	}
	return log
}

// The formula of KNNConfig, read aloud: the oracle of the sparse code.
func knnOracle(log *trainLog, cfg KNNConfig, history []market.Visit) []float64 {
	counts := log.counts()
	scores := make([]float64, log.items)
	history = slices.DeleteFunc(slices.Clone(history), func(v market.Visit) bool { return counts[v.Item] == 0 })
	for a := range history {
		h := history[len(history)-1-a].Item
		for _, seq := range log.seqs {
			for i := range seq {
				for j := range seq {
					apart := i - j
					if apart < 0 {
						apart = -apart
					}
					if seq[i].Item != h || seq[j].Item == h || apart == 0 || apart > cfg.Window {
						continue
					}
					w := math.Pow(cfg.Gap, float64(apart-1)) * math.Pow(float64(len(seq)), -cfg.Damp)
					if seq[i].Time == seq[j].Time {
						w *= cfg.SameTime
					}
					pop := func(item int32, power float64) float64 { return math.Pow(float64(counts[item]), -power) }
					scores[seq[j].Item] += math.Pow(cfg.Decay, float64(a)) * w * pop(h, cfg.QueryPower) * pop(seq[j].Item, cfg.PopPower)
				}
			}
		}
	}
	total, popTotal := 0.0, float64(log.items)
	for i, s := range scores {
		total += s
		popTotal += float64(counts[i])
	}
	for i := range scores {
		pop := (float64(counts[i]) + 1) / popTotal
		if total == 0 {
			scores[i] = math.Log(pop)
			continue
		}
		scores[i] = math.Log((1-cfg.Backoff)*scores[i]/total + cfg.Backoff*pop)
	}
	return scores
}

func TestKNNEqualsItsFormula(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := drawLog(t, 7)
		cfg := KNNConfig{Window: rapid.IntRange(1, 5).Draw(t, "window"), Gap: .7, Damp: .3,
			SameTime: rapid.SampledFrom([]float64{0, 1, 1.5}).Draw(t, "same"), PopPower: .35, QueryPower: .4, Decay: .8, Backoff: .1}
		history := visits(1, 4, 1, 6)
		got := make([]float32, log.items)
		newItemKNN(cfg, countPairs(log, cfg), log.counts()).Scores(history, 0, got)
		for i, want := range knnOracle(log, cfg, history) {
			if math.Abs(float64(got[i])-want) > 1e-4 {
				t.Fatalf("item %d: score %v, want %v", i, got[i], want)
			}
		}
	})
}

func TestSolveSPD(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "n")
		r := rng.New(rapid.Uint64().Draw(t, "seed"))
		a := make([]float64, n*n)
		for k := 0; k < n+2; k++ { // a sum of outer products plus a ridge
			v := make([]float64, n)
			for i := range v {
				v[i] = r.NormFloat64()
			}
			for i := range n * n {
				a[i] += v[i/n] * v[i%n]
			}
		}
		b := make([]float64, n)
		for i := range n {
			a[i*n+i] += .1
			b[i] = r.NormFloat64()
		}
		x := slices.Clone(b)
		solveSPD(slices.Clone(a), n, x)
		for i := range n {
			res := -b[i]
			for j := range n {
				res += a[i*n+j] * x[j]
			}
			if math.Abs(res) > 1e-7 {
				t.Fatalf("row %d: residual %v", i, res)
			}
		}
	})
}

func gaussian(n int, seed uint64) []float32 {
	r := rng.New(seed)
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

// The two ways to solve a row are the same equation, and its solution has no
// gradient in the loss that IALSConfig states.
func TestIALSRowIsTheMinimum(t *testing.T) {
	const dim, items = 6, 20
	y := gaussian(items*dim, 5)
	gram := rotate(y, dim)
	cfg := IALSConfig{Dim: dim, Unobserved: .3, Reg: .05, RegPower: .7}
	s := rowSolver{cfg, gram, items}
	rows, weights := []int32{3, 7, 11, 3}, []float64{1, .8, .64, .5}
	reg := cfg.Reg * math.Pow(4+cfg.Unobserved*items, cfg.RegPower)
	inverse := make([]float32, dim)
	for d, g := range gram {
		inverse[d] = float32(1 / (cfg.Unobserved*g + reg))
	}
	dual, primal := make([]float32, dim), make([]float32, dim)
	s.solveDual(dual, y, rows, weights, inverse)
	s.solvePrimal(primal, y, rows, weights, inverse)
	chosen := make([]float32, dim)
	s.solve(chosen, y, rows, weights)
	dot := func(i int32) (sum float64) {
		for d := range dim {
			sum += float64(dual[d] * y[int(i)*dim+d])
		}
		return sum
	}
	for d := range dim {
		if math.Abs(float64(dual[d]-primal[d])) > 1e-4 || chosen[d] != dual[d] {
			t.Errorf("dimension %d: dual %v, primal %v, chosen %v", d, dual[d], primal[d], chosen[d])
		}
		gradient := reg * float64(dual[d])
		for i := range int32(items) {
			gradient += cfg.Unobserved * dot(i) * float64(y[int(i)*dim+d])
		}
		for k, i := range rows {
			gradient -= weights[k] * (1 - dot(i)) * float64(y[int(i)*dim+d])
		}
		if math.Abs(gradient) > 1e-4 {
			t.Errorf("dimension %d: gradient %v at the minimum", d, gradient)
		}
	}
}

func TestRotationKeepsProducts(t *testing.T) {
	const dim, rows = 5, 9
	y := gaussian(rows*dim, 6)
	turned := slices.Clone(y)
	gram := rotate(turned, dim)
	product := func(x []float32, a, b int) (sum float64) {
		for d := range dim {
			sum += float64(x[a*dim+d] * x[b*dim+d])
		}
		return sum
	}
	for a := range rows {
		for b := range rows {
			if math.Abs(product(y, a, b)-product(turned, a, b)) > 1e-4 {
				t.Errorf("product of rows %d and %d changed", a, b)
			}
		}
	}
	for d := range dim {
		for e := range dim {
			sum, want := 0.0, 0.0
			for r := range rows {
				sum += float64(turned[r*dim+d] * turned[r*dim+e])
			}
			if d == e {
				want = gram[d]
			}
			if math.Abs(sum-want) > 1e-4 {
				t.Errorf("Gram[%d,%d] is %v, want %v", d, e, sum, want)
			}
		}
	}
}

// foldIn must lower its own loss, and not be far from where its gradient
// vanishes.
func TestBPRFoldInIsTheMinimum(t *testing.T) {
	const dim, items = 4, 12
	cfg := BPRConfig{Dim: dim, FoldReg: .2, Decay: .7}
	m := newBPR(cfg, gaussian(items*dim, 7), gaussian(items, 8), knownItems(make([]float32, items)), 1)
	history := visits(2, 5, 9)
	weights := decayWeights(3, cfg.Decay)
	loss := func(u []float32) float64 {
		score := func(i int32) float64 {
			s := float64(m.bias[i])
			for d := range dim {
				s += float64(u[d] * m.row(i)[d])
			}
			return s
		}
		sum := 0.0
		for d := range dim {
			sum += cfg.FoldReg / 2 * float64(u[d]*u[d])
		}
		for a, v := range history {
			for _, j := range m.panel {
				sum += float64(weights[a]) * math.Log1p(math.Exp(score(j)-score(v.Item))) / float64(len(m.panel))
			}
		}
		return sum
	}
	u := make([]float32, dim)
	m.foldIn(u, history)
	at := loss(u)
	for d := range dim {
		for _, step := range []float32{-.05, .05} {
			moved := slices.Clone(u)
			moved[d] += step
			if loss(moved) < at {
				t.Errorf("moving dimension %d by %v lowers the loss from %v to %v", d, step, at, loss(moved))
			}
		}
	}
	if zero := loss(make([]float32, dim)); at >= zero {
		t.Errorf("loss %v is not below %v at zero", at, zero)
	}
}

// Personal rankers must find the next item of the ring far above chance.
func TestModelsLearnTheRing(t *testing.T) {
	ds := ring(t, 400, 40, 1)
	split := leaveOneOut(t, ds)
	cfg := smallConfig()
	cfg.Tune, cfg.SASRec.Epochs = true, 20
	s := train(t, ds, split, cfg, Options{})
	for order, floor := range map[string]float64{OrderKNN: .65, OrderIALS: .6, OrderBPR: .5, OrderSASRec: .75, OrderBlend: .8} {
		m := Evaluate(s.full[order], split.Test, 40, false)
		t.Logf("%s: %+v", order, m)
		if m.N10 < floor {
			t.Errorf("%s: N@10 %.3f, want at least %.3f", order, m.N10, floor)
		}
	}
	if pop := Evaluate(s.full[OrderPopularity], split.Test, 40, false); pop.N10 > .2 {
		t.Errorf("popularity reaches N@10 %.3f: the ring leaks", pop.N10)
	}
}

func TestShuffleTiesKeepsTimesAndItems(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []market.Visit
		time := int64(0)
		for i := range rapid.IntRange(0, 12).Draw(t, "n") {
			time += int64(rapid.IntRange(0, 1).Draw(t, "step"))
			list = append(list, market.Visit{Item: int32(i), Time: time})
		}
		got := market.ShuffleTies(list, rng.New(rapid.Uint64().Draw(t, "seed")))
		for i := range list {
			if got[i].Time != list[i].Time || list[got[i].Item].Time != got[i].Time {
				t.Fatalf("%v became %v", list, got)
			}
		}
	})
}

// Every event but a user's first is a target once per epoch, however long the
// sequence.
func TestSASRecWindowsCoverTheLog(t *testing.T) {
	cfg := smallConfig().SASRec
	cfg.MaxLen, cfg.Batch = 4, 7
	for length := range 15 {
		log := &trainLog{items: 20, users: []int32{0}, seqs: [][]market.Visit{visits(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14)[:length]}}
		f := newSASRecFit(log, cfg, 1)
		var got []int32
		order := rng.New(1).Perm(len(f.windows))
		for from := 0; from < len(order); {
			from = f.fill(order, from, rng.New(2))
			got = append(got, f.targets...)
			if longest := slices.Max(f.batch.pos) + 1; longest > 4 {
				t.Errorf("a window of %d visits", longest)
			}
		}
		slices.Sort(got)
		for i := range max(0, length-1) {
			if len(got) != length-1 || got[i] != int32(i+1) {
				t.Fatalf("length %d: targets %v", length, got)
			}
		}
	}
}

func TestSASRecTargets(t *testing.T) {
	window := []market.Visit{{Item: 0, Time: 1}, {Item: 1, Time: 1}, {Item: 2, Time: 2}, {Item: 3, Time: 2}, {Item: 4, Time: 2}}
	for _, baskets := range []bool{false, true} {
		f := &sasrecFit{log: &trainLog{baskets: baskets}}
		seen := map[int32]bool{}
		for draw := range 50 {
			r := rand.New(rand.NewPCG(uint64(draw), 0))
			for i := range 4 {
				next := f.next(window, i, r)
				if !baskets && next != int32(i+1) {
					t.Fatalf("after visit %d comes %d", i, next)
				}
				if baskets && (i >= 2 && next != -1 || i < 2 && window[next].Time != 2) {
					t.Fatalf("baskets: after visit %d comes %d", i, next)
				}
				seen[next] = true
			}
		}
		if baskets && len(seen) != 4 { // 2, 3, 4 and none
			t.Errorf("baskets: targets %v", seen)
		}
	}
}

// An item without training events says nothing, so it must change nothing.
func TestUntrainedItemsAreNotRead(t *testing.T) {
	ds := ring(t, 60, 30, 1)
	split := leaveOneOut(t, ds)
	split.Train = slices.DeleteFunc(split.Train, func(e market.Event) bool { return e.Item == 7 })
	s := train(t, ds, split, smallConfig(), Options{})
	for _, order := range Orders() {
		for _, pair := range [][2][]market.Visit{
			{visits(3, 7, 4, 7, 7), visits(3, 4)},
			{visits(7), nil},
		} {
			a, b := make([]float32, 30), make([]float32, 30)
			s.full[order].Scores(pair[0], 0, a)
			s.full[order].Scores(pair[1], 0, b)
			if !slices.Equal(a, b) {
				t.Errorf("%s: %v is not read as %v", order, pair[0], pair[1])
			}
		}
	}
}

// A history longer than the model reads counts by its end.
func TestSASRecReadsTheLastVisits(t *testing.T) {
	ds := ring(t, 60, 30, 1)
	s := train(t, ds, leaveOneOut(t, ds), smallConfig(), Options{Orders: []string{OrderSASRec}})
	long := visits(9, 9, 9, 1, 2, 3, 4, 5, 6, 7, 8)
	a, b := make([]float32, 30), make([]float32, 30)
	s.full[OrderSASRec].Scores(long, 0, a)
	s.full[OrderSASRec].Scores(long[3:], 0, b)
	if !slices.Equal(a, b) {
		t.Error("visits beyond max_len change the scores")
	}
	s.full[OrderSASRec].Scores(long[4:], 0, b)
	if slices.Equal(a, b) {
		t.Error("visits within max_len do not change the scores")
	}
}
