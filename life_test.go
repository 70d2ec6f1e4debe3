package postern

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
)

// tidy removes what tests have in common when they have all run.
type tidy struct{ *testing.M }

func (m tidy) Run() int {
	code := m.M.Run()
	if builtDir != "" {
		_ = os.RemoveAll(builtDir)
	}
	return code
}

var builtDir string

// built gives the program, in a folder that every user may enter.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "postern-built")
	if err != nil {
		return "", err
	}
	builtDir = dir
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "postern")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", path, "./cmd/postern")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

// service is the program as a service manager runs it.
type service struct {
	t      *testing.T
	cmd    *exec.Cmd
	notify *net.UnixConn
	log    lockedText
	ended  chan error
}

// lockedText is a log that is read while it is written.
type lockedText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

const nobody = 65534

// startService runs the program with a configuration, as nobody where this is root. Sockets get the names that are given.
func startService(t *testing.T, config string, sockets ...*net.TCPListener) *service {
	t.Helper()
	binary, err := built()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "postern-life") // t.TempDir lets nobody in
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &service{t: t, ended: make(chan error, 1)}
	socket := filepath.Join(dir, "notify")
	if s.notify, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.notify.Close() })
	file := filepath.Join(dir, "postern.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(config, "{{dir}}", dir)), 0o644); err != nil {
		t.Fatal(err)
	}
	// The shell knows the number that its process keeps when it becomes the program.
	s.cmd = exec.Command("sh", "-c", `export LISTEN_PID=$$; exec "$0" "$@"`, binary, "--config", file, "serve")
	s.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=2000000")
	if len(sockets) > 0 {
		s.cmd.Env = append(s.cmd.Env, fmt.Sprintf("LISTEN_FDS=%d", len(sockets)), "LISTEN_FDNAMES="+strings.Repeat(":public", len(sockets))[1:])
	}
	for _, l := range sockets {
		f, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		s.cmd.ExtraFiles = append(s.cmd.ExtraFiles, f)
	}
	if os.Geteuid() == 0 {
		for _, path := range []string{dir, socket} {
			if err := os.Chown(path, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
		s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.ended <- s.cmd.Wait() }()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		if t.Failed() {
			t.Logf("the gateway said:\n%s", s.log.String())
		}
	})
	return s
}

// expect waits for a message to the manager that matches.
func (s *service) expect(re string) {
	s.t.Helper()
	_ = s.notify.SetReadDeadline(time.Now().Add(2 * time.Minute))
	b := make([]byte, 4096)
	var heard []string
	for {
		n, err := s.notify.Read(b)
		if err != nil {
			s.t.Fatalf("heard %q, and not %s: %v", heard, re, err)
		}
		if regexp.MustCompile(re).Match(b[:n]) {
			return
		}
		heard = append(heard, string(b[:n]))
	}
}

func (s *service) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// end waits for the end of the program, and gives its exit code.
func (s *service) end(within time.Duration) int {
	s.t.Helper()
	select {
	case err := <-s.ended:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			s.t.Fatal(err)
		}
		return s.cmd.ProcessState.ExitCode()
	case <-time.After(within):
		s.t.Fatalf("it has not ended after %s", within)
		return -1
	}
}

// dialog is a client.
type dialog struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, addr string) *dialog {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	return &dialog{t, c, bufio.NewReader(c)}
}

// say sends lines one by one, and wants replies that begin with the codes.
func (d *dialog) say(pairs ...string) {
	d.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] != "" {
			if _, err := io.WriteString(d.Conn, pairs[i]+"\r\n"); err != nil {
				d.t.Fatal(err)
			}
		}
		for {
			line, err := d.r.ReadString('\n')
			if err != nil || !strings.HasPrefix(line, pairs[i+1]) {
				d.t.Fatalf("%q: %q, %v, not %s", pairs[i], line, err, pairs[i+1])
			}
			if line[len(pairs[i+1]):len(pairs[i+1])+1] != "-" {
				break
			}
		}
	}
}

// lowPort listens on a port that takes rights.
func lowPort(t *testing.T) *net.TCPListener {
	t.Helper()
	for port := 1023; port > 900; port-- {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			t.Cleanup(func() { l.Close() })
			return l.(*net.TCPListener)
		}
	}
	t.Fatal("no low port is free")
	return nil
}

const lifeConfig = `
hostname: mx.example.org
listeners: {public: {address: "%s"}}
routes: [{to: [example.org], upstream: local}]
upstreams: {local: {maildir: "{{dir}}/mail"}}
state: {directory: "{{dir}}/state"}
filters: []
drain: %s
`

// TestGivenSocketAsNobody runs the program without any right, with a socket on a low port that it was given: it starts,
// takes mail, reloads, drains, and leaves the socket to its successor.
func TestGivenSocketAsNobody(t *testing.T) {
	if os.Geteuid() != 0 {
		peertest.Missing(t, "POSTERN_PEERS", peertest.ErrNotRoot.Error())
	}
	l := lowPort(t)
	addr := l.Addr().String()
	s := startService(t, fmt.Sprintf(lifeConfig, addr, "2m"), l)
	s.expect("^READY=1\nSTATUS=taking mail")
	if uid := uidOf(t, s.cmd.Process.Pid); uid != nobody {
		t.Errorf("it runs as %d", uid)
	}
	d := dial(t, addr)
	d.say("", "220", "EHLO client.test", "250", "MAIL FROM:<a@client.test>", "250", "RCPT TO:<u@example.org>", "250")
	s.expect("^WATCHDOG=1\nSTATUS=taking mail: 1 connections, 1 with a transaction")
	s.signal(syscall.SIGHUP)
	s.expect("^RELOADING=1\nMONOTONIC_USEC=[0-9]+$")
	s.expect("^READY=1\n")

	idle := dial(t, addr)
	idle.say("", "220", "EHLO client.test", "250")
	s.signal(syscall.SIGTERM)
	s.expect("^STOPPING=1\nEXTEND_TIMEOUT_USEC=")
	idle.say("", "421 4.3.2")
	successor := dial(t, addr) // waits in the socket, which the manager holds
	d.say("DATA", "354", "Subject: x\r\n\r\nx\r\n.", "250 2.0.0", "", "421 4.3.2")
	if code := s.end(time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
	next := startService(t, fmt.Sprintf(lifeConfig, addr, "2m"), l)
	next.expect("^READY=1\n")
	successor.say("", "220", "EHLO client.test", "250", "QUIT", "221")
	next.signal(syscall.SIGTERM)
	if code := next.end(time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestLowPortAsNobody: without a right and without a socket it says what it lacks.
func TestLowPortAsNobody(t *testing.T) {
	if os.Geteuid() != 0 {
		peertest.Missing(t, "POSTERN_PEERS", peertest.ErrNotRoot.Error())
	}
	l := lowPort(t)
	addr := l.Addr().String()
	l.Close()
	s := startService(t, fmt.Sprintf(lifeConfig, addr, "2m"))
	if code := s.end(time.Minute); code != 71 {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(s.log.String(), "a port below 1024 takes CAP_NET_BIND_SERVICE, or a socket of the service manager") {
		t.Error("it does not say what it lacks")
	}
}

// TestSocketThatNobodyServes: it does not start with a socket that no listener is for.
func TestSocketThatNobodyServes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := startService(t, strings.Replace(fmt.Sprintf(lifeConfig, peertest.FreeAddr(t), "10s"), "public", "office", 1), l.(*net.TCPListener))
	if code := s.end(time.Minute); code != 78 {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(s.log.String(), "the service manager has given a socket that no listener is for") {
		t.Error("it does not say why")
	}
}

// TestDrainEnds: a transaction that does not end is cut off when its time is up, and at once by a second signal.
func TestDrainEnds(t *testing.T) {
	for _, c := range []struct {
		name, drain string
		again       bool
	}{{"its time is up", "1s", false}, {"a second TERM", "1h", true}, {"no time at all", "0s", false}} {
		t.Run(c.name, func(t *testing.T) {
			addr := peertest.FreeAddr(t)
			s := startService(t, fmt.Sprintf(lifeConfig, addr, c.drain))
			s.expect("^READY=1\n")
			d := dial(t, addr)
			d.say("", "220", "EHLO client.test", "250", "MAIL FROM:<a@client.test>", "250")
			s.signal(syscall.SIGTERM)
			s.expect("^STOPPING=1\n")
			if c.again {
				s.signal(syscall.SIGTERM)
			}
			if code := s.end(20 * time.Second); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if rest, err := io.ReadAll(d.r); len(rest) > 0 {
				t.Errorf("the client got %q, %v", rest, err)
			}
		})
	}
}

// uidOf gives the user of a process.
func uidOf(t *testing.T, pid int) (uid int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if n, _ := fmt.Sscanf(line, "Uid: %d", &uid); n == 1 {
			return uid
		}
	}
	t.Fatal("no Uid")
	return 0
}

// TestUnits looks at the files for systemd: with its own eyes where it is here.
func TestUnits(t *testing.T) {
	binary, err := built()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var files []string
	for _, name := range []string{"postern.service", "postern.socket"} {
		b, err := os.ReadFile(filepath.Join("deploy", "systemd", name))
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, bytes.ReplaceAll(b, []byte("/usr/bin/postern"), []byte(binary)), 0o644); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	unit, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Type=notify", "WatchdogSec=60", "RestartPreventExitStatus=78", "NoNewPrivileges=yes", "ExecReload=/bin/kill -HUP $MAINPID"} {
		if !bytes.Contains(unit, []byte("\n"+want+"\n")) {
			t.Errorf("postern.service lacks %s", want)
		}
	}
	if analyze, err := exec.LookPath("systemd-analyze"); err == nil {
		if out, err := exec.Command(analyze, append([]string{"verify"}, files...)...).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("systemd-analyze verify: %v\n%s", err, out)
		}
	}
}
