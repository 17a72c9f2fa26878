package encoder

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/gr2/gr2/internal/fault"
)

// The poolings.
const (
	Auto = "auto" // as 1_Pooling/config.json says
	Last = "last" // the state of the last token
	Mean = "mean" // the mean of all states
)

// Poolings are all of them.
var Poolings = []string{Auto, Last, Mean}

// layout is what the files of sentence-transformers say. Without them only the
// zero values are known.
type layout struct {
	model        string // folder of the decoder
	pooling      string
	promptPooled bool // a mean takes in the tokens of the prompt
	maxTokens    int  // 0: not said
	prompt       string
}

// readLayout reads the files of a directory. A pooling that is given stands in
// for the directory's own.
func readLayout(dir fs.FS, pooling string) (layout, error) {
	l := layout{model: ".", promptPooled: true}
	folder, err := l.readModules(dir)
	if err != nil {
		return l, err
	}
	if pooling != Auto {
		l.pooling = pooling
	} else if err := l.readPooling(dir, path.Join(folder, "config.json")); err != nil {
		return l, err
	}
	var limits struct {
		MaxSeqLength *int `json:"max_seq_length"`
		DoLowerCase  bool `json:"do_lower_case"`
	}
	name := path.Join(l.model, "sentence_bert_config.json")
	if err := optionalJSON(dir, name, &limits); err != nil {
		return l, err
	}
	if limits.DoLowerCase {
		return l, fault.Inputf("%s: do_lower_case is not supported", name)
	}
	if limits.MaxSeqLength != nil {
		l.maxTokens = *limits.MaxSeqLength
	}
	return l, l.readPrompt(dir)
}

// readModules finds the decoder and returns the folder of the pooling.
func (l *layout) readModules(dir fs.FS) (pooling string, err error) {
	var modules []struct {
		Path string `json:"path"`
		Type string `json:"type"`
	}
	if err := optionalJSON(dir, "modules.json", &modules); err != nil {
		return "", err
	}
	pooling = "1_Pooling"
	for i, m := range modules {
		folder := path.Clean(m.Path)
		if !fs.ValidPath(folder) {
			return "", fault.Inputf("modules.json: path %q leads out of the directory", m.Path)
		}
		kind := m.Type[strings.LastIndexByte(m.Type, '.')+1:]
		switch {
		case i == 0 && kind == "Transformer":
			l.model = folder
		case i == 1 && kind == "Pooling":
			pooling = folder
		case i == 2 && kind == "Normalize": // as we do in any case
		default:
			return "", fault.Inputf("modules.json: module %d of type %q is not supported; only Transformer, Pooling and Normalize in this order are", i, m.Type)
		}
	}
	return pooling, nil
}

func (l *layout) readPooling(dir fs.FS, name string) error {
	var flags map[string]any
	if err := optionalJSON(dir, name, &flags); err != nil {
		return err
	}
	if flags == nil {
		return fault.Usagef("there is no %s that says how states are pooled: set the pooling to %s or %s, as the model's page says", name, Last, Mean)
	}
	var asked []string
	for key, value := range flags {
		switch mode, _ := strings.CutPrefix(key, "pooling_mode_"); {
		case key == "pooling_mode":
			asked = append(asked, fmt.Sprint(value))
		case mode != key && value == true:
			asked = append(asked, mode)
		}
	}
	slices.Sort(asked)
	if include, ok := flags["include_prompt"].(bool); ok {
		l.promptPooled = include
	}
	if len(asked) == 1 {
		l.pooling = map[string]string{"lasttoken": Last, "mean_tokens": Mean, "mean": Mean}[asked[0]]
	}
	if l.pooling == "" {
		return fault.Inputf("%s: pooling %q is not supported; only lasttoken or mean_tokens alone is", name, asked)
	}
	return nil
}

// readPrompt finds the prompt that is put before texts when none is asked for.
func (l *layout) readPrompt(dir fs.FS) error {
	var c struct {
		Prompts map[string]string `json:"prompts"`
		Default *string           `json:"default_prompt_name"`
	}
	const name = "config_sentence_transformers.json"
	if err := optionalJSON(dir, name, &c); err != nil || c.Default == nil {
		return err
	}
	prompt, ok := c.Prompts[*c.Default]
	if !ok {
		return fault.Inputf("%s: default_prompt_name is %q, which prompts does not have", name, *c.Default)
	}
	l.prompt = prompt
	return nil
}

// optionalJSON reads a file if there is one.
func optionalJSON(dir fs.FS, name string, v any) error {
	b, err := fs.ReadFile(dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fault.Inputf("%s: %w", name, err)
	}
	return nil
}

// modelFiles are read besides the weights.
var modelFiles = []string{"config.json", "tokenizer.json", "tokenizer_config.json"}

// digest is the SHA-256 of the names and contents of the files that a model is
// read from: configuration, tokenizer and weights.
func digest(model fs.FS) ([sha256.Size]byte, error) {
	all := sha256.New()
	if _, err := fs.Stat(model, "config.json"); err != nil {
		return [sha256.Size]byte{}, fault.Inputf("%w: this is no directory of a model", err)
	}
	names, err := fs.Glob(model, "*")
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	for _, name := range names { // in order
		if !slices.Contains(modelFiles, name) && path.Ext(name) != ".safetensors" {
			continue
		}
		one := sha256.New()
		f, err := model.Open(name)
		if err != nil {
			return [sha256.Size]byte{}, err
		}
		_, err = io.Copy(one, f)
		f.Close()
		if err != nil {
			return [sha256.Size]byte{}, fmt.Errorf("%s: %w", name, err)
		}
		fmt.Fprintf(all, "%q %x\n", name, one.Sum(nil))
	}
	return [sha256.Size]byte(all.Sum(nil)), nil
}
