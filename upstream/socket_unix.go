//go:build linux || darwin || freebsd

package upstream

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"

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

	swapAll func(fd uintptr) bool
	sent    bool             // swapAll has written
	sentAt  time.Time        // then
	answer  [answerSize]byte // what it read
	got     int              // octets of that
	failed  error            // of its read
}

// answerSize is how much of an answer swap reads. What is behind it is read where all else is.
const answerSize = 512

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
			n, err := 0, error(nil)
			if len(s.parts) == 1 {
				n, err = unix.Write(int(fd), s.parts[0])
			} else {
				n, err = writev(int(fd), s.parts)
			}
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
	s.swapAll = func(fd uintptr) bool {
		if !s.sent {
			s.sent = true
			s.gather(fd)
			s.sentAt = time.Now()
			return len(s.parts) > 0
		}
		for {
			n, err := unix.Read(int(fd), s.answer[:])
			switch err { //nolint:errorlint // the system call's own
			case unix.EINTR:
				continue
			case unix.EAGAIN:
				return false
			case nil:
				if s.got = n; n == 0 {
					s.failed = io.EOF
				}
			default:
				s.failed = os.NewSyscallError("read", err)
			}
			return true
		}
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

// swap writes parts, which it changes, and waits for the answer until the deadline of reads. It does not look for it before it
// has waited: nothing can be there yet. (What was there before, against all rules, may wake nobody, and is found when the
// deadline has passed: there has to be one.) Where it could not write all, rest is what is left, and nothing was read; where
// nothing came in time, answer and err are empty.
func (s *socket) swap(parts [][]byte) (rest [][]byte, sentAt time.Time, answer []byte, err error) {
	s.parts, s.sent, s.got, s.failed = parts, false, 0, nil
	_ = s.raw.Read(s.swapAll) // also where a deadline has passed
	rest, s.parts = s.parts, nil
	return rest, s.sentAt, s.answer[:s.got], s.failed
}
