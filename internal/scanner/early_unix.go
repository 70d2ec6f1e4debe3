//go:build unix

package scanner

import (
	"errors"
	"net"
	"syscall"
)

// arrived reads what is here, and does not wait. A deadline can't do that: where it is over before the read begins, nothing is read.
func arrived(c net.Conn, b []byte) (n int) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Read(func(fd uintptr) bool {
		for {
			if n, err = syscall.Read(int(fd), b); !errors.Is(err, syscall.EINTR) {
				return true
			}
		}
	})
	return max(n, 0)
}
