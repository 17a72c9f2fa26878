//go:build !noasm

package kernel

import "golang.org/x/sys/cpu"

func detect() []*variant {
	found := []*variant{&portable}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		found = append(found, &avx2)
	}
	return found
}
