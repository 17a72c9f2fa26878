package backend

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"path/filepath"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/embed/cache"
	"github.com/gr2/gr2/internal/embed/encoder"
	"github.com/gr2/gr2/internal/embed/endpoint"
	"github.com/gr2/gr2/internal/fault"
)

const (
	cardFile = "embedder.json"
	lsaFile  = "text.lsa"
	format   = "gr2 embedder 1"
)

// Model is an embedder of any kind. Close it.
type Model struct {
	embed.Embedder // the cache, where there is one

	options Options // resolved
	dim     int
	inner   embed.Embedder // what computes
	cache   *cache.Cache   // nil: none
}

// card is what is stored of a model.
type card struct {
	Format  string  `json:"format"`
	Name    string  `json:"name"`
	Dim     int     `json:"dim"`
	Options Options `json:"options"`
}

// Open opens the embedder of a configuration. Kind lsa is fitted to texts, with
// the seed; the other kinds look at neither. An endpoint is asked for a vector,
// so that what is wrong with it shows at once.
func Open(ctx context.Context, o Options, texts iter.Seq[string], seed uint64) (*Model, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	m := &Model{options: o.withDefaults()}
	var err error
	switch o = m.options; o.Kind {
	case LSA:
		err = m.use(embed.FitLSA(ctx, texts, embed.LSAOptions{Dim: o.Dim, Seed: seed}))
	case HF:
		if m.options.Path, err = filepath.Abs(o.Path); err == nil {
			err = m.use(encoder.Open(o.Path, o.encoder()))
		}
	case OpenAI:
		var key string
		if key, err = o.key(); err == nil {
			err = m.use(endpoint.Open(ctx, o.endpoint(key)))
		}
	}
	if err != nil {
		return nil, err
	}
	return m, m.keep()
}

// Load restores the embedder that Save left in a folder, with the cache in
// another folder; empty is none. Nothing is asked of an endpoint before there is
// a text that the cache does not hold.
func Load(dir, cacheDir string) (*Model, error) {
	path := filepath.Join(dir, cardFile)
	c, err := readCard(path)
	if err != nil {
		return nil, err
	}
	m := &Model{options: c.Options}
	m.options.Cache = cacheDir
	switch o := m.options; o.Kind {
	case LSA:
		err = m.use(embed.LoadLSA(filepath.Join(dir, lsaFile)))
	case HF:
		err = m.use(encoder.Open(o.Path, o.encoder()))
	case OpenAI:
		var key string
		if key, err = o.key(); err == nil {
			err = m.use(endpoint.New(o.endpoint(key), c.Dim))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if m.inner.Name() != c.Name {
		return nil, fault.Corruptf("%s: the embedder is %s where %s was stored: its model was changed; put that one back, or embed all items again", path, m.inner.Name(), c.Name)
	}
	return m, m.keep()
}

func readCard(path string) (c card, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return c, fault.Corruptf("%s: %w; embed the items again", path, err)
	}
	if c.Format != format {
		return c, fault.Corruptf("%s: its format is %q, not %q; embed the items again", path, c.Format, format)
	}
	if err := c.Options.Validate(); err != nil {
		return c, fault.Corruptf("%s: %w", path, err)
	}
	return c, nil
}

// sized is an embedder that knows the length of its vectors.
type sized interface {
	embed.Embedder
	Dim() int
}

// use takes the outcome of opening an embedder.
func (m *Model) use(e sized, err error) error {
	if err != nil {
		return err
	}
	m.Embedder, m.inner, m.dim = e, e, e.Dim()
	return nil
}

// keep puts the cache before the embedder. LSA goes without: it embeds tens of
// thousands of texts a second, and a new fit is another model, whose vectors no
// earlier one has cached.
func (m *Model) keep() (err error) {
	if m.options.Cache == "" || m.options.Kind == LSA {
		return nil
	}
	if m.cache, err = cache.Open(m.options.Cache, m.inner); err == nil {
		m.Embedder = m.cache
	}
	return err
}

// Save stores the embedder in a folder, for Load. The file that Load reads
// first is written last.
func (m *Model) Save(dir string) error {
	if lsa, ok := m.inner.(*embed.LSA); ok {
		if err := lsa.Save(filepath.Join(dir, lsaFile)); err != nil {
			return err
		}
	}
	return durable.WriteJSON(filepath.Join(dir, cardFile), card{format, m.Name(), m.dim, m.options})
}

// Dim is the length of the vectors.
func (m *Model) Dim() int { return m.dim }

// Cached counts the texts that the cache held and those that were embedded.
func (m *Model) Cached() (hits, misses int64) {
	if m.cache == nil {
		return 0, 0
	}
	return m.cache.Counts()
}

// Cut counts the texts that were cut so far, and says to how many tokens.
func (m *Model) Cut() (texts int64, tokens int) {
	if e, ok := m.inner.(*encoder.Encoder); ok {
		return e.Cut(), e.MaxTokens()
	}
	return 0, 0
}

// Close makes the cache durable and lets go of it.
func (m *Model) Close() error {
	if m.cache == nil {
		return nil
	}
	return m.cache.Close()
}
