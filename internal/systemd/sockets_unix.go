//go:build unix

package systemd

import (
	"errors"
	"net"
	"os"
	"strconv"
	"syscall"
)

// listener makes a listener of a descriptor, which it closes. One that is no listening socket it leaves alone: it may
// be something of our own that has the number.
func listener(fd int) (net.Listener, error) {
	if on, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN); err != nil {
		return nil, os.NewSyscallError("getsockopt", err)
	} else if on == 0 {
		return nil, errors.New("does not listen: the socket unit must have ListenStream= and Accept=no")
	}
	syscall.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "socket "+strconv.Itoa(fd))
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	t, ok := l.(*net.TCPListener)
	if !ok {
		_ = l.Close()
		return nil, errors.New("is no TCP socket")
	}
	return t, nil
}
