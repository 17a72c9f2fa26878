package backend

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gr2/gr2/internal/embed/encoder"
	"github.com/gr2/gr2/internal/embed/endpoint"
	"github.com/gr2/gr2/internal/fault"
)

// The kinds of embedders.
const (
	LSA    = "lsa"    // TF-IDF and truncated SVD, fitted to the catalog
	HF     = "hf"     // a sentence encoder in a Hugging Face directory
	OpenAI = "openai" // an OpenAI-compatible embeddings endpoint
)

// Options choose the embedder. Those of another kind than Kind must be empty.
type Options struct {
	// Kind is lsa, hf or openai.
	Kind string `yaml:"kind" json:"kind"`
	// Dim is the length of the vectors. For lsa 1 to 4096 columns, fewer when the
	// catalog's rank is lower. For hf the leading ones that are kept, for openai
	// the "dimensions" asked for: models trained for it (Matryoshka) lose little
	// by that, others much. 0 is 128 for lsa and the model's own length otherwise.
	Dim int `yaml:"dim" json:"dim"`
	// Prefix is put before each text: the instruction that a model expects. Of
	// hf, empty takes the directory's default prompt, if it has one.
	Prefix string `yaml:"prefix" json:"prefix,omitempty"`

	// Path is the directory of hf.
	Path string `yaml:"path" json:"path,omitempty"`
	// Pooling of hf is last, mean or auto: as 1_Pooling/config.json says.
	Pooling string `yaml:"pooling" json:"pooling,omitempty"`
	// MaxTokens of hf cuts longer texts; 0 is the directory's own limit.
	MaxTokens int `yaml:"max_tokens" json:"max_tokens,omitempty"`

	// URL of openai is its base, such as http://127.0.0.1:8000/v1.
	URL string `yaml:"url" json:"url,omitempty"`
	// Model is what the endpoint calls it.
	Model string `yaml:"model" json:"model,omitempty"`
	// KeyEnv names the environment variable with the API key; empty sends none.
	KeyEnv string `yaml:"key_env" json:"key_env,omitempty"`
	// Batch is the texts of a request.
	Batch int `yaml:"batch" json:"batch,omitempty"`
	// Concurrency is the requests under way at once.
	Concurrency int `yaml:"concurrency" json:"concurrency,omitempty"`
	// Timeout is the seconds that a request may take.
	Timeout float64 `yaml:"timeout" json:"timeout,omitempty"`
	// Retries of a request that met a lost connection, status 408, 429 or 5xx.
	Retries int `yaml:"retries" json:"retries,omitempty"`

	// Cache is the folder that keeps the vectors of hf and openai, by content;
	// empty keeps none. One process at a time may use it with the same model.
	Cache string `yaml:"cache" json:"-"`
}

// withDefaults fills what an empty key means.
func (o Options) withDefaults() Options {
	o.Kind = cmp.Or(o.Kind, LSA)
	o.Pooling = cmp.Or(o.Pooling, encoder.Auto)
	o.Batch = cmp.Or(o.Batch, 128)
	o.Concurrency = cmp.Or(o.Concurrency, 4)
	o.Timeout = cmp.Or(o.Timeout, 120)
	return o
}

// Validate names every field that is wrong, as a key of section embed.
func (o Options) Validate() error {
	o = o.withDefaults()
	var wrong []string
	fail := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if !slices.Contains([]string{LSA, HF, OpenAI}, o.Kind) {
		return fault.Usagef("embed.kind is %q; use one of %s, %s, %s", o.Kind, LSA, HF, OpenAI)
	}
	if low, high := 0, map[string]int{LSA: 4096}[o.Kind]; o.Dim < low || o.Dim > cmp.Or(high, 1<<16) {
		fail("embed.dim is %d; use %d to %d", o.Dim, low, cmp.Or(high, 1<<16))
	}
	for _, f := range []struct{ name, value, kind string }{
		{"path", o.Path, HF}, {"url", o.URL, OpenAI}, {"model", o.Model, OpenAI},
	} {
		switch {
		case o.Kind == f.kind && f.value == "":
			fail("embed.%s is empty; embed.kind %s needs it", f.name, o.Kind)
		case o.Kind != f.kind && f.value != "":
			fail("embed.%s is %q and embed.kind is %s; it belongs to %s", f.name, f.value, o.Kind, f.kind)
		}
	}
	switch {
	case o.Kind == LSA && o.Prefix != "":
		fail("embed.prefix is %q; %s takes none", o.Prefix, LSA)
	case !slices.Contains(encoder.Poolings, o.Pooling):
		fail("embed.pooling is %q; use one of %s", o.Pooling, strings.Join(encoder.Poolings, ", "))
	case o.MaxTokens < 0:
		fail("embed.max_tokens is %d; use 1 or more, or 0 for the model's own limit", o.MaxTokens)
	}
	if o.Kind == OpenAI && len(wrong) == 0 {
		if err := o.endpoint("").Validate(); err != nil {
			fail("embed: %v", err)
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fault.Usagef("%s", strings.Join(wrong, "; "))
}

// Mark is a digest of what the vectors of texts depend on: of the options that
// change any, and of the files of a sentence encoder, wherever they stand.
func (o Options) Mark() (string, error) {
	o = o.withDefaults()
	files := ""
	if o.Kind == HF {
		var err error
		if files, err = encoder.Digest(o.Path, o.encoder()); err != nil {
			return "", err
		}
	}
	o.Path, o.KeyEnv, o.Batch, o.Concurrency, o.Timeout, o.Retries, o.Cache = "", "", 0, 0, 0, 0, ""
	return fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%s %+v", files, o))), nil
}

func (o Options) endpoint(key string) endpoint.Options {
	return endpoint.Options{
		URL: o.URL, Model: o.Model, Key: key, Dim: o.Dim, Prefix: o.Prefix, Batch: o.Batch, Concurrency: o.Concurrency,
		Timeout: time.Duration(o.Timeout * float64(time.Second)), Retries: o.Retries, Pause: time.Second,
	}
}

func (o Options) encoder() encoder.Options {
	return encoder.Options{Pooling: o.Pooling, Prefix: o.Prefix, MaxTokens: o.MaxTokens, Dim: o.Dim}
}

// key reads the API key.
func (o Options) key() (string, error) {
	if o.KeyEnv == "" {
		return "", nil
	}
	key := strings.TrimSpace(os.Getenv(o.KeyEnv))
	if key == "" {
		return "", fault.Usagef("embed.key_env names the environment variable %s, which is not set: export it with the API key", o.KeyEnv)
	}
	return key, nil
}
