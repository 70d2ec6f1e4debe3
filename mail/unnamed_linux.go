package mail

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// openUnnamed makes a file in dir that has no name (open(2), O_TMPFILE): it goes when it is closed, also
// in a crash, unless linkUnnamed gave it a name.
func openUnnamed(dir string) (*os.File, error) {
	for {
		fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o400)
		switch err {
		case nil:
			return os.NewFile(uintptr(fd), unnamedFile), nil
		case unix.EINTR:
		default:
			return nil, &os.PathError{Op: "open", Path: dir, Err: err}
		}
	}
}

// linkUnnamed gives a file of openUnnamed the name path, where nothing may be yet. By way of /proc it
// needs no privilege, unlike AT_EMPTY_PATH (linkat(2)).
func linkUnnamed(f *os.File, path string) error {
	from := "/proc/self/fd/" + strconv.FormatUint(uint64(f.Fd()), 10)
	for {
		switch err := unix.Linkat(unix.AT_FDCWD, from, unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW); err {
		case nil:
			return nil
		case unix.EINTR:
		default:
			return &os.LinkError{Op: "link", Old: unnamedFile, New: path, Err: err}
		}
	}
}
