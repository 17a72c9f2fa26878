package metric

import (
	"math"
	"testing"

	"github.com/gr2/gr2/internal/rng"
	"pgregory.net/rapid"
)

// sample draws paired columns: base in 0..1, policy = base + shift + noise.
func sample(n int, seed uint64, shift float64) (base, policy []float64) {
	random := rng.New(seed)
	for range n {
		b := random.Float64()
		base = append(base, b)
		policy = append(policy, b+shift+.2*random.NormFloat64())
	}
	return base, policy
}

// The interval of a difference of means has the normal width 2*1.96*s/sqrt(n).
func TestWidth(t *testing.T) {
	base, policy := sample(1000, 1, .1)
	v := PairedDifference(base, policy, 4000, 7)
	want := 2 * 1.96 * .2 / math.Sqrt(1000)
	if got := v.High - v.Low; math.Abs(got/want-1) > .08 {
		t.Errorf("width %.5f, by the normal law %.5f", got, want)
	}
	if v.Value < v.Low || v.Value > v.High {
		t.Errorf("%+v does not hold its value", v)
	}
}

// About 95% of the intervals hold the truth, for differences and for lifts.
func TestCoverage(t *testing.T) {
	const runs = 300
	differences, lifts := 0, 0
	for run := range uint64(runs) {
		base, policy := sample(150, 100+run, .1)
		if v := PairedDifference(base, policy, 300, run); v.Low <= .1 && .1 <= v.High {
			differences++
		}
		if v := PairedBootstrap(base, policy, 300, run); v.Low <= .2 && .2 <= v.High { // .1 over a mean of .5
			lifts++
		}
	}
	for name, held := range map[string]int{"differences": differences, "lifts": lifts} {
		if share := float64(held) / runs; share < .90 || share > .985 {
			t.Errorf("%s: %.3f of the intervals hold the truth", name, share)
		}
	}
}

func TestBootstrapInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "n")
		base, policy := sample(n, rapid.Uint64().Draw(t, "data"), .3)
		seed := rapid.Uint64().Draw(t, "seed")
		v := PairedBootstrap(base, policy, 50, seed)
		if v != PairedBootstrap(base, policy, 50, seed) {
			t.Fatal("equal seeds, different intervals")
		}
		if v.Low > v.High {
			t.Fatalf("%+v is upside down", v)
		}
		if same := PairedBootstrap(base, base, 50, seed); same != (Interval{}) {
			t.Fatalf("a policy over itself: %+v", same)
		}
		double := make([]float64, n)
		for i := range double {
			double[i] = 2 * base[i]
		}
		if twice := PairedBootstrap(base, double, 50, seed); twice != (Interval{1, 1, 1}) {
			t.Fatalf("a policy twice as good on every slate: %+v", twice)
		}
	})
}

// Rows that no column lists are zero: the same as writing the zeros out.
func TestUnlistedRowsAreZero(t *testing.T) {
	base, policy := sample(60, 3, .1)
	short := Resample([][]float64{base, policy}, 200, 400, 5)
	pad := make([]float64, 140)
	full := Resample([][]float64{append(base, pad...), append(policy, pad...)}, 200, 400, 5)
	a, b := short.Lift(0, 1, Level), full.Lift(0, 1, Level)
	if math.Abs(a.Low-b.Low) > 1e-12 || math.Abs(a.High-b.High) > 1e-12 || math.Abs(short.Mean(0)-full.Mean(0)) > 1e-12 {
		t.Errorf("short %+v, written out %+v", a, b)
	}
}

func TestZeroBase(t *testing.T) {
	zero, one := make([]float64, 20), []float64{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	for _, v := range []Interval{PairedBootstrap(zero, one, 100, 1), PairedBootstrap(zero, zero, 100, 1), PairedBootstrap(nil, nil, 100, 1)} {
		if v.Finite() {
			t.Errorf("a lift over nothing is %+v", v)
		}
	}
}

func TestDrawsAreUniform(t *testing.T) {
	const n, runs = 7, 4000
	counts, sum := make([]float64, n), make([]float64, n)
	for r := range uint64(runs) {
		drawCounts(counts, n, 1, r)
		total := 0.0
		for i, c := range counts {
			sum[i] += c
			total += c
		}
		if total != n {
			t.Fatalf("%v draws, want %d", total, n)
		}
	}
	for i, s := range sum {
		if math.Abs(s/runs-1) > .06 { // 4 standard errors
			t.Errorf("row %d is drawn %.3f times, want 1", i, s/runs)
		}
	}
}

// BenchmarkTable is the size of a report: 2,000 resamples of 2,000 slates, six
// metrics of a base and a policy.
func BenchmarkTable(b *testing.B) {
	columns := make([][]float64, 12)
	for c := range columns {
		columns[c], _ = sample(2000, uint64(c), 0)
	}
	for b.Loop() {
		sums := Resample(columns, 2000, 2000, 1)
		for c := 0; c < len(columns); c += 2 {
			sums.Lift(c, c+1, Level)
		}
	}
}
