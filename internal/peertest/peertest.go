// Package peertest starts real mail programs for tests: those that scripts/peers has unpacked below a
// cache folder. It installs nothing and touches no service of the machine. It is no part of the gateway.
package peertest

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Root gives the folder below which the peers are unpacked. Without it the test skips, and fails where
// POSTERN_PEERS is "required".
func Root(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("POSTERN_PEERS_DIR")
	if dir == "" {
		dir = filepath.Join(".cache", "peers")
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(Module(t), dir) // as scripts/peers takes it
	}
	root := filepath.Join(dir, "root")
	if _, err := os.Stat(root); err != nil {
		Missing(t, "POSTERN_PEERS", "no peers below "+dir+": run scripts/peers")
	}
	return root
}

// File gives the path of a file or folder of the unpacked packages: a module of Python, say. Without it the test skips,
// and fails where POSTERN_PEERS is "required".
func File(t testing.TB, path string) string {
	t.Helper()
	path = filepath.Join(Root(t), filepath.FromSlash(path))
	if _, err := os.Stat(path); err != nil {
		Missing(t, "POSTERN_PEERS", "no "+path+": run scripts/peers")
	}
	return path
}

// Shared gives the path of a file or folder of the corpora that may stand beside the checkout. Without
// them the test skips, and fails where POSTERN_SHARED is "required".
func Shared(t testing.TB, elem ...string) string {
	t.Helper()
	path := filepath.Join(append([]string{filepath.Dir(Module(t)), "shared"}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		Missing(t, "POSTERN_SHARED", "no corpus at ../shared/"+filepath.Join(elem...))
	}
	return path
}

// Missing skips a test for want of a peer or of the corpora, as the variable POSTERN_PEERS or POSTERN_SHARED is for. Where
// that says "required" the test fails, and so it does with CI=true where the want is a fault of the set-up: root can fetch
// and start every peer, and where the corpora stand none of them is missing.
func Missing(t testing.TB, variable, what string) {
	t.Helper()
	switch {
	case os.Getenv(variable) == "required":
		t.Fatalf("%s (and %s=required)", what, variable)
	case os.Getenv("CI") == "true" && obtainable(t, variable):
		t.Fatalf("%s (and CI=true)", what)
	}
	t.Skip(what)
}

func obtainable(t testing.TB, variable string) bool {
	if variable == "POSTERN_PEERS" {
		return os.Geteuid() == 0
	}
	_, err := os.Stat(filepath.Join(filepath.Dir(Module(t)), "shared"))
	return err == nil
}

// Module gives the folder of go.mod.
func Module(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("peertest: no go.mod above the test")
		}
	}
}

// Command makes a command of a peer's program: by name, from the unpacked packages first, else from the
// machine. Libraries and modules are found in the unpacked packages too.
func Command(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	root := Root(t)
	path := ""
	for _, dir := range []string{"usr/sbin", "usr/bin", "usr/lib/postfix/sbin"} {
		if p := filepath.Join(root, dir, name); executable(p) {
			path = p
			break
		}
	}
	if path == "" {
		p, err := exec.LookPath(name)
		if err != nil {
			Missing(t, "POSTERN_PEERS", "no program "+name)
		}
		path = p
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), environment(root)...)
	return cmd
}

// Piped starts a command that is talked with: what is written to in it reads, and out is what it says. It ends with the test.
func Piped(t testing.TB, cmd *exec.Cmd) (in io.Writer, out io.Reader) {
	t.Helper()
	to, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	from, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = to.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return to, from
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// environment lets programs find what lies beside them in the unpacked packages.
func environment(root string) []string {
	glob := func(patterns ...string) string {
		var all []string
		for _, p := range patterns {
			found, _ := filepath.Glob(filepath.Join(root, p))
			all = append(all, found...)
		}
		return strings.Join(all, ":")
	}
	return []string{
		"LD_LIBRARY_PATH=" + glob("usr/lib/postfix", "usr/lib/dovecot", "usr/lib/dovecot/modules/old-stats", "usr/lib/rspamd", "usr/lib", "usr/lib/*-linux-gnu", "lib/*-linux-gnu"),
		"PERL5LIB=" + glob("usr/share/perl5", "usr/lib/*-linux-gnu/perl5/*", "usr/share/perl/*", "usr/lib/*-linux-gnu/perl/*"),
		"PYTHONPATH=" + glob("usr/lib/python3/dist-packages"),
		"SASL_PATH=" + glob("usr/lib/*-linux-gnu/sasl2"),
	}
}

// The ports of FreeAddr lie below those that systems give to whoever asks for any (32768 and up, or 49152).
const firstPort, ports = 16384, 16384

// FreeAddr gives a loopback address on which nothing listens at the moment, with a port that nobody gets who asks for any: another
// test's server must not have it before the program does that is started with it, nor while that is started anew. So long as the
// test runs no other test is given it, of this process or of another one.
func FreeAddr(t testing.TB) string {
	t.Helper()
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.IntN(ports)))
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			if mine, err := claim(addr); err == nil {
				t.Cleanup(func() { _ = mine.Close() })
				return addr
			}
		}
	}
	t.Fatal("no port is free")
	return ""
}

// claim takes an address among all tests of this machine until what it gives is closed: a socket's name can be had once. Only Linux
// has such names, which are in no folder and end with the process.
func claim(addr string) (io.Closer, error) {
	if runtime.GOOS != "linux" {
		return io.NopCloser(nil), nil
	}
	return net.ListenPacket("unixgram", "@postern.peertest."+addr)
}

// patience is how long a test waits for a program that starts, or does what it is asked to: much longer than any takes, for there are
// machines that have a dozen of them to start at once.
const patience = time.Minute

// Await waits until something answers at addr, for at most a minute.
func Await(t testing.TB, addr string) {
	t.Helper()
	if err := await(addr); err != nil {
		t.Fatal(err)
	}
}

func await(addr string) error {
	end := time.Now().Add(patience)
	for {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(end) {
			return fmt.Errorf("peertest: nothing answers at %s: %w", addr, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Start runs a command until the test ends; its output goes to the test's log if the test fails.
func Start(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	out := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop(cmd, os.Interrupt)
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(cmd.Path), out)
		}
	})
}

// stop ends a command that was started: it is told to, and killed where it does not follow.
func stop(cmd *exec.Cmd, by os.Signal) {
	_ = cmd.Process.Signal(by)
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		_ = cmd.Process.Kill()
		<-done
	}
}

// ErrNotRoot says that a peer needs rights that the test does not have.
var ErrNotRoot = errors.New("peertest: this peer runs as root only")

// Every tells whether a comparison with a peer goes over everything that there is (POSTERN_SAMPLES=all, as `make accept` has
// it) rather than over a sample that keeps the tests short.
func Every() bool { return os.Getenv("POSTERN_SAMPLES") == "all" }
