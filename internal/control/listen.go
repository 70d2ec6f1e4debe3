package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// longestName is how long the name of a socket may be everywhere: sun_path has 104 octets in some systems, 108 in others.
const longestName = 100

// Listen opens the socket at path, with mode 0600. One that a dead process has left is replaced; where something answers on
// it the error is ErrInUse. Close removes it.
//
// The socket is made in a folder of its own that nobody else may enter, and moved to its place when it has its mode: at no time
// could somebody else open it, and no state of the process, like its umask, is changed for that.
func Listen(path string) (net.Listener, error) {
	switch c, err := dial(context.Background(), path); {
	case err == nil:
		_ = c.Close()
		return nil, fmt.Errorf("%w: %s answers", ErrInUse, path)
	case !absent(err):
		return nil, fmt.Errorf("control: %w", err)
	}
	room := path + ".new"
	if err := os.RemoveAll(room); err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	if err := os.Mkdir(room, 0o700); err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	defer os.RemoveAll(room)
	made := filepath.Join(room, "s")
	l, err := bind(made)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	s := &socket{UnixListener: l, path: path}
	err = os.Chmod(made, 0o600)
	if err == nil {
		s.file, err = os.Lstat(made)
	}
	if err == nil {
		err = os.Rename(made, path)
	}
	if err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("control: %w", err)
	}
	return s, nil
}

func bind(path string) (*net.UnixListener, error) {
	name, done, err := shortName(path)
	if err != nil {
		return nil, err
	}
	defer done()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // it will have another name
	return l, nil
}

// socket is a listener that takes its file away, if it is still its own.
type socket struct {
	*net.UnixListener
	path  string
	file  fs.FileInfo
	close sync.Once
}

// Close ends the listener.
func (s *socket) Close() error {
	err := s.UnixListener.Close()
	s.close.Do(func() {
		if now, statErr := os.Lstat(s.path); statErr == nil && os.SameFile(now, s.file) {
			err = errors.Join(err, os.Remove(s.path))
		}
	})
	return err
}

// Addr gives the socket's place.
func (s *socket) Addr() net.Addr { return &net.UnixAddr{Name: s.path, Net: "unix"} }

// dial opens a connection to a socket.
func dial(ctx context.Context, path string) (net.Conn, error) {
	name, done, err := shortName(path)
	if err != nil {
		return nil, err
	}
	defer done()
	d := net.Dialer{Timeout: 5 * time.Second}
	return d.DialContext(ctx, "unix", name)
}

// absent reports whether an error of dial says that nobody is there: no socket, or one that nobody holds open. A gateway that
// hangs is there, and so is one that we may not speak to.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

// shortName gives a name of a socket that is short enough for the system; done must be called when it is no longer used. A long one
// goes by way of its open folder, where Linux has a short name for that.
func shortName(path string) (name string, done func(), err error) {
	if len(path) <= longestName || runtime.GOOS != "linux" {
		return path, func() {}, nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)), func() { _ = dir.Close() }, nil
}
