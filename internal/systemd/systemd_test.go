package systemd

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// manager is what a service manager hears.
func manager(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	return c
}

func heard(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	b := make([]byte, 1000)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestNotify(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "notify"), "@postern-test-" + strconv.Itoa(os.Getpid())} {
		c := manager(t, name)
		if !Watched() {
			t.Error("nobody listens")
		}
		for _, tt := range []struct {
			states []string
			want   string
		}{
			{[]string{Ready}, "^READY=1$"},
			{[]string{Ready, Status("taking %s\nnow", "mail")}, "^READY=1\nSTATUS=taking mail now$"},
			{[]string{Stopping, ExtendTimeout(90 * time.Second)}, "^STOPPING=1\nEXTEND_TIMEOUT_USEC=90000000$"},
			{[]string{Reloading()}, "^RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]*$"},
			{[]string{Alive}, "^WATCHDOG=1$"},
		} {
			if err := Notify(tt.states...); err != nil {
				t.Fatal(err)
			}
			if got := heard(t, c); !regexp.MustCompile(tt.want).MatchString(got) {
				t.Errorf("%q, not %s", got, tt.want)
			}
		}
	}
}

// TestMonotonic: the time is that of the clock which the manager looks at, /proc/uptime's.
func TestMonotonic(t *testing.T) {
	b, err := os.ReadFile("/proc/uptime")
	if runtime.GOOS != "linux" {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	up, err := strconv.ParseFloat(strings.Fields(string(b))[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	if got := float64(monotonic()) / 1e6; got < up-60 || got > up+60 {
		t.Errorf("%f s, /proc/uptime says %f", got, up)
	}
}

func TestNobodyListens(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Notify(Ready); err != nil || Watched() {
		t.Errorf("without a manager: %v", err)
	}
	for _, socket := range []string{filepath.Join(t.TempDir(), "none"), "vsock:2:9"} {
		t.Setenv("NOTIFY_SOCKET", socket)
		if err := Notify(Ready); err == nil {
			t.Errorf("%s: no error", socket)
		}
	}
}

func TestWatchdog(t *testing.T) {
	us := strconv.Itoa(os.Getpid())
	for _, c := range []struct {
		usec, pid string
		want      time.Duration
	}{
		{"", "", 0},
		{"30000000", "", 30 * time.Second},
		{"30000000", us, 30 * time.Second},
		{"30000000", "1", 0},
		{"0", us, 0},
		{"-1", us, 0},
		{"x", us, 0},
		{"9223372036854775807", us, 0},
	} {
		t.Setenv("WATCHDOG_USEC", c.usec)
		t.Setenv("WATCHDOG_PID", c.pid)
		if got := Watchdog(); got != c.want {
			t.Errorf("%q of %q: %v", c.usec, c.pid, got)
		}
	}
}

// TestSockets hands sockets over to a child process, which is this test's TestChild.
func TestSockets(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	second, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	local, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	client, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	file := func(c interface{ File() (*os.File, error) }) *os.File {
		t.Helper()
		f, err := c.File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	plain, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	a, b := file(tcp.(*net.TCPListener)), file(second.(*net.TCPListener))
	for _, c := range []struct {
		name  string
		files []*os.File
		env   []string // {{pid}} is the child's
		want  string
	}{
		{"two", []*os.File{a, b}, []string{"LISTEN_PID={{pid}}", "LISTEN_FDS=2", "LISTEN_FDNAMES=public:office"}, "public " + tcp.Addr().String() + "; office " + second.Addr().String() + "; then 0, 0 variables"},
		{"without names", []*os.File{a}, []string{"LISTEN_PID={{pid}}", "LISTEN_FDS=1"}, " " + tcp.Addr().String() + "; then 0, 0 variables"},
		{"none", nil, nil, "then 0, 0 variables"},
		{"number 0", nil, []string{"LISTEN_PID={{pid}}", "LISTEN_FDS=0"}, "then 0, 0 variables"},
		{"for another", []*os.File{a}, []string{"LISTEN_PID=1", "LISTEN_FDS=1"}, "then 0, 0 variables"},
		{"a name too many", []*os.File{a}, []string{"LISTEN_PID={{pid}}", "LISTEN_FDS=1", "LISTEN_FDNAMES=a:b"}, "LISTEN_FDNAMES has 2 names for 1 sockets"},
		{"no number", []*os.File{a}, []string{"LISTEN_PID={{pid}}", "LISTEN_FDS=x"}, `LISTEN_FDS is "x"`},
		{"too many", []*os.File{a}, []string{"LISTEN_PID={{pid}}", "LISTEN_FDS=100000"}, `LISTEN_FDS is "100000"`},
		{"fewer than said", []*os.File{a}, []string{"LISTEN_PID={{pid}}", "LISTEN_FDS=9"}, "systemd: socket 1 ()"},
		{"a local socket", []*os.File{file(local.(*net.UnixListener))}, []string{"LISTEN_PID={{pid}}", "LISTEN_FDS=1"}, "is no TCP socket"},
		{"UDP", []*os.File{file(udp.(*net.UDPConn))}, []string{"LISTEN_PID={{pid}}", "LISTEN_FDS=1"}, "does not listen"},
		{"a connection", []*os.File{file(client.(*net.TCPConn))}, []string{"LISTEN_PID={{pid}}", "LISTEN_FDS=1"}, "Accept=no"},
		{"a file", []*os.File{plain}, []string{"LISTEN_PID={{pid}}", "LISTEN_FDS=1", "LISTEN_FDNAMES=f"}, "systemd: socket 0 (f): getsockopt: socket operation on non-socket"},
	} {
		t.Run(c.name, func(t *testing.T) {
			// The shell knows the number that its process keeps when it becomes the program.
			script := `exec "$0" -test.run '^TestChild$' -test.v`
			for _, e := range c.env {
				script = "export " + strings.ReplaceAll(e, "{{pid}}", "$$") + "\n" + script
			}
			cmd := exec.Command("sh", "-c", script, os.Args[0])
			cmd.Env = append(os.Environ(), "POSTERN_TEST_CHILD=1")
			cmd.ExtraFiles = c.files
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			m := regexp.MustCompile(`(?m)^child: (.*)$`).FindSubmatch(out)
			if m == nil || !strings.HasPrefix(string(m[1]), c.want) && !strings.Contains(string(m[1]), c.want) {
				t.Errorf("%s\nnot %q", out, c.want)
			}
		})
	}
}

// TestChild is the process that is handed sockets; in an ordinary run it does nothing.
func TestChild(*testing.T) {
	if os.Getenv("POSTERN_TEST_CHILD") == "" {
		return
	}
	all, err := Sockets()
	if err != nil {
		fmt.Printf("child: %v\n", err)
		return
	}
	text := ""
	for _, s := range all {
		text += s.Name + " " + s.Listener.Addr().String() + "; "
		_ = s.Listener.Close()
	}
	again, _ := Sockets()
	left := 0
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "LISTEN_") {
			left++
		}
	}
	fmt.Printf("child: %sthen %d, %d variables\n", text, len(again), left)
}
