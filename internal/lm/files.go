package lm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/gr2/gr2/internal/fault"
)

const (
	weightsFile = "model.safetensors"
	indexFile   = "model.safetensors.index.json"
)

// Load reads a Hugging Face directory: config.json and either model.safetensors
// or the shards that model.safetensors.index.json lists. Every tensor that the
// configuration asks for must be there in its shape, and no other that would
// take part in the computation.
func Load(fsys fs.FS) (*Model, error) {
	cfg, err := ReadConfig(fsys)
	if err != nil {
		return nil, err
	}
	return load(fsys, cfg, func(name string) string { return name })
}

// LoadBase reads a directory whose decoder is wanted without its head, such as a
// sentence encoder's. Besides what Load reads, it takes the class without a head
// (Qwen3Model), whose tensors are named without "model.". The head of the result
// is tied to the embedding table, whatever the directory has.
func LoadBase(fsys fs.FS) (*Model, error) {
	cfg, err := readBaseConfig(fsys)
	if err != nil {
		return nil, err
	}
	return load(fsys, cfg, func(name string) string {
		if name == headName || strings.HasPrefix(name, basePrefix) {
			return name
		}
		return basePrefix + name
	})
}

// The names of tensors: those of the decoder begin with the prefix.
const (
	basePrefix = "model."
	headName   = "lm_head.weight"
)

// load reads the tensors of a configuration; named gives the name that belongs
// to the name in a file.
func load(fsys fs.FS, cfg Config, named func(string) string) (*Model, error) {
	files, err := weightFiles(fsys)
	if err != nil {
		return nil, err
	}
	m := layout(cfg)
	missing := map[string]*Tensor{}
	for _, t := range m.Tensors() {
		missing[t.Name] = t
	}
	for _, name := range files {
		if err := loadShard(fsys, name, cfg, named, missing); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, t := range m.Tensors() {
		if t.Data == nil {
			return nil, fault.Corruptf("%s: tensor %q is missing (%d of %d are)", strings.Join(files, ", "), t.Name, len(missing), len(m.Tensors()))
		}
	}
	return m, nil
}

// weightFiles lists the files with weights, each once, in order of name.
func weightFiles(fsys fs.FS) ([]string, error) {
	_, err := fs.Stat(fsys, weightsFile)
	if err == nil {
		return []string{weightsFile}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := readJSON(fsys, indexFile, &index); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fault.Inputf("no %s and no %s: not a model directory, or its weights are not safetensors", weightsFile, indexFile)
		}
		return nil, err
	}
	var files []string
	for _, name := range index.WeightMap {
		if strings.ContainsAny(name, `/\`) || !fs.ValidPath(name) {
			return nil, fault.Inputf("%s: shard %q is not a plain file name", indexFile, name)
		}
		files = append(files, name)
	}
	if len(files) == 0 {
		return nil, fault.Inputf("%s: weight_map is missing or empty", indexFile)
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// loadShard fills the tensors of one file and strikes them from missing.
func loadShard(fsys fs.FS, name string, cfg Config, named func(string) string, missing map[string]*Tensor) error {
	f, err := fsys.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	_, err = readSafetensors(f, info.Size(), func(e entry) ([]float32, error) {
		t, wanted := missing[named(e.name)]
		switch {
		case !wanted && ignorable(e.name, cfg):
			return nil, nil
		case !wanted:
			return nil, fault.Inputf("tensor %q is repeated or does not belong to a %s of %d layers", e.name, cfg.Architecture, cfg.Layers)
		case !slices.Equal(t.Shape, e.shape):
			return nil, fault.Inputf("tensor %q has shape %v, config.json asks for %v", e.name, e.shape, t.Shape)
		}
		delete(missing, t.Name)
		t.Data, err = e.alloc()
		return t.Data, err
	})
	return err
}

// ignorable reports tensors that old checkpoints carry and nothing needs: the
// rotary frequencies, and the head of a model that ties it to the embedding.
func ignorable(name string, cfg Config) bool {
	return strings.HasSuffix(name, "rotary_emb.inv_freq") || (cfg.TieEmbeddings && name == headName)
}

// Save writes config.json, generation_config.json and model.safetensors
// through create, which makes one named file with what fill writes.
func (m *Model) Save(create func(name string, fill func(io.Writer) error) error) error {
	if err := m.Config.Validate(); err != nil {
		return err
	}
	c := m.Config
	generation := hfGeneration{tokenOf(c.BOS), tokenOf(c.EOS), tokenOf(c.PAD)}
	if err := create("config.json", writeJSON(c.hf())); err != nil {
		return err
	}
	if err := create("generation_config.json", writeJSON(generation)); err != nil {
		return err
	}
	return create(weightsFile, func(w io.Writer) error {
		return WriteSafetensors(w, m.Tensors(), map[string]string{"format": "pt"}) // transformers demands the format
	})
}

func writeJSON(v any) func(io.Writer) error {
	return func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
}
