package infer_test

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/infer"
	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/rng"
)

// tree is a trie by node.
type tree struct {
	tokens, nodes [][]int32
	parents       []int32
}

func (t *tree) Children(node int32) (tokens, nodes []int32) { return t.tokens[node], t.nodes[node] }

// newTree grows a trie of sequences of up to depth tokens. Some nodes have a
// single child, and some sequences end early.
func newTree(r *rand.Rand, vocab, depth, width int) *tree {
	t := &tree{}
	t.grow(r, -1, vocab, depth, width)
	return t
}

func (t *tree) grow(r *rand.Rand, parent int32, vocab, depth, width int) int32 {
	node := int32(len(t.parents))
	t.parents, t.tokens, t.nodes = append(t.parents, parent), append(t.tokens, nil), append(t.nodes, nil)
	if depth == 0 || parent >= 0 && r.IntN(8) == 0 {
		return node
	}
	for _, token := range r.Perm(vocab)[:1+r.IntN(width)] {
		child := t.grow(r, node, vocab, depth-1, width)
		t.tokens[node], t.nodes[node] = append(t.tokens[node], int32(token)), append(t.nodes[node], child)
	}
	return node
}

// path is the tokens from the root to a node, and for each the choices it was
// among.
func (t *tree) path(node int32) (tokens []int32, among [][]int32) {
	for p := t.parents[node]; p >= 0; node, p = p, t.parents[p] {
		tokens = append(tokens, t.tokens[p][slices.Index(t.nodes[p], node)])
		among = append(among, t.tokens[p])
	}
	slices.Reverse(tokens)
	slices.Reverse(among)
	return tokens, among
}

// exhaustive scores every sequence of the trie behind the prompt with the
// reference model, best first.
func exhaustive(m *lm.Model, prompt []int32, t *tree) []infer.Hypothesis {
	var out []infer.Hypothesis
	for node := range t.parents {
		if len(t.nodes[node]) > 0 {
			continue
		}
		tokens, among := t.path(int32(node))
		logits := reference(m, slices.Concat(prompt, tokens))
		total := 0.0
		for i, token := range tokens {
			row, sum := logits[len(prompt)-1+i], 0.0
			for _, c := range among[i] {
				sum += math.Exp(row[c])
			}
			total += row[token] - math.Log(sum)
		}
		out = append(out, infer.Hypothesis{Node: int32(node), LogProb: float32(total)})
	}
	slices.SortStableFunc(out, func(a, b infer.Hypothesis) int { return cmp.Compare(b.LogProb, a.LogProb) })
	return out
}

func beamOf(t testing.TB, e *infer.Engine, requests ...infer.BeamRequest) [][]infer.Hypothesis {
	t.Helper()
	found, err := e.Beam(context.Background(), requests)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func session(t testing.TB, e *infer.Engine, prompt []int32) *infer.Session {
	t.Helper()
	s := e.NewSession()
	feed(t, s, prompt)
	return s
}

// A beam as wide as the catalog finds all of it, in the order and with the
// probabilities of scoring every sequence, and these sum to 1.
func TestFullBeamIsExhaustive(t *testing.T) {
	for name, cfg := range configs {
		m := newModel(t, cfg)
		e := newEngine(t, m)
		for seed := range uint64(4) {
			trie := newTree(rng.New(seed, rng.Key(name)), cfg.VocabSize, 4, 4)
			prompt := tokens(cfg, 3+int(seed)*40, seed)
			want := exhaustive(m, prompt, trie)
			got := beamOf(t, e, infer.BeamRequest{Session: session(t, e, prompt), Trie: trie, Width: len(want)})[0]
			if len(got) != len(want) {
				t.Fatalf("%s: %d of %d sequences found", name, len(got), len(want))
			}
			mass := 0.0
			byNode := map[int32]float32{}
			for i, h := range got {
				byNode[h.Node] = h.LogProb
				mass += math.Exp(float64(h.LogProb))
				if i > 0 && h.LogProb > got[i-1].LogProb {
					t.Errorf("%s: hypothesis %d is better than the one before", name, i)
				}
			}
			for _, h := range want {
				if p, ok := byNode[h.Node]; !ok || math.Abs(float64(p-h.LogProb)) > 2e-3 {
					t.Errorf("%s: sequence %d has log-probability %g, want %g", name, h.Node, p, h.LogProb)
				}
			}
			if math.Abs(mass-1) > 1e-3 {
				t.Errorf("%s: the probabilities sum to %g", name, mass)
			}
		}
	}
}

// A narrow beam gives what it finds its exhaustive score; one of 1 is greedy
// decoding.
func TestNarrowBeam(t *testing.T) {
	cfg := configs["qwen3"]
	m := newModel(t, cfg)
	e := newEngine(t, m)
	prompt := tokens(cfg, 9, 1)
	trie := newTree(rng.New(3), cfg.VocabSize, 3, 6)
	all := exhaustive(m, prompt, trie)
	for width := 1; width < 9; width++ {
		got := beamOf(t, e, infer.BeamRequest{Session: session(t, e, prompt), Trie: trie, Width: width})[0]
		if len(got) != width {
			t.Fatalf("width %d: %d found", width, len(got))
		}
		for _, h := range got {
			at := slices.IndexFunc(all, func(w infer.Hypothesis) bool { return w.Node == h.Node })
			if at < 0 || math.Abs(float64(all[at].LogProb-h.LogProb)) > 2e-3 {
				t.Errorf("width %d: sequence %d has log-probability %g", width, h.Node, h.LogProb)
			}
		}
	}
	node := int32(0)
	seq := slices.Clone(prompt)
	for len(trie.nodes[node]) > 0 {
		logits := reference(m, seq)
		row, best := logits[len(logits)-1], 0
		for i, c := range trie.tokens[node] {
			if row[c] > row[trie.tokens[node][best]] {
				best = i
			}
		}
		seq = append(seq, trie.tokens[node][best])
		node = trie.nodes[node][best]
	}
	if got := beamOf(t, e, infer.BeamRequest{Session: session(t, e, prompt), Trie: trie, Width: 1})[0]; got[0].Node != node {
		t.Errorf("a beam of 1 found %d, greedy decoding %d", got[0].Node, node)
	}
}

// What a request gets does not depend on the others or on threads, and its
// session stays as it was.
func TestBeamCompanyChangesNothing(t *testing.T) {
	cfg := configs["llama"]
	e := newEngine(t, newModel(t, cfg))
	build := func() (requests []infer.BeamRequest) {
		for i := range 40 {
			prompt := tokens(cfg, 1+i*3, uint64(i))
			read := i % len(prompt)
			s := e.NewSession()
			if read > 0 {
				feed(t, s, prompt[:read])
			}
			requests = append(requests, infer.BeamRequest{
				Session: s, Prompt: prompt[read:],
				Trie: newTree(rng.New(uint64(i)), cfg.VocabSize, 4, 9), Width: 1 + i%30,
			})
		}
		return requests
	}
	requests := build()
	together := beamOf(t, e, requests...)
	defer kernel.SetThreads(kernel.Threads())
	kernel.SetThreads(1)
	for i, r := range build() {
		if alone := beamOf(t, e, r)[0]; !slices.Equal(alone, together[i]) {
			t.Errorf("request %d alone found %v, in company %v", i, alone, together[i])
		}
		if n := i % (1 + i*3); requests[i].Session.Len() != n {
			t.Errorf("the session of request %d has %d tokens, had %d", i, requests[i].Session.Len(), n)
		}
	}
}

// Skipped sequences are missing, and the others have the probabilities that
// they would have had.
func TestBeamSkips(t *testing.T) {
	cfg := configs["llama"]
	e := newEngine(t, newModel(t, cfg))
	trie := newTree(rng.New(8), cfg.VocabSize, 3, 5)
	request := infer.BeamRequest{Session: session(t, e, tokens(cfg, 7, 2)), Trie: trie, Width: len(trie.parents)}
	all := beamOf(t, e, request)[0]
	for _, node := range all[:5] {
		for skipped := node.Node; skipped > 0; skipped = trie.parents[skipped] {
			below := func(n int32) bool {
				for n > skipped {
					n = trie.parents[n]
				}
				return n == skipped
			}
			request.Skip = func(n int32) bool { return n == skipped }
			got := beamOf(t, e, request)[0]
			want := slices.DeleteFunc(slices.Clone(all), func(h infer.Hypothesis) bool { return below(h.Node) })
			if !slices.Equal(got, want) {
				t.Errorf("without node %d: %v, want %v", skipped, got, want)
			}
		}
	}
}

func TestBeamRefuses(t *testing.T) {
	cfg := configs["llama"]
	m := newModel(t, cfg)
	e := newEngine(t, m)
	trie := newTree(rng.New(1), cfg.VocabSize, 3, 5)
	good := infer.BeamRequest{Session: session(t, e, []int32{1}), Trie: trie, Width: 2}
	narrow := good
	narrow.Width = 0
	if _, err := e.Beam(t.Context(), []infer.BeamRequest{good, narrow}); fault.KindOf(err) != fault.Input {
		t.Errorf("width 0: %v", err)
	}
	empty, foreign, full, unknown, choice := good, good, good, good, good
	empty.Session = e.NewSession()
	foreign.Session = session(t, newEngine(t, m), []int32{1})
	full.Session = session(t, e, tokens(cfg, cfg.MaxPositions, 1))
	unknown.Trie = &tree{tokens: [][]int32{{1, 2}, {int32(cfg.VocabSize)}, {}, {3, 4}, {}, {}},
		nodes: [][]int32{{1, 2}, {3}, {}, {4, 5}, {}, {}}}
	choice.Trie = &tree{tokens: [][]int32{{1, int32(cfg.VocabSize)}, {}, {}}, nodes: [][]int32{{1, 2}, {}, {}}}
	for name, r := range map[string]infer.BeamRequest{"empty": empty, "foreign": foreign, "full": full, "unknown token": unknown, "unknown choice": choice} {
		if _, err := e.Beam(t.Context(), []infer.BeamRequest{r}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Beam(ctx, []infer.BeamRequest{good}); err == nil {
		t.Error("a cancelled search ended without an error")
	}
}
