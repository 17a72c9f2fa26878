package endpoint

import (
	"net/url"
	"strings"
	"time"

	"github.com/gr2/gr2/internal/fault"
)

// Options of a client.
type Options struct {
	URL         string        // base such as http://127.0.0.1:8000/v1; "/embeddings" is put behind it
	Model       string        // as the endpoint calls it
	Key         string        // sent as a bearer token; empty sends none
	Dim         int           // "dimensions" that are asked for; 0 leaves them to the model
	Prefix      string        // put before each text
	Batch       int           // texts a request, at most
	Concurrency int           // requests under way at once, at most
	Timeout     time.Duration // of one request
	Retries     int           // of a request, after the first attempt
	Pause       time.Duration // before the first retry; doubles with each
}

// Validate names the field that is out of range.
func (o Options) Validate() error {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return fault.Usagef("embeddings endpoint: url is no http or https URL such as http://127.0.0.1:8000/v1")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return fault.Usagef("embeddings endpoint: url of host %s carries a user, a query or a fragment; give a key by its environment variable and the base URL alone", u.Host)
	case o.Model == "":
		return fault.Usagef("embeddings endpoint: model is empty; name one that %s serves", u.Host)
	case strings.ContainsAny(o.Key, "\r\n"):
		return fault.Usagef("embeddings endpoint: the API key holds a line break")
	case o.Dim < 0 || o.Dim > maxDim:
		return fault.Usagef("embeddings endpoint: dim %d; use 1 to %d, or 0 for the model's own", o.Dim, maxDim)
	case o.Batch < 1 || o.Batch > maxBatch:
		return fault.Usagef("embeddings endpoint: batch %d; use 1 to %d", o.Batch, maxBatch)
	case o.Concurrency < 1 || o.Concurrency > 256:
		return fault.Usagef("embeddings endpoint: concurrency %d; use 1 to 256", o.Concurrency)
	case o.Timeout <= 0:
		return fault.Usagef("embeddings endpoint: timeout %v; use more than 0", o.Timeout)
	case o.Retries < 0 || o.Retries > 100:
		return fault.Usagef("embeddings endpoint: retries %d; use 0 to 100", o.Retries)
	}
	return nil
}

const (
	maxDim   = 1 << 16
	maxBatch = 1 << 14
)

// address is where requests go.
func (o Options) address() string {
	base := strings.TrimRight(o.URL, "/")
	if strings.HasSuffix(base, "/embeddings") {
		return base
	}
	return base + "/embeddings"
}
