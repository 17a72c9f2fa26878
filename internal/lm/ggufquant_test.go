package lm

import (
	"bytes"
	"math"
	"slices"
	"testing"
)

// TestDequantise compares every type with the reference implementation, bit by
// bit.
func TestDequantise(t *testing.T) {
	b := goldenGGUF(t, "quants")
	f, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"F16", "BF16", "Q8_0", "Q4_0", "Q4_K", "Q6_K"} {
		have, want := loadRows(t, f, b, name), loadRows(t, f, b, name+".want")
		for i := range want {
			if math.Float32bits(have[i]) != math.Float32bits(want[i]) {
				t.Fatalf("%s: element %d is %g, want %g", name, i, have[i], want[i])
			}
		}
		if slices.Max(want) == slices.Min(want) {
			t.Errorf("%s: the reference is constant", name)
		}
	}
}

func loadRows(t *testing.T, f *ggufFile, file []byte, name string) []float32 {
	t.Helper()
	x := f.byName[name]
	dst := make([]float32, x.shape[0]*x.shape[1])
	if err := x.read(bytes.NewReader(file), dst, func(r int) int { return r }); err != nil {
		t.Fatal(err)
	}
	return dst
}

// TestQuantise compares what is written with the reference's bytes.
func TestQuantise(t *testing.T) {
	b := goldenGGUF(t, "quants")
	f, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	source := loadRows(t, f, b, "source")
	for _, kind := range []GGUFType{F16, Q8_0} {
		x := f.byName[kind.String()]
		have, ok := kind.encode(nil, source)
		if want := b[x.offset:][:x.bytes]; !ok || !bytes.Equal(have, want) {
			t.Errorf("%s: other bytes than the reference's", kind)
		}
	}
}

// TestEncodeRefuses what a type cannot hold.
func TestEncodeRefuses(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		kind GGUFType
		v    float32
		ok   bool
	}{
		{F16, 65519, true}, {F16, 65520, false}, {F16, nan, false}, {F16, -inf, false},
		{Q8_0, 8e6, true}, {Q8_0, -9e6, false}, {Q8_0, nan, false}, {Q8_0, inf, false}, {Q8_0, 1e-44, true},
	} {
		row := make([]float32, 32)
		row[7] = c.v
		if _, ok := c.kind.encode(nil, row); ok != c.ok {
			t.Errorf("%s of %g: %t, want %t", c.kind, c.v, ok, c.ok)
		}
	}
}
