package fit

import (
	"cmp"
	"slices"

	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/rng"
)

// Rule names a way to give items their codes: see the package comment.
type Rule string

// The rules. Free, Sinkhorn and RandomFree give each item a code of its own.
const (
	Nearest    Rule = "nearest"
	Free       Rule = "free"
	Sinkhorn   Rule = "sinkhorn"
	Random     Rule = "random"
	RandomFree Rule = "random-free"
)

// Rules are all rules.
var Rules = []Rule{Nearest, Free, Sinkhorn, Random, RandomFree}

// Unique tells whether the rule gives no code twice.
func (r Rule) Unique() bool { return r == Free || r == Sinkhorn || r == RandomFree }

func (r Rule) draws() bool { return r == Random || r == RandomFree }

// AssignOptions choose the rule of an assignment.
type AssignOptions struct {
	Rule         Rule   `json:"rule" yaml:"rule"`                   // default free
	RandomLevels int    `json:"random_levels" yaml:"random_levels"` // last levels that are drawn; default 1 for the random rules, 0 for the others
	Seed         uint64 `json:"seed" yaml:"seed"`                   // of draws and of the order of choice

	// Taken are codes that other items have (items x levels): those of a catalog
	// that grows. A rule that gives unique codes gives none of them.
	Taken []uint8 `json:"-" yaml:"-"`
}

func (o AssignOptions) withDefaults() AssignOptions {
	o.Rule = cmp.Or(o.Rule, Free)
	if o.Rule.draws() && o.RandomLevels == 0 {
		o.RandomLevels = 1
	}
	return o
}

// Validate names the field that is out of range for codes of this many levels.
func (o AssignOptions) Validate(levels int) error {
	o = o.withDefaults()
	switch {
	case !slices.Contains(Rules, o.Rule):
		return fault.Usagef("sid: rule %q; use one of %v", o.Rule, Rules)
	case o.RandomLevels < 0 || o.RandomLevels > levels:
		return fault.Usagef("sid: random_levels %d; use 0 to %d, the levels of a code", o.RandomLevels, levels)
	case o.RandomLevels > 0 && !o.Rule.draws():
		return fault.Usagef("sid: random_levels %d; rule %q draws none: use %q or %q", o.RandomLevels, o.Rule, Random, RandomFree)
	}
	return nil
}

// Assign gives each row of latent (see Quantizer.Latent), whose item id stands
// beside it, a code by the rule of opt: rows x levels. The codes are a function
// of the quantizer, the seed, the taken codes and the set of items; the order of
// rows changes none. A rule of unique codes refuses more items than there are
// codes.
func Assign(q *Quantizer, latent embed.Matrix, ids []string, opt AssignOptions) ([]uint8, error) {
	opt = opt.withDefaults()
	if err := checkAssign(&q.Books, latent, ids, opt); err != nil {
		return nil, err
	}
	near := q.Books.Nearest(latent)
	switch opt.Rule {
	case Nearest:
		return near, nil
	case Random:
		drawLast(&q.Books, near, ids, opt)
		return near, nil
	}
	fixed := len(q.Books.Levels) - max(1, opt.RandomLevels)
	w := newWalker(&q.Books, latent, near, opt.Taken, fixed)
	order := hashOrder(ids, opt.Seed)
	switch opt.Rule {
	case Sinkhorn:
		w.placeByTransport(order)
	case RandomFree:
		w.placeByDraw(order, ids, opt)
	default:
		w.placeNearestFree(order)
	}
	return w.codes, nil
}

func checkAssign(books *Codebooks, latent embed.Matrix, ids []string, opt AssignOptions) error {
	levels := len(books.Levels)
	if err := opt.Validate(levels); err != nil {
		return err
	}
	if len(ids) != latent.Rows {
		return fault.Inputf("sid: %d ids for %d latent vectors", len(ids), latent.Rows)
	}
	if dim := books.Levels[0].Cols; latent.Rows > 0 && latent.Cols != dim {
		return fault.Inputf("sid: latent vectors of length %d for codebooks of length %d: pass what the quantizer's Latent gives", latent.Cols, dim)
	}
	if len(opt.Taken)%levels != 0 {
		return fault.Inputf("sid: %d taken codes are not a whole number of items of %d levels", len(opt.Taken), levels)
	}
	for i, c := range opt.Taken {
		if int(c) >= books.Width {
			return fault.Inputf("sid: taken item %d has code %d; the width is %d", i/levels, c, books.Width)
		}
	}
	if n := latent.Rows + len(opt.Taken)/levels; opt.Rule.Unique() && n > books.capacity(0) {
		return fault.Usagef("sid: %d items, but %d levels of width %d hold %d: add a level", n, levels, books.Width, books.capacity(0))
	}
	return nil
}

var orderStream = rng.Key("sid/fit/order")

// hashOrder is the order in which items choose: by seeded hash of the id, then
// by the id.
func hashOrder(ids []string, seed uint64) []int32 {
	hashes := make([]uint64, len(ids))
	order := make([]int32, len(ids))
	for i, id := range ids {
		order[i], hashes[i] = int32(i), rng.Hash(seed, orderStream, rng.Key(id))
	}
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(hashes[a], hashes[b]), cmp.Compare(ids[a], ids[b]))
	})
	return order
}

var drawStream = rng.Key("sid/fit/draw")

// draw is a number below n for an item and a level, uniform over the seeds.
func draw(seed uint64, id string, level, n int) int {
	return int(rng.Hash(seed, drawStream, rng.Key(id), uint64(level)) % uint64(n))
}

// drawLast replaces the last levels of each code by any code of the level.
func drawLast(books *Codebooks, codes []uint8, ids []string, opt AssignOptions) {
	levels := len(books.Levels)
	for i, id := range ids {
		for l := levels - opt.RandomLevels; l < levels; l++ {
			codes[i*levels+l] = uint8(draw(opt.Seed, id, l, books.Width))
		}
	}
}
