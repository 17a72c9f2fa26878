package rerank

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/evidence"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/prompt"
	"github.com/gr2/gr2/internal/sid"
	"github.com/gr2/gr2/internal/token"
)

// CardSchema is the version of Card.
const CardSchema = 1

// Card is RUN/prompt.json: how the run's policy is asked, and what it was made
// with.
type Card struct {
	Schema int            `json:"schema"`
	Stage  string         `json:"stage"` // folder of the policy: RUN/Stage/model
	Mode   Mode           `json:"mode"`
	Prompt prompt.Options `json:"prompt"`
	// JudgeLayers are the layers below the judgements; 0 is all of them.
	JudgeLayers int `json:"judge_layers,omitempty"`
	// Parts are the SHA-256 sums of what every policy of the run shares; Seal
	// fills them in.
	Parts map[string]string `json:"parts"`
}

// Seal writes the run's card with the sums of its parts as they stand. From
// then on Open refuses the run when one of them changes.
func Seal(dir string, c Card) error {
	catalog, err := openCatalog(dir)
	if err != nil {
		return err
	}
	c.Schema = CardSchema
	if c.Parts, err = sums(dir, c, catalog); err != nil {
		return err
	}
	return durable.WriteJSON(filepath.Join(dir, CardFile), c)
}

// OpenOptions choose another policy of the run than its card does. Empty
// fields choose nothing.
type OpenOptions struct {
	Stage   string
	Mode    Mode
	Weights Weights
}

// Open opens the policy of a run folder.
func Open(dir string, opt OpenOptions) (*Reranker, error) {
	card, err := readCard(dir)
	if err != nil {
		return nil, err
	}
	if opt.Stage != "" {
		if card.Stage = opt.Stage; !hasModel(dir, card.Stage) {
			return nil, fault.Usagef("run %s has no policy %q: it has %s", dir, opt.Stage, strings.Join(policies(dir), ", "))
		}
	}
	if opt.Mode != "" {
		card.Mode = opt.Mode
	}
	p := Parts{JudgeLayers: card.JudgeLayers, Weights: opt.Weights}
	if p.Catalog, err = openCatalog(dir); err != nil {
		return nil, err
	}
	if err := card.verify(dir, p.Catalog); err != nil {
		return nil, err
	}
	if err := p.openText(dir, card); err != nil {
		return nil, err
	}
	if p.Stats, p.Buckets, err = openEvidence(dir, card, p.Catalog); err != nil {
		return nil, err
	}
	models := filepath.Join(dir, card.Stage, ModelDir)
	if p.Model, err = lm.Load(os.DirFS(models)); err != nil {
		return nil, fmt.Errorf("%s: %w", models, err)
	}
	if p.Hash, err = card.hash(models); err != nil {
		return nil, err
	}
	if opt.Weights == Int8 {
		p.Hash += "-" + string(Int8)
	}
	r, err := New(p, card.Mode)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", dir, err)
	}
	return r, nil
}

// hasModel tells whether a stage of the run, by its plain name, left a policy.
func hasModel(dir, stage string) bool {
	_, err := os.Stat(filepath.Join(dir, stage, ModelDir))
	return err == nil && filepath.IsLocal(stage) && filepath.Base(stage) == stage
}

// policies are the stages of a run that left one.
func policies(dir string) []string {
	entries, _ := os.ReadDir(dir) // nobody has one where this fails
	var names []string
	for _, e := range entries {
		if hasModel(dir, e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names
}

// ModelPath is the folder of a run's policy, or of another stage's model.
func ModelPath(dir, stage string) (string, error) {
	if stage == "" {
		card, err := readCard(dir)
		if err != nil {
			return "", err
		}
		stage = card.Stage
	}
	return filepath.Join(dir, stage, ModelDir), nil
}

func readCard(dir string) (Card, error) {
	var c Card
	path := filepath.Join(dir, CardFile)
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, fault.Usagef("%s is no finished run: it has no %s; finish it with gr2 run, or name another folder", dir, CardFile)
	case err != nil:
		return c, err
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fault.Corruptf("%s: not the card of a run: %v", path, err)
	}
	if c.Schema != CardSchema {
		return c, fault.Corruptf("%s: schema %d, this program reads %d; run the last stage again", path, c.Schema, CardSchema)
	}
	return c, nil
}

func openCatalog(dir string) (*market.Catalog, error) {
	ds, err := market.Open(filepath.Join(dir, CatalogDir))
	if err != nil {
		return nil, err
	}
	return ds.Catalog, nil
}

// openText opens what turns slates into tokens.
func (p *Parts) openText(dir string, card Card) error {
	var codes prompt.Codes // stays nil without semantic IDs
	if card.Prompt.SID {
		path := filepath.Join(dir, SIDDir, SIDIndex)
		var index *sid.Index
		err := read(path, func(r io.Reader) (err error) {
			if index, err = sid.Read(r); err == nil {
				err = index.Check(p.Catalog)
			}
			return err
		})
		if err != nil {
			return err
		}
		codes = index
	}
	path := filepath.Join(dir, card.Stage, ModelDir, TokenizerFile)
	err := read(path, func(r io.Reader) (err error) {
		p.Tokenizer, err = token.Read(r)
		return err
	})
	if err != nil {
		return err
	}
	if p.Builder, err = prompt.New(p.Tokenizer, p.Catalog, codes, card.Prompt); err != nil {
		return fmt.Errorf("%s and %s: %w", path, CardFile, err)
	}
	return nil
}

func openEvidence(dir string, card Card, catalog *market.Catalog) (stats *evidence.Stats, buckets *evidence.Buckets, err error) {
	if !card.Prompt.Evidence {
		return nil, nil, nil
	}
	err = read(filepath.Join(dir, EvidenceDir, EvidenceStats), func(r io.Reader) (err error) {
		stats, err = evidence.Read(catalog, r)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	buckets = &evidence.Buckets{}
	err = read(filepath.Join(dir, EvidenceDir, EvidenceBuckets), func(r io.Reader) error {
		if err := json.NewDecoder(r).Decode(buckets); err != nil {
			return fault.Corruptf("not buckets of evidence: %v", err)
		}
		return buckets.Validate()
	})
	return stats, buckets, err
}

// read opens the file for parse and puts its name before any error.
func read(path string, parse func(io.Reader) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := parse(f); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// verify compares the parts with those that the run was sealed with.
func (c *Card) verify(dir string, catalog *market.Catalog) error {
	now, err := sums(dir, *c, catalog)
	if err != nil {
		return err
	}
	for _, part := range slices.Sorted(maps.Keys(now)) {
		if now[part] != c.Parts[part] {
			return fault.Corruptf("run %s: %s is not the one that the policy was made with (%.12s, %s says %.12s); run its stages again",
				dir, part, now[part], CardFile, c.Parts[part])
		}
	}
	return nil
}

// sums are the SHA-256 sums of what the policies of a run share.
func sums(dir string, c Card, catalog *market.Catalog) (map[string]string, error) {
	files := map[string]string{"tokenizer": filepath.Join(dir, c.Stage, ModelDir, TokenizerFile)}
	if c.Prompt.SID {
		files["semantic ID index"] = filepath.Join(dir, SIDDir, SIDIndex)
	}
	if c.Prompt.Evidence {
		files["evidence"] = filepath.Join(dir, EvidenceDir, EvidenceStats)
		files["evidence buckets"] = filepath.Join(dir, EvidenceDir, EvidenceBuckets)
	}
	out := map[string]string{}
	for part, path := range files {
		sum, err := fileSum(path)
		if err != nil {
			return nil, err
		}
		out[part] = sum
	}
	sum, err := catalogSum(catalog)
	out["catalog"] = sum
	return out, err
}

// catalogSum covers all that prompts can show of the items, in the order of
// their numbers.
func catalogSum(c *market.Catalog) (string, error) {
	h := sha256.New()
	enc := json.NewEncoder(h)
	for i := range c.Items {
		if err := enc.Encode(&c.Items[i]); err != nil {
			return "", fmt.Errorf("catalog: item %q: %w", c.Items[i].ID, err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// hash names everything that decides an answer: the card with its parts, the
// model's configuration and its weights.
func (c *Card) hash(models string) (string, error) {
	h := sha256.New()
	if err := json.NewEncoder(h).Encode(c); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(models) // in the order of names
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if e.Name() != "config.json" && !strings.HasSuffix(e.Name(), ".safetensors") {
			continue
		}
		sum, err := fileSum(filepath.Join(models, e.Name()))
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, e.Name(), sum)
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}

func fileSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
