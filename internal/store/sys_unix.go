//go:build linux || darwin || freebsd

package store

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// TryLock takes the exclusive lock of an open file, which closing it or the end of the process gives back, and
// tells whether it was free. It is flock(2): the lock belongs to the open file, so that it also holds off other
// goroutines.
func TryLock(f File) (bool, error) {
	switch f := f.(type) {
	case interface{ TryLock() (bool, error) }:
		return f.TryLock()
	case interface{ Fd() uintptr }:
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("store: lock: %w", err)
		}
		return true, nil
	}
	return false, fmt.Errorf("store: lock: %w", errors.ErrUnsupported)
}

// syncsNothing reports whether a sync's error says that this file system syncs no folders (fsync(2)).
func syncsNothing(err error) bool { return errors.Is(err, unix.EINVAL) }

func free(name string) (int64, error) {
	var s unix.Statfs_t
	for {
		switch err := unix.Statfs(name, &s); err {
		case nil:
			return int64(s.Bavail) * int64(s.Bsize), nil
		case unix.EINTR:
		default:
			return 0, fmt.Errorf("store: room at %s: %w", name, err)
		}
	}
}

func links(sys any) (int64, bool) {
	s, ok := sys.(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int64(s.Nlink), true
}
