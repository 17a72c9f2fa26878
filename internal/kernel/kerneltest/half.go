package kerneltest

import (
	"math"
	"testing"

	"github.com/gr2/gr2/internal/kernel"
	"pgregory.net/rapid"
)

// conformHalves: every binary16 comes back, neighbours in float32 round to it, and
// ties go to the even one.
func conformHalves(t *testing.T) {
	t.Run("every", everyHalf)
	var values []float32
	var want []uint16
	add := func(v float32, h uint16) {
		values, want = append(values, v, -v), append(want, h, h|0x8000)
	}
	for h := range uint16(0x7c00) {
		x, next := half(h), half(h+1)
		if h+1 == 0x7c00 {
			next = 65536 // what would follow
		}
		middle := float32((x + next) / 2)
		add(float32(x), h)
		add(math.Nextafter32(middle, 0), h)
		add(math.Nextafter32(middle, 1e9), h+1)
		add(middle, h+h&1)
	}
	inf := float32(math.Inf(1))
	for v, h := range map[float32]uint16{inf: 0x7c00, 1e30: 0x7c00, math.SmallestNonzeroFloat32: 0} {
		add(v, h)
	}
	have := make([]uint16, len(values))
	kernel.ToHalves(have, values)
	for i, v := range values {
		if have[i] != want[i] {
			t.Fatalf("%s: %g becomes %#04x, want %#04x", kernel.Active(), v, have[i], want[i])
		}
	}
	anyHalves(t)
}

// everyHalf: all of them have the right value.
func everyHalf(t *testing.T) {
	all := make([]uint16, 1<<16)
	for i := range all {
		all[i] = uint16(i)
	}
	have := make([]float32, len(all))
	kernel.FromHalves(have, all)
	for i, v := range have {
		h := uint16(i)
		want := half(h & 0x7fff)
		if h >= 0x8000 {
			want = -want
		}
		if float64(v) != want && !(math.IsNaN(float64(v)) && math.IsNaN(want)) {
			t.Fatalf("%s: %#04x is %g, want %g", kernel.Active(), h, v, want)
		}
	}
}

// half is a binary16 without a sign, by definition.
func half(h uint16) float64 {
	exponent, fraction := int(h>>10), float64(h&0x3ff)
	switch {
	case h == 0x7c00:
		return math.Inf(1)
	case exponent == 31:
		return math.NaN()
	case exponent == 0:
		return math.Ldexp(fraction, -24)
	}
	return math.Ldexp(1024+fraction, exponent-25)
}

// anyHalves: any length and alignment, and nothing beside.
func anyHalves(t *testing.T) {
	m := newMemory(t)
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(0, 100).Draw(rt, "n")
		m.reset(rapid.Uint64().Draw(rt, "seed"))
		x, back := m.normal(n), m.floats(n)
		halves := make([]uint16, n+1)
		halves[n] = 0xdead
		kernel.ToHalves(halves[:n], x)
		kernel.FromHalves(back, halves[:n])
		m.check("halves")
		if halves[n] != 0xdead {
			t.Fatalf("ToHalves on %s wrote behind %d", kernel.Active(), n)
		}
		for i, v := range x {
			if math.Abs(float64(back[i]-v)) > math.Abs(float64(v))/2048+math.Ldexp(1, -25) {
				t.Fatalf("%s: %g comes back as %g", kernel.Active(), v, back[i])
			}
		}
	})
}
