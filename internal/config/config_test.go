package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/gr2/gr2/internal/config"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/pipeline"
	"github.com/gr2/gr2/internal/sid/rqvae"
)

func TestPresetsLoad(t *testing.T) {
	for _, name := range config.Presets() {
		if _, err := config.Load(name, "", nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestExperimentsResolve: every configuration of an experiment still composes
// with the preset that its script names.
func TestExperimentsResolve(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "experiments", "*", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no configurations: %v", err)
	}
	for _, file := range files {
		preset := "nano"
		if strings.Contains(filepath.Base(file), "amazon") {
			preset = "small"
		}
		if _, err := config.Load(preset, file, nil); err != nil {
			t.Errorf("%s over %s: %v", file, preset, err)
		}
	}
}

// TestBasePresetStatesEveryKey: the other presets, and gr2's users, differ from it.
func TestBasePresetStatesEveryKey(t *testing.T) {
	read := func(text []byte) (tree map[string]any) {
		if err := yaml.Unmarshal(text, &tree); err != nil {
			t.Fatal(err)
		}
		return tree
	}
	stated, err := os.ReadFile(filepath.Join("presets", "small.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	o, err := config.Load("small", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	all, err := config.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	var compare func(prefix string, all, stated map[string]any)
	compare = func(prefix string, all, stated map[string]any) {
		for name, value := range all {
			if _, ok := stated[name]; !ok {
				t.Errorf("presets/small.yaml does not state %s%s", prefix, name)
				continue
			}
			if section, ok := value.(map[string]any); ok {
				compare(prefix+name+".", section, stated[name].(map[string]any))
			}
		}
	}
	compare("", read(all), read(stated))
}

// TestCellsResolve: so does every cell of the attribution, hours before its turn.
func TestCellsResolve(t *testing.T) {
	folder := filepath.Join("..", "..", "experiments", "rl_lift")
	cells, err := os.ReadFile(filepath.Join(folder, "cells.txt"))
	if err != nil {
		t.Fatal(err)
	}
	before := map[string]bool{}
	for line := range strings.Lines(string(cells)) {
		name, settings, _ := strings.Cut(strings.TrimSpace(line), " ")
		if other, with := strings.CutPrefix(settings, "against="); with {
			other, settings, _ = strings.Cut(other, " ")
			if !before[other] {
				t.Errorf("%s is compared with %s, which is no cell before it", name, other)
			}
		}
		if _, err := config.Load("small", filepath.Join(folder, "amazon.yaml"), strings.Fields(settings)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		before[name] = true
	}
}

func TestLaterSourcesWin(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gr2.yaml")
	if err := os.WriteFile(file, []byte("seed: 5\nsft:\n  lr: 0.25\n  epochs: 7\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	o, err := config.Load("nano", file, []string{"sft.epochs=9", "slates.orders=[sasrec, bpr]", "prompt.sid=false"})
	if err != nil {
		t.Fatal(err)
	}
	if o.Seed != 5 || o.SFT.LR != 0.25 || o.SFT.Epochs != 9 || o.Model.Hidden != 96 || o.Model.Architecture != "LlamaForCausalLM" {
		t.Errorf("composed %+v", o)
	}
	if !reflect.DeepEqual(o.Slates.Orders, []string{"sasrec", "bpr"}) || o.Prompt.SID {
		t.Errorf("settings not applied: %+v %+v", o.Slates, o.Prompt)
	}
}

func TestResolvedConfigurationReadsBack(t *testing.T) {
	o, err := config.Load("small", "", []string{"seed=3"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := config.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	back, err := config.Read(b, "config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(o.SFT, back.SFT) || back.Seed != 3 {
		t.Errorf("read back %+v", back)
	}
}

// Numbers may be written as documents write them, with an exponent and no point.
func TestNumbersWithExponents(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("rl:\n  lr: 4e-4\n  kl: 1E-1 # as in the paper\nsft:\n  lr: 6e-4\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	o, err := config.Load("nano", file, []string{"rl.clip=1e0", "sft.decay=1e-2"})
	if err != nil {
		t.Fatal(err)
	}
	if o.RL.LR != 4e-4 || o.RL.KL != .1 || o.SFT.LR != 6e-4 || o.RL.Clip != 1 || o.SFT.Decay != .01 {
		t.Errorf("rl %+v, sft %+v", o.RL, o.SFT)
	}
	for _, not := range []string{"rl.lr=.inf", "rl.lr=nan", "rl.steps=1e-2", "rl.lr=4e"} {
		if _, err := config.Load("nano", "", []string{not}); err == nil {
			t.Errorf("--set %s was taken", not)
		}
	}
}

func TestWrongConfigurationIsNamed(t *testing.T) {
	cases := []struct{ preset, settings, want string }{
		{"smal", "", `preset "smal" is unknown`},
		{"small", "stf.lr=1", `did you mean "sft.lr"`},
		{"small", "sft.epoch=1", `did you mean "sft.epochs"`},
		{"small", "sft", "section.key=value"},
		{"small", "sft.lr=fast", "sft.lr is fast; use a number"},
		{"small", "rl.steps=78.1", "rl.steps is 78.1; use a whole number"},
		{"small", "rl.steps=abc", "rl.steps is abc; use a whole number"},
		{"small", "seed=2.5", "seed is 2.5; use a whole number"},
		{"small", "seed=-1", "seed is -1; use a whole number"},
		{"small", "sft.pointer=1", "sft.pointer is 1; use true or false"},
		{"small", "rl=5", "rl is 5; use its keys"},
		{"small", "sft.orders=sasrec", "sft.orders"},
		{"small", "rl.reward=A", `rl.reward is "A"; use one of naive, a, b, c`},
		{"small", "rl.metric=mrr", `rl.metric is "mrr"; use one of auc, ndcg, promotion`},
		{"nano", "slates.k=2 model.max_positions=1087", "answers of up to 64 (by slates.k) take"},
		{"small", "rl.updates=65", "rl.updates is 65 and rl.prompts 64"},
		{"small", "rl.alpha=-1", "rl.alpha is -1; use 0 to 100"},
		{"small", "slates.k=51", "slates.k is 51; use 2 to 50"},
		{"small", "slates.orders=[sasrec,magic]", `slates.orders is "magic"`},
		{"small", "sft.orders=[logged]", `sft.orders is "logged"`},
		{"small", "eval.decode=", "eval.decode"},
		{"small", "sft.judge_layers=0", "sft.pointer needs sft.judge_layers other than 0; or set sft.pointer=false"},
		{"small", "model.architecture=Qwen3ForCausalLM", "sft.pointer needs a model.architecture other than Qwen3ForCausalLM; or"},
		{"small", "sft.judge_layers=-4", "sft.judge_layers is -4; use 0 to 3"},
		{"small", "sft.teacher_epochs=0", "sft.teacher_judges needs a teacher"},
		{"small", "sft.teacher_epochs=0", "sft.teacher_trees needs a teacher"},
		{"small", "prompt.judge=false rl.lambda_judge=1", "rl.lambda_judge needs prompt.judge and sft.judge_layers"},
		{"small", "rl.decode=free rl.credit=answer rl.margin=0", "rl.margin is 0 and rl.decode is free"},
		{"small", "rl.decode=free rl.credit=answer rl.margin=1024 prompt.max_tokens=1025", "model.max_positions is 2048, and prompts of up to 1025 tokens (prompt.max_tokens) with answers of up to 1088 (by slates.k and rl.margin) take 2113"},
		{"small", "sid.method=kmeans", `sid.method is "kmeans"; use one of rq-kmeans`},
		{"small", "sid.assign=", "sid.assign is empty; use one of [nearest free"},
		{"small", "sid.assign=greedy", `"greedy"`},
		{"small", "sid.random_levels=1", "random_levels 1"},
		{"small", "sid.slack=0", "sid.slack is 0"},
		{"small", "sid.rqvae.emma=0.9", `did you mean "sid.rqvae.ema"`},
		{"small", "sid.rqvae.ema=1", "sid.rqvae: ema 1"},
		{"small", "sid.rqvae.levels=3", `no key "sid.rqvae.levels"`},
	}
	for _, c := range cases {
		_, err := config.Load(c.preset, "", strings.Split(c.settings, " "))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s %s: error %q, want one line with %q", c.preset, c.settings, err, c.want)
		}
		if fault.Exit(err) != 2 {
			t.Errorf("%s %s: exit %d", c.preset, c.settings, fault.Exit(err))
		}
	}
}

func TestDifferencesNameKeysAndValues(t *testing.T) {
	o, err := config.Load("small", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	changed, err := config.Change(o, []string{"sft.lr=0.5", "slates.orders=[bpr]"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := config.Differences(o, changed)
	if err != nil || !slices.Equal(got, []string{"sft.lr: 0.002 -> 0.5", "slates.orders: [sasrec bpr blend] -> [bpr]"}) {
		t.Errorf("%q, %v", got, err)
	}
	if same, err := config.Differences(o, o); err != nil || len(same) != 0 {
		t.Errorf("%q, %v; want none", same, err)
	}
}

// TestSemanticIDsAreDocumented: docs/semantic-ids.md explains every key of its
// section.
func TestSemanticIDsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "semantic-ids.md"))
	if err != nil {
		t.Fatal(err)
	}
	check := func(prefix string, section reflect.Type) {
		for i := range section.NumField() {
			name := section.Field(i).Tag.Get("yaml")
			key := "`" + prefix + name + "`"
			if name != "-" && name != "rqvae" && !strings.Contains(string(doc), "| "+key) && !strings.Contains(string(doc), ", "+key) {
				t.Errorf("docs/semantic-ids.md has no row of %s", key)
			}
		}
	}
	check("sid.", reflect.TypeFor[pipeline.SIDOptions]())
	check("sid.rqvae.", reflect.TypeFor[rqvae.Options]())
}

// TestReinforcementLearningIsDocumented: docs/rl.md explains every key of its
// section.
func TestReinforcementLearningIsDocumented(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "rl.md"))
	if err != nil {
		t.Fatal(err)
	}
	section := reflect.TypeFor[pipeline.RLOptions]()
	for i := range section.NumField() {
		if key := "`rl." + section.Field(i).Tag.Get("yaml") + "`"; !strings.Contains(string(doc), "| "+key) && !strings.Contains(string(doc), ", "+key) {
			t.Errorf("docs/rl.md has no row of %s", key)
		}
	}
}
