//go:build linux || darwin || freebsd

package quarantine

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/postern-mail/postern/internal/store"
)

// tryLock takes the lock of an open file, which closing it or the end of the process gives back, and tells
// whether it was free. It is flock(2): the lock belongs to the open file, so that it also holds off other
// goroutines.
func tryLock(f store.File) (bool, error) {
	switch f := f.(type) {
	case interface{ TryLock() (bool, error) }:
		return f.TryLock()
	case interface{ Fd() uintptr }:
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("quarantine: lock: %w", err)
		}
		return true, nil
	}
	return false, fmt.Errorf("quarantine: lock: %w", errors.ErrUnsupported)
}
