//go:build unix

package sid

import (
	"math"
	"os"
	"syscall"
)

// mapFile is the bytes of the file, mapped read-only, and what releases them.
func mapFile(f *os.File) ([]byte, func() error, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	// A mapping needs a length; load refuses an empty file by itself, and a
	// file larger than memory can be addressed is no index.
	if info.Size() == 0 || info.Size() > math.MaxInt || !info.Mode().IsRegular() {
		return nil, func() error { return nil }, nil
	}
	data, err := syscall.Mmap(int(f.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, nil, os.NewSyscallError("mmap", err)
	}
	return data, func() error { return syscall.Munmap(data) }, nil
}
