package kerneltest

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/kernel"
	"pgregory.net/rapid"
)

// Int8Case is one multiplication in eight bits. The values follow from Seed.
type Int8Case struct {
	M, N, K    int
	PadA, PadC int // elements between rows
	Add        bool
	Seed       uint64
}

func (g Int8Case) String() string {
	return fmt.Sprintf("GemmInt8(%d, %d, %d) add=%t pads=%d,%d seed=%d", g.M, g.N, g.K, g.Add, g.PadA, g.PadC, g.Seed)
}

// run fills operands, lets edit change them, and multiplies. It returns the
// operands, what C was and what it became.
func (g Int8Case) run(m *memory, edit func(a, w matrix)) (a, w, was, c matrix) {
	m.reset(g.Seed)
	a, w = m.matrix(g.M, g.K, g.PadA, false), m.matrix(g.N, g.K, 0, false)
	c = m.matrix(g.M, g.N, g.PadC, false)
	for i := range c.data {
		if !g.Add || i%c.ld >= g.N {
			c.data[i] = canary
		}
	}
	if edit != nil {
		edit(a, w)
	}
	was = matrix{data: slices.Clone(c.data), ld: c.ld}
	var rows kernel.Int8Rows
	rows.Reset(g.M, g.K)
	for i := g.M - 1; i >= 0; i-- { // what a row writes too much stays
		rows.Set(i, a.data[i*a.ld:i*a.ld+g.K])
	}
	kernel.GemmInt8(&rows, kernel.RoundInt8(g.N, g.K, w.data), g.Add, c.data, c.ld)
	m.check(g.String())
	return a, w, was, c
}

// Check multiplies and compares with the portable variant, to the bit, and with
// the product of the unrounded matrices, as far as rounding lets it.
func (g Int8Case) Check(t testing.TB) { g.check(t, newMemory(t)) }

func (g Int8Case) check(t testing.TB, m *memory) {
	t.Helper()
	name := kernel.Active()
	a, w, was, c := g.run(m, nil)
	for i := range g.M {
		for j := range g.N {
			want, bound := g.exact(a, w, i, j)
			if g.Add {
				old := float64(*was.at(i, j))
				want, bound = want+old, bound+2*epsilon*math.Abs(want+old)
			}
			if got := float64(*c.at(i, j)); !(math.Abs(got-want) <= bound) {
				t.Fatalf("%s on %s: C[%d,%d] = %g, want %g within %g", g, name, i, j, got, want, bound)
			}
		}
	}
	got := bits(c.data)
	on(t, "portable", func() { _, _, _, c = g.run(m, nil) })
	for i, want := range bits(c.data) {
		if got[i] != want {
			t.Fatalf("%s on %s: C[%d,%d] = %g, portable %g", g, name, i/c.ld, i%c.ld, math.Float32frombits(got[i]), c.data[i])
		}
	}
}

// exact is an element of A*W^T in float64, and how far rounding both to eight
// bits may take it: half a step of one times the magnitude of the other.
func (g Int8Case) exact(a, w matrix, i, j int) (want, bound float64) {
	x, y := a.data[i*a.ld:i*a.ld+g.K], w.data[j*w.ld:j*w.ld+g.K]
	var topX, topY, sumX, sumY float64
	for p := range x {
		u, v := float64(x[p]), float64(y[p])
		want += u * v
		topX, topY = max(topX, math.Abs(u)), max(topY, math.Abs(v))
		sumX, sumY = sumX+math.Abs(u), sumY+math.Abs(v)
	}
	stepX, stepY := topX/127, topY/127
	bound = 1.001 * (stepY/2*sumX + stepX/2*sumY + stepX*stepY/4*float64(g.K))
	return want, bound
}

// on runs f with the named variant active.
func on(t testing.TB, variant string, f func()) {
	t.Helper()
	before := kernel.Active()
	for _, name := range []string{variant, before} {
		if err := kernel.Use(name); err != nil {
			t.Fatal(err)
		}
		if name == variant {
			f()
		}
	}
}

func conformInt8(t *testing.T) {
	m := newMemory(t)
	size := rapid.Custom(func(t *rapid.T) int {
		if rapid.IntRange(0, 9).Draw(t, "large") == 0 {
			return rapid.IntRange(90, 600).Draw(t, "size")
		}
		return rapid.IntRange(1, 70).Draw(t, "size")
	})
	rapid.Check(t, func(rt *rapid.T) {
		Int8Case{
			M: rapid.IntRange(0, 70).Draw(rt, "m"), N: size.Draw(rt, "n"), K: size.Draw(rt, "k"),
			PadA: rapid.IntRange(0, 5).Draw(rt, "padA"), PadC: rapid.IntRange(0, 5).Draw(rt, "padC"),
			Add: rapid.Bool().Draw(rt, "add"), Seed: rapid.Uint64().Draw(rt, "seed"),
		}.check(t, m)
	})
}

// conformInt8Company demands that a row of C depends neither on the other rows
// nor on the number of threads.
func conformInt8Company(t *testing.T) {
	defer kernel.SetThreads(0)
	m := newMemory(t)
	for _, n := range []int{16, 300} {
		g := Int8Case{M: 101, N: n, K: 515, Add: true, Seed: 5}
		_, _, _, c := g.run(m, nil)
		first := slices.Clone(c.data)
		for _, threads := range []int{1, 2, 5} {
			kernel.SetThreads(threads)
			for _, rows := range []int{1, 2, 3, 4, 5, 6, 7, 49, 101} {
				m.reset(g.Seed)
				a, w := m.matrix(g.M, g.K, 0, false), m.matrix(g.N, g.K, 0, false)
				c := m.matrix(g.M, g.N, 0, false)
				weights := kernel.RoundInt8(g.N, g.K, w.data)
				var some kernel.Int8Rows
				for from := 0; from < g.M; from += rows {
					some.Reset(min(rows, g.M-from), g.K)
					for i := range min(rows, g.M-from) {
						some.Set(i, a.data[(from+i)*g.K:(from+i+1)*g.K])
					}
					kernel.GemmInt8(&some, weights, true, c.data[from*g.N:], g.N)
				}
				if !slices.Equal(bits(first), bits(c.data)) {
					t.Fatalf("%s on %s by %d rows on %d threads differs", g, kernel.Active(), rows, threads)
				}
			}
		}
	}
}

// conformInt8Specials plants what is no finite number in a row of A and in one
// of W, and rows of zeros and of the smallest numbers: the sums they enter are
// NaN and 0, the others stay what they were.
func conformInt8Specials(t *testing.T) {
	m := newMemory(t)
	g := Int8Case{M: 9, N: 37, K: 300, Seed: 3}
	_, _, _, c := g.run(m, nil)
	plain := matrix{data: slices.Clone(c.data), ld: c.ld}
	for _, special := range []float32{nan, inf, -inf} {
		for p := range g.K {
			_, _, _, c := g.run(m, func(a, w matrix) {
				*a.at(4, p), *w.at(20, p) = special, special
				for k := range g.K {
					*a.at(2, k), *w.at(7, k) = 0, math.SmallestNonzeroFloat32
				}
			})
			for i := range g.M {
				for j := range g.N {
					got, want := *c.at(i, j), *plain.at(i, j)
					if i == 2 || j == 7 {
						want = 0
					}
					if i == 4 || j == 20 {
						want = nan
					}
					if got != want && !(got != got && want != want) {
						t.Fatalf("%s on %s with %g at column %d: C[%d,%d] = %g, want %g", g, kernel.Active(), special, p, i, j, got, want)
					}
				}
			}
		}
	}
}
