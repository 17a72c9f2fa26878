package lm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gr2/gr2/internal/fault"
)

// file puts the length before a header and data bytes behind it.
func file(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func read(b []byte) ([]*Tensor, error) { return ReadSafetensors(bytes.NewReader(b), int64(len(b))) }

func TestSafetensorsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var in []*Tensor
		for i := range rapid.IntRange(0, 4).Draw(t, "tensors") {
			name := fmt.Sprintf("%d%s", i, rapid.StringN(0, 8, -1).Draw(t, "name"))
			x := tensor(strings.ToValidUTF8(name, ""), rapid.SliceOfN(rapid.IntRange(0, 5), 0, 3).Draw(t, "shape")...)
			x.Data = rapid.SliceOfN(rapid.Float32(), x.size(), x.size()).Draw(t, "data")
			in = append(in, x)
		}
		var b bytes.Buffer
		if err := WriteSafetensors(&b, in, map[string]string{"format": "pt"}); err != nil {
			t.Fatal(err)
		}
		if n := binary.LittleEndian.Uint64(b.Bytes()); n%8 != 0 {
			t.Fatalf("data starts at %d, not a multiple of 8", n+8)
		}
		out, metadata, err := ReadSafetensorsMetadata(bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil {
			t.Fatal(err)
		}
		if len(metadata) != 1 || metadata["format"] != "pt" {
			t.Fatalf("metadata came back as %v", metadata)
		}
		if len(out) != len(in) {
			t.Fatalf("%d tensors came back, want %d", len(out), len(in))
		}
		byName := map[string]*Tensor{} // empty tensors share an offset and may change places
		for _, x := range out {
			byName[x.Name] = x
		}
		for _, want := range in {
			have := byName[want.Name]
			if have == nil || !slices.Equal(have.Shape, want.Shape) || !slices.Equal(have.Data, want.Data) {
				t.Fatalf("%v came back as %v", want, have)
			}
		}
	})
}

func TestSafetensorsRefuses(t *testing.T) {
	one := func(dtype, shape, offsets string) string {
		return fmt.Sprintf(`{"a":{"dtype":%q,"shape":%s,"data_offsets":%s}}`, dtype, shape, offsets)
	}
	huge := binary.LittleEndian.AppendUint64(nil, math.MaxUint64)
	for name, b := range map[string][]byte{
		"empty file":           {},
		"half a length":        {1, 2, 3},
		"length past the file": file("{}", 0)[:9],
		"huge length":          huge,
		"length over the cap":  append(binary.LittleEndian.AppendUint64(nil, maxHeader+1), '{'),
		"zero length":          file("", 0),
		"no JSON":              file("hello", 0),
		"an array":             file("[]", 0),
		"unclosed":             file(`{"a":{"dtype":"F32"`, 0),
		"trailing bytes":       file("{}{}", 0),
		"short data":           file(one("F32", "[2]", "[0,8]"), 7),
		"extra data":           file(one("F32", "[2]", "[0,8]"), 9),
		"hole at the start":    file(one("F32", "[2]", "[4,12]"), 12),
		"overlap": file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},`+
			`"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}`, 12),
		"same place": file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},`+
			`"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
		"same name": file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},`+
			`"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8),
		"reversed offsets":     file(one("F32", "[2]", "[8,0]"), 8),
		"negative offsets":     file(one("F32", "[2]", "[-8,0]"), 8),
		"one offset":           file(one("F32", "[2]", "[8]"), 8),
		"overflowing offset":   file(one("F32", "[2]", "[0,18446744073709551616]"), 8),
		"overflowing shape":    file(one("F32", "[2147483647,2147483647,2147483647]", "[0,8]"), 8),
		"wrapping shape":       file(one("F32", "[2147483647,2147483647,4]", "[0,8]"), 8),
		"huge dimension":       file(one("F32", "[4294967296,0]", "[0,0]"), 0),
		"negative dimension":   file(one("F32", "[-1,-2]", "[0,8]"), 8),
		"fractional dimension": file(one("F32", "[1.5]", "[0,8]"), 8),
		"many dimensions":      file(one("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4),
		"shape and size":       file(one("F16", "[2]", "[0,8]"), 8),
		"unknown dtype":        file(one("I64", "[1]", "[0,8]"), 8),
		"no dtype":             file(`{"a":{"shape":[1],"data_offsets":[0,4]}}`, 4),
		"null entry":           file(`{"a":null}`, 4),
		"bad metadata":         file(`{"__metadata__":{"a":1}}`, 0),
	} {
		if _, err := read(b); err == nil {
			t.Errorf("%s: accepted", name)
		} else if k := fault.KindOf(err); k != fault.Corrupt && k != fault.Input {
			t.Errorf("%s: error of kind %d: %v", name, k, err)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error of several lines: %v", name, err)
		}
	}
}

// TestHostileHeadersCostNoMemory: what a header claims is not allocated.
func TestHostileHeadersCostNoMemory(t *testing.T) {
	for _, h := range []string{
		`{"a":{"dtype":"F32","shape":[1073741824],"data_offsets":[0,4294967296]}}`,
		`{"a":{"dtype":"U8","shape":[1073741824],"data_offsets":[0,8]}}`,
	} {
		b := file(h, 8)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := read(b); err == nil {
			t.Errorf("%s: accepted", h)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%s: %d bytes allocated", h, n)
		}
	}
}

func TestWriterRefusesWrongTensors(t *testing.T) {
	short := &Tensor{Name: "a", Shape: []int{3}, Data: make([]float32, 2)}
	twice := &Tensor{Name: "a", Shape: []int{1}, Data: make([]float32, 1)}
	for _, tensors := range [][]*Tensor{{short}, {twice, twice}} {
		if err := WriteSafetensors(new(bytes.Buffer), tensors, nil); err == nil {
			t.Errorf("%d tensors named a were written", len(tensors))
		}
	}
}

// TestHalfPrecision decodes every F16 and BF16 value.
func TestHalfPrecision(t *testing.T) {
	for bits := range 1 << 16 {
		h := uint16(bits)
		exp, frac := int(h>>10&31), float64(h&1023)
		want := math.Ldexp(frac, -24)
		switch {
		case exp == 31 && frac == 0:
			want = math.Inf(1)
		case exp == 31:
			want = math.NaN()
		case exp > 0:
			want = math.Ldexp(1+frac/1024, exp-15)
		}
		if h>>15 == 1 {
			want = -want
		}
		var b [2]byte
		binary.LittleEndian.PutUint16(b[:], h)
		var got [1]float32
		decode(got[:], b[:], "F16")
		if same := float64(got[0]) == want || (math.IsNaN(want) && got[0] != got[0]); !same || math.Signbit(float64(got[0])) != (h>>15 == 1) {
			t.Fatalf("F16 %#04x is %g, want %g", h, got[0], want)
		}
		decode(got[:], b[:], "BF16")
		if math.Float32bits(got[0]) != uint32(h)<<16 {
			t.Fatalf("BF16 %#04x is %g", h, got[0])
		}
	}
}

func FuzzReadSafetensors(f *testing.F) {
	f.Add(file(`{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}  `, 8))
	f.Add(file(`{"a":{"dtype":"BF16","shape":[1,2],"data_offsets":[4,8]},"b":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}`, 8))
	f.Add(file(`{"a":{"dtype":"I8","shape":[9223372036854775807],"data_offsets":[0,0]}}`, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		tensors, err := read(b)
		if err != nil {
			return
		}
		elements := 0
		for _, x := range tensors {
			if len(x.Data) != x.size() {
				t.Fatalf("%q of shape %v has %d elements", x.Name, x.Shape, len(x.Data))
			}
			elements += len(x.Data)
		}
		if 2*elements > len(b) {
			t.Fatalf("%d elements from %d bytes", elements, len(b))
		}
		if err := WriteSafetensors(new(bytes.Buffer), tensors, nil); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
	})
}
