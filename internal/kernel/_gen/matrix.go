package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func matrixKernels() {
	microKernels("microSteps", "is variant.micro", steps)
	microKernels("microRows", "is variant.micro", rowsApart)
	for _, rows := range cpu.across {
		transpose(rows)
	}
	copySteps(cpu.mr)
	copySteps(cpu.nv * cpu.lanes)
	for rows := 1; rows <= cpu.rows; rows++ {
		dotRows(rows)
		sumRows(rows)
	}
}

// layout is how the elements of A lie.
type layout struct {
	doc    string
	unroll int // steps at a time
	// follow begins at a tile of A.
	follow func(tile, lda GPVirtual, rows int) walk
}

// walk addresses row i of the at-th step from where it stands, asks for what will
// be needed next to that, and moves on.
type walk struct {
	element  func(i, at int) Mem
	prefetch func(at int)
	advance  func(steps int)
}

// steps are the layout of a panel and of a transposed matrix: the rows of a step
// lie side by side, lda from step to step. They ask for the step after the next 16.
var steps = layout{"a[i+p*lda]", 4, func(tile, lda GPVirtual, _ int) walk {
	a, ahead := GP64(), GP64()
	MOVQ(tile, a)
	LEAQ(Mem{Base: a, Index: lda, Scale: 8}, ahead)
	LEAQ(Mem{Base: ahead, Index: lda, Scale: 8}, ahead)
	s := newStrided(a, lda, 4)
	later := strided{at: ahead, ld: s.ld, ld3: s.ld3}
	return walk{
		element:  func(i, at int) Mem { return s.row(at, 4*i) },
		prefetch: func(at int) { PREFETCHT0(later.row(at, 4*(cpu.mr-1))) },
		advance: func(steps int) {
			for _, at := range []GPVirtual{a, ahead} {
				if steps == 4 {
					LEAQ(Mem{Base: at, Index: lda, Scale: 4}, at)
				} else {
					ADDQ(lda, at)
				}
			}
		},
	}
}}

// rowsApart is the layout of a plain matrix: the steps of a row lie side by side,
// lda from row to row. A pointer reaches six rows. They ask for the tile below, a
// line of a row after the other.
var rowsApart = layout{"a[i*lda+p]", cacheLine / 4, func(tile, lda GPVirtual, rows int) walk {
	const reach = 6
	a, below, back := GP64(), GP64(), stride("next")
	MOVQ(tile, a)
	LEAQ(Mem{Base: tile, Index: back, Scale: 1}, below)
	NEGQ(back)
	groups := []strided{newStrided(a, lda, min(rows, reach))}
	if rows > reach {
		second := groups[0]
		second.at = GP64()
		LEAQ(Mem{Base: a, Index: lda, Scale: 2}, second.at)
		LEAQ(Mem{Base: second.at, Index: lda, Scale: 4}, second.at)
		groups = append(groups, second)
	}
	return walk{
		element: func(i, at int) Mem { return groups[i/reach].row(i%reach, 4*at) },
		prefetch: func(at int) {
			if rows < cpu.mr || at >= rows {
				return
			}
			PREFETCHT0(Mem{Base: below})
			ADDQ(lda, below)
		},
		advance: func(steps int) {
			for _, g := range groups {
				ADDQ(I32(4*steps), g.at)
			}
			if rows == cpu.mr && steps > 1 {
				LEAQ(Mem{Base: below, Index: back, Scale: 1, Disp: 4 * steps}, below)
			}
		},
	}
}}

// microKernels writes micro for whole tiles, for two thirds and for one third.
func microKernels(name, doc string, l layout) {
	for rows := cpu.mr / 3; rows <= cpu.mr; rows += cpu.mr / 3 {
		micro(name, doc, rows, cpu.nv, l)
	}
}

// micro is a column of tiles of C, each of which stays in registers: rows of nv
// vectors. With 6x2 vectors of eight it takes twelve accumulators, two vectors of
// B and two broadcasts of A. Tiles of fewer rows than the panels of A are for the
// bottom of C. next is the distance from a tile's elements of A to the next one's.
func micro(kernel, doc string, rows, nv int, l layout) {
	name := fmt.Sprint(kernel, rows)
	specified(kernel, fmt.Sprint(rows), "func(tiles, k int, alpha float32, a []float32, lda, next int, b []float32, beta float32, c []float32, ldc int)",
		doc, fmt.Sprintf(", with tiles of %dx%d and element (i, p) of one at %s", rows, nv*cpu.lanes, l.doc))
	tiles, tile, lda, c, ldc := integer("tiles"), base("a"), stride("lda"), base("c"), stride("ldc")
	countdown(name+"tile", tiles, 1, func() {
		b := base("b")
		prefetchTile(rows, nv, c, ldc)
		a := l.follow(tile, lda, rows)
		acc := accumulators(rows, nv)
		k := integer("k")
		for _, unroll := range []int{l.unroll, 1} {
			countdown(fmt.Sprintf("%sk%d", name, unroll), k, unroll, func() {
				for at := range unroll {
					if unroll > 1 {
						a.prefetch(at)
					}
					microStep(acc, at, a, b)
				}
				a.advance(unroll)
				ADDQ(I32(unroll*nv*cpu.bytes), b)
			})
		}
		finish(name, acc, c, ldc, nil)
		for range rows {
			ADDQ(ldc, c)
		}
		ADDQ(stride("next"), tile)
	})
	leave()
}

// prefetchTile asks for the lines of a tile of C.
func prefetchTile(rows, nv int, c, ldc GPVirtual) {
	row := GP64()
	MOVQ(c, row)
	for i := range rows {
		for disp := nv*cpu.bytes - 4; disp >= 0; disp -= cacheLine {
			PREFETCHT0(Mem{Base: row, Disp: disp})
		}
		if i < rows-1 {
			ADDQ(ldc, row)
		}
	}
}

// microStep adds the products of one step, the at-th from where A and B stand.
func microStep(acc [][]VecVirtual, at int, a walk, b GPVirtual) {
	nv := len(acc[0])
	bs := make([]VecVirtual, nv)
	for j := range bs {
		bs[j] = cpu.load(Mem{Base: b, Disp: (at*nv + j) * cpu.bytes}, nil)
	}
	for i := range acc {
		x := cpu.vector()
		VBROADCASTSS(a.element(i, at), x)
		for j := range bs {
			cpu.multiply(bs[j], x, acc[i][j])
		}
	}
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
func finish(label string, acc [][]VecVirtual, c, ldc GPVirtual, mask Op) {
	row := GP64()
	MOVQ(c, row)
	alpha, beta := broadcast("alpha"), cpu.vector()
	for _, vs := range acc {
		for _, v := range vs {
			VMULPS(alpha, v, v)
		}
	}
	VBROADCASTSS(address("beta"), beta)
	none := cpu.vector()
	VXORPS(none, none, none)
	VUCOMISS(none.AsX(), beta.AsX())
	JNE(LabelRef(label + "blend"))
	JPS(LabelRef(label + "blend"))
	eachRow(acc, row, ldc, func(v VecVirtual, at Mem) { cpu.store(v, at, mask) })
	JMP(LabelRef(label + "stored"))
	Label(label + "blend")
	MOVQ(c, row)
	eachRow(acc, row, ldc, func(v VecVirtual, at Mem) {
		old := cpu.load(at, mask)
		VFMADD231PS(old, beta, v)
		cpu.store(v, at, mask)
	})
	Label(label + "stored")
}

func eachRow(acc [][]VecVirtual, row, ldc GPVirtual, do func(v VecVirtual, at Mem)) {
	for i, vs := range acc {
		for j, v := range vs {
			do(v, Mem{Base: row, Disp: j * cpu.bytes})
		}
		if i < len(acc)-1 {
			ADDQ(ldc, row)
		}
	}
}

// strided addresses rows 0..6 of a matrix at a moving pointer.
type strided struct{ at, ld, ld3, ld5 GPVirtual }

func newStrided(at, ld GPVirtual, rows int) strided {
	s := strided{at: at, ld: ld}
	if rows > 3 {
		s.ld3 = GP64()
		LEAQ(Mem{Base: ld, Index: ld, Scale: 2}, s.ld3)
	}
	if rows > 5 {
		s.ld5 = GP64()
		LEAQ(Mem{Base: ld, Index: ld, Scale: 4}, s.ld5)
	}
	return s
}

func (s strided) row(i, disp int) Mem {
	switch i {
	case 0:
		return Mem{Base: s.at, Disp: disp}
	case 3, 6:
		return Mem{Base: s.at, Index: s.ld3, Scale: uint8(i / 3), Disp: disp}
	case 5:
		return Mem{Base: s.at, Index: s.ld5, Scale: 1, Disp: disp}
	default:
		return Mem{Base: s.at, Index: s.ld, Scale: uint8(i), Disp: disp}
	}
}

// dotRows multiplies rows of A by four rows of B at a time.
func dotRows(rows int) {
	name := fmt.Sprintf("dotRows%d", rows)
	function("dotRows", fmt.Sprint(rows), "func(n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int)",
		fmt.Sprintf(", with m = %d and n a multiple of 4", rows))
	const group = 4
	n, lda, bRow, ldb, c, ldc := integer("n"), stride("lda"), base("b"), stride("ldb"), base("c"), stride("ldc")
	aAt, bAt := GP64(), GP64()
	a, b := newStrided(aAt, lda, rows), newStrided(bAt, ldb, group)
	// Rows of B are short for the hardware's prefetcher, so the kernel asks for
	// the rows ahead of those it reads, in step with these.
	ahead := strided{at: GP64(), ld: ldb, ld3: b.ld3}
	prefetch := func() {
		for disp := 0; disp < 2*cpu.bytes; disp += cacheLine {
			for j := range group {
				PREFETCHT0(ahead.row(j, disp))
			}
		}
		ADDQ(I32(2*cpu.bytes), ahead.at)
	}
	countdown(name+"n", n, group, func() {
		Load(Param("a").Base(), aAt)
		MOVQ(bRow, bAt)
		LEAQ(Mem{Base: bRow, Index: ldb, Scale: prefetchRows}, ahead.at)
		k := integer("k")
		acc := accumulators(rows, group)
		advance := func(vectors int) {
			ADDQ(I32(vectors*cpu.bytes), aAt)
			ADDQ(I32(vectors*cpu.bytes), bAt)
		}
		second := acc
		if rows == 1 { // four chains of additions would not hide their latency
			second = accumulators(rows, group)
		}
		countdown(name+"k2", k, 2*cpu.lanes, func() {
			dotStep(acc, a, b, 0)
			dotStep(second, a, b, cpu.bytes)
			prefetch()
			advance(2)
		})
		if rows == 1 {
			for j := range group {
				VADDPS(second[0][j], acc[0][j], acc[0][j])
			}
		}
		countdown(name+"k1", k, cpu.lanes, func() {
			dotStep(acc, a, b, 0)
			advance(1)
		})
		TESTQ(k, k)
		JZ(LabelRef(name + "sum"))
		dotTail(acc, a, b, cpu.tailMask(k))
		Label(name + "sum")
		sums := make([][]VecVirtual, rows)
		for i := range rows {
			sums[i] = []VecVirtual{sum4(acc[i])}
		}
		finishQuad(name, sums, c, ldc)
		ADDQ(I32(4*group), c)
		LEAQ(Mem{Base: bRow, Index: ldb, Scale: group}, bRow)
	})
	leave()
}

const (
	prefetchRows = 8  // rows of B between what is read and what is asked for
	cacheLine    = 64 // bytes
)

// dotStep adds the products of one vector of each row of a and b.
func dotStep(acc [][]VecVirtual, a, b strided, disp int) {
	xs := make([]VecVirtual, len(acc))
	for i := range xs {
		xs[i] = cpu.load(a.row(i, disp), nil)
	}
	for j := range acc[0] {
		if len(acc) == 1 {
			VFMADD231PS(b.row(j, disp), xs[0], acc[0][j])
			continue
		}
		y := cpu.load(b.row(j, disp), nil)
		for i := range xs {
			VFMADD231PS(y, xs[i], acc[i][j])
		}
	}
}

// dotTail is dotStep for the last, ragged vectors. It loads B's again for each
// row of A, for want of a seventeenth register.
func dotTail(acc [][]VecVirtual, a, b strided, mask Op) {
	for i := range acc {
		x := cpu.load(a.row(i, 0), mask)
		for j := range acc[i] {
			VFMADD231PS(cpu.load(b.row(j, 0), mask), x, acc[i][j])
		}
	}
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
	function("sumRows", fmt.Sprint(rows), "func(n, k int, alpha float32, a []float32, rowA, colA int, b []float32, ldb int, beta float32, c []float32, ldc int)",
		fmt.Sprintf(", with m = %d", rows))
	n, c, ldc, bCol := integer("n"), base("c"), stride("ldc"), base("b")
	stripes := cpu.stripes
	if rows > 1 {
		stripes = stripes[1:]
	}
	for _, vectors := range stripes {
		label := fmt.Sprintf("%sv%d", name, vectors)
		countdown(label, n, vectors*cpu.lanes, func() {
			sumStripe(label, rows, vectors, bCol, c, ldc, nil)
			ADDQ(I32(vectors*cpu.bytes), bCol)
			ADDQ(I32(vectors*cpu.bytes), c)
		})
	}
	Label(name + "v1")
	CMPQ(n, I32(0))
	JLE(LabelRef(name + "done"))
	few := GP64()
	MOVQ(I32(cpu.lanes), few)
	CMPQ(n, few)
	CMOVQLT(n, few)
	sumStripe(name+"v1", rows, 1, bCol, c, ldc, cpu.tailMask(few))
	ADDQ(I32(cpu.bytes), bCol)
	ADDQ(I32(cpu.bytes), c)
	SUBQ(I32(cpu.lanes), n)
	JMP(LabelRef(name + "v1"))
	Label(name + "done")
	leave()
}

func sumStripe(label string, rows, vectors int, bCol, c, ldc GPVirtual, mask Op) {
	a := newStrided(base("a"), stride("rowA"), rows)
	colA, ldb, k, b := stride("colA"), stride("ldb"), integer("k"), GP64()
	MOVQ(bCol, b)
	acc := accumulators(rows, vectors)
	countdown(label+"k", k, 1, func() {
		xs := make([]VecVirtual, rows)
		for i := range xs {
			xs[i] = cpu.vector()
			VBROADCASTSS(a.row(i, 0), xs[i])
		}
		for j := range vectors {
			if rows == 1 && mask == nil {
				VFMADD231PS(Mem{Base: b, Disp: j * cpu.bytes}, xs[0], acc[0][j])
				continue
			}
			y := cpu.load(Mem{Base: b, Disp: j * cpu.bytes}, mask)
			for i := range xs {
				VFMADD231PS(y, xs[i], acc[i][j])
			}
		}
		ADDQ(colA, a.at)
		ADDQ(ldb, b)
	})
	finish(label, acc, c, ldc, mask)
}
