package fit

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/rng"
	"pgregory.net/rapid"
)

// small is a quantizer of few codes and latent vectors that collide a lot.
type small struct {
	q      *Quantizer
	latent embed.Matrix
	ids    []string
}

func drawSmall(t *rapid.T) small {
	const dim = 3
	levels, width := rapid.IntRange(1, 3).Draw(t, "levels"), rapid.IntRange(2, 4).Draw(t, "width")
	n := rapid.IntRange(1, int(math.Pow(float64(width), float64(levels)))).Draw(t, "items")
	s := small{latent: embed.NewMatrix(n, dim), ids: make([]string, n)}
	for i := range n {
		s.ids[i] = fmt.Sprint("id", i)
		for j := range dim {
			s.latent.Row(i)[j] = float32(rapid.IntRange(-1, 1).Draw(t, "x"))
		}
	}
	q, err := RQKMeans(s.latent, Options{Levels: levels, Width: width, Seed: rapid.Uint64().Draw(t, "fit seed")})
	if err != nil {
		t.Fatal(err)
	}
	s.q = q
	return s
}

func (s small) options(t *rapid.T, rule Rule) AssignOptions {
	opt := AssignOptions{Rule: rule, Seed: rapid.Uint64().Draw(t, "seed")}
	if rule.draws() {
		opt.RandomLevels = rapid.IntRange(1, len(s.q.Books.Levels)).Draw(t, "random levels")
	}
	return opt
}

func assign(t rapid.TB, s small, opt AssignOptions) []uint8 {
	t.Helper()
	codes, err := Assign(s.q, s.latent, s.ids, opt)
	if err != nil {
		t.Fatal(err)
	}
	return codes
}

func (s small) rows(rows []int) small {
	out := small{q: s.q, latent: embed.NewMatrix(len(rows), s.latent.Cols)}
	for to, from := range rows {
		copy(out.latent.Row(to), s.latent.Row(from))
		out.ids = append(out.ids, s.ids[from])
	}
	return out
}

func codeOf(codes []uint8, levels, i int) string { return string(codes[i*levels : (i+1)*levels]) }

// eachRule runs a property for each rule.
func eachRule(t *testing.T, rules []Rule, property func(t *rapid.T, rule Rule)) {
	for _, rule := range rules {
		t.Run(string(rule), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { property(t, rule) })
		})
	}
}

// Which of several equal items gets which code depends on ids, not on the order
// of rows.
func TestRulesFollowIDsNotRows(t *testing.T) {
	eachRule(t, Rules, func(t *rapid.T, rule Rule) {
		s := drawSmall(t)
		opt, levels := s.options(t, rule), len(s.q.Books.Levels)
		codes := assign(t, s, opt)
		perm := rapid.Permutation(seq(len(s.ids))).Draw(t, "order")
		again := assign(t, s.rows(perm), opt)
		for to, from := range perm {
			if codeOf(again, levels, to) != codeOf(codes, levels, from) {
				t.Fatalf("item %s has code %v, as row %d %v", s.ids[from], codeOf(codes, levels, from), to, codeOf(again, levels, to))
			}
		}
	})
}

// The rules of unique codes fill a space of codes to the last one.
func TestUniqueRulesAreUnique(t *testing.T) {
	eachRule(t, []Rule{Free, Sinkhorn, RandomFree}, func(t *rapid.T, rule Rule) {
		s := drawSmall(t)
		codes := assign(t, s, s.options(t, rule))
		seen := map[string]int{}
		for i := range s.ids {
			code := codeOf(codes, len(s.q.Books.Levels), i)
			if other, ok := seen[code]; ok {
				t.Fatalf("items %d and %d of %d have code %v", other, i, len(s.ids), []uint8(code))
			}
			seen[code] = i
		}
	})
}

// A catalog that grows assigns its new items around the codes it has, whatever
// rule gave them.
func TestNewItemsTakeNoTakenCode(t *testing.T) {
	eachRule(t, []Rule{Free, Sinkhorn, RandomFree}, func(t *rapid.T, rule Rule) {
		s := drawSmall(t)
		levels := len(s.q.Books.Levels)
		old := rapid.IntRange(0, len(s.ids)).Draw(t, "old items")
		first, second := s.rows(seq(len(s.ids))[:old]), s.rows(seq(len(s.ids))[old:])
		opt := s.options(t, rule)
		opt.Taken = assign(t, first, AssignOptions{Rule: rapid.SampledFrom(Rules).Draw(t, "old rule"), Seed: opt.Seed})
		before := slices.Clone(opt.Taken)
		codes := assign(t, second, opt)
		if !slices.Equal(before, opt.Taken) {
			t.Fatal("the taken codes were changed")
		}
		seen := map[string]bool{}
		for i := range first.ids {
			seen[codeOf(opt.Taken, levels, i)] = true
		}
		for i, id := range second.ids {
			code := codeOf(codes, levels, i)
			if seen[code] {
				t.Fatalf("%s got code %v, which another item has", id, []uint8(code))
			}
			seen[code] = true
		}
	})
}

// nearestReference is the nearest code of a row, by the definition.
func nearestReference(q *Quantizer, row []float32) []uint8 {
	r := make([]float64, len(row))
	for j, v := range row {
		r[j] = float64(v)
	}
	var code []uint8
	for _, book := range q.Books.Levels {
		best, at := math.Inf(1), 0
		for c := range book.Rows {
			d := 0.0
			for j, v := range book.Row(c) {
				d += (r[j] - float64(v)) * (r[j] - float64(v))
			}
			if d < best {
				best, at = d, c
			}
		}
		for j, v := range book.Row(at) {
			r[j] -= float64(v)
		}
		code = append(code, uint8(at))
	}
	return code
}

// cloud is n random vectors and a quantizer of them.
func cloud(t rapid.TB, n, dim int, opt Options) small {
	t.Helper()
	r := rng.New(opt.Seed, 99)
	s := small{latent: embed.NewMatrix(n, dim), ids: make([]string, n)}
	for i := range s.latent.Data {
		s.latent.Data[i] = float32(r.NormFloat64())
	}
	for i := range s.ids {
		s.ids[i] = fmt.Sprint("id", i)
	}
	q, err := RQKMeans(s.latent, opt)
	if err != nil {
		t.Fatal(err)
	}
	s.q = q
	return s
}

func TestNearestIsNearest(t *testing.T) {
	s := cloud(t, 700, 24, Options{Levels: 3, Width: 32, Seed: 4})
	codes := assign(t, s, AssignOptions{Rule: Nearest})
	for i := range s.ids {
		if want := nearestReference(s.q, s.latent.Row(i)); !slices.Equal(codes[i*3:i*3+3], want) {
			t.Fatalf("row %d has code %v, want %v", i, codes[i*3:i*3+3], want)
		}
	}
}

// A row's code must not hang on how many rows there are, or on its place: a cold
// item is coded alone.
func TestACodeDoesNotDependOnTheBatch(t *testing.T) {
	s := cloud(t, 1000, 300, Options{Levels: 4, Width: 64, Iterations: 3, Seed: 4}) // more than one block of depth
	s.q.Encoder = []Layer{randomLayer(48, 300, 1), randomLayer(300, 48, 2)}
	latent := s.q.Latent(s.latent)
	codes := assign(t, small{s.q, latent, s.ids}, AssignOptions{Rule: Nearest})
	for _, i := range []int{0, 1, 255, 256, 700, 999} {
		alone := s.rows([]int{i})
		l := s.q.Latent(alone.latent)
		if !slices.Equal(l.Data, latent.Row(i)) {
			t.Fatalf("row %d: latent vector depends on the batch", i)
		}
		alone.latent = l
		if got := assign(t, alone, AssignOptions{Rule: Nearest}); !slices.Equal(got, codes[i*4:i*4+4]) {
			t.Errorf("row %d has code %v in the batch, %v alone", i, codes[i*4:i*4+4], got)
		}
	}
}

func randomLayer(out, in int, seed uint64) Layer {
	r := rng.New(seed)
	l := Layer{embed.NewMatrix(out, in), make([]float32, out)}
	for i := range l.Weight.Data {
		l.Weight.Data[i] = float32(r.NormFloat64() / math.Sqrt(float64(in)))
	}
	for i := range l.Bias {
		l.Bias[i] = float32(r.NormFloat64())
	}
	return l
}

func TestLatentIsTheEncoder(t *testing.T) {
	x := embed.Matrix{Rows: 2, Cols: 2, Data: []float32{1, 2, 3, -1}}
	q := &Quantizer{
		Encoder: []Layer{
			{embed.Matrix{Rows: 3, Cols: 2, Data: []float32{1, 0, 0, 1, 1, 1}}, []float32{0, 0, -2.5}},
			{embed.Matrix{Rows: 1, Cols: 3, Data: []float32{1, 10, 100}}, []float32{-50}},
		},
		Books: Codebooks{Width: 2, Levels: []embed.Matrix{embed.NewMatrix(1, 1)}},
	}
	// (1, 2, .5) and (3, -1 -> 0, -.5 -> 0); the last layer is not rectified.
	if got, want := q.Latent(x).Data, []float32{1 + 20 + 50 - 50, 3 - 50}; !slices.Equal(got, want) {
		t.Errorf("latent %v, want %v", got, want)
	}
	if q.InputDim() != 2 || q.LatentDim() != 1 {
		t.Errorf("%d -> %d", q.InputDim(), q.LatentDim())
	}
}

// freeReference is rule Free as the package comment tells it.
func freeReference(s small, opt AssignOptions) []uint8 {
	levels, width := len(s.q.Books.Levels), s.q.Books.Width
	codes := make([]uint8, len(s.ids)*levels)
	below := map[string]int{}
	for _, row := range hashOrder(s.ids, opt.Seed) {
		code := codes[int(row)*levels : (int(row)+1)*levels]
		for l := range levels {
			residual := make([]float32, s.latent.Cols)
			s.q.Books.residual(s.latent.Row(int(row)), code[:l], residual)
			best := math.Inf(1)
			var at []uint8
			for c := range width {
				d := 1e9 + float64(c) // of a code without a centroid
				if book := s.q.Books.Levels[l]; c < book.Rows {
					d = 0
					for j, v := range book.Row(c) {
						d += float64((residual[j] - v) * (residual[j] - v))
					}
				}
				prefix := append(slices.Clone(code[:l]), uint8(c))
				if d < best && below[string(prefix)] < int(math.Pow(float64(width), float64(levels-l-1))) {
					best, at = d, prefix
				}
			}
			copy(code, at)
			below[string(at)]++
		}
	}
	return codes
}

func TestFreeIsItsDefinition(t *testing.T) {
	s := cloud(t, 500, 8, Options{Levels: 3, Width: 8, Seed: 5}) // 512 places
	opt := AssignOptions{Seed: 6}
	if got := assign(t, s, opt); !slices.Equal(got, freeReference(s, opt)) {
		t.Error("codes differ from the definition of the rule")
	}
}

// Items that have their nearest code for themselves keep it under sinkhorn,
// where no prefix overflows; all others keep the prefix.
func TestSinkhornMovesCollidingItemsOnly(t *testing.T) {
	s := cloud(t, 300, 6, Options{Levels: 2, Width: 32, Seed: 8})
	near, codes := assign(t, s, AssignOptions{Rule: Nearest}), assign(t, s, AssignOptions{Rule: Sinkhorn})
	prefix, users := map[uint8]int{}, map[string]int{}
	for i := range s.ids {
		prefix[near[2*i]]++
		users[codeOf(near, 2, i)]++
	}
	moved := 0
	for i := range s.ids {
		if prefix[near[2*i]] > 32 {
			t.Fatal("the test wants no overflow")
		}
		if codes[2*i] != near[2*i] {
			t.Errorf("item %d went from prefix %d to %d", i, near[2*i], codes[2*i])
		}
		if codes[2*i+1] != near[2*i+1] {
			moved++
			if users[codeOf(near, 2, i)] == 1 {
				t.Errorf("item %d had its code for itself and moved", i)
			}
		}
	}
	if moved == 0 {
		t.Error("nothing collided")
	}
}

// The transport is close to the best one, which trying all of them finds, and
// better than first come, first served.
func TestTransportIsNearlyOptimal(t *testing.T) {
	const rows, columns, trials = 5, 7, 200
	ours, best, greedy := 0.0, 0.0, 0.0
	for trial := range uint64(trials) {
		r := rng.New(3, trial)
		costs := make([]float64, rows*columns)
		for i := range costs {
			costs[i] = r.ExpFloat64()
		}
		taken := map[int]bool{}
		for row, c := range transport(costs, rows, columns) {
			if c < 0 || taken[c] {
				t.Fatalf("column %d of row %d is not its own", c, row)
			}
			taken[c] = true
			ours += costs[row*columns+c]
		}
		best += cheapest(costs, columns, 0, 0)
		free := make([]bool, columns)
		for row := range rows {
			at := -1
			for c := range columns {
				if !free[c] && (at < 0 || costs[row*columns+c] < costs[row*columns+at]) {
					at = c
				}
			}
			free[at] = true
			greedy += costs[row*columns+at]
		}
	}
	t.Logf("mean cost: best %.4f, transport %.4f, greedy %.4f", best/trials, ours/trials, greedy/trials)
	if ours > 1.05*best || ours > greedy {
		t.Errorf("transport costs %.3f, the best %.3f, first come first served %.3f", ours, best, greedy)
	}
}

// cheapest tries every way to give the rows from row on columns of their own.
func cheapest(costs []float64, columns, row, used int) float64 {
	if row*columns == len(costs) {
		return 0
	}
	best := math.Inf(1)
	for c := range columns {
		if used&(1<<c) == 0 {
			best = min(best, costs[row*columns+c]+cheapest(costs, columns, row+1, used|1<<c))
		}
	}
	return best
}

// Random draws the last levels uniformly from all codes and leaves the others
// as they are.
func TestRandomDrawsTheLastLevels(t *testing.T) {
	s := cloud(t, 4000, 4, Options{Levels: 3, Width: 16, Seed: 2})
	near := assign(t, s, AssignOptions{Rule: Nearest})
	for _, drawn := range []int{1, 2} {
		codes := assign(t, s, AssignOptions{Rule: Random, RandomLevels: drawn, Seed: 1})
		other := assign(t, s, AssignOptions{Rule: Random, RandomLevels: drawn, Seed: 2})
		for l := range 3 {
			var counts [16]float64
			kept, same := 0, 0
			for i := range s.ids {
				counts[codes[i*3+l]]++
				if codes[i*3+l] == near[i*3+l] {
					kept++
				}
				if codes[i*3+l] == other[i*3+l] {
					same++
				}
			}
			if l < 3-drawn {
				if kept != len(s.ids) || same != len(s.ids) {
					t.Errorf("%d levels drawn: level %d changed", drawn, l)
				}
				continue
			}
			chi := 0.0
			for _, n := range counts {
				chi += (n - 250) * (n - 250) / 250
			}
			if chi > 45 { // 15 degrees of freedom: p < 1e-4
				t.Errorf("%d levels drawn: level %d is not uniform, chi-square %.0f", drawn, l, chi)
			}
			if same > 400 || kept > 400 { // 1 in 16 of 4000 is 250
				t.Errorf("%d levels drawn: level %d agrees in %d items across seeds, in %d with the nearest", drawn, l, same, kept)
			}
		}
	}
}

// With RandomFree, two drawn levels spread the items of a prefix over codes that
// nobody uses while there are any.
func TestRandomFreePrefersUnusedCodes(t *testing.T) {
	s := cloud(t, 60, 4, Options{Levels: 3, Width: 16, Seed: 2})
	codes := assign(t, s, AssignOptions{Rule: RandomFree, RandomLevels: 2, Seed: 1})
	under, prefixes := map[uint8]int{}, map[string]bool{}
	for i := range s.ids {
		under[codes[3*i]]++
		prefixes[string(codes[3*i:3*i+2])] = true
	}
	want := 0
	for _, n := range under {
		want += min(n, 16)
	}
	if len(prefixes) != want {
		t.Errorf("%d second prefixes, want %d", len(prefixes), want)
	}
}

func TestAssignRefuses(t *testing.T) {
	s := cloud(t, 16, 4, Options{Levels: 2, Width: 4, Seed: 2})
	for name, c := range map[string]struct {
		kind   fault.Kind
		opt    AssignOptions
		latent embed.Matrix
	}{
		"unknown rule":              {fault.Usage, AssignOptions{Rule: "best"}, s.latent},
		"too many random levels":    {fault.Usage, AssignOptions{Rule: Random, RandomLevels: 3}, s.latent},
		"negative random levels":    {fault.Usage, AssignOptions{Rule: Random, RandomLevels: -1}, s.latent},
		"random levels of free":     {fault.Usage, AssignOptions{RandomLevels: 1}, s.latent},
		"one item too many":         {fault.Usage, AssignOptions{Taken: []uint8{0, 0}}, s.latent},
		"one too many for sinkhorn": {fault.Usage, AssignOptions{Rule: Sinkhorn, Taken: []uint8{0, 0}}, s.latent},
		"half a taken code":         {fault.Input, AssignOptions{Taken: []uint8{0}}, s.latent},
		"taken code too large":      {fault.Input, AssignOptions{Taken: []uint8{0, 4}}, s.latent},
		"fewer rows than ids":       {fault.Input, AssignOptions{}, embed.NewMatrix(15, 4)},
		"latent vectors too long":   {fault.Input, AssignOptions{}, embed.NewMatrix(16, 5)},
	} {
		if _, err := Assign(s.q, c.latent, s.ids, c.opt); fault.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	if codes, err := Assign(s.q, embed.Matrix{}, nil, AssignOptions{}); err != nil || len(codes) != 0 {
		t.Errorf("no items: %v, %v", codes, err)
	}
}

func TestAssignWhateverThreads(t *testing.T) {
	s := cloud(t, 3000, 8, Options{Levels: 3, Width: 16, Seed: 3})
	defer kernel.SetThreads(kernel.Threads())
	for _, rule := range Rules {
		kernel.SetThreads(1)
		one := assign(t, s, AssignOptions{Rule: rule, Seed: 1})
		kernel.SetThreads(4)
		if !slices.Equal(one, assign(t, s, AssignOptions{Rule: rule, Seed: 1})) {
			t.Errorf("%s: codes depend on the number of threads", rule)
		}
	}
}

func seq(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}
