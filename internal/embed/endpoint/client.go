package endpoint

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/gr2/gr2/internal/embed"
)

// Client is an Embedder. Texts of white space alone get zeros and are not sent.
type Client struct {
	o    Options
	dim  int
	http http.Client
}

// Open makes a client and asks for the vector of one text: the endpoint shows
// the length of its vectors, or what is wrong, before any work is done.
func Open(ctx context.Context, o Options) (*Client, error) {
	c, err := New(o, o.Dim)
	if err != nil {
		return nil, err
	}
	vectors, err := c.ask(ctx, []string{o.Prefix + "shampoo"})
	if err != nil {
		return nil, err
	}
	c.dim = len(vectors[0])
	return c, nil
}

// New makes a client whose vectors are known to have length dim. It sends
// nothing.
func New(o Options, dim int) (*Client, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return &Client{o: o, dim: dim, http: http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Name implements Embedder. What the endpoint computes is known by its address
// and its model's name only: change one of them when the weights change.
func (c *Client) Name() string {
	name := fmt.Sprintf("openai/%s/%s/%d", c.o.address(), c.o.Model, c.dim)
	if c.o.Prefix != "" {
		sum := sha256.Sum256([]byte(c.o.Prefix))
		name += fmt.Sprintf("/%x", sum[:6])
	}
	return name
}

// Dim is the length of the vectors.
func (c *Client) Dim() int { return c.dim }

// Embed implements Embedder. The first batch that fails ends the others.
func (c *Client) Embed(ctx context.Context, texts []string) (embed.Matrix, error) {
	out := embed.NewMatrix(len(texts), c.dim)
	var said []int // texts that are not blank
	for i, t := range texts {
		if strings.TrimSpace(t) != "" {
			said = append(said, i)
		}
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	slots := make(chan struct{}, c.o.Concurrency)
	var batches sync.WaitGroup
	for some := range slices.Chunk(said, c.o.Batch) {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		batches.Go(func() {
			if err := c.fill(ctx, out, texts, some); err != nil {
				end(err)
			}
			<-slots
		})
	}
	batches.Wait()
	return out, context.Cause(ctx)
}

// fill embeds some of the texts into their rows.
func (c *Client) fill(ctx context.Context, out embed.Matrix, texts []string, some []int) error {
	batch := make([]string, len(some))
	for j, i := range some {
		batch[j] = c.o.Prefix + texts[i]
	}
	vectors, err := c.ask(ctx, batch)
	for j, v := range vectors {
		copy(out.Row(some[j]), v)
	}
	return err
}
