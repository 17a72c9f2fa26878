package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Client talks to a gr2 server. It is safe for concurrent use; do not change
// its fields once it is in use.
type Client struct {
	BaseURL string       // such as http://127.0.0.1:8080
	HTTP    *http.Client // nil is http.DefaultClient; deadlines come from the context

	// Retries is how often a request that the server refused for now (429,
	// 503) is sent again, after the wait the server asks for.
	Retries int
}

// NewClient returns a client of the server at baseURL that retries twice.
func NewClient(baseURL string) *Client {
	return &Client{BaseURL: strings.TrimRight(baseURL, "/"), Retries: 2}
}

// Rerank ranks one slate.
func (c *Client) Rerank(ctx context.Context, s Slate) (Ranking, error) {
	var r Ranking
	err := c.post(ctx, s, &r)
	return r, err
}

// RerankAll ranks several slates in one request; rankings stand in the order
// of the slates.
func (c *Client) RerankAll(ctx context.Context, slates []Slate) ([]Ranking, error) {
	var r Response
	body := struct {
		Slates []Slate `json:"slates"`
	}{slates}
	if err := c.post(ctx, body, &r); err != nil {
		return nil, err
	}
	if len(r.Rankings) != len(slates) {
		return nil, fmt.Errorf("%s answered %d rankings for %d slates", c.BaseURL, len(r.Rankings), len(slates))
	}
	return r.Rankings, nil
}

// Ready reports whether the server takes requests: nil when it does.
func (c *Client) Ready(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.BaseURL+"/readyz", nil)
	if err != nil {
		return err
	}
	return c.do(req, nil)
}

func (c *Client) post(ctx context.Context, body, into any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	for try := 0; ; try++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.BaseURL+"/v1/rerank", bytes.NewReader(data))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		err = c.do(req, into)
		var refused *Error
		if !errors.As(err, &refused) || try >= c.Retries {
			return err
		}
		if refused.Code != CodeOverloaded && refused.Code != CodeUnavailable {
			return err
		}
		if !sleep(ctx, max(refused.RetryAfter, 50*time.Millisecond)) {
			return err
		}
	}
}

// maxReply bounds what the client reads of a reply, in bytes.
const maxReply = 64 << 20

func (c *Client) do(req *http.Request, into any) error {
	h := c.HTTP
	if h == nil {
		h = http.DefaultClient
	}
	resp, err := h.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return fmt.Errorf("%s: read the reply: %w", req.URL, err)
	}
	if resp.StatusCode != http.StatusOK {
		return replyError(resp, data)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s: the reply is not what gr2 sends: %w", req.URL, err)
	}
	return nil
}

func replyError(resp *http.Response, data []byte) error {
	var wire struct {
		Error *Error `json:"error"`
	}
	if json.Unmarshal(data, &wire) != nil || wire.Error == nil {
		wire.Error = &Error{Message: clip(strings.TrimSpace(string(data)))}
	}
	wire.Error.Status = resp.StatusCode
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		wire.Error.RetryAfter = time.Duration(s) * time.Second
	}
	return wire.Error
}

// sleep waits for d and reports true, or false when ctx ends first or would.
func sleep(ctx context.Context, d time.Duration) bool {
	if end, ok := ctx.Deadline(); ok && time.Until(end) < d {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
