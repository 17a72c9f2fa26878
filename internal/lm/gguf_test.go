package lm

import (
	"bytes"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/fault"
)

// line is a tensor of a file that tests spell by hand.
type line struct {
	name   string
	dims   []uint64 // innermost first
	kind   uint32
	offset uint64
}

// craft spells a file: anything may be wrong with it.
func craft(meta map[string]any, lines []line, data int) []byte {
	b := appendGGUF([]byte(ggufMagic), uint32(3), uint64(len(lines)), uint64(len(meta)))
	for _, key := range slices.Sorted(maps.Keys(meta)) {
		b, _ = appendGGUFValue(appendGGUF(b, key), meta[key])
	}
	for _, l := range lines {
		b = appendGGUF(b, l.name, uint32(len(l.dims)))
		for _, d := range l.dims {
			b = appendGGUF(b, d)
		}
		b = appendGGUF(b, l.kind, l.offset)
	}
	b = padGGUF(b, len(b))
	return append(b, make([]byte, data)...)
}

func parse(b []byte) (*ggufFile, error) { return readGGUF(bytes.NewReader(b), int64(len(b))) }

// head is a file up to its counts.
func head(version uint32, tensors, keys uint64) []byte {
	return appendGGUF([]byte(ggufMagic), version, tensors, keys)
}

func TestGGUFHeader(t *testing.T) {
	meta := map[string]any{
		"a": "text", "b": true, "c": uint32(7), "d": float32(0.5), "e": []string{"x", "", "yz"}, "f": []int32{-1, 2}, "general.alignment": uint32(64),
	}
	b := craft(meta, []line{{"one", []uint64{32, 2}, 8, 0}, {"two", []uint64{3}, 0, 128}}, 0)
	for len(b)%64 != 0 {
		b = append(b, 0)
	}
	start := len(b)
	f, err := parse(append(b, make([]byte, 128+12)...))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range meta {
		have := f.meta[key]
		if h, ok := have.([]string); ok && slices.Equal(h, want.([]string)) {
			continue
		}
		if h, ok := have.([]int32); ok && slices.Equal(h, want.([]int32)) {
			continue
		}
		if have != want {
			t.Errorf("key %s is %v, want %v", key, have, want)
		}
	}
	want := []ggufTensor{{"one", Q8_0, []int{2, 32}, int64(start), 68}, {"two", ggufF32, []int{3}, int64(start) + 128, 12}}
	for i, w := range want {
		h := f.tensors[i]
		if h.name != w.name || h.kind != w.kind || !slices.Equal(h.shape, w.shape) || h.offset != w.offset || h.bytes != w.bytes {
			t.Errorf("tensor %+v, want %+v", h, w)
		}
	}
}

// TestGGUFValues reads every type of value that the format has.
func TestGGUFValues(t *testing.T) {
	for name, c := range map[string]struct {
		kind uint32
		raw  string
		want any
	}{
		"uint8":   {ggufUint8, "\xff", uint8(255)},
		"int8":    {ggufInt8, "\xff", int8(-1)},
		"uint16":  {ggufUint16, "\x01\x02", uint16(0x201)},
		"int16":   {ggufInt16, "\xfe\xff", int16(-2)},
		"uint32":  {ggufUint32, "\x01\x00\x00\x80", uint32(1<<31 + 1)},
		"int32":   {ggufInt32, "\xfd\xff\xff\xff", int32(-3)},
		"float32": {ggufFloat32, "\x00\x00\x80\x3f", float32(1)},
		"bool":    {ggufBool, "\x01", true},
		"string":  {ggufString, "\x02\x00\x00\x00\x00\x00\x00\x00hi", "hi"},
		"uint64":  {ggufUint64, "\x01\x00\x00\x00\x00\x00\x00\x80", uint64(1<<63 + 1)},
		"int64":   {ggufInt64, "\xff\xff\xff\xff\xff\xff\xff\xff", int64(-1)},
		"float64": {ggufFloat64, "\x00\x00\x00\x00\x00\x00\xf0\x3f", float64(1)},
	} {
		scalar := append(appendGGUF(head(2, 0, 1), "k", c.kind), c.raw...)
		if f, err := parse(scalar); err != nil || f.meta["k"] != c.want {
			t.Errorf("%s: %v, %v, want %v", name, f, err, c.want)
		}
		list := append(appendGGUF(head(3, 0, 1), "k", uint32(ggufArray), c.kind, uint64(2)), c.raw+c.raw...)
		f, err := parse(list)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !isPair(f.meta["k"], c.want) {
			t.Errorf("list of %s: %v, want %v twice", name, f.meta["k"], c.want)
		}
	}
}

// isPair reports whether list is two of want.
func isPair(list, want any) bool {
	switch v := list.(type) {
	case []uint8:
		return len(v) == 2 && v[0] == want && v[1] == want
	case []int8:
		return len(v) == 2 && v[0] == want && v[1] == want
	case []uint16:
		return len(v) == 2 && v[0] == want && v[1] == want
	case []int16:
		return len(v) == 2 && v[0] == want && v[1] == want
	case []uint32:
		return len(v) == 2 && v[0] == want && v[1] == want
	case []int32:
		return len(v) == 2 && v[0] == want && v[1] == want
	case []uint64:
		return len(v) == 2 && v[0] == want && v[1] == want
	case []int64:
		return len(v) == 2 && v[0] == want && v[1] == want
	case []float32:
		return len(v) == 2 && v[0] == want && v[1] == want
	case []float64:
		return len(v) == 2 && v[0] == want && v[1] == want
	case []bool:
		return len(v) == 2 && v[0] == want && v[1] == want
	case []string:
		return len(v) == 2 && v[0] == want && v[1] == want
	}
	return false
}

// hostile are files that must be refused, each with a word of the reason.
func hostile() map[string]struct {
	file []byte
	want string
} {
	type bad = struct {
		file []byte
		want string
	}
	one := func(l line, data int) []byte { return craft(nil, []line{l}, data) }
	good := line{"w", []uint64{8}, 0, 0}
	key := func(values ...any) []byte { return appendGGUF(appendGGUF(head(3, 0, 1), "some.key"), values...) }
	return map[string]bad{
		"empty":            {nil, "cut short"},
		"half a magic":     {[]byte("GG"), "cut short"},
		"other magic":      {append([]byte("GGML"), make([]byte, 40)...), "no GGUF file"},
		"version 1":        {head(1, 0, 0), "version 1"},
		"version 4":        {head(4, 0, 0), "version 4"},
		"big-endian":       {head(3<<24, 0, 0), "big-endian"},
		"no counts":        {head(3, 0, 0)[:12], "cut short"},
		"2^63 tensors":     {head(3, 1<<63, 0), "tensors"},
		"2^63 keys":        {head(3, 0, 1<<63), "keys"},
		"-1 keys":          {head(3, 0, math.MaxUint64), "keys"},
		"keys missing":     {append(head(3, 0, 4), make([]byte, 60)...), "key"},
		"empty key":        {appendGGUF(head(3, 0, 1), "", uint32(ggufUint32), uint32(1)), "key \"\""},
		"key past the end": {appendGGUF(head(3, 0, 1), uint64(100), uint64(0)), "bytes of a string"},
		"key of 2^63":      {appendGGUF(head(3, 0, 1), uint64(1<<63), uint64(0)), "bytes of a string"},
		"key twice":        {appendGGUF(head(3, 0, 2), "k", uint32(ggufUint32), uint32(1), "k", uint32(ggufUint32), uint32(1)), "twice"},
		"unknown value":    {key(uint32(13), uint64(0)), "unknown type 13"},
		"list of lists":    {key(uint32(ggufArray), uint32(ggufArray), uint64(0)), "some.key"},
		"2^63 strings":     {key(uint32(ggufArray), uint32(ggufString), uint64(1<<63)), "some.key"},
		"2^61 uint64":      {key(uint32(ggufArray), uint32(ggufUint64), uint64(1<<61)), "some.key"},
		"2^62 bools":       {key(uint32(ggufArray), uint32(ggufBool), uint64(1<<62)), "some.key"},
		"string past end":  {key(uint32(ggufString), uint64(9), uint64(0)), "some.key"},
		"strings past end": {key(uint32(ggufArray), uint32(ggufString), uint64(2), "ab", uint64(1)), "some.key"},
		"cut value":        {key(uint32(ggufUint64), uint32(0)), "some.key"},
		"alignment 0":      {craft(map[string]any{"general.alignment": uint32(0)}, nil, 0), "general.alignment"},
		"alignment 48":     {craft(map[string]any{"general.alignment": uint32(48)}, nil, 0), "general.alignment"},
		"alignment 2^31":   {craft(map[string]any{"general.alignment": uint32(1 << 31)}, nil, 0), "general.alignment"},
		"alignment text":   {craft(map[string]any{"general.alignment": "32"}, nil, 0), "general.alignment"},
		"no name":          {one(line{"", []uint64{8}, 0, 0}, 32), "name"},
		"long name":        {one(line{strings.Repeat("x", 64), []uint64{8}, 0, 0}, 32), "name"},
		"no dimension":     {one(line{"w", nil, 0, 0}, 32), "\"w\" has 0 dimensions"},
		"five dimensions":  {one(line{"w", []uint64{1, 1, 1, 1, 8}, 0, 0}, 32), "\"w\" has 5 dimensions"},
		"2^32-1 dimensions": {append(appendGGUF(head(3, 1, 0), "w", uint32(math.MaxUint32)), make([]byte, 64)...),
			"dimensions"},
		"zero dimension":   {one(line{"w", []uint64{8, 0}, 0, 0}, 32), "\"w\""},
		"dimension 2^63":   {one(line{"w", []uint64{1 << 63}, 0, 0}, 32), "\"w\""},
		"shape overflows":  {one(line{"w", []uint64{math.MaxInt32, math.MaxInt32, math.MaxInt32}, 0, 0}, 32), "out of range"},
		"bytes overflow":   {one(line{"w", []uint64{1 << 30, 1 << 30}, 0, 0}, 32), "\"w\""},
		"unknown type":     {one(line{"w", []uint64{8}, 77, 0}, 32), "number 77"},
		"unsupported type": {one(line{"w", []uint64{256}, 13, 0}, 176), "Q5_K"},
		"half a block":     {one(line{"w", []uint64{33}, 8, 0}, 64), "Q8_0"},
		"half a superblock": {one(line{"w", []uint64{128, 2}, 12, 0}, 144),
			"Q4_K"},
		"short data":      {one(good, 31), "\"w\""},
		"no data":         {one(good, 0), "\"w\""},
		"extra data":      {one(good, 33), "describes 32 bytes"},
		"misaligned":      {craft(nil, []line{good, {"v", []uint64{8}, 0, 33}}, 96), "multiple of the alignment"},
		"overlap":         {craft(nil, []line{good, {"v", []uint64{8}, 0, 0}}, 64), "overlap"},
		"hole":            {craft(nil, []line{good, {"v", []uint64{8}, 0, 64}}, 96), "hole"},
		"offset past end": {one(line{"w", []uint64{8}, 0, 1 << 40}, 32), "offset"},
		"offset of 2^64":  {one(line{"w", []uint64{8}, 0, math.MaxUint64 - 31}, 32), "offset"},
		"tensor twice":    {craft(nil, []line{good, {"w", []uint64{8}, 0, 32}}, 64), "twice"},
		"terabyte of Q4_0 in 32 bytes": {one(line{"w", []uint64{1 << 20, 1 << 20}, 2, 0}, 32),
			"\"w\""},
	}
}

func TestGGUFRefuses(t *testing.T) {
	for name, c := range hostile() {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := parse(c.file)
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want a line with %q", name, err, c.want)
			continue
		}
		if k := fault.KindOf(err); k != fault.Corrupt && k != fault.Input {
			t.Errorf("%s: error of kind %d: %v", name, k, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%s: %d bytes allocated", name, n)
		}
	}
}

// TestGGUFHeaderIsBounded: a large file does not make a large header plausible.
func TestGGUFHeaderIsBounded(t *testing.T) {
	b := appendGGUF(head(3, 0, 1), "k", uint32(ggufArray), uint32(ggufUint8), uint64(1<<40))
	_, err := readGGUF(bytes.NewReader(b), 1<<50)
	if fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), "do not fit") {
		t.Errorf("a list of a terabyte: %v", err)
	}
	// The header claims what the size allows, but the reader ends early.
	b = appendGGUF(head(3, 0, 1), "k", uint32(ggufString), uint64(1<<20))
	if _, err := readGGUF(bytes.NewReader(b), 1<<21); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("a reader that ends early: %v", err)
	}
}

func goldenGGUF(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "golden", "gguf", name+".gguf"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzReadGGUF loads any bytes: as a header, and as a model.
func FuzzReadGGUF(f *testing.F) {
	for _, name := range []string{"llama", "qwen2", "qwen3", "quants"} {
		f.Add(goldenGGUF(f, name))
	}
	f.Add(craft(map[string]any{"general.alignment": uint32(64), "list": []string{"a", "b"}}, nil, 0))
	for _, c := range hostile() {
		f.Add(c.file)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := parse(b)
		if err != nil {
			return
		}
		total := int64(0)
		for _, x := range file.tensors {
			elements := int64(1)
			for _, d := range x.shape {
				elements *= int64(d)
			}
			if x.offset+x.bytes > int64(len(b)) || elements > 2*x.bytes {
				t.Fatalf("%+v of %d elements in a file of %d bytes", x, elements, len(b))
			}
			total += x.bytes
		}
		if total > int64(len(b)) {
			t.Fatalf("tensors of %d bytes in a file of %d", total, len(b))
		}
		m, meta, err := LoadGGUF(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		if 4*int64(m.Parameters()) > 8*int64(len(b)) {
			t.Fatalf("%d parameters from %d bytes", m.Parameters(), len(b))
		}
		for _, x := range m.Tensors() {
			if len(x.Data) != x.size() {
				t.Fatalf("%q of shape %v has %d elements", x.Name, x.Shape, len(x.Data))
			}
		}
		for key := range meta {
			if !bytes.Contains(b, []byte(key)) {
				t.Fatalf("key %q is not in the file", key)
			}
		}
	})
}
