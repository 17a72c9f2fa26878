package fit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/lm"
)

// A quantizer is stored as one safetensors file. Its tensors are
// encoder.N.weight (out x in) and encoder.N.bias (out) by layer, then codebook.N
// (live codes x dim) by level. Its metadata are format, kind, width, options
// (JSON) and the SHA-256 of all the rest.
const (
	formatKey   = "format"
	format      = "gr2 quantizer 1"
	checksumKey = "sha256"
)

// Write stores the quantizer.
func (q *Quantizer) Write(w io.Writer) error {
	metadata := map[string]string{
		formatKey: format,
		"kind":    q.Kind,
		"width":   strconv.Itoa(q.Books.Width),
		"options": string(q.Options),
	}
	tensors := q.tensors()
	metadata[checksumKey] = checksum(metadata, tensors)
	return lm.WriteSafetensors(w, tensors, metadata)
}

func (q *Quantizer) tensors() []*lm.Tensor {
	var out []*lm.Tensor
	matrix := func(name string, m embed.Matrix) {
		out = append(out, &lm.Tensor{Name: name, Shape: []int{m.Rows, m.Cols}, Data: m.Data})
	}
	for i, layer := range q.Encoder {
		matrix(fmt.Sprintf("encoder.%d.weight", i), layer.Weight)
		out = append(out, &lm.Tensor{Name: fmt.Sprintf("encoder.%d.bias", i), Shape: []int{len(layer.Bias)}, Data: layer.Bias})
	}
	for l, book := range q.Books.Levels {
		matrix(fmt.Sprintf("codebook.%d", l), book)
	}
	return out
}

// checksum covers everything but itself.
func checksum(metadata map[string]string, tensors []*lm.Tensor) string {
	digest := sha256.New()
	text := func(s string) { // with its length, so that neighbours cannot trade letters
		binary.Write(digest, binary.LittleEndian, uint64(len(s)))
		io.WriteString(digest, s)
	}
	for _, key := range []string{formatKey, "kind", "width", "options"} {
		text(metadata[key])
	}
	for _, t := range tensors {
		text(t.Name)
		text(fmt.Sprint(t.Shape))
		binary.Write(digest, binary.LittleEndian, t.Data)
	}
	return hex.EncodeToString(digest.Sum(nil))
}

// ReadQuantizer loads a quantizer and verifies it. A file that is truncated,
// damaged or of another kind is a fault.Corrupt that says so.
func ReadQuantizer(r io.Reader) (*Quantizer, error) {
	file, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	tensors, metadata, err := lm.ReadSafetensorsMetadata(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return nil, fault.Corruptf("sid quantizer: %w: fit it again", err)
	}
	if metadata[formatKey] != format {
		return nil, fault.Corruptf("sid quantizer: the file's format is %q, not %q: it is no quantizer, fit one", metadata[formatKey], format)
	}
	if got := checksum(metadata, tensors); got != metadata[checksumKey] {
		return nil, fault.Corruptf("sid quantizer: checksum %.12s, the file says %.12s: it is damaged, fit it again", got, metadata[checksumKey])
	}
	q := &Quantizer{Kind: metadata["kind"], Options: json.RawMessage(metadata["options"])}
	if q.Books.Width, err = strconv.Atoi(metadata["width"]); err == nil {
		if err = q.take(tensors); err == nil {
			err = q.check()
		}
	}
	if err != nil {
		return nil, fault.Corruptf("sid quantizer: %w: fit it again", err)
	}
	return q, nil
}

// take sorts the tensors of a file into the quantizer, in the order of writing.
func (q *Quantizer) take(tensors []*lm.Tensor) error {
	next := func(rank int, name string, number int) *lm.Tensor {
		if len(tensors) == 0 || tensors[0].Name != fmt.Sprintf(name, number) || len(tensors[0].Shape) != rank {
			return nil
		}
		t := tensors[0]
		tensors = tensors[1:]
		return t
	}
	matrix := func(t *lm.Tensor) embed.Matrix { return embed.Matrix{Rows: t.Shape[0], Cols: t.Shape[1], Data: t.Data} }
	weight := func() *lm.Tensor { return next(2, "encoder.%d.weight", len(q.Encoder)) }
	for t := weight(); t != nil; t = weight() {
		layer := Layer{Weight: matrix(t)}
		if bias := next(1, "encoder.%d.bias", len(q.Encoder)); bias != nil {
			layer.Bias = bias.Data
		}
		q.Encoder = append(q.Encoder, layer)
	}
	book := func() *lm.Tensor { return next(2, "codebook.%d", len(q.Books.Levels)) }
	for t := book(); t != nil; t = book() {
		q.Books.Levels = append(q.Books.Levels, matrix(t))
	}
	if len(tensors) > 0 {
		return fmt.Errorf("tensor %q with shape %v is out of place", tensors[0].Name, tensors[0].Shape)
	}
	return nil
}

// check tells whether the parts fit together and all numbers are finite.
func (q *Quantizer) check() error {
	if q.Books.Width < 2 || q.Books.Width > maxWidth || len(q.Books.Levels) < 1 || len(q.Books.Levels) > maxLevels {
		return fmt.Errorf("%d codebooks of width %d; there are 1 to %d of width 2 to %d", len(q.Books.Levels), q.Books.Width, maxLevels, maxWidth)
	}
	dim := q.InputDim()
	for i, layer := range q.Encoder {
		if layer.Weight.Cols != dim || layer.Weight.Rows < 1 || len(layer.Bias) != layer.Weight.Rows {
			return fmt.Errorf("encoder layer %d has a weight of %dx%d and a bias of %d, its input is %d long", i, layer.Weight.Rows, layer.Weight.Cols, len(layer.Bias), dim)
		}
		dim = layer.Weight.Rows
	}
	for l, book := range q.Books.Levels {
		if book.Cols != dim || dim < 1 || book.Rows < 1 || book.Rows > q.Books.Width {
			return fmt.Errorf("codebook %d is %dx%d; the width is %d, a latent vector %d long", l, book.Rows, book.Cols, q.Books.Width, dim)
		}
	}
	for _, t := range q.tensors() {
		for i, v := range t.Data {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return fmt.Errorf("tensor %q: element %d is %v", t.Name, i, v)
			}
		}
	}
	return nil
}
