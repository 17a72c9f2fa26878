// Command gen writes the assembly of package kernel:
//
//	cd internal/kernel/_gen && go run . -out ../avx2_amd64.s -stubs ../avx2_amd64.go -pkg kernel
//
// Its output is committed, so building gr2 needs neither this program nor avo.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// lanes is the number of float32 in a YMM register; width its size in bytes.
const (
	lanes = 8
	width = 4 * lanes
)

func main() {
	ConstraintExpr("amd64,!noasm")
	matrixKernels()
	rowKernels()
	Generate()
}

// function starts the assembly of name+"AVX2", which name+"Portable" specifies.
func function(name, signature, more string) {
	TEXT(name+"AVX2", NOSPLIT, signature)
	Pragma("noescape")
	doc := fmt.Sprintf("%sAVX2 is %sPortable for AVX2 and FMA.", name, name)
	if more != "" {
		doc = fmt.Sprintf("%sAVX2 %s", name, more)
	}
	Doc(doc)
}

// broadcast loads a float32 parameter into every lane.
func broadcast(param string) VecVirtual {
	y := YMM()
	VBROADCASTSS(address(param), y)
	return y
}

// address is where a parameter lies in the frame.
func address(param string) Mem {
	p, err := Param(param).Resolve()
	if err != nil {
		panic(err)
	}
	return p.Addr
}

func integer(param string) GPVirtual {
	r := GP64()
	Load(Param(param), r)
	return r
}

// stride loads a count of float32 as a count of bytes.
func stride(param string) GPVirtual {
	r := integer(param)
	SHLQ(Imm(2), r)
	return r
}

func base(param string) GPVirtual {
	r := GP64()
	Load(Param(param).Base(), r)
	return r
}

func zero() VecVirtual {
	y := YMM()
	VXORPS(y, y, y)
	return y
}

// tailMask is all ones in the first n lanes; 0 < n <= 8.
func tailMask(n GPVirtual) VecVirtual {
	table, back, y := GP64(), GP64(), YMM()
	LEAQ(maskTable(), table)
	MOVQ(n, back)
	NEGQ(back)
	VMOVUPS(Mem{Base: table, Index: back, Scale: 4, Disp: width}, y)
	return y
}

var constants = map[string]Mem{}

// maskTable is eight lanes of ones, then eight of zeros.
func maskTable() Mem {
	const name = "tailmask"
	if m, ok := constants[name]; ok {
		return m
	}
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 2 * lanes {
		v := U32(0)
		if i < lanes {
			v = 0xffffffff
		}
		DATA(4*i, v)
	}
	constants[name] = m
	return m
}

// splat is a constant in every lane, as a memory operand.
func splat(name string, v Constant) Mem {
	if m, ok := constants[name]; ok {
		return m
	}
	m := GLOBL(name, RODATA|NOPTR)
	for i := range lanes {
		DATA(4*i, v)
	}
	constants[name] = m
	return m
}

// horizontal adds the lanes of y into lane 0 of the result.
func horizontal(y VecVirtual) VecVirtual {
	hi, lo := XMM(), y.AsX()
	VEXTRACTF128(Imm(1), y, hi)
	s := XMM()
	VADDPS(hi, lo, s)
	VHADDPS(s, s, s)
	VHADDPS(s, s, s)
	return s
}
