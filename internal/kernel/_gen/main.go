// Command gen writes the assembly of package kernel:
//
//	cd internal/kernel/_gen && go run . -isa avx2 -out ../avx2_amd64.s -stubs ../avx2_amd64.go -pkg kernel
//
// and likewise for -isa avxvnni, avx512 and avx512bf16.
// Its output is committed, so building gr2 needs neither this program nor avo.
package main

import (
	"flag"
	"fmt"
	"log"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	name := flag.String("isa", "avx2", "instruction set to write for: avx2, avxvnni, avx512 or avx512bf16")
	flag.Parse()
	if cpu = isas[*name]; cpu == nil {
		log.Fatalf("gen: unknown instruction set %q", *name)
	}
	ConstraintExpr("amd64,!noasm")
	for _, write := range cpu.kernels {
		write()
	}
	Generate()
	if out := flag.Lookup("out").Value.String(); cpu.encoding != nil && out != "" {
		if err := cpu.encoding.apply(out); err != nil {
			log.Fatalf("gen: %v", err)
		}
	}
}

// function starts the assembly of name and size for the instruction set, which
// name+"Portable" specifies; limits says for which arguments.
func function(name, size, signature, limits string) {
	specified(name, size, signature, "is "+name+"Portable", limits)
}

// specified starts the assembly of a function of which doc says what it is.
func specified(name, size, signature, doc, limits string) {
	TEXT(name+size+cpu.suffix, NOSPLIT, signature)
	Pragma("noescape")
	Doc(fmt.Sprintf("%s%s%s %s for %s%s.", name, size, cpu.suffix, doc, cpu.title, limits))
}

// leave ends a function.
func leave() {
	VZEROUPPER()
	RET()
}

// broadcast loads a float32 parameter into every lane.
func broadcast(param string) VecVirtual {
	y := cpu.vector()
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
