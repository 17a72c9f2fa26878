package evidence

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"pgregory.net/rapid"
)

func fileOf(t interface{ Fatal(...any) }, s *Stats) []byte {
	var buf bytes.Buffer
	if err := s.Write(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestFileRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawMarket(t)
		s := build(t, m.catalog, m.events, Options{Users: m.users, Folds: 3})
		file := fileOf(t, s)
		back, err := Read(m.catalog, bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		if back.Options().Folds != 3 || !reflect.DeepEqual(s.Options(), back.Options()) {
			t.Fatalf("options %+v, read %+v", s.Options(), back.Options())
		}
		if !bytes.Equal(fileOf(t, back), file) {
			t.Fatal("written again, the file differs")
		}
		slate := m.drawSlate(t)
		for fold := None; fold < 3; fold++ {
			mustEqual(t, "written and read", s.Raw(slate, fold), back.Raw(slate, fold))
		}
	})
}

func example(t *testing.T) (*market.Catalog, []byte) {
	c := catalogOf(t, market.Item{Title: "a b"}, market.Item{Title: "b c"}, market.Item{})
	events := []market.Event{{User: 0, Item: 0, Time: 5}, {User: 0, Item: 2, Time: 7}, {User: 1, Item: 1, Time: 9}, {User: 1, Item: 2, Time: 9}}
	return c, fileOf(t, build(t, c, events, Options{}))
}

// Every byte that is cut off or flipped is noticed.
func TestDamagedFiles(t *testing.T) {
	c, file := example(t)
	refused := func(what string, damaged []byte, word string) {
		t.Helper()
		_, err := Read(c, bytes.NewReader(damaged))
		if fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for n := len(magic); n < len(file); n++ {
		refused(fmt.Sprint("cut to ", n), file[:n], "truncated")
	}
	for i := range file {
		flipped := bytes.Clone(file)
		flipped[i] ^= 4
		refused(fmt.Sprint("flipped ", i), flipped, "build it again")
	}
	refused("empty", nil, "no evidence")
	refused("longer", append(bytes.Clone(file), 0), "checksum")
}

// A file whose checksum is right but whose numbers are not is refused as well.
func TestContradictoryFiles(t *testing.T) {
	c, file := example(t)
	body := file[:len(file)-sha256.Size]
	for i := headerSize; i < len(body); i++ {
		for _, value := range []byte{0, 1, 0x7f, 0xff} {
			changed := bytes.Clone(body)
			changed[i] = value
			sum := sha256.Sum256(changed)
			s, err := Read(c, bytes.NewReader(append(changed, sum[:]...)))
			if err == nil { // such as another time: must still be usable
				s.Raw(&market.Slate{Time: 99, History: []market.Visit{{Item: 2}}, Candidates: []market.Candidate{{Item: 0}}}, None)
			} else if fault.KindOf(err) != fault.Corrupt {
				t.Errorf("byte %d set to %d: %v", i, value, err)
			}
		}
	}
}

func TestItemPairedWithItselfIsRefused(t *testing.T) {
	c := catalogOf(t, market.Item{}, market.Item{})
	s := build(t, c, []market.Event{{Item: 0, Time: 1}, {Item: 1, Time: 2}}, Options{})
	s.pairs.partner[0] = 0
	if _, err := Read(c, bytes.NewReader(fileOf(t, s))); fault.KindOf(err) != fault.Corrupt {
		t.Error(err)
	}
}

func TestFileOfAnotherCatalog(t *testing.T) {
	_, file := example(t)
	other := catalogOf(t, market.Item{ID: "x"}, market.Item{ID: "y"}, market.Item{ID: "z"})
	if _, err := Read(other, bytes.NewReader(file)); fault.KindOf(err) != fault.Input {
		t.Error(err)
	}
}
