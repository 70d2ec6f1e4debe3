package app

import (
	"errors"
	"os"
	osuser "os/user"
	"path/filepath"
	"strconv"
)

// rootMay keeps root from writing to a folder that is another user's: that user, as whom the gateway runs, could not read it, and
// nobody would notice before it mattered.
func rootMay(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(dir)
	if errors.Is(err, os.ErrNotExist) {
		info, err = os.Stat(filepath.Dir(dir)) // it would be made there
	}
	if err != nil {
		return nil //nolint:nilerr // whoever opens it says so
	}
	if uid, known := ownerOf(info); known && uid != 0 {
		name := strconv.FormatUint(uint64(uid), 10)
		sudo := "#" + name
		if u, err := osuser.LookupId(name); err == nil {
			name, sudo = u.Username, u.Username
		}
		return exit(ExitUnavailable, "%s belongs to the user %s, who could not use what root writes there: run this as that user (sudo -u %s postern …)", dir, name, sudo)
	}
	return nil
}
