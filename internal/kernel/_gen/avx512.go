package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// avx512 keeps a function's constants in registers and masks in mask registers.
// It needs AVX512F, AVX512VL and AVX512DQ, and BMI2 for its masks; nothing in
// VEX encoding, which reaches half of the registers.
type avx512 struct{}

func (avx512) vector() VecVirtual { return ZMM() }

func (avx512) tailMask(n GPVirtual) Op {
	ones, k := GP32(), K()
	MOVL(U32(0xffffffff), ones)
	BZHIL(n.As32(), ones, ones)
	KMOVW(ones, k)
	return k
}

func (avx512) load(at Mem, mask Op) VecVirtual {
	z := ZMM()
	if mask == nil {
		VMOVUPS(at, z)
	} else {
		VMOVUPS_Z(at, mask, z)
	}
	return z
}

func (avx512) store(y VecVirtual, at Mem, mask Op) {
	if mask == nil {
		VMOVUPS(y, at)
	} else {
		VMOVUPS(y, mask, at)
	}
}

func (avx512) inside(y VecVirtual, mask Op) {
	if mask != nil {
		VMOVAPS_Z(y, mask, y)
	}
}

func (a avx512) orElse(y VecVirtual, mask Op, name string) {
	if mask != nil {
		VBLENDMPS(y, a.constant(name), mask, y)
	}
}

func (avx512) halves(y VecVirtual) (lo, hi VecVirtual) {
	if y.Size() == 64 {
		hi = YMM()
		VEXTRACTF64X4(Imm(1), y, hi)
		return y.AsY().(VecVirtual), hi
	}
	hi = XMM()
	VEXTRACTF32X4(Imm(1), y, hi)
	return y.AsX().(VecVirtual), hi
}

func (avx512) round(x VecVirtual) { VRNDSCALEPS(Imm(8), x, x) }

func (avx512) storeBytes(y VecVirtual, at Mem) { VPMOVDB(y, at) }

func (avx512) scale2(n, p VecVirtual) { VSCALEFPS(n, p, p) }

// turn gathers a quarter of each of four rows in a register on the way from
// memory, which spares half of the shuffles.
func (avx512) turn(rows int, src, ld GPVirtual, column func(y VecVirtual)) {
	ld3 := GP64()
	LEAQ(Mem{Base: ld, Index: ld, Scale: 2}, ld3)
	groups := []strided{{at: src, ld: ld, ld3: ld3}}
	for g := 1; 4*g < rows; g++ {
		at := GP64()
		LEAQ(Mem{Base: groups[g-1].at, Index: ld, Scale: 4}, at)
		groups = append(groups, strided{at: at, ld: ld, ld3: ld3})
	}
	for i := range rows {
		PREFETCHT0(groups[i/4].row(i%4, prefetchBytes))
	}
	for quarter := range 4 {
		var in [4]VecVirtual // row i of each group
		for i := range in {
			in[i] = ZMM()
			VMOVUPS(groups[0].row(i, 16*quarter), in[i].AsX())
			for g := 1; 4*g+i < rows; g++ {
				VINSERTF32X4(Imm(uint64(g)), groups[g].row(i, 16*quarter), in[i], in[i])
			}
		}
		var pairs [4]VecVirtual
		for i := 0; i < 4; i += 2 {
			pairs[i], pairs[i+1] = ZMM(), ZMM()
			VUNPCKLPS(in[i+1], in[i], pairs[i])
			VUNPCKHPS(in[i+1], in[i], pairs[i+1])
		}
		for c := range 4 {
			y := ZMM()
			VSHUFPS(Imm([]uint64{0x44, 0xee}[c%2]), pairs[2+c/2], pairs[c/2], y)
			column(y)
		}
	}
}

// held are the constants of the function being written.
var held = map[string]VecVirtual{}

func (avx512) hold(names ...string) {
	clear(held)
	for _, name := range names {
		z := ZMM()
		VBROADCASTSS(scalar(name), z)
		held[name] = z
	}
}

func (avx512) constant(name string) Op {
	z, ok := held[name]
	if !ok {
		panic("constant " + name + " is not held")
	}
	return z
}

// scalar is a constant in memory.
func scalar(name string) Mem {
	if m, ok := data[name]; ok {
		return m
	}
	m := GLOBL(name, RODATA|NOPTR)
	DATA(0, value(name))
	data[name] = m
	return m
}
