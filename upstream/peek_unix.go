//go:build linux || darwin || freebsd

package upstream

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// peek looks at the socket of nc without waiting and without taking anything from it: quiet means that
// nothing came and that it is open. It is not ok where nc has no socket.
func peek(nc net.Conn) (quiet, ok bool) {
	s, is := nc.(syscall.Conn)
	if !is {
		return false, false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return false, false
	}
	// Control, since Read would mind a deadline that has passed, and wait where nothing has come.
	if err := raw.Control(func(fd uintptr) {
		var octet [1]byte
		for {
			_, _, err := unix.Recvfrom(int(fd), octet[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
			if !errors.Is(err, unix.EINTR) {
				quiet = errors.Is(err, unix.EAGAIN)
				return
			}
		}
	}); err != nil {
		return false, true // closed
	}
	return quiet, true
}
