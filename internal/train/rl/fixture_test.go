package rl

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/prompt"
	"github.com/gr2/gr2/internal/reward"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/sid"
	"github.com/gr2/gr2/internal/token"
	"github.com/gr2/gr2/internal/train"
)

const items = 30

// world is a tokenizer and prompts that show ranks and one evidence code.
type world struct {
	tok   *token.Tokenizer
	build *prompt.Builder
}

var (
	theWorld  = sync.OnceValues(func() (world, error) { return makeWorld(func(*prompt.Options) {}) })
	theJudges = sync.OnceValues(func() (world, error) { return makeWorld(func(o *prompt.Options) { o.Judge = true }) })
	theCoded  = sync.OnceValues(func() (world, error) { return makeWorld(func(o *prompt.Options) { o.SID = true }) })
)

// twoCodes are semantic IDs of two levels.
type twoCodes struct{}

func (twoCodes) Code(item int32) []uint8 { return []uint8{uint8(item % 4), uint8(item / 4)} }

func makeWorld(change func(*prompt.Options)) (world, error) {
	opt := prompt.Options{Title: true, TitleMax: 3, Rank: true, Evidence: true, EvidenceNames: []string{"co"}, EvidenceBuckets: 4}
	change(&opt)
	list := make([]market.Item, items)
	for i := range list {
		list[i] = market.Item{ID: fmt.Sprint("i", i), Title: fmt.Sprintf("Brush %c", 'a'+i)}
	}
	catalog, err := market.NewCatalog(list)
	if err != nil {
		return world{}, err
	}
	corpus, err := prompt.Corpus(catalog, opt)
	if err != nil {
		return world{}, err
	}
	tok, err := token.Train(corpus, token.Options{VocabSize: 350, Required: prompt.RequiredTokens(),
		Added: append(prompt.SpecialTokens(opt), sid.TokenNames(2, 8)...), Control: prompt.ControlTokens()})
	if err != nil {
		return world{}, err
	}
	var codes prompt.Codes
	if opt.SID {
		codes = twoCodes{}
	}
	b, err := prompt.New(tok, catalog, codes, opt)
	return world{tok, b}, err
}

func newWorld(t testing.TB) world { return mustWorld(t, theWorld) }

// newCoded is the world with semantic IDs in its prompts.
func newCoded(t testing.TB) world { return mustWorld(t, theCoded) }

// newJudges is the world with judgements in its vocabulary.
func newJudges(t testing.TB) world { return mustWorld(t, theJudges) }

func mustWorld(t testing.TB, make func() (world, error)) world {
	t.Helper()
	w, err := make()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// model is a decoder with random weights, drawn out so that its choices differ.
func (w world) model(t testing.TB) *lm.Model {
	t.Helper()
	m, err := lm.New(lm.Config{
		Architecture: lm.Qwen3, QKNorm: true, VocabSize: w.tok.Size(), Hidden: 32, Layers: 2, Heads: 2, KVHeads: 2, HeadDim: 16,
		Intermediate: 64, MaxPositions: 256, RopeTheta: 10000, NormEps: 1e-6, TieEmbeddings: true,
		BOS: lm.NoToken, EOS: lm.NoToken, PAD: lm.NoToken,
	}, 1)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// cases are slates of k candidates with one positive. The evidence tells it: its
// code is 3, that of the others is lower.
func cases(n, k int) []Case {
	var all []Case
	for i := range n {
		r := rng.New(5, rng.Key("cases"), uint64(i))
		c := Case{Slate: &market.Slate{ID: fmt.Sprint("s", i), User: -1, Time: 1e9, Grades: make([]uint8, k)}}
		for range k {
			c.Slate.Candidates = append(c.Slate.Candidates, market.Candidate{Item: int32(r.IntN(items))})
			c.Evidence = append(c.Evidence, []uint8{uint8(r.IntN(3))})
		}
		positive := r.IntN(k)
		c.Slate.Grades[positive], c.Evidence[positive][0] = 1, 3
		all = append(all, c)
	}
	return all
}

func options() Options {
	return Options{
		Steps: 6, Prompts: 4, Group: 4, Temperature: 1, Shuffle: .5, Margin: 4,
		Reward: reward.Reward{Variant: reward.A, Metric: reward.AUC, Alpha: .1}, Attempts: 3, Deviation: true, Credit: ToAnswer,
		Low: .2, High: .28, Normalizer: ByToken, Epochs: 1, Updates: 2, BatchTokens: 1024,
		Schedule: train.Schedule{LR: 1e-3, Floor: 1}, Clip: 1, Seed: 7, Checkpoint: 2, Validate: 2,
	}
}

func (w world) run(t testing.TB, dir string, o Options) *Run {
	r := &Run{Dir: dir, Model: w.model(t), Builder: w.build, Tokenizer: w.tok, Cases: cases(12, 5), Options: o}
	if o.KL > 0 {
		r.Reference = w.model(t)
	}
	return r
}

func bits(m *lm.Model) []byte {
	var b bytes.Buffer
	if err := lm.WriteSafetensors(&b, m.Tensors(), nil); err != nil {
		panic(err)
	}
	return b.Bytes()
}
