//go:build linux

package edge

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// raw is a client's socket that costs this process nothing but its number, so that what is measured is the server's.
type raw int

func dialRaw(t *testing.T, d *door) raw {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	var port int
	if _, err := fmt.Sscanf(d.addr, "127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	wait := unix.NsecToTimeval(longWait.Nanoseconds())
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	return raw(fd)
}

func (r raw) Read(p []byte) (int, error) {
	for {
		switch n, err := unix.Read(int(r), p); {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (r raw) Write(p []byte) (done int, err error) {
	for done < len(p) {
		n, err := unix.Write(int(r), p[done:])
		if err != nil && !errors.Is(err, unix.EINTR) {
			return done, err
		}
		done += max(n, 0)
	}
	return done, nil
}

func (r raw) Close() error                     { return nil }
func (r raw) LocalAddr() net.Addr              { return nil }
func (r raw) RemoteAddr() net.Addr             { return nil }
func (r raw) SetDeadline(time.Time) error      { return nil }
func (r raw) SetReadDeadline(time.Time) error  { return nil }
func (r raw) SetWriteDeadline(time.Time) error { return nil }

// quiet are the clients whose cost is measured: what each does until it falls silent.
var quiet = []struct {
	name string
	tls  bool
	talk func(say func(line, code string))
	most int64 // octets of heap and stack
}{
	{name: "before EHLO", most: 8 << 10, talk: func(func(string, string)) {}},
	{name: "after EHLO", most: 8 << 10, talk: saidHello},
	{name: "after a message", most: 8 << 10, talk: func(say func(string, string)) {
		saidData(say)
		say(strings.Repeat(strings.Repeat("x", 78)+"\r\n", 1250)+".\r\n", "250")
	}},
	{name: "in content", most: 10 << 10, talk: func(say func(string, string)) {
		saidData(say)
		say("x", "")
	}},
	{name: "after STARTTLS", most: 8 << 10, talk: func(say func(string, string)) {
		saidHello(say)
		say("STARTTLS\r\n", "220")
	}},
	{name: "in a ClientHello", most: 8 << 10, talk: func(say func(string, string)) {
		saidHello(say)
		say("STARTTLS\r\n", "220")
		say("\x16\x03\x01\x02\x00"+strings.Repeat("x", 300), "")
	}},
	{name: "after EHLO, TLS", tls: true, most: 16 << 10, talk: saidHello},
}

func saidHello(say func(line, code string)) { say("EHLO client.example\r\n", "250") }

func saidData(say func(line, code string)) {
	saidHello(say)
	say("MAIL FROM:<a@sender.example>\r\n", "250")
	say("RCPT TO:<b@ours.example>\r\n", "250")
	say("DATA\r\n", "354")
}

// TestMemoryOfQuietClients: what a client that is silent costs is bounded, whatever it has done before. The long
// measurement, of a process and with thousands of them, is in internal/accept.
func TestMemoryOfQuietClients(t *testing.T) {
	const n = 300
	for _, c := range quiet {
		t.Run(c.name, func(t *testing.T) {
			d := newDoor(t, nil, func(_ *door, cfg *ListenerConfig) { cfg.Limits.Connections = 2 * n })
			d.relay.forget = true
			sit := func() {
				var conn io.ReadWriter = dialRaw(t, d)
				r := bufio.NewReaderSize(conn, 512)
				say := func(line, code string) { sayTo(t, conn, r, line, code) }
				say("", "220")
				if c.tls {
					saidHello(say)
					say("STARTTLS\r\n", "220")
					conn = tls.Client(conn.(raw), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // our own certificate
					r = bufio.NewReaderSize(conn, 512)
				}
				c.talk(say)
			}
			sit() // what one of a kind needs for all
			before := inUse()
			for range n {
				sit()
			}
			var each int64
			for end := time.Now().Add(longWait); ; { // on a machine under load the last pauses begin late
				if each = (inUse() - before) / n; each <= c.most || time.Now().After(end) {
					break
				}
			}
			t.Logf("%d octets", each)
			if each > c.most {
				t.Errorf("%d octets for each, more than %d", each, c.most)
			}
		})
	}
}

func sayTo(t *testing.T, w io.Writer, r *bufio.Reader, line, code string) {
	t.Helper()
	if _, err := io.WriteString(w, line); err != nil {
		t.Fatalf("%.40q: %v", line, err)
	}
	for code != "" {
		got, err := r.ReadString('\n')
		if err != nil || !strings.HasPrefix(got, code) {
			t.Fatalf("%.40q: got %q, %v; want %s", line, got, err, code)
		}
		if got[3] == ' ' {
			return
		}
	}
}

// inUse gives the octets of heap and stacks, when all pauses have begun.
func inUse() int64 {
	time.Sleep(600 * time.Millisecond)
	for range 3 {
		runtime.GC() // the second frees what is in pools, the third what that held
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
