//go:build !linux && !darwin && !freebsd

package quarantine

import (
	"errors"
	"fmt"

	"github.com/postern-mail/postern/internal/store"
)

// tryLock knows no lock between processes on this system, so that nothing is released or removed on it.
func tryLock(store.File) (bool, error) {
	return false, fmt.Errorf("quarantine: lock: %w", errors.ErrUnsupported)
}
