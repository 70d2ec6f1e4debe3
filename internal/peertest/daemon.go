package peertest

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Daemon is a program of a peer that a test starts, ends, kills and stalls.
type Daemon struct {
	Addr string // where it answers: host:port, or the path of a socket

	t     testing.TB
	made  func() *exec.Cmd
	ready func() bool
	cmd   *exec.Cmd
	name  string
	out   *syncBuilder
}

// syncBuilder keeps what a program says.
type syncBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

// Write implements io.Writer.
func (s *syncBuilder) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

// String gives what was said so far.
func (s *syncBuilder) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// StartDaemon starts a program that ends with the test; made gives the command of each start, and addr is where it
// answers: host:port, or the path of a socket.
func StartDaemon(t testing.TB, addr string, made func() *exec.Cmd) *Daemon {
	t.Helper()
	network := "tcp"
	if filepath.IsAbs(addr) {
		network = "unix"
	}
	return startDaemon(t, addr, made, func() bool {
		c, err := net.DialTimeout(network, addr, time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// startDaemon starts a program that ends with the test; made gives the command of each start, and ready says whether it
// answers.
func startDaemon(t testing.TB, addr string, made func() *exec.Cmd, ready func() bool) *Daemon {
	t.Helper()
	d := &Daemon{Addr: addr, t: t, made: made, ready: ready, out: new(syncBuilder)}
	t.Cleanup(func() {
		d.Kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", d.name, tail(d.out.String()))
		}
	})
	d.Start()
	return d
}

// Start starts it anew after Kill, and waits until it answers, for a minute at most.
func (d *Daemon) Start() {
	d.t.Helper()
	d.cmd = d.made()
	d.name = filepath.Base(d.cmd.Path)
	d.cmd.Stdout, d.cmd.Stderr = d.out, d.out
	if d.cmd.SysProcAttr == nil {
		d.cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	d.cmd.SysProcAttr.Setpgid = true
	must(d.t, d.cmd.Start())
	for end := time.Now().Add(patience); !d.ready(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			d.t.Fatalf("%s does not answer:\n%s", d.cmd.Path, tail(d.out.String()))
		}
	}
}

// Kill ends it and its children, if it runs, in a way that they can do nothing about.
func (d *Daemon) Kill() {
	if d.cmd == nil || d.cmd.Process == nil {
		return
	}
	_ = syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL)
	_ = d.cmd.Wait()
	d.cmd = nil
}

// Stall stops it and its children: they keep their connections, and say nothing. It returns when all of them have stopped.
func (d *Daemon) Stall() {
	d.t.Helper()
	must(d.t, syscall.Kill(-d.cmd.Process.Pid, syscall.SIGSTOP))
	for end := time.Now().Add(patience); !stopped(d.cmd.Process.Pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			d.t.Fatalf("%s does not stop", d.name)
		}
	}
}

// stopped reports whether each thread of a group of processes has stopped, as far as /proc tells.
func stopped(group int) bool {
	stats, _ := filepath.Glob("/proc/[0-9]*/task/[0-9]*/stat")
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		f := strings.Fields(rest) // state, parent, group
		if len(f) > 2 && f[2] == strconv.Itoa(group) && f[0] != "T" && f[0] != "Z" {
			return false
		}
	}
	return true
}

// Resume lets them go on.
func (d *Daemon) Resume() { must(d.t, syscall.Kill(-d.cmd.Process.Pid, syscall.SIGCONT)) }

// Log gives what it has said so far.
func (d *Daemon) Log() string { return d.out.String() }

// write puts a text into a file for a peer to read.
func write(t testing.TB, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o644))
}
