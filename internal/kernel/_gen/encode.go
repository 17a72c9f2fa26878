package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// The kernels are written with VPDPBUSD where the instruction meant is one that
// the assembler cannot encode: it has the same operands.
var dotProduct = regexp.MustCompile(`(?m)^\tVPDPBUSD +[YZ](\d+), [YZ](\d+), [YZ](\d+)$`)

// encoding gives the bytes of an instruction, sum += x*y.
type encoding struct {
	name   string
	vector string // what the assembler calls its registers
	most   int    // of registers
	bytes  func(x, y, sum int) []int
}

// vexDotBytes is AVX-VNNI's VPDPBUSD, VEX.256.66.0F38.W0 50 /r.
var vexDotBytes = &encoding{"VPDPBUSD", "Y", 16, func(x, y, sum int) []int {
	return []int{
		0xc4,
		(^sum>>3&1)<<7 | 1<<6 | (^x>>3&1)<<5 | 0x02, // not R, not X, not B, map 0F38
		(^y&15)<<3 | 1<<2 | 0x01,                    // W0, not vvvv, 256 bits, 66
		0x50,
		3<<6 | sum&7<<3 | x&7,
	}
}}

// dotPairs is AVX512_BF16's VDPBF16PS, EVEX.512.F3.0F38.W0 52 /r.
var dotPairs = &encoding{"VDPBF16PS", "Z", 32, func(x, y, sum int) []int {
	return []int{
		0x62,
		(^sum>>3&1)<<7 | (^x>>4&1)<<6 | (^x>>3&1)<<5 | (^sum>>4&1)<<4 | 0x02, // not R, X, B, R'; map 0F38
		(^y&15)<<3 | 1<<2 | 0x02, // W0, not vvvv, F3
		2<<5 | (^y>>4&1)<<3,      // 512 bits, not V', no mask
		0x52,
		3<<6 | sum&7<<3 | x&7,
	}
}}

// apply writes the VPDPBUSD in an assembly file as bytes.
func (e *encoding) apply(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text = dotProduct.ReplaceAllFunc(text, func(line []byte) []byte {
		var number [3]int // as the assembler has them: x, y, sum
		for i, n := range dotProduct.FindSubmatch(line)[1:] {
			if number[i], err = strconv.Atoi(string(n)); err != nil || number[i] >= e.most {
				err = fmt.Errorf("%s: %s: there are %d registers", path, line, e.most)
			}
		}
		var code []string
		for _, b := range e.bytes(number[0], number[1], number[2]) {
			code = append(code, fmt.Sprintf("BYTE $0x%02x", b))
		}
		return fmt.Appendf(nil, "\t// %[1]s %[2]s%[3]d, %[2]s%[4]d, %[2]s%[5]d\n\t%[6]s", e.name, e.vector, number[0], number[1], number[2], strings.Join(code, "; "))
	})
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o666)
}
