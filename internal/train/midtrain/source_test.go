package midtrain

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/prompt"
	"github.com/gr2/gr2/internal/sid"
	"github.com/gr2/gr2/internal/token"
	"pgregory.net/rapid"
)

const (
	users   = 12
	perUser = 40 // items that this user alone visits
)

// codes give item n of user u the semantic ID (u, n, 0, 0).
type codes struct{}

func (codes) Code(item int32) []uint8 {
	return []uint8{uint8(item / perUser), uint8(item % perUser), 0, 0}
}

// world is a catalog whose items say who visits them. User u visits u+1
// items, users from 8 on all of theirs.
type world struct {
	catalog *market.Catalog
	tok     *token.Tokenizer
	builder *prompt.Builder
	events  []market.Event
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{}
	var items []market.Item
	for i := range users * perUser {
		items = append(items, market.Item{ID: fmt.Sprint("i", i), Title: fmt.Sprintf("Brush of %c", 'a'+i/perUser)})
	}
	for u := range users {
		n := u + 1
		if u >= 8 {
			n = perUser
		}
		for e := range n {
			w.events = append(w.events, market.Event{User: int32(u), Item: int32(u*perUser + e), Time: int64(e)})
		}
	}
	opt := prompt.Options{SID: true, Title: true}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	w.catalog, err = market.NewCatalog(items)
	must(err)
	corpus, err := prompt.Corpus(w.catalog, opt)
	must(err)
	w.tok, err = token.Train(corpus, token.Options{VocabSize: 400, Required: prompt.RequiredTokens(),
		Added: append(prompt.SpecialTokens(opt), sid.TokenNames(4, 64)...), Control: prompt.ControlTokens()})
	must(err)
	w.builder, err = prompt.New(w.tok, w.catalog, codes{}, opt)
	must(err)
	return w
}

func everyone(int32) bool { return true }

func (w *world) source(t testing.TB, include func(int32) bool, m Mixture, seed uint64) *Source {
	t.Helper()
	s, err := New(w.builder, w.catalog, w.events, include, m, 1000, seed)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (w *world) text(t testing.TB, s *Source, epoch, i int) string {
	t.Helper()
	e, err := s.Example(epoch, i)
	if err != nil {
		t.Fatal(err)
	}
	return w.tok.Decode(e.Tokens)
}

// task reads an example's task off its text.
func task(text string) string {
	for lead, name := range map[string]string{"Visits in order:\n": "sequence", "User story:\n": "persona", "Describe:\n": "caption", "Identify:\n": "caption"} {
		if strings.HasPrefix(text, lead) {
			return name
		}
	}
	return "text"
}

func TestMixtureShares(t *testing.T) {
	w := newWorld(t)
	for _, m := range []Mixture{
		{Sequence: .4, Persona: .3, Caption: .2, Text: .1},
		{Sequence: 2, Caption: 6}, // normalised
		{Text: 1},
	} {
		s := w.source(t, everyone, m, 7)
		counts := map[string]int{}
		const drawn = 2000
		for i := range drawn {
			counts[task(w.text(t, s, i/1000, i%1000))]++
		}
		for name, weight := range map[string]float64{"sequence": m.Sequence, "persona": m.Persona, "caption": m.Caption, "text": m.Text} {
			p := weight / m.sum()
			// Five standard deviations of a binomial share.
			if have := float64(counts[name]) / drawn; math.Abs(have-p) > 5*math.Sqrt(p*(1-p)/drawn) {
				t.Errorf("mixture %+v: share of %s is %.3f, want %.3f", m, name, have, p)
			}
		}
	}
}

// Nothing of a user who is not included is read: neither semantic IDs nor
// titles of items that this user alone visits.
func TestExcludedUsersNeverAppear(t *testing.T) {
	w := newWorld(t)
	rapid.Check(t, func(r *rapid.T) {
		in := rapid.SliceOfN(rapid.Bool(), users, users).Draw(r, "included")
		in[users-1] = true
		s := w.source(t, func(u int32) bool { return in[u] }, Mixture{Sequence: 1, Persona: 1}, rapid.Uint64().Draw(r, "seed"))
		wantSequences := 0
		for u := 1; u < users; u++ { // user 0 has one event
			if in[u] {
				wantSequences++
			}
		}
		if s.Sequences() != wantSequences {
			r.Fatalf("%d sequences, want %d", s.Sequences(), wantSequences)
		}
		seen := map[int]bool{}
		for i := range 60 {
			text := w.text(t, s, 0, i)
			for u := range users {
				if strings.Contains(text, fmt.Sprintf("<s_a_%d>", u)) || strings.Contains(text, fmt.Sprintf("Brush of %c", 'a'+u)) {
					seen[u] = true
					if !in[u] || u == 0 {
						r.Fatalf("user %d is not included and shows in %q", u, text)
					}
				}
			}
		}
		if len(seen) == 0 {
			r.Fatal("no user shows: this test sees nothing")
		}
	})
}

// Sequences are runs of one user's visits, in order; all of a short history,
// and every part of a long one.
func TestStretchesAreRunsOfOneUser(t *testing.T) {
	w := newWorld(t)
	s := w.source(t, everyone, Mixture{Sequence: 1}, 3)
	from, read := map[uint8]map[uint8]bool{}, map[uint8]int{}
	for i := range 1000 {
		e, err := s.Example(0, i)
		if err != nil {
			t.Fatal(err)
		}
		items := w.items(e.Tokens)
		user := items[0][0]
		for n, code := range items {
			if code[0] != user || code[1] != items[0][1]+uint8(n) {
				t.Fatalf("%v are not consecutive visits of one user", items)
			}
		}
		if n := len(items); user < 8 && n != int(user)+1 || user >= 8 && n != stretchMax {
			t.Fatalf("user %d: %d visits", user, n)
		}
		read[user]++
		if from[user] == nil {
			from[user] = map[uint8]bool{}
		}
		from[user][items[0][1]] = true
	}
	for u := uint8(1); u < users; u++ {
		want := 1
		if u >= 8 {
			want = perUser - stretchMax + 1
		}
		if len(from[u]) != want || read[u] < 50 {
			t.Errorf("user %d is read %d times from %d places, want about 91 and %d", u, read[u], len(from[u]), want)
		}
	}
}

// items are the first two codes of each semantic ID.
func (w *world) items(tokens []int32) (out [][2]uint8) {
	for i, id := range tokens {
		var a, b uint8
		if n, _ := fmt.Sscanf(w.tok.Decode([]int32{id}), "<s_a_%d>", &a); n == 0 {
			continue
		}
		if n, _ := fmt.Sscanf(w.tok.Decode(tokens[i+1:i+2]), "<s_b_%d>", &b); n == 1 {
			out = append(out, [2]uint8{a, b})
		}
	}
	return out
}

func TestSameCoordinatesSameExample(t *testing.T) {
	w := newWorld(t)
	m := Mixture{Sequence: 1, Persona: 1, Caption: 1, Text: 1}
	a, b, other := w.source(t, everyone, m, 1), w.source(t, everyone, m, 1), w.source(t, everyone, m, 2)
	if a.Len() != 1000 {
		t.Errorf("%d examples an epoch, want 1000", a.Len())
	}
	var forward, epochs, seeds []string
	for i := range 100 {
		forward = append(forward, w.text(t, a, 0, i))
		epochs = append(epochs, w.text(t, a, 1, i))
		seeds = append(seeds, w.text(t, other, 0, i))
	}
	for i := 99; i >= 0; i-- {
		x, err := a.Example(0, i)
		if err != nil {
			t.Fatal(err)
		}
		if y, err := b.Example(0, i); err != nil || !reflect.DeepEqual(x, y) || w.tok.Decode(y.Tokens) != forward[i] {
			t.Fatalf("example %d depends on what was drawn before: %v", i, err)
		}
	}
	if slices.Equal(forward, epochs) || slices.Equal(forward, seeds) {
		t.Error("another epoch or another seed gives the same examples")
	}
}

// Without sequences the items alone are read; a mixture that then gives no
// task any weight is refused.
func TestNobodyIncluded(t *testing.T) {
	w := newWorld(t)
	nobody := func(int32) bool { return false }
	s := w.source(t, nobody, Mixture{Sequence: 1, Persona: 1, Caption: 1}, 1)
	for i := range 50 {
		if got := task(w.text(t, s, 0, i)); got != "caption" {
			t.Fatalf("task %s, want captions only", got)
		}
	}
	for _, m := range []Mixture{{}, {Sequence: 1, Persona: 1}} {
		if _, err := New(w.builder, w.catalog, w.events, nobody, m, 10, 1); fault.KindOf(err) != fault.Usage {
			t.Errorf("mixture %+v: %v, want a usage error", m, err)
		}
	}
}
