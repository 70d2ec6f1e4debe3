//go:build unix

package app

import (
	"syscall"
	"time"
)

// cpuTime gives the time that the processors have spent on this process, all threads together; 0 where that is not known.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
