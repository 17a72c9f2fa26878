//go:build unix

package pipeline

import (
	"os"
	"path/filepath"
	"syscall"

	"github.com/gr2/gr2/internal/fault"
)

// lock keeps a second process out of the run folder. The lock ends with the
// process, however it ends.
func lock(root string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(root, lockFile), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fault.Usagef("run folder %s is in use by another gr2: wait for it or choose another --out", root)
	}
	return func() { f.Close() }, nil
}
