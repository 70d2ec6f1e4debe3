//go:build linux || darwin || freebsd

package metrics

import "golang.org/x/sys/unix"

// statfs gives the octets that an ordinary user may still write, and the size of the file system.
func statfs(dir string) (room, size float64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, 0, err
	}
	return float64(s.Bavail) * float64(s.Bsize), float64(s.Blocks) * float64(s.Bsize), nil
}
