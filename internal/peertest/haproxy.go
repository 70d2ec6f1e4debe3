package peertest

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// HAProxy is a running haproxy that forwards TCP.
type HAProxy struct {
	addrs  map[string]string
	socket string
}

// Forward is one of haproxy's ways: what it listens on, it takes to Server.
type Forward struct {
	Name    string
	Server  string   // host:port
	Options string   // of the server line: "send-proxy-v2 check inter 100ms"
	More    []string // further lines of its section: "option smtpchk"
}

// StartHAProxy starts a haproxy that ends with the test.
func StartHAProxy(t testing.TB, all ...Forward) *HAProxy {
	t.Helper()
	dir, err := os.MkdirTemp("", "haproxy") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := &HAProxy{addrs: map[string]string{}, socket: filepath.Join(dir, "socket")}
	var cfg bytes.Buffer
	fmt.Fprintf(&cfg, "global\n  stats socket %s\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout check 10s\n  timeout client 60s\n  timeout server 60s\n", h.socket)
	for _, f := range all {
		h.addrs[f.Name] = FreeAddr(t)
		fmt.Fprintf(&cfg, "listen %s\n  bind %s\n", f.Name, h.addrs[f.Name])
		for _, line := range f.More {
			fmt.Fprintf(&cfg, "  %s\n", line)
		}
		fmt.Fprintf(&cfg, "  server one %s %s\n", f.Server, f.Options)
	}
	file := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(file, cfg.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := Command(t, "haproxy", "-db", "-f", file)
	if check := exec.Command(cmd.Path, "-c", "-f", file); true {
		check.Env = cmd.Env
		if out, err := check.CombinedOutput(); err != nil {
			t.Fatalf("haproxy: %v\n%s\n%s", err, out, cfg.String())
		}
	}
	Start(t, cmd)
	end := time.Now().Add(patience)
	for h.Status(t, all[0].Name) == "" {
		if time.Now().After(end) {
			t.Fatal("haproxy does not answer")
		}
		time.Sleep(20 * time.Millisecond)
	}
	return h
}

// Addr gives the address of one of its ways.
func (h *HAProxy) Addr(name string) string { return h.addrs[name] }

// Status tells what haproxy thinks of a way's server: "UP", "DOWN", "no check"; "" when it does not answer.
func (h *HAProxy) Status(t testing.TB, name string) string {
	t.Helper()
	return h.column(t, name, "status")
}

// Healthy waits until a check of a way's server has ended well, and fails the test where none does. haproxy takes a server
// for healthy before it has checked it.
func (h *HAProxy) Healthy(t testing.TB, name string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		status, check := h.Status(t, name), h.column(t, name, "check_status")
		if status == "UP" && (check == "L4OK" || check == "L7OK") {
			return
		}
		if time.Now().After(end) {
			t.Errorf("haproxy calls us %q by %s, and its last check %q", status, name, check)
			return
		}
	}
}

// column gives one of the statistics of a way's server.
func (h *HAProxy) column(t testing.TB, name, want string) string {
	t.Helper()
	c, err := net.Dial("unix", h.socket)
	if err != nil {
		return ""
	}
	defer c.Close()
	if _, err := io.WriteString(c, "show stat\n"); err != nil {
		return ""
	}
	text, err := io.ReadAll(c)
	if err != nil {
		return ""
	}
	rows := csv.NewReader(strings.NewReader(strings.TrimPrefix(string(text), "# ")))
	rows.FieldsPerRecord = -1
	all, err := rows.ReadAll()
	if err != nil || len(all) == 0 {
		t.Fatalf("haproxy's statistics: %v\n%s", err, text)
	}
	for _, r := range all[1:] {
		for i, column := range all[0] {
			if column == want && r[0] == name && r[1] == "one" {
				return r[i]
			}
		}
	}
	return ""
}
