//go:build !unix

package app

import "io/fs"

// ownerOf does not know.
func ownerOf(fs.FileInfo) (uid uint32, known bool) { return 0, false }
