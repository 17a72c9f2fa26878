package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// vector is the part of the rows that a pass works on: one register's worth.
// In the last, ragged part mask selects the cpu.lanes inside the rows.
type vector struct {
	ptr  map[string]GPVirtual
	disp int
	slot int // which of the unrolled vectors this is
	mask Op
}

func (v vector) at(name string) Mem { return Mem{Base: v.ptr[name], Disp: v.disp} }

// load reads a vector of the named row; cpu.lanes outside are zero.
func (v vector) load(name string) VecVirtual { return cpu.load(v.at(name), v.mask) }

func (v vector) store(name string, y VecVirtual) { cpu.store(y, v.at(name), v.mask) }

// inside replaces the cpu.lanes of y outside the rows by zero.
func (v vector) inside(y VecVirtual) VecVirtual {
	cpu.inside(y, v.mask)
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
				body(vector{ptr: ptr, disp: i * cpu.bytes, slot: i})
			}
			for _, r := range rows {
				ADDQ(I32(vectors*cpu.bytes), ptr[r])
			}
		}
	}
	if unroll > 1 {
		countdown("unrolled", n, unroll*cpu.lanes, stage(unroll))
	}
	countdown("whole", n, cpu.lanes, stage(1))
	TESTQ(n, n)
	JZ(LabelRef("done"))
	body(vector{ptr: ptr, mask: cpu.tailMask(n)})
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
	function("axpy", "", "func(a float32, x, y []float32)", "")
	a := broadcast("a")
	pass(4, []string{"x", "y"}, func(v vector) {
		y := v.load("y")
		VFMADD231PS(v.load("x"), a, y)
		v.store("y", y)
	})
	leave()

	function("mulAdd", "", "func(dst []float32, a float32, x, y []float32)", "")
	a = broadcast("a")
	pass(2, []string{"dst", "x", "y"}, func(v vector) {
		x, dst := v.load("x"), v.load("dst")
		VMULPS(a, x, x)
		VFMADD231PS(v.load("y"), x, dst)
		v.store("dst", dst)
	})
	leave()

	function("scale", "", "func(a float32, x []float32)", "")
	a = broadcast("a")
	pass(4, []string{"x"}, func(v vector) {
		x := v.load("x")
		VMULPS(a, x, x)
		v.store("x", x)
	})
	leave()

	binary("add", func(y, x VecVirtual) { VADDPS(y, x, x) })
	binary("mul", func(y, x VecVirtual) { VMULPS(y, x, x) })

	function("normApply", "", "func(dst, x, gain []float32, inv float32)", "")
	inv := broadcast("inv")
	pass(2, []string{"dst", "x", "gain"}, func(v vector) {
		x := v.load("x")
		VMULPS(inv, x, x)
		VMULPS(v.load("gain"), x, x)
		v.store("dst", x)
	})
	leave()
}

func binary(name string, op func(y, x VecVirtual)) {
	function(name, "", "func(dst, x, y []float32)", "")
	pass(4, []string{"dst", "x", "y"}, func(v vector) {
		x := v.load("x")
		op(v.load("y"), x)
		v.store("dst", x)
	})
	leave()
}

func reductions() {
	function("dot", "", "func(x, y []float32) float32", "")
	acc := accumulators(1, 4)[0]
	pass(4, []string{"x", "y"}, func(v vector) {
		VFMADD231PS(v.load("y"), v.load("x"), acc[v.slot])
	})
	returnSum(acc)

	function("dot3", "", "func(x, y, z []float32) float32", "")
	acc = accumulators(1, 2)[0]
	pass(2, []string{"x", "y", "z"}, func(v vector) {
		x := v.load("x")
		VMULPS(v.load("y"), x, x)
		VFMADD231PS(v.load("z"), x, acc[v.slot])
	})
	returnSum(acc)

	function("sum", "", "func(x []float32) float32", "")
	acc = accumulators(1, 4)[0]
	pass(4, []string{"x"}, func(v vector) { VADDPS(v.load("x"), acc[v.slot], acc[v.slot]) })
	returnSum(acc)

	function("max", "", "func(x []float32) float32", "")
	cpu.hold("lowest")
	acc = accumulators(1, 4)[0]
	for _, m := range acc {
		VMOVUPS(cpu.constant("lowest"), m)
	}
	pass(4, []string{"x"}, func(v vector) {
		x := v.load("x")
		cpu.orElse(x, v.mask, "lowest")
		// The first operand wins against NaN, so NaNs are passed over.
		VMAXPS(acc[v.slot], x, acc[v.slot])
	})
	VMAXPS(acc[1], acc[0], acc[0])
	VMAXPS(acc[3], acc[2], acc[2])
	VMAXPS(acc[2], acc[0], acc[0])
	Store(combine(acc[0], VMAXPS), ReturnIndex(0))
	leave()
}

// returnSum returns the sum over the cpu.lanes of all accumulators.
func returnSum(acc []VecVirtual) {
	for step := 1; step < len(acc); step *= 2 {
		for i := 0; i+step < len(acc); i += 2 * step {
			VADDPS(acc[i+step], acc[i], acc[i])
		}
	}
	Store(combine(acc[0], VADDPS), ReturnIndex(0))
	leave()
}

// expConstants are what exp has to be able to read.
var expConstants = []string{
	"exphigh", "explow", "log2e", "ln2high", "ln2low",
	"exp7", "exp6", "exp5", "exp4", "exp3", "exp2", "one",
}

// exp replaces x by exp(x). NaN stays NaN.
func exp(x VecVirtual) {
	expTail(x, nil)
}

// expTail replaces x by exp(x+tail), for a tail far below 1 or none:
// x = n*ln2 + r with |r| <= ln2/2, exp(r) by the polynomial of Cephes' expf,
// times 2^n.
func expTail(x, tail VecVirtual) {
	// The second source of VMINPS and VMAXPS (here x) wins if it is NaN.
	bound, n, r, p := cpu.vector(), cpu.vector(), cpu.vector(), cpu.vector()
	VMOVUPS(cpu.constant("exphigh"), bound)
	VMINPS(x, bound, x)
	VMOVUPS(cpu.constant("explow"), bound)
	VMAXPS(x, bound, x)
	VMULPS(cpu.constant("log2e"), x, n)
	cpu.round(n)
	VMOVAPS(x, r)
	VFNMADD231PS(cpu.constant("ln2high"), n, r) // exact, for ln2high is short
	if tail == nil {
		VFNMADD231PS(cpu.constant("ln2low"), n, r)
	} else {
		VFNMADD231PS(cpu.constant("ln2low"), n, tail)
		VADDPS(tail, r, r)
	}
	VMOVUPS(cpu.constant("exp7"), p)
	for _, coefficient := range []string{"exp6", "exp5", "exp4", "exp3", "exp2"} {
		VFMADD213PS(cpu.constant(coefficient), r, p)
	}
	square := cpu.vector()
	VMULPS(r, r, square)
	VFMADD213PS(r, square, p)
	VADDPS(cpu.constant("one"), p, p)
	cpu.scale2(n, p)
	VMOVAPS(p, x)
}

// expLess replaces x by exp(x-shift). The difference rounded to float32 would cost
// as much accuracy as all the rest, so what rounding drops is kept as the tail
// (Knuth's TwoSum).
func expLess(shift, x VecVirtual) {
	d, shed, kept, tail := cpu.vector(), cpu.vector(), cpu.vector(), cpu.vector()
	VSUBPS(shift, x, d)
	VSUBPS(x, d, shed) // what of -shift is in d
	VSUBPS(shed, d, kept)
	VSUBPS(kept, x, tail)
	VADDPS(shift, shed, shed)
	VSUBPS(shed, tail, tail)
	// A larger tail belongs to a difference that gives 0 or +Inf. It is NaN beside
	// infinities, where the second source, the bound, wins.
	VMINPS(cpu.constant("tailhigh"), tail, tail)
	VMAXPS(cpu.constant("taillow"), tail, tail)
	expTail(d, tail)
	VMOVAPS(d, x)
}

func expKernels() {
	function("exp", "", "func(dst, x []float32)", "")
	cpu.hold(expConstants...)
	pass(2, []string{"dst", "x"}, func(v vector) {
		x := v.load("x")
		exp(x)
		v.store("dst", x)
	})
	leave()

	expSum("expSum", "func(dst, x []float32, shift float32) float32", true)
	expSum("sumExp", "func(x []float32, shift float32) float32", false)
}

func expSum(name, signature string, keep bool) {
	function(name, "", signature, "")
	cpu.hold(append([]string{"tailhigh", "taillow"}, expConstants...)...)
	shift, acc := broadcast("shift"), accumulators(1, 2)[0]
	rows := []string{"x"}
	if keep {
		rows = []string{"dst", "x"}
	}
	pass(2, rows, func(v vector) {
		x := v.load("x")
		expLess(shift, x)
		if keep {
			v.store("dst", x)
		}
		VADDPS(v.inside(x), acc[v.slot], acc[v.slot])
	})
	returnSum(acc)
}

// sigmoid is 1/(1+exp(-x)).
func sigmoid(x VecVirtual) VecVirtual {
	s, one := zero(), cpu.vector()
	VSUBPS(x, s, s)
	exp(s)
	VMOVUPS(cpu.constant("one"), one)
	VADDPS(one, s, s)
	VDIVPS(s, one, s)
	return s
}

func swiGLU() {
	function("swiGLU", "", "func(dst, gate, up []float32)", "")
	cpu.hold(expConstants...)
	pass(2, []string{"dst", "gate", "up"}, func(v vector) {
		g := v.load("gate")
		VMULPS(sigmoid(g), g, g)
		VMULPS(v.load("up"), g, g)
		v.store("dst", g)
	})
	leave()
}

func swiGLUGrad() {
	function("swiGLUGrad", "", "func(dgate, dup, dy, gate, up []float32)", "")
	cpu.hold(expConstants...)
	pass(1, []string{"dgate", "dup", "dy", "gate", "up"}, func(v vector) {
		g := v.load("gate")
		s := sigmoid(g)
		silu, slope, dy := g, cpu.vector(), v.load("dy")
		VMULPS(s, g, silu)
		VMOVUPS(cpu.constant("one"), slope)
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
	leave()
}

func rotate() {
	function("rotate", "", "func(lo, hi, cos, sin []float32)", "")
	pass(1, []string{"lo", "hi", "cos", "sin"}, func(v vector) {
		lo, hi, c, s := v.load("lo"), v.load("hi"), v.load("cos"), v.load("sin")
		x, y := cpu.vector(), cpu.vector()
		VMULPS(s, hi, x)
		VFMSUB231PS(lo, c, x)
		VMULPS(s, lo, y)
		VFMADD231PS(hi, c, y)
		v.store("lo", x)
		v.store("hi", y)
	})
	leave()
}

func adamW() {
	function("adamW", "", "func(p, g, m, v []float32, scale, lr, beta1, beta2, eps, decay, c1, c2 float32)", "")
	cpu.hold("one")
	one := cpu.vector()
	VMOVUPS(cpu.constant("one"), one)
	beta1, beta2, rest1, rest2 := broadcast("beta1"), broadcast("beta2"), cpu.vector(), cpu.vector()
	VSUBPS(beta1, one, rest1)
	VSUBPS(beta2, one, rest2)
	by1, by2 := broadcast("c1"), broadcast("c2")
	VDIVPS(by1, one, by1)
	VDIVPS(by2, one, by2)
	scale, lr, eps, decay := broadcast("scale"), broadcast("lr"), broadcast("eps"), broadcast("decay")
	pass(1, []string{"p", "g", "m", "v"}, func(w vector) {
		g, m, v := w.load("g"), w.load("m"), w.load("v")
		VMULPS(scale, g, g)
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
	leave()
}
