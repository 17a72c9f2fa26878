package lm

import (
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"

	"github.com/gr2/gr2/internal/fault"
)

// ggufFileTypes are the values of general.file_type.
var ggufFileTypes = map[GGUFType]uint32{F16: 1, Q8_0: 7}

// WriteGGUF writes the model as a GGUF file that llama.cpp serves: matrices as
// kind (F16 or Q8_0), norms and biases as F32. Where rows are no multiple of
// the 32 elements of a block, Q8_0 gives way to F16, as in llama.cpp's own
// converter. The keys of extra, those of a tokenizer among them, join the
// model's own and win over them; values are string, bool, uint32, float32,
// []string or []int32.
//
// The file is a function of its arguments. It is written as a stream; beside
// the model only the header and one row are in memory.
func (m *Model) WriteGGUF(w io.Writer, kind GGUFType, extra map[string]any) error {
	if _, ok := ggufFileTypes[kind]; !ok {
		return fault.Usagef("gguf: type %s cannot be written, only F16 and Q8_0", kind)
	}
	if err := m.Config.Validate(); err != nil {
		return err
	}
	slots := m.ggufSlots()
	if m.Config.RopeScaling != nil {
		if m.Config.Architecture != Llama {
			return fault.Inputf("gguf: llama.cpp has no rope scaling of Llama 3 for %s", m.Config.Architecture)
		}
		factors := m.Config.ropeFactors()
		slots = append(slots, ggufSlot{ggufRopes, &Tensor{Shape: []int{len(factors)}, Data: factors}, 0})
	}
	meta := m.Config.ggufMeta(kind)
	maps.Copy(meta, extra)
	if _, ok := meta[ggufTokenKey("eos")]; !ok {
		return fault.Inputf("gguf: the model has no eos_token_id, and llama.cpp would take token 11 for it")
	}
	header, err := ggufHeader(meta, slots, kind)
	if err != nil {
		return err
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	for _, s := range slots {
		if err := s.write(w, kind); err != nil {
			return err
		}
	}
	return nil
}

// ggufMeta are the keys of the model without its tokenizer.
func (c Config) ggufMeta(kind GGUFType) map[string]any {
	arch := modelTypes[c.Architecture]
	meta := map[string]any{
		"general.architecture":         arch,
		"general.type":                 "model",
		"general.alignment":            uint32(ggufAlignment),
		"general.file_type":            ggufFileTypes[kind],
		"general.quantization_version": uint32(2),
	}
	for key, v := range map[string]any{
		"vocab_size":                       uint32(c.VocabSize),
		"context_length":                   uint32(c.MaxPositions),
		"embedding_length":                 uint32(c.Hidden),
		"block_count":                      uint32(c.Layers),
		"feed_forward_length":              uint32(c.Intermediate),
		"attention.head_count":             uint32(c.Heads),
		"attention.head_count_kv":          uint32(c.KVHeads),
		"attention.key_length":             uint32(c.HeadDim),
		"attention.value_length":           uint32(c.HeadDim),
		"attention.layer_norm_rms_epsilon": float32(c.NormEps),
		"rope.dimension_count":             uint32(c.HeadDim),
		"rope.freq_base":                   float32(c.RopeTheta),
	} {
		meta[arch+"."+key] = v
	}
	for name, id := range map[string]int32{"bos": c.BOS, "eos": c.EOS, "padding": c.PAD} {
		if id != NoToken {
			meta[ggufTokenKey(name)] = uint32(id)
		}
	}
	return meta
}

// ggufHeader is all that stands before the data, padding included.
func ggufHeader(meta map[string]any, slots []ggufSlot, kind GGUFType) ([]byte, error) {
	b := appendGGUF([]byte(ggufMagic), uint32(ggufVersion), uint64(len(slots)), uint64(len(meta)))
	for _, key := range slices.Sorted(maps.Keys(meta)) {
		b = appendGGUF(b, key)
		var ok bool
		if b, ok = appendGGUFValue(b, meta[key]); !ok {
			return nil, fmt.Errorf("gguf: key %q: a %T cannot be written", key, meta[key])
		}
	}
	at := int64(0)
	for _, s := range slots {
		b = appendGGUF(b, s.name, uint32(len(s.Shape)))
		for _, d := range slices.Backward(s.Shape) {
			b = appendGGUF(b, uint64(d))
		}
		stored := s.stored(kind)
		b = appendGGUF(b, uint32(stored), uint64(at))
		format := ggufFormats[stored]
		at += pad(int64(s.size())/int64(format.block)*int64(format.bytes), ggufAlignment)
	}
	return padGGUF(b, len(b)), nil
}

// appendGGUFValue appends a value of metadata with its type.
func appendGGUFValue(b []byte, v any) ([]byte, bool) {
	switch v := v.(type) {
	case string:
		return appendGGUF(b, uint32(ggufString), v), true
	case bool:
		return append(appendGGUF(b, uint32(ggufBool)), map[bool]byte{true: 1}[v]), true
	case uint32:
		return appendGGUF(b, uint32(ggufUint32), v), true
	case float32:
		return appendGGUF(b, uint32(ggufFloat32), math.Float32bits(v)), true
	case []string:
		b = appendGGUF(b, uint32(ggufArray), uint32(ggufString), uint64(len(v)))
		for _, s := range v {
			b = appendGGUF(b, s)
		}
		return b, true
	case []int32:
		b = appendGGUF(b, uint32(ggufArray), uint32(ggufInt32), uint64(len(v)))
		for _, n := range v {
			b = appendGGUF(b, uint32(n))
		}
		return b, true
	}
	return b, false
}

// appendGGUF appends bare uint32, uint64 and strings.
func appendGGUF(b []byte, values ...any) []byte {
	for _, v := range values {
		switch v := v.(type) {
		case uint32:
			b = binary.LittleEndian.AppendUint32(b, v)
		case uint64:
			b = binary.LittleEndian.AppendUint64(b, v)
		case string:
			b = append(binary.LittleEndian.AppendUint64(b, uint64(len(v))), v...)
		}
	}
	return b
}

// padGGUF appends the zeros that follow n bytes.
func padGGUF(b []byte, n int) []byte {
	return append(b, make([]byte, pad(int64(n), ggufAlignment)-int64(n))...)
}

// stored is the type of one tensor in a file of the kind.
func (s ggufSlot) stored(kind GGUFType) GGUFType {
	switch {
	case len(s.Shape) == 1:
		return ggufF32
	case s.Shape[1]%ggufFormats[kind].block != 0:
		return F16
	}
	return kind
}

func (s ggufSlot) write(w io.Writer, kind GGUFType) error {
	cols := s.Shape[len(s.Shape)-1]
	stored := s.stored(kind)
	var b []byte
	written := 0
	for i := range len(s.Data) / cols {
		var ok bool
		if b, ok = stored.encode(b[:0], s.Data[s.row(i)*cols:][:cols]); !ok {
			return fault.Inputf("gguf: tensor %q holds a value that %s cannot: not a number, or too large", s.name, stored)
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		written += len(b)
	}
	_, err := w.Write(padGGUF(nil, written))
	return err
}
