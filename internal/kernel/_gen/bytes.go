package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// A panel holds the weights of panelRows rows, for each group of four columns in
// turn: four bytes of every row.
const (
	panelRows  = 16
	panelBytes = 4 * panelRows
)

// byteProducts is how an instruction set adds up products of an unsigned and a
// signed byte, exactly.
type byteProducts interface {
	// start returns accumulators of zeros for a row and some panels.
	start(panels int) []VecVirtual
	// step adds the products of one group of four columns: of each row of a with
	// the panels of w.
	step(acc [][]VecVirtual, a func(row int) Mem, w func(panel, disp int) Mem)
	// end turns accumulators into sums, in the order of the panels' rows.
	end(acc []VecVirtual) []VecVirtual
}

// vnni has an instruction for it.
type vnni struct{}

func (vnni) start(panels int) []VecVirtual {
	return accumulators(1, panels*panelBytes/cpu.bytes)[0]
}

func (vnni) step(acc [][]VecVirtual, a func(row int) Mem, w func(panel, disp int) Mem) {
	each := panelBytes / cpu.bytes
	ws := make([]VecVirtual, len(acc[0]))
	for j := range ws {
		ws[j] = cpu.load(w(j/each, j%each*cpu.bytes), nil)
	}
	for i := range acc {
		x := cpu.vector()
		VPBROADCASTD(a(i), x)
		for j, y := range ws {
			VPDPBUSD(y, x, acc[i][j])
		}
	}
}

func (vnni) end(acc []VecVirtual) []VecVirtual { return acc }

// pairs multiplies 16-bit numbers, since sums of bytes' products would saturate.
// An accumulator holds two partial sums of each of four rows.
type pairs struct{}

func (pairs) start(panels int) []VecVirtual { return accumulators(1, panels*panelRows/4)[0] }

func (pairs) step(acc [][]VecVirtual, a func(row int) Mem, w func(panel, disp int) Mem) {
	xs := make([]VecVirtual, len(acc))
	for i := range xs {
		xs[i] = YMM()
		VPBROADCASTD(a(i), xs[i].AsX())
		VPMOVZXBW(xs[i].AsX(), xs[i])
	}
	for j := range acc[0] {
		y, product := YMM(), YMM()
		VPMOVSXBW(w(j/4, j%4*16), y)
		for i, x := range xs {
			VPMADDWD(x, y, product)
			VPADDD(product, acc[i][j], acc[i][j])
		}
	}
}

func (pairs) end(acc []VecVirtual) []VecVirtual {
	sums := make([]VecVirtual, len(acc)/2)
	for j := range sums {
		sums[j] = YMM()
		VPHADDD(acc[2*j+1], acc[2*j], sums[j])
		VPERMQ(Imm(0xd8), sums[j], sums[j])
	}
	return sums
}

func byteKernels() {
	for rows := 1; rows <= cpu.byteRows; rows++ {
		dotBytes(rows)
	}
}

// dotBytes multiplies rows of activations by as many panels at a time as there
// are registers for.
func dotBytes(rows int) {
	name := fmt.Sprintf("dotBytes%d", rows)
	function("dotBytes", fmt.Sprint(rows), "func(panels, quads int, a []uint8, lda int, aScale []float32, w []int8, wScale []float32, shift []int32, add bool, c []float32, ldc int)",
		fmt.Sprintf(", with rows = %d", rows))
	t := byteTile{rows: rows, w: base("w"), size: integer("quads"), col: GP64()}
	SHLQ(Imm(6), t.size)
	XORQ(t.col, t.col)
	panels := integer("panels")
	for _, n := range cpu.byteAcross {
		t.label, t.panels = fmt.Sprintf("%sp%d", name, n), n
		countdown(t.label, panels, n, func() {
			t.compute()
			LEAQ(Mem{Base: t.w, Index: t.size, Scale: uint8(n)}, t.w)
			ADDQ(I32(n*panelBytes), t.col)
		})
	}
	leave()
}

// byteTile is some rows and panels whose sums stay in registers.
type byteTile struct {
	label        string
	rows, panels int
	w            GPVirtual // the first of the panels
	size         GPVirtual // of a panel
	col          GPVirtual // rows of weights before, times four: bytes of C, scales and shifts
}

func (t *byteTile) compute() {
	aAt, wAt := base("a"), GP64()
	MOVQ(t.w, wAt)
	a, w := newStrided(aAt, integer("lda"), t.rows), newStrided(wAt, t.size, t.panels)
	sums := t.accumulate(a, w)
	// shift takes away what bytes that stand for activations of 0 have added.
	shift, scale := t.beside("shift"), t.beside("wScale")
	for j := range sums[0] {
		at := cpu.load(Mem{Base: shift, Disp: j * cpu.bytes}, nil)
		for i := range sums {
			VPADDD(at, sums[i][j], sums[i][j])
		}
	}
	scales := make([]VecVirtual, len(sums[0]))
	for j := range scales {
		scales[j] = cpu.load(Mem{Base: scale, Disp: j * cpu.bytes}, nil)
	}
	aScale := base("aScale")
	for i := range sums {
		x := cpu.vector()
		VBROADCASTSS(Mem{Base: aScale, Disp: 4 * i}, x)
		for j, y := range sums[i] {
			VCVTDQ2PS(y, y)
			VMULPS(x, y, y)
			VMULPS(scales[j], y, y)
		}
	}
	t.store(sums)
}

// accumulate returns the sums of each row. Few accumulators would not hide the
// latency of an addition, so then there are several sets, taken in turns.
func (t *byteTile) accumulate(a, w strided) [][]VecVirtual {
	sets := [][][]VecVirtual{nil}
	for i := 0; i < t.rows; i++ {
		sets[0] = append(sets[0], cpu.products.start(t.panels))
	}
	for len(sets)*t.rows*len(sets[0][0]) < 8 {
		more := [][]VecVirtual{}
		for i := 0; i < t.rows; i++ {
			more = append(more, cpu.products.start(t.panels))
		}
		sets = append(sets, more)
	}
	quads := integer("quads")
	advance := func(n int) {
		ADDQ(I32(4*n), a.at)
		ADDQ(I32(panelBytes*n), w.at)
	}
	step := func(set, at int) {
		cpu.products.step(sets[set],
			func(row int) Mem { return a.row(row, 4*at) },
			func(panel, disp int) Mem { return w.row(panel, panelBytes*at+disp) })
	}
	if len(sets) > 1 {
		countdown(t.label+"sets", quads, len(sets), func() {
			for s := range sets {
				step(s, s)
			}
			advance(len(sets))
		})
	}
	countdown(t.label+"quads", quads, 1, func() {
		step(0, 0)
		advance(1)
	})
	sums := make([][]VecVirtual, t.rows)
	for i, acc := range sets[0] {
		for _, other := range sets[1:] {
			for j := range acc {
				VPADDD(other[i][j], acc[j], acc[j])
			}
		}
		sums[i] = cpu.products.end(acc)
	}
	return sums
}

// beside is where the tile's part of a parameter with an entry for each row of
// weights begins.
func (t *byteTile) beside(param string) GPVirtual {
	at := base(param)
	ADDQ(t.col, at)
	return at
}

func (t *byteTile) store(sums [][]VecVirtual) {
	c, ldc := t.beside("c"), stride("ldc")
	CMPB(address("add"), Imm(0))
	JE(LabelRef(t.label + "set"))
	row := GP64()
	MOVQ(c, row)
	eachRow(sums, row, ldc, func(y VecVirtual, at Mem) { VADDPS(at, y, y) })
	Label(t.label + "set")
	eachRow(sums, c, ldc, func(y VecVirtual, at Mem) { cpu.store(y, at, nil) })
}

// rounding finds the range of activations and rounds them.
func rounding() {
	function("absMax", "", "func(x []float32) float32", "")
	cpu.hold("magnitude")
	acc := accumulators(1, 4)[0]
	pass(4, []string{"x"}, func(v vector) {
		x := v.load("x")
		VANDPS(cpu.constant("magnitude"), x, x)
		VPMAXSD(x, acc[v.slot], acc[v.slot])
	})
	VPMAXSD(acc[1], acc[0], acc[0])
	VPMAXSD(acc[3], acc[2], acc[2])
	VPMAXSD(acc[2], acc[0], acc[0])
	Store(combine(acc[0], VPMAXSD), ReturnIndex(0))
	leave()

	function("toBytes", fmt.Sprint(cpu.lanes), "func(dst []uint8, x []float32, by float32)",
		fmt.Sprintf(", with a length that is a multiple of %d", cpu.lanes))
	cpu.hold("byteZero")
	dst, x, by, n := base("dst"), base("x"), broadcast("by"), GP64()
	Load(Param("x").Len(), n)
	countdown("whole", n, cpu.lanes, func() {
		y := cpu.load(Mem{Base: x}, nil)
		VMULPS(by, y, y)
		VCVTPS2DQ(y, y)
		VPADDD(cpu.constant("byteZero"), y, y)
		cpu.storeBytes(y, Mem{Base: dst})
		ADDQ(I32(cpu.bytes), x)
		ADDQ(I32(cpu.lanes), dst)
	})
	leave()
}
