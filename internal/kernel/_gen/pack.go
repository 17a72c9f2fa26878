package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// copySteps copies contiguous steps of width floats. It asks for the step after
// the next sixteen (packSteps): sixteen of all panels are packed, then the next.
func copySteps(floats int) {
	name := fmt.Sprintf("copySteps%d", floats)
	function("copySteps", fmt.Sprint(floats), "func(panel, src []float32, ld, k int)",
		fmt.Sprintf(", with width = %d", floats))
	panel, src, ld, k := base("panel"), base("src"), stride("ld"), integer("k")
	ahead := GP64()
	LEAQ(Mem{Base: src, Index: ld, Scale: 8}, ahead)
	LEAQ(Mem{Base: ahead, Index: ld, Scale: 8}, ahead)
	countdown(name+"k", k, 1, func() {
		for at := 0; at < floats; at += cacheLine / 4 {
			PREFETCHT0(Mem{Base: ahead, Disp: 4 * at})
		}
		at := 0
		for _, size := range []int{16, 8, 4, 2} {
			for ; size <= cpu.lanes && at+size <= floats; at += size {
				copyFloats(size, Mem{Base: src, Disp: 4 * at}, Mem{Base: panel, Disp: 4 * at})
			}
		}
		ADDQ(ld, src)
		ADDQ(ld, ahead)
		ADDQ(I32(4*floats), panel)
	})
	leave()
}

// copyFloats copies 2, 4, 8 or 16 floats.
func copyFloats(n int, from, to Mem) {
	if n == 2 {
		r := GP64()
		MOVQ(from, r)
		MOVQ(r, to)
		return
	}
	y := map[int]func() VecVirtual{4: XMM, 8: YMM, 16: ZMM}[n]()
	VMOVUPS(from, y)
	VMOVUPS(y, to)
}

// prefetchBytes is how far ahead, in their rows, transposes ask for memory.
const prefetchBytes = 2 * cacheLine

// transpose turns blocks of rows x lanes floats into steps of a panel. Each is
// stored as a whole vector; the next one overwrites what is beyond the rows.
func transpose(rows int) {
	function("transpose", fmt.Sprint(rows), "func(panel []float32, width int, src []float32, ld, k int)",
		fmt.Sprintf(" on %d lanes and k a multiple of %d;\n// it writes %[2]d floats per step", rows, cpu.lanes))
	panel, step, src, ld, k := base("panel"), stride("width"), base("src"), stride("ld"), integer("k")
	countdown(fmt.Sprintf("transpose%d", rows), k, cpu.lanes, func() {
		cpu.turn(rows, src, ld, func(y VecVirtual) {
			VMOVUPS(y, Mem{Base: panel})
			ADDQ(step, panel)
		})
		ADDQ(I32(cpu.bytes), src)
	})
	leave()
}
