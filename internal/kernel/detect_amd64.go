//go:build !noasm

package kernel

import "golang.org/x/sys/cpu"

func detect() []*variant {
	found := []*variant{&portable}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA && cpu.X86.HasF16C {
		found = append(found, &avx2)
		if cpu.X86.HasAVXVNNI {
			found = append(found, &avxVNNI)
		}
	}
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512DQ && cpu.X86.HasBMI2 {
		if !cpu.X86.HasAVX512VNNI {
			avx512.byteRows, avx512.dotBytes = avx2.byteRows, avx2.dotBytes
		}
		if cpu.X86.HasAVX512BF16 {
			avx512.microPairs, avx512.pairSteps = pairTilesAVX512.micro, pairStepsAVX512
		}
		found = append(found, &avx512)
	}
	return found
}
