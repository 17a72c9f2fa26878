package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// pairKernels multiply pairs of bfloat16.
func pairKernels() {
	microKernels("microPairs", "is variant.microPairs", steps)
	pairSteps()
}

// pairSteps rounds two steps of a panel to one of pairs, some lanes of them.
func pairSteps() {
	specified("pairSteps", fmt.Sprint(cpu.lanes), "func(panel []float32, width, lanes int, src []float32, k int)", "is variant.pairSteps",
		fmt.Sprintf(" on up to %d lanes", cpu.lanes))
	cpu.hold("half", "lowestBit", "upper", "quiet")
	panel, step, src, k := base("panel"), stride("width"), base("src"), integer("k")
	mask := cpu.tailMask(integer("lanes"))
	countdown("pairSteps", k, 1, func() {
		even, odd := rounded(Mem{Base: src}), rounded(Mem{Base: src, Index: step, Scale: 1})
		VPSRLD(Imm(16), even, even)
		VPANDD(cpu.constant("upper"), odd, odd)
		VPORD(even, odd, odd)
		cpu.store(odd, Mem{Base: panel}, mask)
		ADDQ(step, panel)
		LEAQ(Mem{Base: src, Index: step, Scale: 2}, src)
	})
	leave()
}

// rounded loads floats and rounds them to 16 bits, the upper ones, to nearest
// even. Adding could turn a NaN into a number, so one keeps its bits and is made
// quiet, a bit that is among the upper ones.
func rounded(at Mem) VecVirtual {
	x, sum, nan := cpu.load(at, nil), cpu.vector(), K()
	VCMPPS(Imm(3), x, x, nan)
	VPSRLD(Imm(16), x, sum)
	VPANDD(cpu.constant("lowestBit"), sum, sum)
	VPADDD(cpu.constant("half"), sum, sum)
	VPADDD(x, sum, sum)
	VPORD(cpu.constant("quiet"), x, nan, sum)
	return sum
}

// halves are conversions between float32 and IEEE 754 binary16, to nearest even.
func halves() {
	limits := fmt.Sprintf(", with a length that is a multiple of %d", cpu.lanes)
	function("fromHalves", fmt.Sprint(cpu.lanes), "func(dst []float32, src []uint16)", limits)
	eachVector("fromHalves", func(dst, src GPVirtual) {
		y := cpu.vector()
		VCVTPH2PS(Mem{Base: src}, y)
		VMOVUPS(y, Mem{Base: dst})
	}, cpu.bytes, cpu.bytes/2)
	function("toHalves", fmt.Sprint(cpu.lanes), "func(dst []uint16, src []float32)", limits)
	eachVector("toHalves", func(dst, src GPVirtual) {
		y := cpu.load(Mem{Base: src}, nil)
		VCVTPS2PH(Imm(0), y, Mem{Base: dst})
	}, cpu.bytes/2, cpu.bytes)
}

// eachVector runs body for whole vectors of dst and src, whose pointers it moves
// on by so many bytes.
func eachVector(label string, body func(dst, src GPVirtual), dstBytes, srcBytes int) {
	dst, src, n := base("dst"), base("src"), GP64()
	Load(Param("dst").Len(), n)
	countdown(label, n, cpu.lanes, func() {
		body(dst, src)
		ADDQ(I32(dstBytes), dst)
		ADDQ(I32(srcBytes), src)
	})
	leave()
}
