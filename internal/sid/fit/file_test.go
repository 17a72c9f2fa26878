package fit

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/lm"
)

func encoded(t testing.TB) *Quantizer {
	s := cloud(t, 90, 5, Options{Levels: 3, Width: 8, Seed: 1})
	s.q.Encoder = []Layer{randomLayer(7, 6, 1), randomLayer(5, 7, 2)}
	return s.q
}

func fileOf(t testing.TB, q *Quantizer) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := q.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestQuantizerRoundTrip(t *testing.T) {
	plain := encoded(t)
	plain.Encoder = nil
	for _, q := range []*Quantizer{plain, encoded(t)} {
		back, err := ReadQuantizer(bytes.NewReader(fileOf(t, q)))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(back, q) {
			t.Errorf("%+v came back as %+v", q, back)
		}
	}
}

// A flipped bit is noticed, or it changes nothing, as in the padding; a cut is
// noticed.
func TestDamagedQuantizersAreRefused(t *testing.T) {
	q := encoded(t)
	file := fileOf(t, q)
	flipped := bytes.Clone(file)
	for at := range file {
		flipped[at] ^= 1 << (at % 8)
		if back, err := ReadQuantizer(bytes.NewReader(flipped)); err != nil && !isCorrupt(err) || err == nil && !reflect.DeepEqual(back, q) {
			t.Errorf("bit %d of byte %d flipped: %v", at%8, at, err)
		}
		flipped[at] = file[at]
	}
	for at := range file {
		if _, err := ReadQuantizer(bytes.NewReader(file[:at])); !isCorrupt(err) {
			t.Errorf("cut after %d bytes: %v", at, err)
		}
	}
	if _, err := ReadQuantizer(bytes.NewReader(append(file, 0))); !isCorrupt(err) {
		t.Errorf("a byte more: %v", err)
	}
}

func isCorrupt(err error) bool {
	return fault.KindOf(err) == fault.Corrupt && strings.Contains(err.Error(), "sid quantizer")
}

// Files that are whole but make no quantizer.
func TestForeignQuantizersAreRefused(t *testing.T) {
	write := func(tensors []*lm.Tensor, metadata map[string]string) []byte {
		var b bytes.Buffer
		if err := lm.WriteSafetensors(&b, tensors, metadata); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	signed := func(tensors []*lm.Tensor, width string) []byte {
		metadata := map[string]string{formatKey: format, "width": width}
		metadata[checksumKey] = checksum(metadata, tensors)
		return write(tensors, metadata)
	}
	broken := func(change func(q *Quantizer)) []byte {
		q := encoded(t)
		change(q)
		return fileOf(t, q)
	}
	for want, file := range map[string][]byte{
		"format":            write(encoded(t).tensors(), map[string]string{"format": "pt"}),
		"no header length":  []byte("GR2"),
		"0 codebooks":       broken(func(q *Quantizer) { q.Books.Levels = nil }),
		"width 300":         broken(func(q *Quantizer) { q.Books.Width = 300 }),
		"codebook 0 is 8x5": broken(func(q *Quantizer) { q.Books.Width = 4 }),
		"encoder layer 1":   broken(func(q *Quantizer) { q.Encoder[1] = randomLayer(5, 9, 1) }),
		"codebook 0":        broken(func(q *Quantizer) { q.Encoder = q.Encoder[:1] }),
		`"encoder.0.bias"`:  signed(encoded(t).tensors()[1:], "8"),
		"element 3 is NaN":  broken(func(q *Quantizer) { q.Books.Levels[1].Data[3] = nan() }),
		`parsing "wide"`:    signed(encoded(t).tensors(), "wide"),
	} {
		_, err := ReadQuantizer(bytes.NewReader(file))
		if !isCorrupt(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

func nan() float32 {
	var zero float32
	return zero / zero
}
