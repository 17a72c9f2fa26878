package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// isa is an instruction set to write for. The kernels share their text; what an
// instruction set does in its own way are its instructions.
type isa struct {
	instructions
	suffix string // of the functions' names
	title  string // of their comments
	lanes  int    // float32 in a vector
	bytes  int    // of a vector

	mr, nv  int   // the micro kernel's tile: mr rows of nv vectors
	across  []int // widths of transposes
	rows    int   // rows of A that dotRows and sumRows take at most
	stripes []int // vectors a row that sumRows takes, at most, for m = 1 and above

	products   byteProducts
	byteRows   int   // of A that dotBytes takes at most
	byteAcross []int // panels that dotBytes takes at a time, falling to 1

	kernels  []func()        // what is written
	encoding *encoding       // nil where the assembler knows all instructions
	multiply func(ops ...Op) // of micro's steps
}

// instructions hide how an instruction set masks, rounds and shuffles. A mask
// selects the first lanes of a vector; a nil mask selects them all.
type instructions interface {
	vector() VecVirtual
	// tailMask selects n lanes; 0 < n <= lanes.
	tailMask(n GPVirtual) Op
	// load and store touch the selected lanes only; the others load as zero.
	load(at Mem, mask Op) VecVirtual
	store(y VecVirtual, at Mem, mask Op)
	// inside clears the lanes of y outside the mask.
	inside(y VecVirtual, mask Op)
	// orElse sets the lanes of y outside the mask to the constant.
	orElse(y VecVirtual, mask Op, name string)
	// halves splits a vector of more than four lanes.
	halves(y VecVirtual) (lo, hi VecVirtual)
	// round rounds to nearest even, quietly.
	round(x VecVirtual)
	// storeBytes stores the lowest byte of each lane, an integer from 0 to 255.
	storeBytes(y VecVirtual, at Mem)
	// scale2 multiplies p by 2^n for integral n; it may spoil n.
	scale2(n, p VecVirtual)
	// turn loads rows x lanes floats and passes on the columns, in order. The
	// lanes past the rows are anything.
	turn(rows int, src, ld GPVirtual, column func(y VecVirtual))
	// hold prepares constants that the function written next needs.
	hold(names ...string)
	// constant is a held constant in every lane, in memory or a register that
	// may not be written.
	constant(name string) Op
}

// cpu is what this run writes for.
var cpu *isa

var isas = map[string]*isa{
	"avx2": {
		instructions: avx2{}, suffix: "AVX2", title: "AVX2 and FMA", lanes: 8, bytes: 32,
		mr: 6, nv: 2, across: []int{6, 8}, rows: 3, stripes: []int{8, 4},
		products: pairs{}, byteRows: 2, byteAcross: []int{1},
		multiply: VFMADD231PS, kernels: allKernels,
	},
	"avxvnni": {
		instructions: avx2{}, suffix: "AVXVNNI", title: "AVX-VNNI", lanes: 8, bytes: 32,
		products: vnni{}, byteRows: 6, byteAcross: []int{1},
		kernels: []func(){byteKernels}, encoding: vexDotBytes,
	},
	"avx512": {
		instructions: avx512{}, suffix: "AVX512", title: "AVX-512", lanes: 16, bytes: 64,
		mr: 12, nv: 2, across: []int{12, 16}, rows: 6, stripes: []int{8, 4},
		products: vnni{}, byteRows: 6, byteAcross: []int{4, 1},
		multiply: VFMADD231PS, kernels: allKernels,
	},
	"avx512bf16": {
		instructions: avx512{}, suffix: "AVX512", title: "AVX512_BF16", lanes: 16, bytes: 64,
		mr: 12, nv: 2,
		multiply: VPDPBUSD, kernels: []func(){pairKernels}, encoding: dotPairs,
	},
}

var allKernels = []func(){matrixKernels, rowKernels, halves, rounding, byteKernels}

// values are the constants of the kernels.
var values = map[string]float32{
	"one":    1,
	"lowest": float32(math.Inf(-1)),

	// Of bits and integers.
	"half": math.Float32frombits(0x7fff), "lowestBit": math.Float32frombits(1),
	"upper": math.Float32frombits(0xffff << 16), "quiet": math.Float32frombits(1 << 22),
	"magnitude": math.Float32frombits(1<<31 - 1), "byteZero": math.Float32frombits(128),

	// exp; the names say what for.
	"exphigh": 89, "explow": -104, "log2e": math.Log2E,
	"tailhigh": 1e-4, "taillow": -1e-4,
	"ln2high": 0.693359375, "ln2low": -2.12194440e-4,
	"exp7": 1.9875691500e-4, "exp6": 1.3981999507e-3, "exp5": 8.3334519073e-3,
	"exp4": 4.1665795894e-2, "exp3": 1.6666665459e-1, "exp2": 5.0000001201e-1,
}

// value is the named constant. The assembler knows no literal for an infinity
// and the like.
func value(name string) Constant {
	v := values[name]
	if f := math.Abs(float64(v)); f < 1e-30 || !(f <= math.MaxFloat32) {
		return U32(math.Float32bits(v))
	}
	return F32(v)
}

func zero() VecVirtual {
	y := cpu.vector()
	VXORPS(y, y, y)
	return y
}

// fold applies op to the halves of y until four lanes are left.
func fold(y VecVirtual, op func(ops ...Op)) VecVirtual {
	for n := cpu.lanes; n > 4; n /= 2 {
		lo, hi := cpu.halves(y)
		op(hi, lo, lo)
		y = lo
	}
	return y
}

// combine applies op to all lanes of y; lane 0 of the result has it.
func combine(y VecVirtual, op func(ops ...Op)) VecVirtual {
	x, other := fold(y, op), XMM()
	for _, neighbours := range []uint64{0xb1, 0x4e} {
		VPERMILPS(Imm(neighbours), x, other)
		op(other, x, x)
	}
	return x
}

// sum4 returns the four sums over lanes of four vectors.
func sum4(v []VecVirtual) VecVirtual {
	addPairs(v[1], v[0])
	addPairs(v[3], v[2])
	addPairs(v[2], v[0])
	return fold(v[0], VADDPS)
}

// addPairs is VHADDPS(b, a, a), which AVX-512 lacks, in as many micro-operations.
func addPairs(b, a VecVirtual) {
	even := cpu.vector()
	VSHUFPS(Imm(0x88), b, a, even)
	VSHUFPS(Imm(0xdd), b, a, a)
	VADDPS(even, a, a)
}
