package sid

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"pgregory.net/rapid"
)

func catalogOf(t testing.TB, ids ...string) *market.Catalog {
	t.Helper()
	items := make([]market.Item, len(ids))
	for i, id := range ids {
		items[i].ID = id
	}
	c, err := market.NewCatalog(items)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func drawIndex(t *rapid.T) *Index {
	levels := rapid.IntRange(1, 8).Draw(t, "levels")
	width := rapid.SampledFrom([]int{2, 3, 17, 256}).Draw(t, "width")
	n := rapid.IntRange(0, 60).Draw(t, "items")
	code := rapid.Custom(func(t *rapid.T) uint8 { return uint8(rapid.IntRange(0, width-1).Draw(t, "code")) })
	x, err := New(Hash{1, 2, 3}, levels, width, rapid.SliceOfN(code, n*levels, n*levels).Draw(t, "codes"))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// Lookup and Children agree with a search through all codes.
func TestIndexAgainstScan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := drawIndex(t)
		for item := int32(0); int(item) < x.Len(); item++ {
			code := x.Code(item)
			first := slices.IndexFunc(seq(x.Len()), func(i int32) bool { return slices.Equal(x.Code(i), code) })
			if got, ok := x.Lookup(code); !ok || int(got) != first {
				t.Fatalf("Lookup(%v) = %d, %v; want %d", code, got, ok, first)
			}
			for l := range len(code) + 1 {
				if got, want := x.Children(code[:l]), scanChildren(x, code[:l]); !slices.Equal(got, want) {
					t.Fatalf("Children(%v) = %v, want %v", code[:l], got, want)
				}
			}
		}
		probe := rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "probe")
		if got, want := x.Children(probe), scanChildren(x, probe); !slices.Equal(got, want) {
			t.Fatalf("Children(%v) = %v, want %v", probe, got, want)
		}
	})
}

func seq(n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(i)
	}
	return out
}

func scanChildren(x *Index, prefix []uint8) []uint8 {
	var out []uint8
	for _, i := range seq(x.Len()) {
		if code := x.Code(i); len(prefix) < len(code) && bytes.HasPrefix(code, prefix) {
			out = append(out, code[len(prefix)])
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestUnknownItemsAndCodes(t *testing.T) {
	x, err := New(Hash{}, 2, 4, []uint8{0, 1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	if x.Code(-1) != nil || x.Code(2) != nil || x.Tokens(2) != nil {
		t.Error("an unknown item has a code")
	}
	for _, code := range [][]uint8{nil, {0}, {0, 0}, {0, 1, 0}} {
		if item, ok := x.Lookup(code); ok {
			t.Errorf("Lookup(%v) = %d", code, item)
		}
	}
}

func TestTokens(t *testing.T) {
	x, err := New(Hash{}, 4, 256, []uint8{97, 168, 137, 135})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(x.Tokens(0), ""); got != "<|sid_begin|><s_a_97><s_b_168><s_c_137><s_d_135><|sid_end|>" {
		t.Error(got)
	}
	names := TokenNames(4, 256)
	if len(names) != 4*256+2 {
		t.Errorf("%d names", len(names))
	}
	for l, c := range x.Code(0) {
		if names[2+l*256+int(c)] != TokenName(l, c) {
			t.Errorf("place of level %d code %d holds %s", l, c, names[2+l*256+int(c)])
		}
	}
}

func TestStats(t *testing.T) {
	// Three items, two of them alike; first codes 0,0,1, second 1,1,2.
	x, err := New(Hash{}, 2, 4, []uint8{0, 1, 0, 1, 1, 2})
	if err != nil {
		t.Fatal(err)
	}
	s := x.Stats()
	if s.Items != 3 || s.Collisions != 2 || math.Abs(s.Uniqueness-1.0/3) > 1e-12 {
		t.Errorf("%+v", s)
	}
	perplexity := 3 / math.Cbrt(4) // of shares 2/3 and 1/3
	for l, got := range s.Levels {
		want := LevelStats{Used: 2, Dead: 2, Perplexity: got.Perplexity, Prefixes: 2, Largest: 2}
		if got != want || math.Abs(got.Perplexity-perplexity) > 1e-12 {
			t.Errorf("level %d: %+v", l, got)
		}
	}
	if empty, _ := New(Hash{}, 2, 4, nil); empty.Stats().Items != 0 {
		t.Error("an empty index has items")
	}
}

func TestNewRefuses(t *testing.T) {
	for name, err := range map[string]error{
		"levels 0":       second(New(Hash{}, 0, 256, nil)),
		"levels 9":       second(New(Hash{}, 9, 256, nil)),
		"width":          second(New(Hash{}, 4, 257, nil)),
		"ragged":         second(New(Hash{}, 4, 256, []uint8{1, 2, 3})),
		"code too large": second(New(Hash{}, 2, 4, []uint8{0, 4})),
	} {
		if fault.KindOf(err) != fault.Input {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second(_ *Index, err error) error { return err }

func TestFileRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := drawIndex(t)
		var file bytes.Buffer
		if err := x.Write(&file); err != nil {
			t.Fatal(err)
		}
		y, err := Read(&file)
		if err != nil {
			t.Fatal(err)
		}
		if y.Catalog() != x.Catalog() || y.Levels() != x.Levels() || y.Width() != x.Width() || !slices.Equal(y.codes, x.codes) {
			t.Fatalf("wrote %+v, read %+v", x, y)
		}
	})
}

// Every byte that is cut off or flipped is noticed.
func TestDamagedFiles(t *testing.T) {
	x, err := New(Hash{9}, 4, 256, []uint8{1, 2, 3, 4, 5, 6, 7, 8})
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := x.Write(&buf); err != nil {
		t.Fatal(err)
	}
	file := buf.Bytes()
	refused := func(what string, damaged []byte, words ...string) {
		t.Helper()
		_, err := Read(bytes.NewReader(damaged))
		if fault.KindOf(err) != fault.Corrupt {
			t.Errorf("%s: %v", what, err)
			return
		}
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not say %q", what, err, w)
			}
		}
	}
	for n := len(magic); n < len(file); n++ {
		refused(fmt.Sprint("cut to ", n), file[:n], "truncated")
	}
	for i := range file {
		flipped := bytes.Clone(file)
		flipped[i] ^= 0x10
		refused(fmt.Sprint("flipped ", i), flipped)
	}
	refused("empty", nil, "no semantic ID index")
	refused("json", []byte(`{"levels":4}`), "no semantic ID index")
	refused("longer", append(bytes.Clone(file), 0), "after the end")
	newer := bytes.Clone(file)
	binary.LittleEndian.PutUint32(newer[len(magic):], 2)
	refused("newer", newer, "version 2")
	huge := bytes.Clone(file)
	binary.LittleEndian.PutUint32(huge[len(magic)+12:], 1<<31)
	refused("huge", huge, "truncated")
}

func TestIndexBelongsToOneCatalog(t *testing.T) {
	mine := catalogOf(t, "a", "b")
	x, err := New(CatalogHash(mine), 1, 4, []uint8{0, 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Check(mine); err != nil {
		t.Error(err)
	}
	for _, other := range []*market.Catalog{catalogOf(t, "b", "a"), catalogOf(t, "ab", ""), catalogOf(t, "a", "b", "c")} {
		if err := x.Check(other); fault.KindOf(err) != fault.Input {
			t.Errorf("catalog %v: %v", other.Items, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	x, err := New(Hash{}, 2, 4, []uint8{0, 1})
	if err != nil {
		f.Fatal(err)
	}
	var file bytes.Buffer
	if err := x.Write(&file); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		if x, err := Read(bytes.NewReader(data)); err == nil {
			x.Stats()
		} else if fault.KindOf(err) != fault.Corrupt {
			t.Error(err)
		}
	})
}
