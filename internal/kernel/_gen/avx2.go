package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// avx2 keeps constants in memory, for it has few registers, and masks in
// vectors of ones and zeros.
type avx2 struct{}

func (avx2) vector() VecVirtual { return YMM() }

func (avx2) tailMask(n GPVirtual) Op {
	table, back, y := GP64(), GP64(), YMM()
	LEAQ(maskTable(), table)
	MOVQ(n, back)
	NEGQ(back)
	VMOVUPS(Mem{Base: table, Index: back, Scale: 4, Disp: 32}, y)
	return y
}

func (avx2) load(at Mem, mask Op) VecVirtual {
	y := YMM()
	if mask == nil {
		VMOVUPS(at, y)
	} else {
		VMASKMOVPS(at, mask, y)
	}
	return y
}

func (avx2) store(y VecVirtual, at Mem, mask Op) {
	if mask == nil {
		VMOVUPS(y, at)
	} else {
		VMASKMOVPS(y, mask, at)
	}
}

func (avx2) inside(y VecVirtual, mask Op) {
	if mask != nil {
		VANDPS(mask, y, y)
	}
}

func (a avx2) orElse(y VecVirtual, mask Op, name string) {
	if mask != nil {
		other := YMM()
		VMOVUPS(a.constant(name), other)
		VBLENDVPS(mask, y, other, y)
	}
}

func (avx2) halves(y VecVirtual) (lo, hi VecVirtual) {
	hi = XMM()
	VEXTRACTF128(Imm(1), y, hi)
	return y.AsX().(VecVirtual), hi
}

func (avx2) round(x VecVirtual) { VROUNDPS(Imm(8), x, x) }

func (avx2) storeBytes(y VecVirtual, at Mem) {
	high := XMM()
	VEXTRACTI128(Imm(1), y, high)
	VPACKUSDW(high, y.AsX(), high)
	VPACKUSWB(high, high, high)
	VMOVQ(high, at)
}

// scale2 builds 2^n in two factors, so that subnormal results and overflow to
// +Inf come out by themselves. NaN stays NaN.
func (avx2) scale2(n, p VecVirtual) {
	half := YMM()
	VCVTPS2DQ(n, n)
	VPSRAD(Imm(1), n, half)
	VPSUBD(half, n, n)
	for _, e := range []VecVirtual{half, n} {
		VPADDD(splat("bias", U32(127)), e, e)
		VPSLLD(Imm(23), e, e)
		VMULPS(e, p, p)
	}
}

func (avx2) turn(rows int, src, ld GPVirtual, column func(y VecVirtual)) {
	far, ld3 := GP64(), GP64()
	LEAQ(Mem{Base: ld, Index: ld, Scale: 2}, ld3)
	LEAQ(Mem{Base: src, Index: ld, Scale: 4}, far)
	near, beyond := strided{at: src, ld: ld, ld3: ld3}, strided{at: far, ld: ld, ld3: ld3}
	in := make([]VecVirtual, 8)
	for i := range in {
		switch {
		case i >= rows:
			in[i] = zero()
		case i < 4:
			in[i] = cpu.load(near.row(i, 0), nil)
		default:
			in[i] = cpu.load(beyond.row(i-4, 0), nil)
		}
	}
	for _, y := range transpose8(in) {
		column(y)
	}
}

// transpose8 transposes eight rows of eight.
func transpose8(in []VecVirtual) []VecVirtual {
	pairs := make([]VecVirtual, 8) // lanes interleaved two by two
	for i := 0; i < 8; i += 2 {
		pairs[i], pairs[i+1] = YMM(), YMM()
		VUNPCKLPS(in[i+1], in[i], pairs[i])
		VUNPCKHPS(in[i+1], in[i], pairs[i+1])
	}
	quads := make([]VecVirtual, 8) // four rows, columns c and c+4
	for half := 0; half < 8; half += 4 {
		for c := range 4 {
			quads[half+c] = YMM()
			lo, hi := pairs[half+c/2], pairs[half+2+c/2]
			VSHUFPS(Imm([]uint64{0x44, 0xee}[c%2]), hi, lo, quads[half+c])
		}
	}
	out := make([]VecVirtual, 8)
	for c := range 4 {
		out[c], out[c+4] = YMM(), YMM()
		VPERM2F128(Imm(0x20), quads[4+c], quads[c], out[c])
		VPERM2F128(Imm(0x31), quads[4+c], quads[c], out[c+4])
	}
	return out
}

func (avx2) hold(...string) {}

func (avx2) constant(name string) Op { return splat(name, value(name)) }

var data = map[string]Mem{}

// maskTable is eight lanes of ones, then eight of zeros.
func maskTable() Mem {
	const name = "tailmask"
	if m, ok := data[name]; ok {
		return m
	}
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 16 {
		v := U32(0)
		if i < 8 {
			v = 0xffffffff
		}
		DATA(4*i, v)
	}
	data[name] = m
	return m
}

// splat is a constant in every lane, as a memory operand.
func splat(name string, v Constant) Mem {
	if m, ok := data[name]; ok {
		return m
	}
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, v)
	}
	data[name] = m
	return m
}
