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
	room := in.room(in.content, true)
	for {
		n, err := unix.Read(int(fd), room)
		switch err { //nolint:errorlint // the system call's own
		case unix.EINTR:
		case unix.EAGAIN:
			if in.direct {
				in.into.Leave()
			}
			if in.r == in.w {
				in.discard()
			}
			return false
		default:
			in.read(room, max(n, 0))
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
		var there bool
		n, there, err = lookAt(fd, octet[:])
		return there
	})
	if failed != nil {
		return 0, failed
	}
	return n, err
}

// awaitRecord waits until the first record of TLS is there from its beginning to its end, and takes nothing of it: what TLS
// needs of memory is not there before. A record that can be none it leaves to TLS.
func (in *input) awaitRecord() error {
	if in.socket == nil {
		return nil
	}
	return in.socket.Read(func(fd uintptr) bool {
		b := lineBlocks.Get().(*lineBlock)
		defer lineBlocks.Put(b)
		n, there, _ := lookAt(fd, b[:])
		switch {
		case !there:
			return false
		case n <= 0 || b[0] != recordHandshake:
			return true
		case n < recordHead:
			return false
		}
		return n >= min(recordHead+int(b[3])<<8+int(b[4]), len(b))
	})
}

// lookAt takes nothing of what the socket has either. It reports whether there is something to read, which may be an end
// or an error.
func lookAt(fd uintptr, p []byte) (n int, there bool, err error) {
	for {
		n, _, err = unix.Recvfrom(int(fd), p, unix.MSG_PEEK|unix.MSG_DONTWAIT)
		if !errors.Is(err, unix.EINTR) {
			return n, !errors.Is(err, unix.EAGAIN), err
		}
	}
}
