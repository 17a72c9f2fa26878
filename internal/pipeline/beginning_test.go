package pipeline

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/prompt"
	"github.com/gr2/gr2/internal/token"
)

// midtrained is a world with a model where mid-training leaves it.
func midtrained(t *testing.T, change func(*Options)) *world {
	t.Helper()
	w := newTestWorld(t, func(o *Options) {
		o.Prompt.Judge, o.Prompt.Title = true, true
		o.Prompt.EvidenceNames = []string{"co"}
		o.Slates.K = 4
		change(o)
	})
	opt := w.job.Options.promptOptions()
	corpus, err := prompt.Corpus(w.data.Catalog, opt)
	if err != nil {
		t.Fatal(err)
	}
	if w.tok, err = token.Train(corpus, token.Options{VocabSize: 400, Required: prompt.RequiredTokens(),
		Added: prompt.SpecialTokens(opt), Control: prompt.ControlTokens()}); err != nil {
		t.Fatal(err)
	}
	if w.builder, err = prompt.New(w.tok, w.data.Catalog, nil, opt); err != nil {
		t.Fatal(err)
	}
	model, err := lm.New(lm.Config{Architecture: lm.Llama, VocabSize: w.tok.Size(), Hidden: 32, Layers: 3, Heads: 2, KVHeads: 2, HeadDim: 16,
		Intermediate: 48, MaxPositions: 256, RopeTheta: 10000, NormEps: 1e-6, TieEmbeddings: true, BOS: -1, EOS: 0, PAD: -1}, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, stage := range []string{StageMidtrain, StageSFT} {
		if err := w.saveModel(w.path(stage), model); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// differing names the tensors in which two models differ.
func differing(a, b *lm.Model) (names []string) {
	for i, x := range a.Tensors() {
		if !slices.Equal(x.Data, b.Tensors()[i].Data) {
			names = append(names, x.Name)
		}
	}
	return names
}

func mustBegin(t *testing.T, w *world, stage string) *lm.Model {
	t.Helper()
	m, err := w.beginning(stage)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// What mid-training leaves gets its head that points, in the layer above the
// judgements, and the same one each time: a resumed run and the reference of a KL
// begin with it as well. What SFT leaves is taken as it is.
func TestBeginningPoints(t *testing.T) {
	plain := midtrained(t, func(*Options) {})
	fresh := mustBegin(t, plain, StageMidtrain)
	w := midtrained(t, func(o *Options) { o.SFT.Pointer, o.SFT.JudgeLayers = true, 2 })
	m := mustBegin(t, w, StageMidtrain)
	changed := differing(m, fresh)
	for _, name := range changed {
		if !strings.HasPrefix(name, "model.layers.2.self_attn.") {
			t.Errorf("%s changes", name)
		}
	}
	if len(changed) != 4 {
		t.Errorf("%v change, want queries, keys, values and output", changed)
	}
	if again := differing(m, mustBegin(t, w, StageMidtrain)); again != nil {
		t.Errorf("a second time %v differ", again)
	}
	if sft := differing(mustBegin(t, w, StageSFT), fresh); sft != nil {
		t.Errorf("%v of what SFT left change", sft)
	}

	// The key is the verdict of yes over no, the right way round.
	no, yes := w.builder.JudgeTokens()
	key := m.Layers[2].K.Data[31*32:]
	dot := 0.0
	for j := range 32 {
		dot += float64(key[j]) * float64(m.Head.Data[int(yes)*32+j]-m.Head.Data[int(no)*32+j])
	}
	if dot <= 0 {
		t.Errorf("the key has %g of yes over no, want more than 0", dot)
	}
}

// What the stages depend on is in their fingerprints.
func TestFingerprintsOfTheSlateChoice(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"user_share":   func(o *Options) { o.SFT.UserShare = .5 },
		"pointer":      func(o *Options) { o.SFT.Pointer = true },
		"judge_layers": func(o *Options) { o.SFT.JudgeLayers = 2 },
	} {
		before, after := Options{}, Options{}
		before.RL.Steps, after.RL.Steps = 1, 1
		change(&after)
		for _, stage := range []string{StageSFT, StageRL} {
			if stageConfig(t, before, stage) == stageConfig(t, after, stage) {
				t.Errorf("%s does not change the fingerprint of %s", name, stage)
			}
		}
	}
}

// stageConfig is what the fingerprint of a stage covers of the options.
func stageConfig(t *testing.T, o Options, name string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, datasetManifest), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	g, err := assemble(&Job{Root: t.TempDir(), DataDir: dir, Options: o}, "lsa")
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(g.stages, func(s stage) bool { return s.name == name })
	b, err := json.Marshal(g.stages[at].config)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
