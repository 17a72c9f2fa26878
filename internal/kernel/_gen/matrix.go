package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func matrixKernels() {
	micro(6, 2)
	transpose(6)
	transpose(8)
	copySteps(6)
	copySteps(16)
	for _, rows := range []int{1, 2, 3} {
		dotRows(rows)
		sumRows(rows)
	}
}

// micro is the tile of C that stays in registers: mr rows of nv vectors. With
// 6x2 it takes twelve accumulators, two vectors of B and two broadcasts of A.
func micro(mr, nv int) {
	function("micro", "func(k int, alpha float32, a, b []float32, beta float32, c []float32, ldc int)",
		fmt.Sprintf("is microPortable for AVX2 and FMA, with a tile of %dx%d.", mr, nv*lanes))
	k, a, b, c, ldc := integer("k"), base("a"), base("b"), base("c"), stride("ldc")
	row := GP64()
	MOVQ(c, row)
	for i := range mr {
		PREFETCHT0(Mem{Base: row, Disp: nv*width - 4})
		if i < mr-1 {
			ADDQ(ldc, row)
		}
	}
	acc := accumulators(mr, nv)
	step := func(at int) {
		bs := make([]VecVirtual, nv)
		for j := range bs {
			bs[j] = YMM()
			VMOVUPS(Mem{Base: b, Disp: (at*nv + j) * width}, bs[j])
		}
		for i := range mr {
			x := YMM()
			VBROADCASTSS(Mem{Base: a, Disp: 4 * (at*mr + i)}, x)
			for j := range bs {
				VFMADD231PS(bs[j], x, acc[i][j])
			}
		}
	}
	const unroll = 4
	countdown("micro4", k, unroll, func() {
		for at := range unroll {
			step(at)
		}
		ADDQ(I32(4*unroll*mr), a)
		ADDQ(I32(unroll*nv*width), b)
	})
	countdown("micro1", k, 1, func() {
		step(0)
		ADDQ(I32(4*mr), a)
		ADDQ(I32(nv*width), b)
	})
	finish("micro", acc, c, ldc, nil)
	VZEROUPPER()
	RET()
}

func accumulators(rows, cols int) [][]VecVirtual {
	acc := make([][]VecVirtual, rows)
	for i := range acc {
		acc[i] = make([]VecVirtual, cols)
		for j := range acc[i] {
			acc[i][j] = zero()
		}
	}
	return acc
}

// countdown repeats body while n >= step, taking step from n each time.
func countdown(label string, n GPVirtual, step int, body func()) {
	Label(label)
	CMPQ(n, I32(step))
	JLT(LabelRef(label + "end"))
	body()
	SUBQ(I32(step), n)
	JMP(LabelRef(label))
	Label(label + "end")
}

// finish stores C = alpha*acc + beta*C for the rows from c on, which it leaves
// alone; beta = 0 does not read C. A mask restricts the (only) vector of a row.
func finish(label string, acc [][]VecVirtual, c, ldc GPVirtual, mask VecVirtual) {
	row := GP64()
	MOVQ(c, row)
	alpha, beta := broadcast("alpha"), YMM()
	for _, vs := range acc {
		for _, v := range vs {
			VMULPS(alpha, v, v)
		}
	}
	VBROADCASTSS(address("beta"), beta)
	none := YMM()
	VXORPS(none, none, none)
	VUCOMISS(none.AsX(), beta.AsX())
	JNE(LabelRef(label + "blend"))
	JPS(LabelRef(label + "blend"))
	eachRow(acc, row, ldc, func(v VecVirtual, at Mem) { storeMasked(v, at, mask) })
	JMP(LabelRef(label + "stored"))
	Label(label + "blend")
	MOVQ(c, row)
	eachRow(acc, row, ldc, func(v VecVirtual, at Mem) {
		old := loadMasked(at, mask)
		VFMADD231PS(old, beta, v)
		storeMasked(v, at, mask)
	})
	Label(label + "stored")
}

func eachRow(acc [][]VecVirtual, row, ldc GPVirtual, do func(v VecVirtual, at Mem)) {
	for i, vs := range acc {
		for j, v := range vs {
			do(v, Mem{Base: row, Disp: j * width})
		}
		if i < len(acc)-1 {
			ADDQ(ldc, row)
		}
	}
}

func loadMasked(at Mem, mask VecVirtual) VecVirtual {
	y := YMM()
	if mask == nil {
		VMOVUPS(at, y)
	} else {
		VMASKMOVPS(at, mask, y)
	}
	return y
}

func storeMasked(y VecVirtual, at Mem, mask VecVirtual) {
	if mask == nil {
		VMOVUPS(y, at)
	} else {
		VMASKMOVPS(y, mask, at)
	}
}

// copySteps copies contiguous steps of width floats.
func copySteps(floats int) {
	name := fmt.Sprintf("copySteps%d", floats)
	function(name, "func(panel, src []float32, ld, k int)",
		fmt.Sprintf("is copyStepsPortable for AVX2, with width = %d.", floats))
	panel, src, ld, k := base("panel"), base("src"), stride("ld"), integer("k")
	countdown(name+"k", k, 1, func() {
		at := 0
		for ; at+lanes <= floats; at += lanes {
			y := YMM()
			VMOVUPS(Mem{Base: src, Disp: 4 * at}, y)
			VMOVUPS(y, Mem{Base: panel, Disp: 4 * at})
		}
		if at+4 <= floats {
			x := XMM()
			VMOVUPS(Mem{Base: src, Disp: 4 * at}, x)
			VMOVUPS(x, Mem{Base: panel, Disp: 4 * at})
			at += 4
		}
		if at+2 <= floats {
			r := GP64()
			MOVQ(Mem{Base: src, Disp: 4 * at}, r)
			MOVQ(r, Mem{Base: panel, Disp: 4 * at})
		}
		ADDQ(ld, src)
		ADDQ(I32(4*floats), panel)
	})
	VZEROUPPER()
	RET()
}

// transpose turns blocks of rows x 8 floats into eight steps of a panel. Each
// step is stored as 8 floats; with rows = 6 the next one overwrites the last two.
func transpose(rows int) {
	function(fmt.Sprintf("transpose%d", rows), "func(panel []float32, width int, src []float32, ld, k int)",
		fmt.Sprintf("is transposePortable for AVX2 on %d lanes and k a multiple of 8;\n// it writes 8 floats per step.", rows))
	panel, step, src, ld, k := base("panel"), stride("width"), base("src"), stride("ld"), integer("k")
	ld3, far := GP64(), GP64()
	LEAQ(Mem{Base: ld, Index: ld, Scale: 2}, ld3)
	countdown(fmt.Sprintf("transpose%d_8", rows), k, lanes, func() {
		LEAQ(Mem{Base: src, Index: ld, Scale: 4}, far)
		in := make([]VecVirtual, lanes)
		for i := range in {
			if i >= rows {
				in[i] = zero()
				continue
			}
			from := src
			if i >= 4 {
				from = far
			}
			in[i] = YMM()
			VMOVUPS([]Mem{
				{Base: from},
				{Base: from, Index: ld, Scale: 1},
				{Base: from, Index: ld, Scale: 2},
				{Base: from, Index: ld3, Scale: 1},
			}[i%4], in[i])
		}
		for _, y := range transpose8(in) {
			VMOVUPS(y, Mem{Base: panel})
			ADDQ(step, panel)
		}
		ADDQ(I32(width), src)
	})
	VZEROUPPER()
	RET()
}

// transpose8 transposes eight rows of eight.
func transpose8(in []VecVirtual) []VecVirtual {
	pairs := make([]VecVirtual, lanes) // lanes interleaved two by two
	for i := 0; i < lanes; i += 2 {
		pairs[i], pairs[i+1] = YMM(), YMM()
		VUNPCKLPS(in[i+1], in[i], pairs[i])
		VUNPCKHPS(in[i+1], in[i], pairs[i+1])
	}
	quads := make([]VecVirtual, lanes) // four rows, columns c and c+4
	for half := 0; half < lanes; half += 4 {
		for c := range 4 {
			quads[half+c] = YMM()
			lo, hi := pairs[half+c/2], pairs[half+2+c/2]
			VSHUFPS(Imm([]uint64{0x44, 0xee}[c%2]), hi, lo, quads[half+c])
		}
	}
	out := make([]VecVirtual, lanes)
	for c := range 4 {
		out[c], out[c+4] = YMM(), YMM()
		VPERM2F128(Imm(0x20), quads[4+c], quads[c], out[c])
		VPERM2F128(Imm(0x31), quads[4+c], quads[c], out[c+4])
	}
	return out
}

// strided addresses rows 0..3 of a matrix at a moving pointer.
type strided struct{ at, ld, ld3 GPVirtual }

func newStrided(at, ld GPVirtual, rows int) strided {
	s := strided{at: at, ld: ld}
	if rows > 3 {
		s.ld3 = GP64()
		LEAQ(Mem{Base: ld, Index: ld, Scale: 2}, s.ld3)
	}
	return s
}

func (s strided) row(i, disp int) Mem {
	switch i {
	case 0:
		return Mem{Base: s.at, Disp: disp}
	case 3:
		return Mem{Base: s.at, Index: s.ld3, Scale: 1, Disp: disp}
	default:
		return Mem{Base: s.at, Index: s.ld, Scale: uint8(i), Disp: disp}
	}
}

// dotRows multiplies rows of A by four rows of B at a time.
func dotRows(rows int) {
	name := fmt.Sprintf("dotRows%d", rows)
	function(name, "func(n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int)",
		fmt.Sprintf("is dotRowsPortable for AVX2 and FMA, with m = %d and n a multiple of 4.", rows))
	const group = 4
	n, lda, bRow, ldb, c, ldc := integer("n"), stride("lda"), base("b"), stride("ldb"), base("c"), stride("ldc")
	aAt, bAt := GP64(), GP64()
	a, b := newStrided(aAt, lda, rows), newStrided(bAt, ldb, group)
	// Rows of B are short for the hardware's prefetcher, so the kernel asks for
	// the rows ahead of those it reads, a cache line of each at a time.
	ahead := strided{GP64(), ldb, b.ld3}
	prefetch := func() {
		for j := range group {
			PREFETCHT0(ahead.row(j, 0))
		}
		ADDQ(I32(prefetchLine), ahead.at)
	}
	countdown(name+"n", n, group, func() {
		Load(Param("a").Base(), aAt)
		MOVQ(bRow, bAt)
		LEAQ(Mem{Base: bRow, Index: ldb, Scale: prefetchRows}, ahead.at)
		k := integer("k")
		acc := accumulators(rows, group)
		advance := func(vectors int) {
			ADDQ(I32(vectors*width), aAt)
			ADDQ(I32(vectors*width), bAt)
		}
		second := acc
		if rows == 1 { // four chains of additions would not hide their latency
			second = accumulators(rows, group)
		}
		countdown(name+"k16", k, 2*lanes, func() {
			dotStep(acc, a, b, 0)
			dotStep(second, a, b, width)
			prefetch()
			advance(2)
		})
		if rows == 1 {
			for j := range group {
				VADDPS(second[0][j], acc[0][j], acc[0][j])
			}
		}
		countdown(name+"k8", k, lanes, func() {
			dotStep(acc, a, b, 0)
			advance(1)
		})
		TESTQ(k, k)
		JZ(LabelRef(name + "sum"))
		dotTail(acc, a, b, tailMask(k))
		Label(name + "sum")
		sums := make([][]VecVirtual, rows)
		for i := range rows {
			sums[i] = []VecVirtual{horizontal4(acc[i])}
		}
		finishQuad(name, sums, c, ldc)
		ADDQ(I32(4*group), c)
		LEAQ(Mem{Base: bRow, Index: ldb, Scale: group}, bRow)
	})
	VZEROUPPER()
	RET()
}

const (
	prefetchRows = 8  // rows of B between what is read and what is asked for
	prefetchLine = 64 // bytes
)

// dotStep adds the products of one vector of each row of a and b.
func dotStep(acc [][]VecVirtual, a, b strided, disp int) {
	xs := make([]VecVirtual, len(acc))
	for i := range xs {
		xs[i] = loadMasked(a.row(i, disp), nil)
	}
	for j := range acc[0] {
		if len(acc) == 1 {
			VFMADD231PS(b.row(j, disp), xs[0], acc[0][j])
			continue
		}
		y := loadMasked(b.row(j, disp), nil)
		for i := range xs {
			VFMADD231PS(y, xs[i], acc[i][j])
		}
	}
}

// dotTail is dotStep for the last, ragged vectors. It loads B's again for each
// row of A, for want of a seventeenth register.
func dotTail(acc [][]VecVirtual, a, b strided, mask VecVirtual) {
	for i := range acc {
		x := loadMasked(a.row(i, 0), mask)
		for j := range acc[i] {
			VFMADD231PS(loadMasked(b.row(j, 0), mask), x, acc[i][j])
		}
	}
}

// horizontal4 returns the four sums over lanes of four vectors.
func horizontal4(v []VecVirtual) VecVirtual {
	VHADDPS(v[1], v[0], v[0])
	VHADDPS(v[3], v[2], v[2])
	VHADDPS(v[2], v[0], v[0])
	hi := XMM()
	VEXTRACTF128(Imm(1), v[0], hi)
	VADDPS(hi, v[0].AsX(), v[0].AsX())
	return v[0]
}

// finishQuad is finish for four floats a row.
func finishQuad(label string, sums [][]VecVirtual, c, ldc GPVirtual) {
	row := GP64()
	MOVQ(c, row)
	alpha, beta, none := broadcast("alpha").AsX(), broadcast("beta").AsX(), zero().AsX()
	for _, s := range sums {
		VMULPS(alpha, s[0].AsX(), s[0].AsX())
	}
	VUCOMISS(none, beta)
	JNE(LabelRef(label + "blend"))
	JPS(LabelRef(label + "blend"))
	eachRow(sums, row, ldc, func(v VecVirtual, at Mem) { VMOVUPS(v.AsX(), at) })
	JMP(LabelRef(label + "stored"))
	Label(label + "blend")
	eachRow(sums, row, ldc, func(v VecVirtual, at Mem) {
		old := XMM()
		VMOVUPS(at, old)
		VFMADD231PS(old, beta, v.AsX())
		VMOVUPS(v.AsX(), at)
	})
	Label(label + "stored")
}

// sumRows accumulates rows of B weighted by rows of A, a stripe of columns at a
// time: as many vectors as keep both FMA units busy, then one masked vector.
func sumRows(rows int) {
	name := fmt.Sprintf("sumRows%d", rows)
	function(name, "func(n, k int, alpha float32, a []float32, rowA, colA int, b []float32, ldb int, beta float32, c []float32, ldc int)",
		fmt.Sprintf("is sumRowsPortable for AVX2 and FMA, with m = %d.", rows))
	n, c, ldc, bCol := integer("n"), base("c"), stride("ldc"), base("b")
	stripes := []int{4}
	if rows == 1 {
		stripes = []int{8, 4}
	}
	for _, vectors := range stripes {
		label := fmt.Sprintf("%sv%d", name, vectors)
		countdown(label, n, vectors*lanes, func() {
			sumStripe(label, rows, vectors, bCol, c, ldc, nil)
			ADDQ(I32(vectors*width), bCol)
			ADDQ(I32(vectors*width), c)
		})
	}
	Label(name + "v1")
	CMPQ(n, I32(0))
	JLE(LabelRef(name + "done"))
	few := GP64()
	MOVQ(I32(lanes), few)
	CMPQ(n, few)
	CMOVQLT(n, few)
	sumStripe(name+"v1", rows, 1, bCol, c, ldc, tailMask(few))
	ADDQ(I32(width), bCol)
	ADDQ(I32(width), c)
	SUBQ(I32(lanes), n)
	JMP(LabelRef(name + "v1"))
	Label(name + "done")
	VZEROUPPER()
	RET()
}

func sumStripe(label string, rows, vectors int, bCol, c, ldc GPVirtual, mask VecVirtual) {
	a := newStrided(base("a"), stride("rowA"), rows)
	colA, ldb, k, b := stride("colA"), stride("ldb"), integer("k"), GP64()
	MOVQ(bCol, b)
	acc := accumulators(rows, vectors)
	countdown(label+"k", k, 1, func() {
		xs := make([]VecVirtual, rows)
		for i := range xs {
			xs[i] = YMM()
			VBROADCASTSS(a.row(i, 0), xs[i])
		}
		for j := range vectors {
			if rows == 1 && mask == nil {
				VFMADD231PS(Mem{Base: b, Disp: j * width}, xs[0], acc[0][j])
				continue
			}
			y := loadMasked(Mem{Base: b, Disp: j * width}, mask)
			for i := range xs {
				VFMADD231PS(y, xs[i], acc[i][j])
			}
		}
		ADDQ(colA, a.at)
		ADDQ(ldb, b)
	})
	finish(label, acc, c, ldc, mask)
}
