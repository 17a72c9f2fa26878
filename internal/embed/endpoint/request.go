package endpoint

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gr2/gr2/internal/fault"
)

const (
	maxReply = 1 << 30 // bytes
	maxPause = time.Minute
)

// request is the body of POST /embeddings.
type request struct {
	Model      string   `json:"model"`
	Input      []string `json:"input"`
	Dimensions int      `json:"dimensions,omitempty"`
	Format     string   `json:"encoding_format"`
}

// passing is an error that a later attempt may not meet.
type passing struct {
	err  error
	wait time.Duration // asked for by the endpoint
}

func (p *passing) Error() string { return p.err.Error() }
func (p *passing) Unwrap() error { return p.err }

// ask gets the unit vectors of a batch, in order, and tries again where that
// may help.
func (c *Client) ask(ctx context.Context, batch []string) ([][]float32, error) {
	body, err := json.Marshal(request{c.o.Model, batch, c.o.Dim, "float"})
	if err != nil {
		return nil, err
	}
	pause := c.o.Pause
	for attempt := 0; ; attempt++ {
		reply, err := c.post(ctx, body)
		if err == nil {
			return c.read(reply, len(batch))
		}
		var again *passing
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case !errors.As(err, &again):
			return nil, err
		case attempt == c.o.Retries:
			return nil, fmt.Errorf("%w (%d attempts)", err, attempt+1)
		}
		if err := sleep(ctx, min(max(pause, again.wait), maxPause)); err != nil {
			return nil, err
		}
		pause *= 2
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// post sends one request and returns the body of a reply with status 200.
func (c *Client) post(ctx context.Context, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.o.address(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.o.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.o.Key)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, &passing{err: fmt.Errorf("embeddings endpoint: %w", err)}
	}
	defer res.Body.Close()
	reply, err := io.ReadAll(io.LimitReader(res.Body, maxReply+1))
	switch {
	case res.StatusCode != http.StatusOK:
		return nil, c.refusal(res, reply)
	case err != nil:
		return nil, &passing{err: c.errorf("the reply breaks off: %w", err)}
	case len(reply) > maxReply:
		return nil, c.errorf("the reply is longer than %d bytes; use a smaller batch", maxReply)
	}
	return reply, nil
}

// refusal is the error of a status that is not 200.
func (c *Client) refusal(res *http.Response, body []byte) error {
	status := res.StatusCode
	said := c.excerpt(body)
	switch {
	case status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status >= 500:
		return &passing{c.errorf("status %d: %s", status, said), retryAfter(res.Header.Get("Retry-After"))}
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return fault.Usagef("%w; check the API key and the environment variable that holds it", c.errorf("status %d: %s", status, said))
	case status >= 300 && status < 400:
		return fault.Usagef("%w; requests follow no redirection, give the URL that answers", c.errorf("status %d, to %q", status, res.Header.Get("Location")))
	}
	return fault.Usagef("%w; check url, model, dimensions and the length of the texts", c.errorf("status %d: %s", status, said))
}

// retryAfter is the wait that the header asks for, in seconds or as a date.
func retryAfter(header string) time.Duration {
	if seconds, err := strconv.ParseFloat(header, 64); err == nil && seconds >= 0 {
		return time.Duration(min(seconds, maxPause.Seconds()) * float64(time.Second))
	}
	if at, err := http.ParseTime(header); err == nil {
		return time.Until(at)
	}
	return 0
}

// excerpt is what a reply says is wrong, in one line and without the key.
func (c *Client) excerpt(body []byte) string {
	var structured struct {
		Error   json.RawMessage `json:"error"`
		Message string          `json:"message"`
	}
	said := string(body)
	if json.Unmarshal(body, &structured) == nil {
		var inner struct {
			Message string `json:"message"`
		}
		_ = json.Unmarshal(structured.Error, &inner) // some send a string
		said = cmp.Or(inner.Message, structured.Message, said)
	}
	if c.o.Key != "" {
		said = strings.ReplaceAll(said, c.o.Key, "[key]")
	}
	said = strings.Join(strings.Fields(said), " ")
	if len(said) > 300 {
		said = strings.ToValidUTF8(said[:300], "") + "..."
	}
	return cmp.Or(said, "no message")
}

func (c *Client) errorf(format string, args ...any) error {
	return fmt.Errorf("embeddings endpoint %s: "+format, append([]any{c.o.address()}, args...)...)
}
