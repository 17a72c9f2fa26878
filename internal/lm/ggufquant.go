package lm

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/gr2/gr2/internal/kernel"
)

// GGUFType is how GGUF stores the elements of a tensor, by ggml's number.
type GGUFType uint32

// The types that are written.
const (
	F16  GGUFType = 1
	Q8_0 GGUFType = 8 // blocks of 32: a float16 scale and 32 int8
)

// The types that are only read.
const (
	ggufF32  GGUFType = 0
	ggufQ4_0 GGUFType = 2  // blocks of 32: a float16 scale and 32 nibbles
	ggufQ4_K GGUFType = 12 // blocks of 256: 8 scales and minima of 6 bits, 256 nibbles
	ggufQ6_K GGUFType = 14 // blocks of 256: 16 int8 scales, 256 values of 6 bits
	ggufBF16 GGUFType = 30
)

// ggufFormat is the layout of one type: block elements take so many bytes, and
// rows are whole blocks. decode fills dst, a row, from the bytes of its blocks.
type ggufFormat struct {
	name         string
	block, bytes int
	decode       func(dst []float32, b []byte)
}

var ggufFormats = map[GGUFType]ggufFormat{
	ggufF32:  {"F32", 1, 4, func(dst []float32, b []byte) { decode(dst, b, "F32") }},
	F16:      {"F16", 1, 2, func(dst []float32, b []byte) { decode(dst, b, "F16") }},
	ggufBF16: {"BF16", 1, 2, func(dst []float32, b []byte) { decode(dst, b, "BF16") }},
	Q8_0:     {"Q8_0", 32, 2 + 32, decodeQ8_0},
	ggufQ4_0: {"Q4_0", 32, 2 + 16, decodeQ4_0},
	ggufQ4_K: {"Q4_K", 256, 2 + 2 + 12 + 128, decodeQ4_K},
	ggufQ6_K: {"Q6_K", 256, 128 + 64 + 16 + 2, decodeQ6_K},
}

func (k GGUFType) String() string {
	if f, known := ggufFormats[k]; known {
		return f.name
	}
	others := map[GGUFType]string{3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 10: "Q2_K", 11: "Q3_K", 13: "Q5_K", 20: "IQ4_NL", 23: "IQ4_XS"}
	if name, known := others[k]; known {
		return name
	}
	return fmt.Sprintf("number %d", uint32(k))
}

func half(b []byte) float32 { return kernel.FromHalf(binary.LittleEndian.Uint16(b)) }

// The decoders compute in ggml's order, in float32, product by product: the
// conversions keep a compiler from fusing a product with a sum.

func decodeQ8_0(dst []float32, b []byte) {
	for ; len(dst) > 0; dst, b = dst[32:], b[34:] {
		d := half(b)
		for i := range 32 {
			dst[i] = d * float32(int8(b[2+i]))
		}
	}
}

// decodeQ4_0: the low nibbles are the first half of the block.
func decodeQ4_0(dst []float32, b []byte) {
	for ; len(dst) > 0; dst, b = dst[32:], b[18:] {
		d := half(b)
		for i, q := range b[2:18] {
			dst[i] = d * float32(int(q&15)-8)
			dst[16+i] = d * float32(int(q>>4)-8)
		}
	}
}

// decodeQ4_K: x = d*scale*q - dmin*minimum, with a scale and a minimum for each
// 32 elements; 64 elements share 32 bytes, the low nibbles first.
func decodeQ4_K(dst []float32, b []byte) {
	for ; len(dst) > 0; dst, b = dst[256:], b[144:] {
		d, dmin := half(b), half(b[2:])
		for j := range 8 {
			scale, minimum := scaleAndMinimum(b[4:16], j)
			ds, m := d*float32(scale), dmin*float32(minimum)
			nibbles := b[16+32*(j/2):][:32]
			for i, q := range nibbles {
				dst[32*j+i] = float32(ds*float32(q>>(4*(j%2))&15)) - m
			}
		}
	}
}

// scaleAndMinimum unpacks the j-th of 8 pairs of 6 bits: the first four stand in
// the low bits of s[j] and s[j+4]; of the others the low four bits share
// s[j+4], and the high two top s[j-4] and s[j].
func scaleAndMinimum(s []byte, j int) (scale, minimum byte) {
	if j < 4 {
		return s[j] & 63, s[j+4] & 63
	}
	return s[j+4]&15 | s[j-4]>>6<<4, s[j+4]>>4 | s[j]>>6<<4
}

// decodeQ6_K: x = d*scale*(q-32), with a scale for each 16 elements. Of 128
// elements in four runs of 32, the low four bits are 64 bytes (runs 0 and 2,
// 1 and 3 share theirs), the high two 32 bytes.
func decodeQ6_K(dst []float32, b []byte) {
	for ; len(dst) > 0; dst, b = dst[256:], b[210:] {
		d := half(b[208:])
		for part := range 2 {
			low, high, scales := b[64*part:], b[128+32*part:], b[192+8*part:]
			out := dst[128*part:]
			for run := range 4 {
				for i := range 32 {
					q := low[32*(run%2)+i]>>(4*(run/2))&15 | high[i]>>(2*run)&3<<4
					ds := d * float32(int8(scales[2*run+i/16]))
					out[32*run+i] = ds * float32(int(q)-32)
				}
			}
		}
	}
}

// encode appends a row; false when a value does not fit the type.
func (k GGUFType) encode(b []byte, row []float32) ([]byte, bool) {
	switch k {
	case F16:
		return encodeF16(b, row)
	case Q8_0:
		return encodeQ8_0(b, row)
	}
	for _, v := range row {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b, true
}

const halfInfinity = 0x7c00

func encodeF16(b []byte, row []float32) ([]byte, bool) {
	for _, v := range row {
		h := kernel.ToHalf(v)
		if h&halfInfinity == halfInfinity { // infinity or NaN
			return b, false
		}
		b = binary.LittleEndian.AppendUint16(b, h)
	}
	return b, true
}

// encodeQ8_0 is quantize_row_q8_0_ref of ggml: the largest magnitude becomes
// 127, ties round away from zero.
func encodeQ8_0(b []byte, row []float32) ([]byte, bool) {
	for ; len(row) > 0; row = row[32:] {
		top := float32(0)
		for _, v := range row[:32] {
			if v != v {
				return b, false
			}
			top = max(top, v, -v)
		}
		d := top / 127
		inverse := 1 / d
		if math.IsInf(float64(inverse), 1) { // d is 0 or next to it, and 0 as float16
			inverse = 0
		}
		h := kernel.ToHalf(d)
		if h == halfInfinity {
			return b, false
		}
		b = binary.LittleEndian.AppendUint16(b, h)
		for _, v := range row[:32] {
			b = append(b, byte(int8(math.Round(float64(v*inverse)))))
		}
	}
	return b, true
}
