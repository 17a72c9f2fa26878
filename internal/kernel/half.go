package kernel

import (
	"fmt"
	"math"
)

// ToHalves is dst = src rounded to IEEE 754 binary16, to nearest even.
func ToHalves(dst []uint16, src []float32) { active.Load().toHalves(dst, match(src, len(dst))) }

// FromHalves is dst = src, of IEEE 754 binary16.
func FromHalves(dst []float32, src []uint16) {
	if len(src) != len(dst) {
		panic(fmt.Sprintf("kernel: FromHalves: %d halves for %d elements", len(src), len(dst)))
	}
	active.Load().fromHalves(dst, src)
}

// ToHalf rounds to the nearest IEEE 754 binary16, ties to even.
func ToHalf(v float32) uint16 {
	bits := math.Float32bits(v)
	sign, bits := uint16(bits>>16&0x8000), bits&0x7fffffff
	switch {
	case bits > 0x7f800000:
		return sign | 0x7e00 // NaN
	case bits >= 0x477ff000: // 65520 and up round to infinity
		return sign | 0x7c00
	case bits < 0x38800000: // below 2^-14: a multiple of 2^-24
		units := math.RoundToEven(float64(math.Float32frombits(bits)) * (1 << 24))
		return sign | uint16(units)
	}
	bits += 0xfff + bits>>13&1
	return sign | uint16((bits-0x38000000)>>13) // carries into the exponent
}

// FromHalf is an IEEE 754 binary16, whose subnormals are normal in float32.
func FromHalf(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp := uint32(h>>10) & 0x1f
	frac := uint32(h & 0x3ff)
	switch exp {
	case 0:
		v := float32(frac) * (1.0 / (1 << 24))
		return math.Float32frombits(sign | math.Float32bits(v))
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

func toHalvesPortable(dst []uint16, src []float32) {
	for i, v := range src {
		dst[i] = ToHalf(v)
	}
}

func fromHalvesPortable(dst []float32, src []uint16) {
	for i, h := range src {
		dst[i] = FromHalf(h)
	}
}
