package sid

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
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
	live := rapid.IntRange(0, n).Draw(t, "live")
	x, err := NewReserving(numbered(n), live, levels, width, rapid.SliceOfN(code, n*levels, n*levels).Draw(t, "codes"))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// numbered is n item ids of different lengths.
func numbered(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = strings.Repeat("x", i%5) + fmt.Sprint(i)
	}
	return ids
}

// Both directions and the trie agree with a search through all rows.
func TestIndexAgainstScan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := drawIndex(t)
		for row := int32(0); int(row) < x.Rows(); row++ {
			code := x.Code(row)
			first := slices.IndexFunc(seq(x.Rows()), func(i int32) bool { return slices.Equal(x.Code(i), code) })
			if got, ok := x.Holder(code); !ok || int(got) != first {
				t.Fatalf("Holder(%v) = %d, %v; want %d", code, got, ok, first)
			}
			if got, ok := x.Lookup(code); ok != (first < x.Len()) || ok && int(got) != first {
				t.Fatalf("Lookup(%v) = %d, %v; want %d of %d", code, got, ok, first, x.Len())
			}
			if got, ok := x.Row(numbered(int(row) + 1)[row]); !ok || got != row || x.ID(row) != numbered(int(row) + 1)[row] {
				t.Fatalf("row %d has the id %q, which has row %d, %v", row, x.ID(row), got, ok)
			}
			for l := range len(code) + 1 {
				checkPrefix(t, x, code[:l])
			}
		}
		checkPrefix(t, x, rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "probe"))
		if row, ok := x.Row("no such item"); ok {
			t.Fatalf("an unknown id has row %d", row)
		}
	})
}

func checkPrefix(t *rapid.T, x *Index, prefix []uint8) {
	if got, want := x.Children(prefix), scanChildren(x, prefix); !slices.Equal(got, want) {
		t.Fatalf("Children(%v) = %v, want %v", prefix, got, want)
	}
	var want []int32
	for _, i := range seq(x.Len()) {
		if bytes.HasPrefix(x.Code(i), prefix) {
			want = append(want, i)
		}
	}
	slices.SortStableFunc(want, func(a, b int32) int { return slices.Compare(x.Code(a), x.Code(b)) })
	var got []int32
	n, ok := x.Find(prefix)
	if ok {
		got = slices.Collect(x.Items(n))
	}
	if !slices.Equal(got, want) || ok && x.Depth(n) != len(prefix) {
		t.Fatalf("below %v are %v, want %v", prefix, got, want)
	}
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
	x, err := New(numbered(2), 2, 4, []uint8{0, 1, 2, 3})
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
	x, err := New(numbered(1), 4, 256, []uint8{97, 168, 137, 135})
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

func TestParseTokens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		code := rapid.SliceOfN(rapid.Uint8(), 0, 8).Draw(t, "code")
		spelled := ""
		for l, c := range code {
			spelled += TokenName(l, c)
		}
		for _, s := range []string{spelled, BeginToken + spelled + EndToken, BeginToken + spelled} {
			if got, err := ParseTokens(s); err != nil || !bytes.Equal(got, code) {
				t.Fatalf("%s is read as %v, %v", s, got, err)
			}
		}
	})
	for _, s := range []string{"soap", "<s_a_1", "<s_b_1>", "<s_a_256>", "<s_a_-1>", "<s_a_01>", "<s_a_1> ", EndToken + BeginToken} {
		if code, err := ParseTokens(s); fault.KindOf(err) != fault.Input {
			t.Errorf("%q is read as %v, %v", s, code, err)
		}
	}
}

func TestStats(t *testing.T) {
	// Three items, two of them alike; first codes 0,0,1, second 1,1,2.
	x, err := New(numbered(3), 2, 4, []uint8{0, 1, 0, 1, 1, 2})
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
	if empty, _ := New(numbered(0), 2, 4, nil); empty.Stats().Items != 0 {
		t.Error("an empty index has items")
	}
}

func TestNewRefuses(t *testing.T) {
	for name, err := range map[string]error{
		"levels 0":       second(New(numbered(0), 0, 256, nil)),
		"levels 9":       second(New(numbered(0), 9, 256, nil)),
		"width":          second(New(numbered(0), 4, 257, nil)),
		"ragged":         second(New(numbered(1), 4, 256, []uint8{1, 2, 3})),
		"two ids":        second(New([]string{"a", "a"}, 1, 4, []uint8{0, 1})),
		"live":           second(NewReserving(numbered(1), 2, 1, 4, []uint8{0})),
		"code too large": second(New(numbered(1), 2, 4, []uint8{0, 4})),
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
		if y.layout != x.layout || !bytes.Equal(y.image, x.image) {
			t.Fatalf("wrote %+v, read %+v", x, y)
		}
	})
}

// Every byte that is cut off or flipped is noticed.
func TestDamagedFiles(t *testing.T) {
	x, err := New(numbered(2), 4, 256, []uint8{1, 2, 3, 4, 5, 6, 7, 8})
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
	refused("longer", append(bytes.Clone(file), 0), "more than")
	field := func(i int, v uint32) []byte {
		forged := bytes.Clone(file)
		binary.LittleEndian.PutUint32(forged[len(magic)+4*i:], v)
		return forged
	}
	refused("older", field(0, 1), "version 1")
	refused("newer", field(0, 3), "version 3")
	refused("levels", field(1, 1<<31), "levels")
	refused("width", field(2, 0), "width")
	refused("huge", field(3, 1<<31), "items")
	refused("many items", field(3, 1<<26), "truncated")
	refused("many nodes", field(9, 1<<32-1), "prefixes at level 4")
}

// A file may be forged with a checksum to match: every value that would lead
// outside its section is refused.
func TestForgedFiles(t *testing.T) {
	x, err := NewReserving(numbered(3), 2, 2, 4, []uint8{1, 2, 1, 3, 0, 0})
	if err != nil {
		t.Fatal(err)
	}
	for name, forge := range map[string]func(x *Index){
		"item ids":         func(x *Index) { x.idEnds.set(1, 1<<31) },
		"ids do not begin": func(x *Index) { x.idEnds.set(0, 1) },
		"codes":            func(x *Index) { x.codes[5] = 4 },
		"id table":         func(x *Index) { x.byID.put(0, 0, 3) },
		"code table":       func(x *Index) { x.byCode.put(0, 0, 3) },
		"order":            func(x *Index) { x.order.set(0, 2) },
		"labels":           func(x *Index) { x.labels[1][0] = 4 },
		"nodes":            func(x *Index) { x.ends[0].set(1, 2) },
		"leaves":           func(x *Index) { x.ends[2].set(1, 9) },
	} {
		forged := x.layout.index(bytes.Clone(x.image))
		forge(forged)
		var file bytes.Buffer
		if err := forged.Write(&file); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(&file); fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), "contradict") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpenMapsTheFile(t *testing.T) {
	x, err := New([]string{"soap", "comb"}, 2, 4, []uint8{1, 2, 1, 3})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "index.sid")
	if err := durable.Write(path, x.Write); err != nil {
		t.Fatal(err)
	}
	y, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if row, ok := y.Row("comb"); !ok || row != 1 || !slices.Equal(y.Code(row), []uint8{1, 3}) {
		t.Errorf("comb has row %d, %v, code %v", row, ok, y.Code(row))
	}
	if err := y.Close(); err != nil {
		t.Error(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 5, len(whole) - 1} {
		if err := durable.WriteBytes(path, whole[:n]); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), path) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := Open(path + ".missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// Nothing that a decoder asks for at every step allocates.
func TestLookupsAllocateNothing(t *testing.T) {
	x, err := New(numbered(500), 4, 256, randomCodes(500, 4))
	if err != nil {
		t.Fatal(err)
	}
	id := numbered(43)[42]
	if n := testing.AllocsPerRun(100, func() {
		row, _ := x.Row(id)
		code := x.Code(row)
		x.Lookup(code)
		x.Children(code[:2])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func randomCodes(n, levels int) []uint8 {
	r := rng.New(1)
	codes := make([]uint8, n*levels)
	for i := range codes {
		codes[i] = uint8(r.IntN(256))
	}
	return codes
}

func BenchmarkTwoMillion(b *testing.B) {
	const n = 2_000_000
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("item-%08d", i)
	}
	x, err := New(ids, 4, 256, randomCodes(n, 4))
	if err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(b.TempDir(), "index.sid")
	if err := durable.Write(path, x.Write); err != nil {
		b.Fatal(err)
	}
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			if _, err := New(ids, 4, 256, x.codes); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			y, err := Open(path)
			if err != nil {
				b.Fatal(err)
			}
			y.Close()
		}
	})
	y, err := Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer y.Close()
	pick := rand.New(rand.NewPCG(1, 2))
	ask := func(name string, found func(item int) bool) {
		b.Run(name, func(b *testing.B) {
			typical := newBatches()
			for b.Loop() {
				if !found(pick.IntN(n)) {
					b.Fatal("not found")
				}
				typical.count()
			}
			b.ReportMetric(typical.median(), "median-ns/op")
		})
	}
	ask("id-to-code", func(i int) bool { row, ok := y.Row(ids[i]); return ok && y.Code(row) != nil })
	ask("code-to-item", func(i int) bool { _, ok := y.Lookup(x.codes[4*i : 4*i+4]); return ok })
	ask("children", func(i int) bool { return len(y.Children(x.codes[4*i:4*i+2])) > 0 })
}

// batches times operations 256 at a time. Their median says what one takes also
// on a machine that does other work, which stops a process for milliseconds.
type batches struct {
	last  time.Time
	done  int
	nanos []float64 // of an operation, by batch
}

func newBatches() *batches { return &batches{last: time.Now()} }

func (t *batches) count() {
	if t.done++; t.done%256 == 0 {
		now := time.Now()
		t.nanos = append(t.nanos, float64(now.Sub(t.last).Nanoseconds())/256)
		t.last = now
	}
}

func (t *batches) median() float64 {
	if len(t.nanos) == 0 {
		return 0
	}
	slices.Sort(t.nanos)
	return t.nanos[len(t.nanos)/2]
}

func TestIndexBelongsToOneCatalog(t *testing.T) {
	mine := catalogOf(t, "a", "b")
	x, err := New(IDs(mine), 1, 4, []uint8{0, 1})
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

// The fuzzer's bytes stand behind the magic and before a checksum that matches,
// so that it reaches what the checksum guards.
func FuzzRead(f *testing.F) {
	x, err := NewReserving(numbered(3), 2, 2, 4, []uint8{0, 1, 2, 3, 0, 0})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(x.image[len(magic):])
	f.Fuzz(func(t *testing.T, body []byte) {
		file := append([]byte(magic), body...)
		sum := sha256.Sum256(file)
		x, err := Read(bytes.NewReader(append(file, sum[:]...)))
		if err != nil {
			if fault.KindOf(err) != fault.Corrupt {
				t.Error(err)
			}
			return
		}
		x.Stats()
		for row := int32(0); int(row) < x.Rows(); row++ {
			x.Row(x.ID(row))
			x.Lookup(x.Code(row))
			for l := range x.Levels() + 1 {
				if n, ok := x.Find(x.Code(row)[:l]); ok {
					for item := range x.Items(n) {
						x.Code(item)
					}
				}
			}
		}
	})
}
