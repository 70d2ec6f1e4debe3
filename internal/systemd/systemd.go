// Package systemd speaks with a service manager in systemd's way: it tells how the service is, and takes the sockets
// that the manager has opened for it. It needs no library of systemd's, and without such a manager it does nothing.
package systemd

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// States that Notify takes; see sd_notify(3).
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
	Alive    = "WATCHDOG=1"
)

// Status is a line for people, which `systemctl status` shows.
func Status(format string, args ...any) string {
	return "STATUS=" + strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " ")
}

// ExtendTimeout asks for patience: the manager is to wait for the next message for so long, also beyond the time that it
// would give the service to stop.
func ExtendTimeout(d time.Duration) string {
	return "EXTEND_TIMEOUT_USEC=" + strconv.FormatInt(d.Microseconds(), 10)
}

// Reloading says that the configuration is being read anew; Ready ends it. It has the time of the monotonic clock, by
// which a manager with Type=notify-reload tells it from an older one.
func Reloading() string {
	s := "RELOADING=1"
	if usec := monotonic(); usec > 0 {
		s += "\nMONOTONIC_USEC=" + strconv.FormatInt(usec, 10)
	}
	return s
}

// Watched reports whether somebody listens to Notify.
func Watched() bool { return os.Getenv("NOTIFY_SOCKET") != "" }

// Notify tells the service manager of states, in one message. Without a manager it does nothing.
func Notify(states ...string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if path[0] != '/' && path[0] != '@' {
		return fmt.Errorf("systemd: NOTIFY_SOCKET is %s, which is no socket of this host", path)
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"}) // "@" is the abstract name space
	if err != nil {
		return fmt.Errorf("systemd: notify: %w", err)
	}
	defer c.Close()
	if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return fmt.Errorf("systemd: notify: %w", err)
	}
	if _, err := c.Write([]byte(strings.Join(states, "\n"))); err != nil {
		return fmt.Errorf("systemd: notify: %w", err)
	}
	return nil
}

// Watchdog gives the time within which the manager wants to hear Alive, or it ends the service; 0 where it does not.
func Watchdog() time.Duration {
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || usec <= 0 || usec > int64(24*time.Hour/time.Microsecond) {
		return 0
	}
	return time.Duration(usec) * time.Microsecond
}

// Socket is a listening TCP socket that the manager has opened.
type Socket struct {
	Name     string // FileDescriptorName=; the name of the socket unit unless that says otherwise
	Listener net.Listener
}

// maxSockets is how many sockets are taken at most.
const maxSockets = 256

// firstSocket is the first descriptor that is handed over: SD_LISTEN_FDS_START.
const firstSocket = 3

// Sockets takes the sockets that the manager has handed over; none where it has not, or where they are for another
// process. They are named once: a second call gives none, and so would a child process.
func Sockets() ([]Socket, error) {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	for _, v := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(v)
	}
	if pid == "" || count == "" || pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > maxSockets {
		return nil, fmt.Errorf("systemd: LISTEN_FDS is %q, and must be a number up to %d", count, maxSockets)
	}
	var named []string
	if names != "" {
		named = strings.Split(names, ":")
	}
	if names != "" && len(named) != n {
		return nil, fmt.Errorf("systemd: LISTEN_FDNAMES has %d names for %d sockets", len(named), n)
	}
	all := make([]Socket, n)
	for i := range all {
		if named != nil {
			all[i].Name = named[i]
		}
		if all[i].Listener, err = listener(firstSocket + i); err != nil {
			for _, s := range all[:i] {
				_ = s.Listener.Close()
			}
			return nil, fmt.Errorf("systemd: socket %d (%s): %w", i, all[i].Name, err)
		}
	}
	return all, nil
}
