package lm

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"sort"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/kernel"
)

// The format (github.com/huggingface/safetensors): 8 bytes little-endian length
// N, N bytes of JSON {"name": {"dtype", "shape", "data_offsets": [begin, end]}},
// then the data; the tensors cover the data without holes or overlaps.

const (
	maxHeader  = 32 << 20 // bytes; a 405B Llama needs less than 1 MiB
	maxRank    = 8
	chunkBytes = 64 << 10 // unit of reading and writing tensor data
)

// dtypeBytes is the size of an element of each type that can be decoded.
var dtypeBytes = map[string]int64{"F32": 4, "F16": 2, "BF16": 2}

// entry is one verified line of a header. dtype may be one we cannot decode.
type entry struct {
	name       string
	dtype      string
	shape      []int
	begin, end int64
}

// alloc makes room for the elements. The header check has tied the shape of a
// known dtype to bytes that are in the file, so only those are allocated.
func (e entry) alloc() ([]float32, error) {
	width, known := dtypeBytes[e.dtype]
	if !known {
		return nil, fault.Inputf("dtype %q is not supported, want F32, F16 or BF16", e.dtype)
	}
	return make([]float32, (e.end-e.begin)/width), nil
}

// ReadSafetensors reads a whole safetensors file of the given size in bytes,
// converting F16 and BF16 to float32. Tensors come in the order of their data.
// It allocates at most about twice the size plus a bounded header.
func ReadSafetensors(r io.Reader, size int64) ([]*Tensor, error) {
	all, _, err := ReadSafetensorsMetadata(r, size)
	return all, err
}

// ReadSafetensorsMetadata is ReadSafetensors with the metadata of the header,
// nil when it has none.
func ReadSafetensorsMetadata(r io.Reader, size int64) ([]*Tensor, map[string]string, error) {
	var all []*Tensor
	metadata, err := readSafetensors(r, size, func(e entry) ([]float32, error) {
		data, err := e.alloc()
		all = append(all, &Tensor{Name: e.name, Shape: e.shape, Data: data})
		return data, err
	})
	if err != nil {
		return nil, nil, err
	}
	return all, metadata, nil
}

// readSafetensors calls place for each tensor in the order of the data; place
// returns where its elements go (from alloc), or nil to skip them. The whole header has been
// checked against size before the first call. It returns the metadata.
func readSafetensors(r io.Reader, size int64, place func(entry) ([]float32, error)) (metadata map[string]string, err error) {
	entries, metadata, err := readHeader(r, size)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, chunkBytes)
	for _, e := range entries {
		dst, err := place(e)
		switch {
		case err != nil:
		case dst == nil:
			_, err = io.CopyN(io.Discard, r, e.end-e.begin)
		default:
			err = readData(r, e, dst, buf)
		}
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", e.name, err)
		}
	}
	return metadata, nil
}

func readHeader(r io.Reader, size int64) ([]entry, map[string]string, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, nil, fault.Corruptf("safetensors: no header length: %w", err)
	}
	n := binary.LittleEndian.Uint64(head[:])
	if n < 2 || n > maxHeader || int64(n) > size-8 {
		return nil, nil, fault.Corruptf("safetensors: header length %d in a file of %d bytes (limit %d)", n, size, maxHeader)
	}
	raw := make([]byte, n)
	if _, err := io.ReadFull(r, raw); err != nil {
		return nil, nil, fault.Corruptf("safetensors: header cut short: %w", err)
	}
	entries, metadata, err := parseHeader(raw)
	if err != nil {
		return nil, nil, err
	}
	return entries, metadata, checkLayout(entries, size-8-int64(n))
}

// parseHeader walks the JSON by tokens: encoding/json alone would let the
// second of two equal names win silently.
func parseHeader(raw []byte) ([]entry, map[string]string, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, nil, fault.Corruptf("safetensors: the header is not a JSON object")
	}
	var entries []entry
	var metadata map[string]string
	seen := map[string]bool{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, nil, fault.Corruptf("safetensors: header: %w", err)
		}
		name := key.(string) // the decoder yields only strings as keys
		if seen[name] {
			return nil, nil, fault.Corruptf("safetensors: tensor %q is listed twice", name)
		}
		seen[name] = true
		if name == "__metadata__" {
			if err := dec.Decode(&metadata); err != nil {
				return nil, nil, fault.Corruptf("safetensors: __metadata__: %w", err)
			}
			continue
		}
		e, err := parseEntry(dec, name)
		if err != nil {
			return nil, nil, err
		}
		entries = append(entries, e)
	}
	if _, err := dec.Token(); err != nil {
		return nil, nil, fault.Corruptf("safetensors: header: %w", err)
	}
	if rest := raw[dec.InputOffset():]; len(bytes.TrimRight(rest, " \x00\n")) > 0 {
		return nil, nil, fault.Corruptf("safetensors: bytes after the header object")
	}
	return entries, metadata, nil
}

func parseEntry(dec *json.Decoder, name string) (entry, error) {
	var v struct {
		Dtype   string  `json:"dtype"`
		Shape   []int64 `json:"shape"`
		Offsets []int64 `json:"data_offsets"`
	}
	if err := dec.Decode(&v); err != nil {
		return entry{}, fault.Corruptf("safetensors: tensor %q: %w", name, err)
	}
	if len(v.Offsets) != 2 || v.Offsets[0] < 0 || v.Offsets[1] < v.Offsets[0] {
		return entry{}, fault.Corruptf("safetensors: tensor %q: data_offsets %v", name, v.Offsets)
	}
	e := entry{name: name, dtype: v.Dtype, begin: v.Offsets[0], end: v.Offsets[1]}
	if len(v.Shape) > maxRank {
		return entry{}, fault.Corruptf("safetensors: tensor %q has %d dimensions, at most %d are read", name, len(v.Shape), maxRank)
	}
	count := int64(1)
	for _, d := range v.Shape {
		if d < 0 || d > math.MaxInt32 || (d > 0 && count > math.MaxInt64/8/d) {
			return entry{}, fault.Corruptf("safetensors: tensor %q: shape %v is out of range", name, v.Shape)
		}
		count *= d
		e.shape = append(e.shape, int(d))
	}
	if bytes, known := dtypeBytes[v.Dtype]; known && count*bytes != e.end-e.begin {
		return entry{}, fault.Corruptf("safetensors: tensor %q: shape %v of %s needs %d bytes, data_offsets give %d",
			name, v.Shape, v.Dtype, count*bytes, e.end-e.begin)
	}
	return e, nil
}

// checkLayout sorts by offset and demands that the tensors tile the data.
func checkLayout(entries []entry, data int64) error {
	sort.Slice(entries, func(i, j int) bool {
		a, b := entries[i], entries[j]
		if a.begin != b.begin {
			return a.begin < b.begin
		}
		if a.end != b.end {
			return a.end < b.end
		}
		return a.name < b.name
	})
	at := int64(0)
	for _, e := range entries {
		if e.begin != at {
			return fault.Corruptf("safetensors: tensor %q starts at byte %d of the data, want %d (overlap or hole)", e.name, e.begin, at)
		}
		at = e.end
	}
	if at != data {
		return fault.Corruptf("safetensors: the header describes %d bytes of data, the file has %d", at, data)
	}
	return nil
}

func readData(r io.Reader, e entry, dst []float32, buf []byte) error {
	width := int(dtypeBytes[e.dtype])
	for len(dst) > 0 {
		n := min(len(dst), len(buf)/width)
		b := buf[:n*width]
		if _, err := io.ReadFull(r, b); err != nil {
			return fault.Corruptf("data cut short: %w", err)
		}
		decode(dst[:n], b, e.dtype)
		dst = dst[n:]
	}
	return nil
}

func decode(dst []float32, b []byte, dtype string) {
	switch dtype {
	case "F32":
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		}
	case "BF16":
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(b[2*i:])) << 16)
		}
	case "F16":
		for i := range dst {
			dst[i] = kernel.FromHalf(binary.LittleEndian.Uint16(b[2*i:]))
		}
	}
}

// WriteSafetensors writes the tensors as F32 in the given order, with the
// metadata beside them.
func WriteSafetensors(w io.Writer, tensors []*Tensor, metadata map[string]string) error {
	header, err := makeHeader(tensors, metadata)
	if err != nil {
		return err
	}
	if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(header)))); err != nil {
		return err
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	buf := make([]byte, 0, chunkBytes)
	for _, t := range tensors {
		for data := t.Data; len(data) > 0; {
			n := min(len(data), chunkBytes/4)
			buf = buf[:0]
			for _, v := range data[:n] {
				buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(v))
			}
			if _, err := w.Write(buf); err != nil {
				return err
			}
			data = data[n:]
		}
	}
	return nil
}

// makeHeader pads with spaces so that the data starts 8-byte aligned, as the
// reference writer does.
func makeHeader(tensors []*Tensor, metadata map[string]string) ([]byte, error) {
	type line struct {
		Dtype   string   `json:"dtype"`
		Shape   []int    `json:"shape"`
		Offsets [2]int64 `json:"data_offsets"`
	}
	var b bytes.Buffer
	b.WriteByte('{')
	put := func(key string, v any) error {
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(key)
		if err != nil {
			return err
		}
		value, err := json.Marshal(v)
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
		return err
	}
	if len(metadata) > 0 {
		if err := put("__metadata__", metadata); err != nil {
			return nil, err
		}
	}
	seen := map[string]bool{}
	at := int64(0)
	for _, t := range tensors {
		if len(t.Data) != t.size() || seen[t.Name] {
			return nil, fmt.Errorf("safetensors: tensor %q of shape %v has %d elements or is listed twice", t.Name, t.Shape, len(t.Data))
		}
		seen[t.Name] = true
		end := at + 4*int64(len(t.Data))
		if err := put(t.Name, line{"F32", append([]int{}, t.Shape...), [2]int64{at, end}}); err != nil {
			return nil, err
		}
		at = end
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	return b.Bytes(), nil
}
