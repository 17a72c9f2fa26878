//go:build unix

package cache

import (
	"os"
	"path/filepath"
	"syscall"

	"github.com/gr2/gr2/internal/fault"
)

// lock keeps a second process out of the cache whose file is at path. The lock
// ends with the process, however it ends.
func lock(path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fault.Usagef("the cache of text embeddings %s is in use by another gr2: wait for it or choose another folder", path)
	}
	return func() { f.Close() }, nil
}
