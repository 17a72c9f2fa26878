package nn

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/rng"
)

// forest is documents with parents, in depth-first order.
type forest struct {
	tokens  [][]int32
	weights [][]float32
	parents []int
}

// randomForest has documents of up to longest tokens, one or two trees.
func randomForest(r *rand.Rand, vocab, longest int) *forest {
	f := new(forest)
	for range 1 + r.IntN(2) {
		f.grow(r, -1, 3, vocab, longest)
	}
	return f
}

// grow adds a document and, while there are generations left, its children.
func (f *forest) grow(r *rand.Rand, parent, generations, vocab, longest int) {
	doc, n := len(f.parents), 1+r.IntN(longest)
	tokens, weights := make([]int32, n), make([]float32, n)
	for i := range tokens {
		tokens[i] = int32(r.IntN(vocab))
		if r.IntN(3) > 0 {
			weights[i] = float32(r.NormFloat64())
		}
	}
	f.tokens, f.weights, f.parents = append(f.tokens, tokens), append(f.weights, weights), append(f.parents, parent)
	if generations > 1 {
		for range r.IntN(5) {
			f.grow(r, doc, generations-1-r.IntN(2), vocab, longest)
		}
	}
}

// shared is the forest with every document once.
func (f *forest) shared() *Batch {
	b := new(Batch)
	for i, parent := range f.parents {
		b.Append(parent, f.tokens[i], f.weights[i])
	}
	return b
}

// unshared has a document of its own for each leaf, from the root down to it.
// The weight of a token that several leaves have is divided among its copies.
func (f *forest) unshared(r *rand.Rand) *Batch {
	b := new(Batch)
	left := make([]int, len(f.parents)) // leaves below each document that are not written yet
	for _, leaf := range f.leaves() {
		for d := leaf; d >= 0; d = f.parents[d] {
			left[d]++
		}
	}
	spent := make([][]float32, len(f.parents))
	for d := range spent {
		spent[d] = make([]float32, len(f.tokens[d]))
	}
	for _, leaf := range f.leaves() {
		var tokens []int32
		var weights []float32
		for _, d := range f.path(leaf) {
			tokens = append(tokens, f.tokens[d]...)
			for i, w := range f.weights[d] {
				share := w - spent[d][i]
				if left[d] > 1 {
					share *= r.Float32()
				}
				spent[d][i] += share
				weights = append(weights, share)
			}
			left[d]--
		}
		b.Append(-1, tokens, weights)
	}
	return b
}

func (f *forest) leaves() (docs []int) {
	for d := range f.parents {
		if !slices.Contains(f.parents, d) {
			docs = append(docs, d)
		}
	}
	return docs
}

// path is the documents from the root down to d.
func (f *forest) path(d int) (docs []int) {
	for ; d >= 0; d = f.parents[d] {
		docs = append([]int{d}, docs...)
	}
	return docs
}

// TestTreeEqualsUnshared: loss and gradients of shared documents are those of a
// batch in which each leaf has its own copy of what stands above it.
func TestTreeEqualsUnshared(t *testing.T) {
	architectures := []string{lm.Llama, lm.Qwen2, lm.Qwen3}
	saved := 0
	for seed := range uint64(36) {
		r := rng.New(seed, rng.Key("forest"))
		m := mustModel(t, smallConfig(architectures[seed%3]))
		sharpen(m)
		f := randomForest(r, m.Config.VocabSize, []int{5, 40, 70}[seed/3%3])
		shared, unshared := f.shared(), f.unshared(r)
		if len(shared.Weights) == 0 {
			continue
		}
		name := fmt.Sprintf("seed %d, %d documents", seed, len(f.parents))
		for _, b := range []*Batch{shared, unshared} {
			if err := NewDecoder(m).Check(b); err != nil {
				t.Fatal(name, err)
			}
		}
		loss, grads := gradients(m, 10, shared)
		want, wantGrads := gradients(m, 10, unshared)
		near(t, name+": loss", []float32{float32(loss)}, []float32{float32(want)}, 2e-5)
		for i := range grads {
			near(t, name+": "+m.Tensors()[i].Name, grads[i], wantGrads[i], 5e-5)
		}
		saved += len(unshared.Tokens) - len(shared.Tokens)
	}
	if saved < 3000 {
		t.Errorf("sharing saved %d tokens: these forests test little", saved)
	}
}

// TestAppend gives a branch the positions behind its trunk, and lets the last
// token of the trunk predict the first one of each branch.
func TestAppend(t *testing.T) {
	b := new(Batch)
	trunk := b.Append(-1, []int32{7, 8, 9}, []float32{5, 0, 1})
	b.Append(trunk, []int32{4, 5}, []float32{2, 3})
	b.Append(trunk, []int32{6}, []float32{4})
	b.Append(-1, []int32{1}, []float32{1})
	for _, c := range []struct {
		name       string
		have, want []int32
	}{
		{"tokens", b.Tokens, []int32{7, 8, 9, 4, 5, 6, 1}},
		{"positions", b.Pos, []int32{0, 1, 2, 3, 4, 3, 0}},
		{"documents", b.Docs, []int32{0, 3, 5, 6}},
		{"parents", b.Parents, []int32{-1, 0, 0, -1}},
		{"rows", b.Rows, []int32{1, 2, 3, 2}},
		{"targets", b.Targets, []int32{9, 4, 5, 6}},
	} {
		if !slices.Equal(c.have, c.want) {
			t.Errorf("%s %v, want %v", c.name, c.have, c.want)
		}
	}
	if !slices.Equal(b.Weights, []float32{1, 2, 3, 4}) {
		t.Errorf("weights %v", b.Weights)
	}
}

// TestTilesAreWhatIsSeen: over random forests and tile sizes, each row meets
// each key that it sees once, and masked ones in tiles on the diagonal alone.
func TestTilesAreWhatIsSeen(t *testing.T) {
	for seed := range uint64(200) {
		r := rng.New(seed, rng.Key("tiles"))
		b := randomForest(r, 10, []int{3, 30, 150}[seed%3]).shared()
		tape := NewTape()
		tape.limits.queries = 2 * (1 + r.IntN(40))
		tape.limits.keys = (2*(tape.limits.queries+lane)/lane + 1 + r.IntN(3)) * lane
		d := tape.documents(len(b.Tokens), b.Docs, b.Parents)
		met := make([]bool, d.rows*d.rows)
		begun := make([]bool, d.rows)
		for i := range d.trees {
			for _, block := range d.tree(i) {
				tiles := 0
				d.tiles(block, func(x tile) {
					tiles++
					d.markTile(t, seed, x, met, begun)
				})
				if d.single(block) != (tiles == 1) {
					t.Fatalf("seed %d: %d tiles for block %v, single %t", seed, tiles, block, d.single(block))
				}
			}
		}
		for i, have := range met {
			q, k := i/d.rows, i%d.rows
			want := k <= q && above(documentOf(b.Docs, k), documentOf(b.Docs, q), b.Parents)
			if have != want {
				t.Fatalf("seed %d: row %d meets key %d: %t, want %t", seed, q, k, have, want)
			}
		}
	}
}

// markTile notes which keys the rows of a tile see.
func (d *documents) markTile(t *testing.T, seed uint64, x tile, met, begun []bool) {
	t.Helper()
	if x.hi-x.lo > d.queries || x.to-x.from > d.keys || x.hi <= x.lo || x.to <= x.from {
		t.Fatalf("seed %d: tile %v, want at most %d rows and %d keys", seed, x, d.queries, d.keys)
	}
	for q := x.lo; q < x.hi; q++ {
		if begun[q] == x.diagonal || x.seen(q) < 1 {
			t.Fatalf("seed %d: tile %v of row %d, begun %t", seed, x, q, begun[q])
		}
		begun[q] = true
		for k := x.from; k < x.from+x.seen(q); k++ {
			if met[q*d.rows+k] {
				t.Fatalf("seed %d: row %d meets key %d twice", seed, q, k)
			}
			met[q*d.rows+k] = true
		}
	}
}
