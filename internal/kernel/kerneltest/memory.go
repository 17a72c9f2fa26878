package kerneltest

import (
	"math"
	"math/rand/v2"
	"testing"
)

// memory hands out watched slices: canaries lie before and after, and half of
// the slices end at an inaccessible page, where the platform has that.
type memory struct {
	t     testing.TB
	rand  *rand.Rand
	slabs []*slab
	used  int
}

// slab is the memory behind one slice.
type slab struct {
	all      []float32
	from, to int // the slice handed out
}

const slabFloats = 1 << 19

// canary is a NaN no computation makes.
var canary = math.Float32frombits(0x7fc0dead)

func newMemory(t testing.TB) *memory { return &memory{t: t} }

// reset takes all slices back; seed decides alignments and values from here on.
func (m *memory) reset(seed uint64) {
	m.rand = rand.New(rand.NewPCG(seed, seed))
	m.used = 0
}

// floats returns n watched elements, all canaries.
func (m *memory) floats(n int) []float32 {
	if n > slabFloats-64 {
		m.t.Fatalf("kerneltest: %d floats exceed a slab", n)
	}
	if m.used == len(m.slabs) {
		m.slabs = append(m.slabs, &slab{all: guardedFloats(m.t, slabFloats)})
	}
	s := m.slabs[m.used]
	m.used++
	slack := 0
	if m.rand.IntN(2) == 0 {
		slack = m.rand.IntN(32)
	}
	s.to = slabFloats - slack
	s.from = s.to - n
	for i := max(0, s.from-32); i < slabFloats; i++ {
		s.all[i] = canary
	}
	return s.all[s.from:s.to:s.to]
}

// normal returns n watched elements, drawn from N(0, 1).
func (m *memory) normal(n int) []float32 {
	x := m.floats(n)
	for i := range x {
		x[i] = float32(m.rand.NormFloat64())
	}
	return x
}

// check reports canaries that were overwritten.
func (m *memory) check(what string) {
	m.t.Helper()
	for _, s := range m.slabs[:m.used] {
		for i := max(0, s.from-32); i < slabFloats; i++ {
			if (i < s.from || i >= s.to) && !isCanary(s.all[i]) {
				m.t.Fatalf("%s wrote %d elements away from a slice of %d", what, i-s.from, s.to-s.from)
			}
		}
	}
}

func isCanary(x float32) bool { return math.Float32bits(x) == math.Float32bits(canary) }
