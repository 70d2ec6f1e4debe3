//go:build unix

package app

import (
	"io/fs"
	"syscall"
)

// ownerOf gives the user to whom a file belongs.
func ownerOf(info fs.FileInfo) (uid uint32, known bool) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return s.Uid, true
}
