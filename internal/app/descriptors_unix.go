//go:build unix

package app

import (
	"math"
	"syscall"
)

// placesFor gives how many connections of clients the system's limit on open files allows, 0 for any number. A fifth is for
// connections to servers, files of content and the rest.
func placesFor() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return placesOf(uint64(limit.Cur)) //nolint:unconvert // it is signed on some systems
}

func placesOf(files uint64) int {
	const others = 100 // that a gateway without clients has open
	if files > math.MaxInt32 {
		return 0
	}
	return max(int(files)-others, 4) * 4 / 5
}
