package rerank

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/market"
)

// A run that was written and opened answers as its parts did in memory.
func TestOpen(t *testing.T) {
	w := newWorld(t, 1, nil)
	dir := t.TempDir()
	w.save(t, dir)
	memory := w.reranker(t, Generate)
	disk, err := Open(dir, OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		s := w.slate(uint64(i), 9, 3)
		if a, b := mustRerank(t, memory, s), mustRerank(t, disk, s); !slices.Equal(a.Order, b.Order) || a.PromptTokens != b.PromptTokens {
			t.Errorf("slate %d: %v in memory, %v opened", i, a.Order, b.Order)
		}
	}
	again, err := Open(dir, OpenOptions{})
	if err != nil || len(disk.Model()) != 16 || again.Model() != disk.Model() {
		t.Errorf("hashes %q and %q, %v", disk.Model(), again.Model(), err)
	}
	first, err := Open(dir, OpenOptions{Mode: First})
	if err != nil || first.Model() == disk.Model() {
		t.Errorf("another mode has the same hash, or fails: %v", err)
	}
}

// Another stage of the same run can be opened; its hash is its own.
func TestOpenStage(t *testing.T) {
	w := newWorld(t, 1, nil)
	dir := t.TempDir()
	w.save(t, dir)
	w.parts.Model.Embed.Data[0]++
	w.saveModel(t, filepath.Join(dir, "rl", ModelDir))
	sft, err := Open(dir, OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rl, err := Open(dir, OpenOptions{Stage: "rl"})
	if err != nil || rl.Model() == sft.Model() {
		t.Errorf("rl: %v; hashes must differ", err)
	}
	if _, err := Open(dir, OpenOptions{Stage: "opd"}); err == nil || !strings.Contains(err.Error(), "opd") {
		t.Errorf("a stage that is not there: %v", err)
	}
}

func TestOpenRefusesPartsThatDisagree(t *testing.T) {
	w := newWorld(t, 1, nil)
	other := newWorld(t, 2, nil)
	elsewhere := t.TempDir()
	other.save(t, elsewhere)
	copyOver := func(path ...string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			name := filepath.Join(path...)
			data, err := os.ReadFile(filepath.Join(elsewhere, name))
			if err == nil {
				err = durable.WriteBytes(filepath.Join(dir, name), data)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	card := func(change func(*Card)) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			c, err := readCard(dir)
			if err != nil {
				t.Fatal(err)
			}
			change(&c)
			if err := durable.WriteJSON(filepath.Join(dir, CardFile), c); err != nil {
				t.Fatal(err)
			}
		}
	}
	cases := []struct {
		name   string
		change func(t *testing.T, dir string)
		kind   fault.Kind
		want   string
	}{
		{"tokenizer of another run", copyOver("sft", ModelDir, TokenizerFile), fault.Corrupt, "tokenizer is not the one"},
		{"evidence of another run", copyOver(EvidenceDir, EvidenceStats), fault.Corrupt, "evidence is not the one"},
		{"buckets of another run", copyOver(EvidenceDir, EvidenceBuckets), fault.Corrupt, "evidence buckets is not the one"},
		{"catalog of another run", func(t *testing.T, dir string) {
			if err := market.Save(filepath.Join(dir, CatalogDir), &market.Dataset{Name: "tiny", Catalog: other.ds.Catalog}); err != nil {
				t.Fatal(err)
			}
		}, fault.Corrupt, "catalog is not the one"},
		{"damaged index", func(t *testing.T, dir string) {
			path := filepath.Join(dir, SIDDir, SIDIndex)
			if err := os.Truncate(path, 100); err != nil {
				t.Fatal(err)
			}
		}, fault.Corrupt, "semantic ID index is not the one"},
		{"smaller model", func(t *testing.T, dir string) {
			cfg := w.parts.Model.Config
			cfg.VocabSize -= 64
			m, err := lm.New(cfg, 1)
			if err != nil {
				t.Fatal(err)
			}
			small := &world{parts: w.parts}
			small.parts.Model = m
			small.saveModel(t, filepath.Join(dir, "sft", ModelDir))
		}, fault.Input, "tokens, the model"},
		{"prompt with tokens that were never trained", card(func(c *Card) { c.Prompt.DaysSince, c.Prompt.EvidenceBuckets = true, 9 }), fault.Usage, "no added token"},
		{"card of the future", card(func(c *Card) { c.Schema = 99 }), fault.Corrupt, "schema 99"},
		{"no card", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, CardFile)) }, fault.Usage, "no finished run"},
		{"half a card", func(t *testing.T, dir string) { os.Truncate(filepath.Join(dir, CardFile), 20) }, fault.Corrupt, CardFile},
		{"unknown mode", card(func(c *Card) { c.Mode = "guess" }), fault.Usage, `mode "guess"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			w.save(t, dir)
			c.change(t, dir)
			_, err := Open(dir, OpenOptions{})
			if err == nil || !strings.Contains(err.Error(), c.want) || fault.KindOf(err) != c.kind {
				t.Errorf("want ...%s... (kind %d), got %v (kind %d)", c.want, c.kind, err, fault.KindOf(err))
			}
			if err != nil && (strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), dir)) {
				t.Errorf("not one line that names the folder: %q", err)
			}
		})
	}
}

// The card holds every option of the prompt under its own name.
func TestCardIsComplete(t *testing.T) {
	w := newWorld(t, 1, nil)
	dir := t.TempDir()
	w.save(t, dir)
	data, err := os.ReadFile(filepath.Join(dir, CardFile))
	if err != nil {
		t.Fatal(err)
	}
	var card struct {
		Prompt map[string]any
		Parts  map[string]string
	}
	if err := json.Unmarshal(data, &card); err != nil {
		t.Fatal(err)
	}
	if card.Prompt["history_max"] != 4.0 || card.Prompt["evidence"] != true || len(card.Parts) != 5 {
		t.Errorf("%s", data)
	}
}
