//go:build linux || darwin || freebsd

package edge

import (
	"errors"

	"golang.org/x/sys/unix"
)

// socketReads says that receive may read sockets itself.
const socketReads = true

// readable reads what the socket has, if it has anything; else it gives its memory back and asks to be called again.
func (in *input) readable(fd uintptr) bool {
	in.borrow(in.content)
	for {
		n, err := unix.Read(int(fd), in.buf[in.w:])
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			if in.r == in.w {
				in.discard()
			}
			return false
		default:
			in.result, in.failed = n, err
			return true
		}
	}
}

// await waits until the socket is readable, and takes nothing from it.
func (in *input) await() error {
	if in.socket == nil {
		return nil
	}
	_, err := in.peek()
	return err
}

// peek waits until the socket is readable, and tells whether there is something in it: 0 is its end. It takes nothing.
func (in *input) peek() (n int, err error) {
	failed := in.socket.Read(func(fd uintptr) bool {
		var octet [1]byte
		for {
			n, _, err = unix.Recvfrom(int(fd), octet[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
			if !errors.Is(err, unix.EINTR) {
				return !errors.Is(err, unix.EAGAIN)
			}
		}
	})
	if failed != nil {
		return 0, failed
	}
	return n, err
}
