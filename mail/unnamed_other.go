//go:build !linux

package mail

import (
	"errors"
	"os"
)

// openUnnamed makes files without a name on Linux only; elsewhere openNamed serves.
func openUnnamed(string) (*os.File, error) { return nil, errors.ErrUnsupported }

func linkUnnamed(*os.File, string) error { return errors.ErrUnsupported }
