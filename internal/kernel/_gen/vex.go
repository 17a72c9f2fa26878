package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
)

var dotProduct = regexp.MustCompile(`(?m)^\tVPDPBUSD +Y(\d+), Y(\d+), Y(\d+)$`)

// encodeVEX writes the VPDPBUSD in an assembly file as bytes: the assembler
// knows the encoding of AVX-512 only, AVX-VNNI has VEX.256.66.0F38.W0 50 /r.
func encodeVEX(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text = dotProduct.ReplaceAllFunc(text, func(line []byte) []byte {
		var y [3]int // as the assembler has them: weights, activations, sum
		for i, number := range dotProduct.FindSubmatch(line)[1:] {
			if y[i], err = strconv.Atoi(string(number)); err != nil || y[i] > 15 {
				err = fmt.Errorf("%s: %s: VEX reaches Y0 to Y15", path, line)
			}
		}
		weights, activations, sum := y[0], y[1], y[2]
		code := []int{
			0xc4,
			(^sum>>3&1)<<7 | 1<<6 | (^weights>>3&1)<<5 | 0x02, // not R, not X, not B, map 0F38
			(^activations&15)<<3 | 1<<2 | 0x01,                // W0, not vvvv, 256 bits, 66
			0x50,
			3<<6 | sum&7<<3 | weights&7,
		}
		out := fmt.Appendf(nil, "\t// VPDPBUSD Y%d, Y%d, Y%d\n\t", weights, activations, sum)
		for i, b := range code {
			if i > 0 {
				out = append(out, "; "...)
			}
			out = fmt.Appendf(out, "BYTE $0x%02x", b)
		}
		return out
	})
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o666)
}
