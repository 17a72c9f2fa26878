package cache

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/fault"
)

// block is how many texts the embedder is given at a time; whatever stops the
// process, at most one block of each caller is lost.
const block = 512

// Cache is an Embedder that asks another one for what it does not hold. It is
// safe for concurrent use; two callers that miss the same text both ask.
type Cache struct {
	inner embed.Embedder
	name  string
	path  string

	unlock func()

	mu    sync.RWMutex
	store *store // nil until the first vector tells their length

	hits, misses atomic.Int64
}

// Open opens the cache of the embedder in a folder, which is made when missing.
// One process at a time may have it open. Close it.
func Open(dir string, inner embed.Embedder) (*Cache, error) {
	name := inner.Name()
	sum := sha256.Sum256([]byte(name))
	c := &Cache{inner: inner, name: name, path: filepath.Join(dir, fmt.Sprintf("%x.vectors", sum[:12]))}
	var err error
	if c.unlock, err = lock(c.path); err != nil {
		return nil, err
	}
	if c.store, err = openStore(c.path, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.unlock()
		return nil, err
	}
	return c, nil
}

// Name implements Embedder: a cache changes no vector.
func (c *Cache) Name() string { return c.name }

// Counts is how many texts were found and how many had to be embedded so far. A
// text that one call asks for twice is embedded once.
func (c *Cache) Counts() (hits, misses int64) { return c.hits.Load(), c.misses.Load() }

// Close makes what was added durable and lets go of the file. The cache must not
// be used any more.
func (c *Cache) Close() error {
	defer c.unlock()
	if c.store == nil {
		return nil
	}
	return errors.Join(c.store.f.Sync(), c.store.f.Close())
}

// Embed implements Embedder.
func (c *Cache) Embed(ctx context.Context, texts []string) (embed.Matrix, error) {
	keys := make([]key, len(texts))
	for i, t := range texts {
		keys[i] = keyOf(c.name, t)
	}
	out, missing, err := c.lookUp(keys)
	if err != nil {
		return out, err
	}
	if len(texts) == 0 && out.Cols == 0 {
		return c.inner.Embed(ctx, nil)
	}
	for from := 0; from < len(missing); from += block {
		some := missing[from:min(from+block, len(missing))]
		got, err := c.ask(ctx, texts, keys, some)
		if err != nil {
			return out, err
		}
		if out.Cols == 0 {
			out = embed.NewMatrix(len(texts), got.Cols)
		}
		for j, i := range some {
			copy(out.Row(i), got.Row(j))
		}
	}
	first := make(map[key]int, len(missing))
	for _, i := range missing {
		first[keys[i]] = i
	}
	for i, k := range keys {
		if j, ok := first[k]; ok {
			copy(out.Row(i), out.Row(j))
		}
	}
	return out, nil
}

// lookUp reads what the file holds; missing are the others, the first of each
// key. Without a file the matrix is empty.
func (c *Cache) lookUp(keys []key) (out embed.Matrix, missing []int, err error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.store != nil {
		out = embed.NewMatrix(len(keys), c.store.dim)
	}
	asked := map[key]bool{}
	for i, k := range keys {
		found := false
		if c.store != nil {
			if found, err = c.store.read(k, out.Row(i)); err != nil {
				return out, nil, err
			}
		}
		if !found && !asked[k] {
			asked[k] = true
			missing = append(missing, i)
		}
	}
	c.misses.Add(int64(len(missing)))
	c.hits.Add(int64(len(keys) - len(missing)))
	return out, missing, nil
}

// ask has some of the texts embedded and keeps the vectors.
func (c *Cache) ask(ctx context.Context, texts []string, keys []key, some []int) (embed.Matrix, error) {
	wanted, kept := make([]string, len(some)), make([]key, len(some))
	for j, i := range some {
		wanted[j], kept[j] = texts[i], keys[i]
	}
	got, err := c.inner.Embed(ctx, wanted)
	if err != nil {
		return got, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.store == nil {
		if c.store, err = createStore(c.path, c.name, got.Cols); err != nil {
			return got, err
		}
	}
	if got.Cols != c.store.dim {
		return got, fault.Inputf("%s gives vectors of length %d, its cache %s holds length %d: the model is another one under the same name; remove the file",
			c.name, got.Cols, c.path, c.store.dim)
	}
	return got, c.store.append(kept, got.Row)
}
