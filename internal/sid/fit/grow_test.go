package fit

import (
	"errors"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/sid"
)

// grown is a catalog of n items and the embeddings of later ones.
type grown struct {
	small
	index *sid.Index
	opt   AssignOptions
}

func fitFirst(t *testing.T, total, first int, opt AssignOptions) grown {
	t.Helper()
	g := grown{small: cloud(t, total, 8, Options{Levels: 3, Width: 32, Seed: 4}), opt: opt}
	part := g.rows(seq(first))
	index, err := sid.New(part.ids, 3, 32, assign(t, part, opt))
	if err != nil {
		t.Fatal(err)
	}
	g.index = index
	return g
}

// vectors embeds items of a catalog with these ids.
func (g grown) vectors(ids []string) func([]int32) (embed.Matrix, error) {
	return func(items []int32) (embed.Matrix, error) {
		rows := make([]int, len(items))
		for k, i := range items {
			rows[k] = slices.Index(g.ids, ids[i])
		}
		return g.rows(rows).latent, nil
	}
}

func (g grown) grow(t *testing.T, from *sid.Index, ids []string) (*sid.Index, Growth) {
	t.Helper()
	index, growth, err := Grow(from, g.q, g.opt, ids, g.vectors(ids))
	if err != nil {
		t.Fatal(err)
	}
	return index, growth
}

// A catalog grows by 5% and its items are numbered anew: every old item has the
// code it had, and by a rule of unique codes nobody shares one.
func TestGrowthLeavesOldCodes(t *testing.T) {
	for _, rule := range Rules {
		t.Run(string(rule), func(t *testing.T) {
			g := fitFirst(t, 2100, 2000, AssignOptions{Rule: rule, Seed: 9})
			ids := slices.Clone(g.ids)
			slices.Reverse(ids)
			index, growth := g.grow(t, g.index, ids)
			if want := (Growth{Kept: 2000, Added: 100}); growth != want {
				t.Errorf("%+v, want %+v", growth, want)
			}
			for row, id := range g.ids {
				now, ok := index.Row(id)
				if !ok || row < 2000 && !slices.Equal(index.Code(now), g.index.Code(int32(row))) {
					t.Fatalf("%s had %v, has %v", id, g.index.Code(int32(row)), index.Code(now))
				}
			}
			if s := index.Stats(); rule.Unique() && s.Uniqueness != 1 {
				t.Errorf("%d items share their code", s.Collisions)
			}
		})
	}
}

// What leaves keeps its code for its return; meanwhile decoding does not find it
// and no new item gets it.
func TestWhatLeavesIsReserved(t *testing.T) {
	g := fitFirst(t, 1100, 1000, AssignOptions{Seed: 2})
	ids := append(slices.Clone(g.ids[100:1000]), g.ids[1000:]...)
	away, growth := g.grow(t, g.index, ids)
	if want := (Growth{Kept: 900, Added: 100, Reserved: 100}); growth != want || away.Len() != 1000 || away.Rows() != 1100 {
		t.Errorf("%+v, want %+v", growth, want)
	}
	for row := range int32(100) {
		code := g.index.Code(row)
		if item, ok := away.Lookup(code); ok {
			t.Fatalf("%s has the code of %s, which left", away.ID(item), g.ids[row])
		}
		if _, ok := away.Find(code); ok {
			t.Fatalf("the trie leads to %v, whose item left", code)
		}
	}
	back, growth := g.grow(t, away, g.ids)
	if want := (Growth{Kept: 1100}); growth != want {
		t.Errorf("%+v, want %+v", growth, want)
	}
	for row := range int32(1000) {
		if !slices.Equal(back.Code(row), g.index.Code(row)) {
			t.Fatalf("%s came back with %v, had %v", g.ids[row], back.Code(row), g.index.Code(row))
		}
	}
}

// By rule nearest an item that comes has its nearest code, as if fitted with it.
func TestColdItemIsCodedAlone(t *testing.T) {
	g := fitFirst(t, 501, 500, AssignOptions{Rule: Nearest})
	index, _ := g.grow(t, g.index, g.ids)
	if want := nearestReference(g.q, g.latent.Row(500)); !slices.Equal(index.Code(500), want) {
		t.Errorf("code %v, want %v", index.Code(500), want)
	}
}

func TestGrowRefuses(t *testing.T) {
	g := fitFirst(t, 30, 20, AssignOptions{})
	other := fitFirst(t, 30, 20, AssignOptions{})
	other.q.Books.Width = 16
	mute := errors.New("no embedder")
	for name, err := range map[string]error{
		"quantizer": last(Grow(g.index, other.q, g.opt, g.ids, g.vectors(g.ids))),
		"length":    last(Grow(g.index, g.q, g.opt, g.ids, func(items []int32) (embed.Matrix, error) { return embed.NewMatrix(len(items), 5), nil })),
		"twice":     last(Grow(g.index, g.q, g.opt, append([]string{g.ids[3]}, g.ids[:20]...), g.vectors(g.ids))),
	} {
		if fault.KindOf(err) != fault.Input {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := last(Grow(g.index, g.q, g.opt, g.ids, func([]int32) (embed.Matrix, error) { return embed.Matrix{}, mute })); !errors.Is(err, mute) {
		t.Error(err)
	}
	if _, growth := g.grow(t, g.index, g.ids[:20]); growth != (Growth{Kept: 20}) {
		t.Errorf("%+v of a catalog that stands", growth)
	}
}

func last(_ *sid.Index, _ Growth, err error) error { return err }
