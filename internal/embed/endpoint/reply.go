package endpoint

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/gr2/gr2/internal/fault"
)

// reply is the body of an answer, as far as it matters.
type reply struct {
	Data []struct {
		Index     *int     `json:"index"`
		Embedding []number `json:"embedding"`
	} `json:"data"`
}

// number is a float64; null, which JSON writers make of NaN, is none.
type number float64

func (n *number) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return fmt.Errorf("null is no number")
	}
	return json.Unmarshal(b, (*float64)(n))
}

// read checks a reply to a batch of n texts and returns their unit vectors, in
// order of the texts.
func (c *Client) read(body []byte, n int) ([][]float32, error) {
	var r reply
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, c.bad("the reply is no list of embeddings (%v): %s", err, c.excerpt(body[:min(len(body), 1<<16)]))
	}
	if len(r.Data) != n {
		return nil, c.bad("%d embeddings for %d texts", len(r.Data), n)
	}
	vectors := make([][]float32, n)
	for at, d := range r.Data {
		switch {
		case d.Index == nil || *d.Index < 0 || *d.Index >= n:
			return nil, c.bad("data[%d] has no index between 0 and %d", at, n-1)
		case vectors[*d.Index] != nil:
			return nil, c.bad("index %d occurs twice", *d.Index)
		}
		if err := c.checkLength(len(d.Embedding), len(r.Data[0].Embedding)); err != nil {
			return nil, err
		}
		v, ok := unit(d.Embedding)
		if !ok {
			return nil, c.bad("the embedding of index %d has no finite length", *d.Index)
		}
		vectors[*d.Index] = v
	}
	return vectors, nil
}

// checkLength compares the length of an embedding with that of all vectors or,
// before it is known, with the first one's.
func (c *Client) checkLength(got, first int) error {
	switch {
	case c.o.Dim > 0 && got != c.o.Dim:
		return c.bad("embeddings of length %d where %d dimensions were asked for; the model may know no other length: set dim to 0", got, c.o.Dim)
	case c.dim > 0 && got != c.dim:
		return c.bad("an embedding of length %d where %d is the rule; is it still the same model?", got, c.dim)
	case got != first || got < 1 || got > maxDim:
		return c.bad("embeddings of lengths %d and %d; expected one length, 1 to %d", first, got, maxDim)
	}
	return nil
}

// unit scales x to length 1; a vector of zeros stays. It reports whether all
// was finite.
func unit(x []number) ([]float32, bool) {
	var largest float64
	for _, v := range x {
		largest = max(largest, math.Abs(float64(v)))
	}
	out := make([]float32, len(x))
	if largest == 0 {
		return out, true
	}
	var squares float64
	for _, v := range x {
		squares += float64(v) / largest * (float64(v) / largest)
	}
	for i, v := range x {
		out[i] = float32(float64(v) / largest / math.Sqrt(squares))
	}
	return out, !math.IsNaN(squares) && !math.IsInf(squares, 0)
}

func (c *Client) bad(format string, args ...any) error {
	return fault.Inputf("%w", c.errorf(format, args...))
}
