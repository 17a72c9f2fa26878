package lm

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/gr2/gr2/internal/fault"
)

// The format (github.com/ggml-org/ggml, docs/gguf.md), all little-endian: the
// magic, a version, the number of tensors and of keys; the keys with typed
// values; per tensor its name, dimensions (innermost first), type and offset;
// padding; then the data of the tensors, each padded to the alignment. As
// llama.cpp demands, the tensors lie there in the order of the header, without
// holes.

const (
	ggufMagic     = "GGUF"
	ggufVersion   = 3 // 2 differs in nothing that is read here
	ggufAlignment = 32
	maxGGUFHeader = 64 << 20 // bytes; a vocabulary of 200k tokens needs about 12 MiB
	maxGGUFName   = 63       // bytes of a tensor's name, and
	maxGGUFRank   = 4        // its dimensions: the limits of llama.cpp
	maxGGUFAlign  = 1 << 20
)

// The types of metadata values.
const (
	ggufUint8 = iota
	ggufInt8
	ggufUint16
	ggufInt16
	ggufUint32
	ggufInt32
	ggufFloat32
	ggufBool
	ggufString
	ggufArray
	ggufUint64
	ggufInt64
	ggufFloat64
)

// ggufFile is the verified header of a file. A value of meta is a uint8, int8,
// ... float64, bool or string, or a slice of one of them.
type ggufFile struct {
	meta    map[string]any
	tensors []ggufTensor // in the order of the data
	byName  map[string]*ggufTensor
}

// ggufTensor is a tensor whose bytes are all in the file.
type ggufTensor struct {
	name   string
	kind   GGUFType
	shape  []int // outermost first, as in Tensor
	offset int64 // from the start of the file
	bytes  int64
}

// readGGUF reads and checks the header of a file of the given size in bytes. It
// allocates in proportion to the header, which is bounded by the size.
func readGGUF(r io.ReaderAt, size int64) (*ggufFile, error) {
	limit := min(size, maxGGUFHeader)
	g := &ggufReader{r: bufio.NewReaderSize(io.NewSectionReader(r, 0, limit), chunkBytes), left: limit}
	tensors, keys := g.start()
	f := &ggufFile{meta: map[string]any{}, byName: map[string]*ggufTensor{}}
	for range keys {
		g.key(f.meta)
	}
	for range tensors {
		f.tensors = append(f.tensors, g.tensor())
		if g.err != nil {
			break
		}
	}
	if g.err != nil {
		return nil, fmt.Errorf("gguf: %w", g.err)
	}
	align, err := f.alignment()
	if err == nil {
		err = f.place(align, pad(limit-g.left, align), size)
	}
	if err != nil {
		return nil, fmt.Errorf("gguf: %w", err)
	}
	return f, nil
}

// start reads up to the two counts.
func (g *ggufReader) start() (tensors, keys int) {
	magic := make([]byte, len(ggufMagic))
	g.fill(magic)
	if g.err == nil && string(magic) != ggufMagic {
		g.err = fault.Inputf("the file starts with %q, not %q: no GGUF file", magic, ggufMagic)
	}
	switch v := one[uint32](g); {
	case g.err != nil:
	case v&0xffff == 0 && v != 0:
		g.err = fault.Inputf("the file is big-endian; only little-endian files are read")
	case v < 2 || v > ggufVersion:
		g.err = fault.Inputf("version %d is not supported, want 2 or %d", v, ggufVersion)
	}
	tensors = g.count(24, "tensors") // the shortest has no name and no dimension
	return tensors, g.count(13, "keys")
}

// alignment is the unit of offsets, in bytes.
func (f *ggufFile) alignment() (int64, error) {
	const key = "general.alignment"
	v, ok := f.meta[key]
	if !ok {
		return ggufAlignment, nil
	}
	n, ok := v.(uint32)
	if !ok || n == 0 || n > maxGGUFAlign || n&(n-1) != 0 {
		return 0, fault.Corruptf("%s is %v, want a power of two up to %d as uint32", key, v, maxGGUFAlign)
	}
	return int64(n), nil
}

// place checks that the tensors tile the data, which starts at byte start, and
// makes their offsets absolute.
func (f *ggufFile) place(align, start, size int64) error {
	at := int64(0) // in the data
	for i := range f.tensors {
		t := &f.tensors[i]
		if f.byName[t.name] != nil {
			return fault.Corruptf("tensor %q is listed twice", t.name)
		}
		f.byName[t.name] = t
		switch {
		case t.offset%align != 0:
			return fault.Corruptf("tensor %q has offset %d, not a multiple of the alignment %d", t.name, t.offset, align)
		case t.offset != at:
			return fault.Corruptf("tensor %q has offset %d, want %d (overlap or hole)", t.name, t.offset, at)
		case t.bytes > size-start-at:
			return fault.Corruptf("tensor %q: shape %v of %s needs %d bytes, the file has %d left", t.name, t.shape, t.kind, t.bytes, max(size-start-at, 0))
		}
		t.offset += start
		at = pad(at+t.bytes, align)
	}
	if len(f.tensors) > 0 && size > start+at {
		return fault.Corruptf("the header describes %d bytes of data, the file has %d", at, size-start)
	}
	return nil
}

// pad rounds n up to a multiple of align.
func pad(n, align int64) int64 { return (n + align - 1) / align * align }

// ggufReader reads the header. The first error sticks; after it everything
// read is zero.
type ggufReader struct {
	r    io.Reader
	left int64 // bytes that the header may still have
	err  error
}

func (g *ggufReader) fill(b []byte) {
	if g.err != nil {
		return
	}
	if int64(len(b)) > g.left {
		g.err = fault.Corruptf("the header is cut short or larger than %d bytes", maxGGUFHeader)
		return
	}
	if _, err := io.ReadFull(g.r, b); err != nil {
		g.err = fault.Corruptf("the header is cut short: %w", err)
		return
	}
	g.left -= int64(len(b))
}

// one reads a number or bool.
func one[T any](g *ggufReader) (v T) {
	b := make([]byte, binary.Size(v))
	if g.fill(b); g.err == nil {
		_, g.err = binary.Decode(b, binary.LittleEndian, &v)
	}
	return v
}

// many reads n numbers or bools; count has said that they can be there.
func many[T any](g *ggufReader, n int) []T {
	var zero T
	b := make([]byte, n*binary.Size(zero))
	v := make([]T, n)
	if g.fill(b); g.err == nil {
		_, g.err = binary.Decode(b, binary.LittleEndian, v)
	}
	return v
}

// count reads the number of things of at least so many bytes each, which is
// bounded by the bytes that are left.
func (g *ggufReader) count(each int, what string) int {
	n := one[uint64](g)
	if g.err == nil && n > uint64(g.left)/uint64(each) {
		g.err = fault.Corruptf("%d %s do not fit in the %d bytes that are left of the header", n, what, g.left)
	}
	if g.err != nil {
		return 0
	}
	return int(n)
}

func (g *ggufReader) text() string {
	b := make([]byte, g.count(1, "bytes of a string"))
	g.fill(b)
	return string(b)
}

// key reads one key with its value.
func (g *ggufReader) key(meta map[string]any) {
	name := g.text()
	if g.err != nil {
		return
	}
	if _, dup := meta[name]; dup || name == "" {
		g.err = fault.Corruptf("key %q is empty or listed twice", name)
		return
	}
	meta[name] = g.value()
	if g.err != nil {
		g.err = fmt.Errorf("key %q: %w", name, g.err)
	}
}

func (g *ggufReader) value() any {
	kind := one[uint32](g)
	if kind == ggufArray {
		return g.array(one[uint32](g))
	}
	switch kind {
	case ggufUint8:
		return one[uint8](g)
	case ggufInt8:
		return one[int8](g)
	case ggufUint16:
		return one[uint16](g)
	case ggufInt16:
		return one[int16](g)
	case ggufUint32:
		return one[uint32](g)
	case ggufInt32:
		return one[int32](g)
	case ggufUint64:
		return one[uint64](g)
	case ggufInt64:
		return one[int64](g)
	case ggufFloat32:
		return one[float32](g)
	case ggufFloat64:
		return one[float64](g)
	case ggufBool:
		return one[bool](g)
	case ggufString:
		return g.text()
	}
	return g.unknown(kind)
}

func (g *ggufReader) array(kind uint32) any {
	switch kind {
	case ggufUint8:
		return many[uint8](g, g.count(1, "elements"))
	case ggufInt8:
		return many[int8](g, g.count(1, "elements"))
	case ggufUint16:
		return many[uint16](g, g.count(2, "elements"))
	case ggufInt16:
		return many[int16](g, g.count(2, "elements"))
	case ggufUint32:
		return many[uint32](g, g.count(4, "elements"))
	case ggufInt32:
		return many[int32](g, g.count(4, "elements"))
	case ggufUint64:
		return many[uint64](g, g.count(8, "elements"))
	case ggufInt64:
		return many[int64](g, g.count(8, "elements"))
	case ggufFloat32:
		return many[float32](g, g.count(4, "elements"))
	case ggufFloat64:
		return many[float64](g, g.count(8, "elements"))
	case ggufBool:
		return many[bool](g, g.count(1, "elements"))
	case ggufString:
		all := make([]string, g.count(8, "strings"))
		for i := range all {
			all[i] = g.text()
		}
		return all
	}
	return g.unknown(kind) // arrays of arrays among them, as in llama.cpp
}

func (g *ggufReader) unknown(kind uint32) any {
	if g.err == nil {
		g.err = fault.Corruptf("value of unknown type %d", kind)
	}
	return nil
}

// tensor reads one tensor's line; its offset is still relative to the data.
func (g *ggufReader) tensor() ggufTensor {
	t := ggufTensor{name: g.text()}
	if g.err == nil && (t.name == "" || len(t.name) > maxGGUFName) {
		g.err = fault.Corruptf("tensor %.70q: the name must have 1 to %d bytes", t.name, maxGGUFName)
	}
	rank := one[uint32](g)
	if g.err == nil && (rank < 1 || rank > maxGGUFRank) {
		g.err = fault.Corruptf("tensor %q has %d dimensions, want 1 to %d", t.name, rank, maxGGUFRank)
	}
	if g.err != nil {
		return t
	}
	dims := many[uint64](g, int(rank))
	t.kind = GGUFType(one[uint32](g))
	offset := one[uint64](g)
	if g.err == nil {
		g.err = t.measure(dims, offset)
	}
	return t
}

// measure checks type and dimensions and computes the size in bytes.
func (t *ggufTensor) measure(dims []uint64, offset uint64) error {
	format, known := ggufFormats[t.kind]
	if !known {
		return fault.Inputf("tensor %q: type %s is not supported, want F32, F16, BF16, Q8_0, Q4_0, Q4_K or Q6_K", t.name, t.kind)
	}
	count := int64(1)
	for i := range dims {
		d := dims[len(dims)-1-i]
		if d < 1 || d > math.MaxInt32 || count > math.MaxInt64/8/int64(d) {
			return fault.Corruptf("tensor %q: dimensions %d are out of range", t.name, dims)
		}
		count *= int64(d)
		t.shape = append(t.shape, int(d))
	}
	if dims[0]%uint64(format.block) != 0 {
		return fault.Corruptf("tensor %q: rows of %d elements are no multiple of the %d of a block of %s", t.name, dims[0], format.block, t.kind)
	}
	if offset > math.MaxInt64 {
		return fault.Corruptf("tensor %q: offset %d is out of range", t.name, offset)
	}
	t.offset, t.bytes = int64(offset), count/int64(format.block)*int64(format.bytes)
	return nil
}

// read fills dst, row by row; row says where a row of the file belongs.
func (t *ggufTensor) read(r io.ReaderAt, dst []float32, row func(int) int) error {
	format := ggufFormats[t.kind]
	cols := t.shape[len(t.shape)-1]
	in := bufio.NewReaderSize(io.NewSectionReader(r, t.offset, t.bytes), chunkBytes)
	buf := make([]byte, cols/format.block*format.bytes)
	for i := range len(dst) / cols {
		if _, err := io.ReadFull(in, buf); err != nil {
			return fault.Corruptf("gguf: tensor %q: data cut short: %w", t.name, err)
		}
		format.decode(dst[row(i)*cols:][:cols], buf)
	}
	return nil
}
