//go:build !linux && !darwin && !freebsd

package store

import (
	"errors"
	"fmt"
)

// TryLock knows no lock between processes on this system: what needs one is not done on it.
func TryLock(File) (bool, error) {
	return false, fmt.Errorf("store: lock: %w", errors.ErrUnsupported)
}

func syncsNothing(error) bool { return false }

func free(name string) (int64, error) {
	return 0, fmt.Errorf("store: room at %s: %w", name, errors.ErrUnsupported)
}

func links(any) (int64, bool) { return 0, false }
