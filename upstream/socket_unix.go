//go:build linux || darwin || freebsd

package upstream

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket is what a connection stands on, asked without waiting. Its funcs are made once: they run in each transaction.
type socket struct {
	raw  syscall.RawConn
	bare bool // the connection is the socket and nothing else

	look   func(fd uintptr)
	putAll func(fd uintptr) bool
	octet  [1]byte
	quiet  bool   // what look saw
	out    []byte // what put is to write
	n      int    // and how much it did

	gather func(fd uintptr) bool
	parts  [][]byte // what gather is to write
}

// socketOf gives the socket of nc, nil where it has none.
func socketOf(nc net.Conn) *socket {
	conn, is := nc.(syscall.Conn)
	if !is {
		return nil
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil
	}
	s := &socket{raw: raw}
	switch nc.(type) {
	case *net.TCPConn, *net.UnixConn:
		s.bare = true
	}
	s.look = func(fd uintptr) {
		for {
			_, _, err := unix.Recvfrom(int(fd), s.octet[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
			if err != unix.EINTR { //nolint:errorlint // the system call's own
				s.quiet = err == unix.EAGAIN //nolint:errorlint // the same
				return
			}
		}
	}
	s.putAll = func(fd uintptr) bool {
		for s.n < len(s.out) {
			n, err := unix.Write(int(fd), s.out[s.n:])
			if err == unix.EINTR { //nolint:errorlint // the system call's own
				continue
			}
			if err != nil || n <= 0 {
				break
			}
			s.n += n
		}
		return true
	}
	s.gather = func(fd uintptr) bool {
		for len(s.parts) > 0 {
			n, err := writev(int(fd), s.parts)
			if err == unix.EINTR { //nolint:errorlint // the system call's own
				continue
			}
			if err != nil || n <= 0 {
				break
			}
			s.parts = skip(s.parts, n)
		}
		return true
	}
	return s
}

// peek looks at the socket without taking anything from it: quiet means that nothing came and that it is open.
func (s *socket) peek() (quiet bool) {
	s.quiet = false
	// Control, since Read would mind a deadline that has passed, and wait where nothing has come.
	if err := s.raw.Control(s.look); err != nil {
		return false // closed
	}
	return s.quiet
}

// write writes as much of p as the socket has room for, and tells how much that was. What failed will fail again.
func (s *socket) write(p []byte) int {
	s.out, s.n = p, 0
	_ = s.raw.Write(s.putAll) // also where a deadline has passed
	s.out = nil
	return s.n
}

// writeParts is write for octets that lie apart. It gives what is left of parts, which it changes.
func (s *socket) writeParts(parts [][]byte) (rest [][]byte) {
	s.parts = parts
	_ = s.raw.Write(s.gather) // also where a deadline has passed
	rest, s.parts = s.parts, nil
	return rest
}
