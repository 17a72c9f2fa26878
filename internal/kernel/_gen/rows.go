package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// vector is the part of the rows that a pass works on: one register's worth.
// In the last, ragged part mask selects the lanes inside the rows.
type vector struct {
	ptr  map[string]GPVirtual
	disp int
	slot int // which of the unrolled vectors this is
	mask VecVirtual
}

func (v vector) at(name string) Mem { return Mem{Base: v.ptr[name], Disp: v.disp} }

// load reads a vector of the named row; lanes outside are zero.
func (v vector) load(name string) VecVirtual { return loadMasked(v.at(name), v.mask) }

func (v vector) store(name string, y VecVirtual) { storeMasked(y, v.at(name), v.mask) }

// inside replaces the lanes of y outside the rows by zero.
func (v vector) inside(y VecVirtual) VecVirtual {
	if v.mask != nil {
		VANDPS(v.mask, y, y)
	}
	return y
}

// pass emits body over all elements of the named rows, which are as long as
// the first: unroll vectors at a time, then one, then the ragged rest.
func pass(unroll int, rows []string, body func(v vector)) {
	n := GP64()
	Load(Param(rows[0]).Len(), n)
	ptr := map[string]GPVirtual{}
	for _, r := range rows {
		ptr[r] = base(r)
	}
	stage := func(vectors int) func() {
		return func() {
			for i := range vectors {
				body(vector{ptr: ptr, disp: i * width, slot: i})
			}
			for _, r := range rows {
				ADDQ(I32(vectors*width), ptr[r])
			}
		}
	}
	if unroll > 1 {
		countdown("unrolled", n, unroll*lanes, stage(unroll))
	}
	countdown("whole", n, lanes, stage(1))
	TESTQ(n, n)
	JZ(LabelRef("done"))
	body(vector{ptr: ptr, mask: tailMask(n)})
	Label("done")
}

func rowKernels() {
	linearKernels()
	reductions()
	expKernels()
	swiGLU()
	swiGLUGrad()
	rotate()
	adamW()
}

func linearKernels() {
	function("axpy", "func(a float32, x, y []float32)", "")
	a := broadcast("a")
	pass(4, []string{"x", "y"}, func(v vector) {
		y := v.load("y")
		VFMADD231PS(v.load("x"), a, y)
		v.store("y", y)
	})
	VZEROUPPER()
	RET()

	function("mulAdd", "func(dst []float32, a float32, x, y []float32)", "")
	a = broadcast("a")
	pass(2, []string{"dst", "x", "y"}, func(v vector) {
		x, dst := v.load("x"), v.load("dst")
		VMULPS(a, x, x)
		VFMADD231PS(v.load("y"), x, dst)
		v.store("dst", dst)
	})
	VZEROUPPER()
	RET()

	function("scale", "func(a float32, x []float32)", "")
	a = broadcast("a")
	pass(4, []string{"x"}, func(v vector) {
		x := v.load("x")
		VMULPS(a, x, x)
		v.store("x", x)
	})
	VZEROUPPER()
	RET()

	binary("add", func(y, x VecVirtual) { VADDPS(y, x, x) })
	binary("mul", func(y, x VecVirtual) { VMULPS(y, x, x) })

	function("normApply", "func(dst, x, gain []float32, inv float32)", "")
	inv := broadcast("inv")
	pass(2, []string{"dst", "x", "gain"}, func(v vector) {
		x := v.load("x")
		VMULPS(inv, x, x)
		VMULPS(v.load("gain"), x, x)
		v.store("dst", x)
	})
	VZEROUPPER()
	RET()
}

func binary(name string, op func(y, x VecVirtual)) {
	function(name, "func(dst, x, y []float32)", "")
	pass(4, []string{"dst", "x", "y"}, func(v vector) {
		x := v.load("x")
		op(v.load("y"), x)
		v.store("dst", x)
	})
	VZEROUPPER()
	RET()
}

func reductions() {
	function("dot", "func(x, y []float32) float32", "")
	acc := accumulators(1, 4)[0]
	pass(4, []string{"x", "y"}, func(v vector) {
		VFMADD231PS(v.load("y"), v.load("x"), acc[v.slot])
	})
	returnSum(acc)

	function("dot3", "func(x, y, z []float32) float32", "")
	acc = accumulators(1, 2)[0]
	pass(2, []string{"x", "y", "z"}, func(v vector) {
		x := v.load("x")
		VMULPS(v.load("y"), x, x)
		VFMADD231PS(v.load("z"), x, acc[v.slot])
	})
	returnSum(acc)

	function("sum", "func(x []float32) float32", "")
	acc = accumulators(1, 4)[0]
	pass(4, []string{"x"}, func(v vector) { VADDPS(v.load("x"), acc[v.slot], acc[v.slot]) })
	returnSum(acc)

	function("max", "func(x []float32) float32", "")
	lowest := splat("lowest", U32(math.Float32bits(float32(math.Inf(-1)))))
	acc = accumulators(1, 4)[0]
	for _, m := range acc {
		VMOVUPS(lowest, m)
	}
	pass(4, []string{"x"}, func(v vector) {
		x := v.load("x")
		if v.mask != nil {
			low := YMM()
			VMOVUPS(lowest, low)
			VBLENDVPS(v.mask, x, low, x)
		}
		// The first operand wins against NaN, so NaNs are passed over.
		VMAXPS(acc[v.slot], x, acc[v.slot])
	})
	VMAXPS(acc[1], acc[0], acc[0])
	VMAXPS(acc[3], acc[2], acc[2])
	VMAXPS(acc[2], acc[0], acc[0])
	hi, lo, other := XMM(), acc[0].AsX(), XMM()
	VEXTRACTF128(Imm(1), acc[0], hi)
	VMAXPS(hi, lo, lo)
	VPERMILPS(Imm(0x4e), lo, other)
	VMAXPS(other, lo, lo)
	VPERMILPS(Imm(0xb1), lo, other)
	VMAXPS(other, lo, lo)
	Store(lo, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// returnSum returns the sum over the lanes of all accumulators.
func returnSum(acc []VecVirtual) {
	for step := 1; step < len(acc); step *= 2 {
		for i := 0; i+step < len(acc); i += 2 * step {
			VADDPS(acc[i+step], acc[i], acc[i])
		}
	}
	Store(horizontal(acc[0]), ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// exp replaces x by exp(x): x = n*ln2 + r with |r| <= ln2/2, exp(r) by the
// polynomial of Cephes' expf, times 2^n in two factors so that subnormal
// results and overflow to +Inf come out by themselves. NaN stays NaN.
func exp(x VecVirtual) {
	f := func(name string, v float32) Mem { return splat(name, F32(v)) }
	// The second source of VMINPS and VMAXPS (here x) wins if it is NaN.
	bound, n, r, p := YMM(), YMM(), YMM(), YMM()
	VMOVUPS(f("exphigh", 89), bound)
	VMINPS(x, bound, x)
	VMOVUPS(f("explow", -104), bound)
	VMAXPS(x, bound, x)
	VMULPS(f("log2e", math.Log2E), x, n)
	VROUNDPS(Imm(8), n, n) // to nearest even, quietly
	VMOVAPS(x, r)
	VFNMADD231PS(f("ln2high", 0.693359375), n, r)
	VFNMADD231PS(f("ln2low", -2.12194440e-4), n, r)
	VMOVUPS(f("exp7", 1.9875691500e-4), p)
	VFMADD213PS(f("exp6", 1.3981999507e-3), r, p)
	VFMADD213PS(f("exp5", 8.3334519073e-3), r, p)
	VFMADD213PS(f("exp4", 4.1665795894e-2), r, p)
	VFMADD213PS(f("exp3", 1.6666665459e-1), r, p)
	VFMADD213PS(f("exp2", 5.0000001201e-1), r, p)
	square := YMM()
	VMULPS(r, r, square)
	VFMADD213PS(r, square, p)
	VADDPS(f("one", 1), p, p)
	half := YMM()
	VCVTPS2DQ(n, n)
	VPSRAD(Imm(1), n, half)
	VPSUBD(half, n, n)
	for _, e := range []VecVirtual{half, n} {
		VPADDD(splat("bias", U32(127)), e, e)
		VPSLLD(Imm(23), e, e)
		VMULPS(e, p, p)
	}
	VMOVAPS(p, x)
}

func expKernels() {
	function("exp", "func(dst, x []float32)", "")
	pass(2, []string{"dst", "x"}, func(v vector) {
		x := v.load("x")
		exp(x)
		v.store("dst", x)
	})
	VZEROUPPER()
	RET()

	expSum("expSum", "func(dst, x []float32, shift float32) float32", true)
	expSum("sumExp", "func(x []float32, shift float32) float32", false)
}

func expSum(name, signature string, keep bool) {
	function(name, signature, "")
	shift, acc := broadcast("shift"), accumulators(1, 2)[0]
	rows := []string{"x"}
	if keep {
		rows = []string{"dst", "x"}
	}
	pass(2, rows, func(v vector) {
		x := v.load("x")
		VSUBPS(shift, x, x)
		exp(x)
		if keep {
			v.store("dst", x)
		}
		VADDPS(v.inside(x), acc[v.slot], acc[v.slot])
	})
	returnSum(acc)
}

// sigmoid is 1/(1+exp(-x)).
func sigmoid(x VecVirtual) VecVirtual {
	s, one := zero(), YMM()
	VSUBPS(x, s, s)
	exp(s)
	VMOVUPS(splat("one", F32(1)), one)
	VADDPS(one, s, s)
	VDIVPS(s, one, s)
	return s
}

func swiGLU() {
	function("swiGLU", "func(dst, gate, up []float32)", "")
	pass(2, []string{"dst", "gate", "up"}, func(v vector) {
		g := v.load("gate")
		VMULPS(sigmoid(g), g, g)
		VMULPS(v.load("up"), g, g)
		v.store("dst", g)
	})
	VZEROUPPER()
	RET()
}

func swiGLUGrad() {
	function("swiGLUGrad", "func(dgate, dup, dy, gate, up []float32)", "")
	pass(1, []string{"dgate", "dup", "dy", "gate", "up"}, func(v vector) {
		g := v.load("gate")
		s := sigmoid(g)
		silu, slope, dy := g, YMM(), v.load("dy")
		VMULPS(s, g, silu)
		VMOVUPS(splat("one", F32(1)), slope)
		VSUBPS(s, slope, slope)
		VFMADD213PS(s, silu, slope) // s + silu*(1-s)
		dup := v.load("dup")
		VFMADD231PS(silu, dy, dup)
		v.store("dup", dup)
		VMULPS(v.load("up"), dy, dy)
		dgate := v.load("dgate")
		VFMADD231PS(slope, dy, dgate)
		v.store("dgate", dgate)
	})
	VZEROUPPER()
	RET()
}

func rotate() {
	function("rotate", "func(lo, hi, cos, sin []float32)", "")
	pass(1, []string{"lo", "hi", "cos", "sin"}, func(v vector) {
		lo, hi, c, s := v.load("lo"), v.load("hi"), v.load("cos"), v.load("sin")
		x, y := YMM(), YMM()
		VMULPS(s, hi, x)
		VFMSUB231PS(lo, c, x)
		VMULPS(s, lo, y)
		VFMADD231PS(hi, c, y)
		v.store("lo", x)
		v.store("hi", y)
	})
	VZEROUPPER()
	RET()
}

func adamW() {
	function("adamW", "func(p, g, m, v []float32, lr, beta1, beta2, eps, decay, c1, c2 float32)", "")
	one := YMM()
	VMOVUPS(splat("one", F32(1)), one)
	beta1, beta2, rest1, rest2 := broadcast("beta1"), broadcast("beta2"), YMM(), YMM()
	VSUBPS(beta1, one, rest1)
	VSUBPS(beta2, one, rest2)
	by1, by2 := broadcast("c1"), broadcast("c2")
	VDIVPS(by1, one, by1)
	VDIVPS(by2, one, by2)
	lr, eps, decay := broadcast("lr"), broadcast("eps"), broadcast("decay")
	pass(1, []string{"p", "g", "m", "v"}, func(w vector) {
		g, m, v := w.load("g"), w.load("m"), w.load("v")
		VMULPS(beta1, m, m)
		VFMADD231PS(rest1, g, m)
		w.store("m", m)
		VMULPS(g, g, g)
		VMULPS(beta2, v, v)
		VFMADD231PS(rest2, g, v)
		w.store("v", v)
		VMULPS(by2, v, v)
		VSQRTPS(v, v)
		VADDPS(eps, v, v)
		VMULPS(by1, m, m)
		VDIVPS(v, m, m) // the step of Adam
		p := w.load("p")
		VFMADD231PS(decay, p, m)
		VFNMADD231PS(lr, m, p)
		w.store("p", p)
	})
	VZEROUPPER()
	RET()
}
