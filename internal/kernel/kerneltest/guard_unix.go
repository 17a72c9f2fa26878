//go:build unix

package kerneltest

import (
	"os"
	"syscall"
	"testing"
	"unsafe"
)

// guardedFloats returns n floats that end at a page nobody may touch.
func guardedFloats(t testing.TB, n int) []float32 {
	page := os.Getpagesize()
	size := (4*n + page - 1) / page * page
	pages, err := syscall.Mmap(-1, 0, size+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatalf("kerneltest: mmap: %v", err)
	}
	if err := syscall.Mprotect(pages[size:], syscall.PROT_NONE); err != nil {
		t.Fatalf("kerneltest: mprotect: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(pages) })
	return unsafe.Slice((*float32)(unsafe.Pointer(&pages[size-4*n])), n)
}
