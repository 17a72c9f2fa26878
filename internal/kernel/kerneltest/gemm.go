package kerneltest

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/kernel"
	"pgregory.net/rapid"
)

// GemmCase is one multiplication. The values follow from Seed.
type GemmCase struct {
	TransA, TransB   bool
	M, N, K          int
	PadA, PadB, PadC int // elements between rows
	Alpha, Beta      float32
	BF16             bool // GemmBF16
	Seed             uint64
}

func (g GemmCase) String() string {
	return fmt.Sprintf("Gemm(%t, %t, %d, %d, %d) alpha=%g beta=%g pads=%d,%d,%d bf16=%t seed=%d",
		g.TransA, g.TransB, g.M, g.N, g.K, g.Alpha, g.Beta, g.PadA, g.PadB, g.PadC, g.BF16, g.Seed)
}

// matrix is a stored operand and its stride.
type matrix struct {
	data  []float32
	ld    int
	trans bool
}

func (m *memory) matrix(rows, cols, pad int, trans bool) matrix {
	if trans {
		rows, cols = cols, rows
	}
	x := matrix{ld: cols + pad, trans: trans}
	if rows > 0 && cols > 0 {
		x.data = m.normal((rows-1)*x.ld + cols)
	}
	return x
}

// at is element (i, j) of the matrix meant.
func (x matrix) at(i, j int) *float32 {
	if x.trans {
		i, j = j, i
	}
	return &x.data[i*x.ld+j]
}

// run fills operands, lets edit change them, multiplies and returns C with the
// exact result and, for each element, the sum of the absolute products.
func (g GemmCase) run(m *memory, edit func(a, b matrix)) (c matrix, want, scale []float64) {
	m.reset(g.Seed)
	a := m.matrix(g.M, g.K, g.PadA, g.TransA)
	b := m.matrix(g.K, g.N, g.PadB, g.TransB)
	c = m.matrix(g.M, g.N, g.PadC, false)
	for i := range c.data {
		if g.Beta == 0 || i%c.ld >= g.N {
			c.data[i] = canary
		}
	}
	if edit != nil {
		edit(a, b)
	}
	want, scale = g.exact(a, b, c)
	multiply := kernel.Gemm
	if g.BF16 {
		multiply = kernel.GemmBF16
	}
	multiply(g.TransA, g.TransB, g.M, g.N, g.K, g.Alpha, a.data, a.ld, b.data, b.ld, g.Beta, c.data, c.ld)
	m.check(g.String())
	return c, want, scale
}

// exact is the definition of Gemm in float64.
func (g GemmCase) exact(a, b, c matrix) (want, scale []float64) {
	want, scale = make([]float64, g.M*g.N), make([]float64, g.M*g.N)
	rows, cols := make([]float64, g.M*g.K), make([]float64, g.N*g.K) // both contiguous in k
	for p := range g.K {
		for i := range g.M {
			rows[i*g.K+p] = g.element(*a.at(i, p))
		}
		for j := range g.N {
			cols[j*g.K+p] = g.element(*b.at(p, j))
		}
	}
	for i := range g.M {
		for j := range g.N {
			var sum, size float64
			if g.Alpha != 0 {
				col := cols[j*g.K : (j+1)*g.K]
				for p, x := range rows[i*g.K : (i+1)*g.K] {
					x *= col[p]
					sum += x
					size += math.Abs(x)
				}
			}
			if g.Alpha != 0 && g.K > 0 {
				sum *= float64(g.Alpha)
			}
			if g.Beta != 0 {
				old := float64(g.Beta) * float64(*c.at(i, j))
				sum += old
				size += math.Abs(old)
			}
			want[i*g.N+j], scale[i*g.N+j] = sum, size*(1+math.Abs(float64(g.Alpha)))
		}
	}
	return want, scale
}

// element is an operand's element as it is multiplied.
func (g GemmCase) element(x float32) float64 {
	if !g.BF16 || g.M <= 64 || x != x || math.IsInf(float64(x), 0) {
		return float64(x)
	}
	// The neighbours among numbers of 8 significant bits.
	below := math.Float32frombits(math.Float32bits(x) &^ 0xffff)
	above := math.Float32frombits(math.Float32bits(below) + 1<<16)
	down, up := math.Abs(float64(x)-float64(below)), math.Abs(float64(above)-float64(x))
	if up < down || up == down && math.Float32bits(below)&(1<<16) != 0 {
		return float64(above)
	}
	return float64(below)
}

// epsilon is the unit of rounding of float32.
const epsilon = 1.0 / (1 << 23)

// Check multiplies and compares with the definition.
func (g GemmCase) Check(t testing.TB) { g.check(t, newMemory(t)) }

func (g GemmCase) check(t testing.TB, m *memory) {
	t.Helper()
	c, want, scale := g.run(m, nil)
	for i := range g.M {
		for j := range g.N {
			got := float64(*c.at(i, j))
			bound := epsilon * (4 + float64(g.K)/8) * scale[i*g.N+j]
			if !(math.Abs(got-want[i*g.N+j]) <= bound) {
				t.Fatalf("%s on %s: C[%d,%d] = %g, want %g within %g", g, kernel.Active(), i, j, got, want[i*g.N+j], bound)
			}
		}
	}
	for i, v := range c.data {
		if i%c.ld >= g.N && !isCanary(v) {
			t.Fatalf("%s on %s wrote between the rows of C", g, kernel.Active())
		}
	}
}

// drawGemm draws small shapes mostly, around the tiles' edges, and some that
// cross block boundaries; half of them on the path for few rows.
func drawGemm(t *rapid.T) GemmCase {
	size := rapid.Custom(func(t *rapid.T) int {
		if rapid.IntRange(0, 9).Draw(t, "large") == 0 {
			return rapid.IntRange(90, 300).Draw(t, "size")
		}
		return rapid.IntRange(0, 40).Draw(t, "size")
	})
	pad := rapid.IntRange(0, 5)
	return GemmCase{
		TransA: rapid.Bool().Draw(t, "transA"), TransB: rapid.Bool().Draw(t, "transB"),
		M: rapid.OneOf(size, rapid.IntRange(65, 110)).Draw(t, "m"), N: size.Draw(t, "n"), K: size.Draw(t, "k"),
		PadA: pad.Draw(t, "padA"), PadB: pad.Draw(t, "padB"), PadC: pad.Draw(t, "padC"),
		Alpha: rapid.SampledFrom([]float32{1, 1, -0.5, 0}).Draw(t, "alpha"),
		Beta:  rapid.SampledFrom([]float32{0, 0, 1, -2}).Draw(t, "beta"),
		BF16:  rapid.Bool().Draw(t, "bf16"),
		Seed:  rapid.Uint64().Draw(t, "seed"),
	}
}

func conformGemm(t *testing.T) {
	m := newMemory(t)
	rapid.Check(t, func(rt *rapid.T) { drawGemm(rt).check(t, m) })
}

// conformBlocks crosses blocks of depth, slabs of columns and slabs of depth,
// which the drawn shapes hardly do, on the paths for few rows and for many.
func conformBlocks(t *testing.T) {
	m := newMemory(t)
	for _, rows := range []int{3, 100} {
		for _, trans := range []bool{false, true} {
			for _, nk := range [][2]int{{19, 1100}, {1700, 250}, {500, 1000}} {
				for _, narrow := range []bool{false, true} {
					GemmCase{
						TransA: trans, TransB: !trans, M: rows, N: nk[0], K: nk[1], Alpha: 1, Beta: 0.5, BF16: narrow, Seed: 7,
					}.check(t, m)
				}
			}
		}
	}
}

// conformAliased has rows of A that compete for cache lines, so A is packed.
func conformAliased(t *testing.T) {
	m := newMemory(t)
	for _, trans := range []bool{false, true} {
		for _, rows := range []int{96, 101, 104, 203} {
			g := GemmCase{TransA: trans, M: rows, N: 70, K: 300, Alpha: 0.5, Beta: 1, Seed: 7}
			g.PadA = 1024 - g.K
			if trans {
				g.PadA = 1024 - g.M
			}
			g.check(t, m)
		}
	}
}

// conformSpecials plants a NaN and an Inf in A: exactly their rows change.
func conformSpecials(t *testing.T) {
	m := newMemory(t)
	rapid.Check(t, func(rt *rapid.T) {
		g := drawGemm(rt)
		g.M, g.N, g.K, g.Alpha = g.M+2, g.N+1, g.K+1, 1
		nan := rapid.IntRange(0, g.M-1).Draw(rt, "nan")
		inf := (nan + 1) % g.M
		p := rapid.IntRange(0, g.K-1).Draw(rt, "p")
		c, want, _ := g.run(m, func(a, _ matrix) {
			*a.at(nan, p) = float32(math.NaN())
			*a.at(inf, p) = float32(math.Inf(1))
		})
		for i := range g.M {
			for j := range g.N {
				got, want := float64(*c.at(i, j)), want[i*g.N+j]
				if math.IsNaN(got) != math.IsNaN(want) || math.IsInf(got, 0) != math.IsInf(want, 0) {
					t.Fatalf("%s: NaN in row %d, Inf in row %d: C[%d,%d] = %g, want %g", g, nan, inf, i, j, got, want)
				}
			}
		}
	})
}

// conformThreads demands the same bits from any number of threads.
func conformThreads(t *testing.T) {
	defer kernel.SetThreads(0)
	m := newMemory(t)
	for _, g := range []GemmCase{
		{M: 1, N: 700, K: 130, TransB: true},
		{M: 7, N: 131, K: 260},
		{M: 100, N: 300, K: 280, TransB: true},
		{M: 300, N: 50, K: 290, TransA: true},
		{M: 200, N: 90, K: 291, TransA: true, BF16: true},
	} {
		g.Alpha, g.Seed = 1, 11
		var first []uint32
		for _, threads := range []int{1, 2, 3, 5} {
			kernel.SetThreads(threads)
			c, _, _ := g.run(m, nil)
			if got := bits(c.data); first == nil {
				first = got
			} else if !slices.Equal(first, got) {
				t.Fatalf("%s on %s differs between 1 and %d threads", g, kernel.Active(), threads)
			}
		}
	}
}

func bits(x []float32) []uint32 {
	out := make([]uint32, len(x))
	for i, v := range x {
		out[i] = math.Float32bits(v)
	}
	return out
}
