package campaign

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Gateway is the program with a configuration and a state directory. Each process of it has another hostname, so that servers
// can tell who brought what.
type Gateway struct {
	Name string // of the process that runs, or ran last
	Log  string // file
	Dir  string

	tb     testing.TB
	binary string
	config string // with %s for the hostname
	cmd    *exec.Cmd
	n      int
}

// NewGateway makes one; nothing runs yet. The configuration's first line is to be the hostname's: "hostname: %s"; {{dir}}
// is a folder of the test's.
func NewGateway(tb testing.TB, binary, config string) *Gateway {
	dir := tb.TempDir()
	g := &Gateway{tb: tb, binary: binary, Dir: dir, Log: filepath.Join(dir, "log"), config: strings.ReplaceAll(config, "{{dir}}", dir)}
	tb.Cleanup(func() {
		g.Kill()
		if tb.Failed() {
			log, _ := os.ReadFile(g.Log)
			tb.Logf("the gateway said:\n%s", log[max(0, len(log)-4000):])
		}
	})
	return g
}

// Start starts a process. It does not wait until it takes mail.
func (g *Gateway) Start() {
	g.tb.Helper()
	g.n++
	g.Name = fmt.Sprintf("gateway-%d.test", g.n)
	file := filepath.Join(g.Dir, "postern.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, g.config, g.Name), 0o600); err != nil {
		g.tb.Fatal(err)
	}
	log, err := os.OpenFile(g.Log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		g.tb.Fatal(err)
	}
	defer log.Close()
	g.cmd = exec.Command(g.binary, "-c", file, "serve")
	g.cmd.Stdout, g.cmd.Stderr = log, log
	if err := g.cmd.Start(); err != nil {
		g.tb.Fatal(err)
	}
}

// Kill ends the process as a power switch would.
func (g *Gateway) Kill() {
	if g.cmd != nil {
		_ = g.cmd.Process.Kill()
		_ = g.cmd.Wait()
		g.cmd = nil
	}
}

// Pid gives the number of the process.
func (g *Gateway) Pid() int { return g.cmd.Process.Pid }

// Await waits until the address answers, and gives how long that took.
func (g *Gateway) Await(addr string, limit time.Duration) time.Duration {
	g.tb.Helper()
	began := time.Now()
	for {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			_ = c.Close()
			return time.Since(began)
		}
		if time.Since(began) > limit {
			g.tb.Fatalf("nothing answers at %s after %s", addr, limit)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Spooled counts the messages in the spool's folder, and those set aside.
func (g *Gateway) Spooled() (messages, damaged int) {
	root := filepath.Join(g.Dir, "state", "spool")
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".msg") {
			if filepath.Base(filepath.Dir(path)) == "damaged" {
				damaged++
			} else {
				messages++
			}
		}
		return nil
	})
	return messages, damaged
}

// Drain waits until everything acknowledged has been delivered and the spool is empty. It gives up where nothing has come for a while.
func (g *Gateway) Drain(l *Ledger, quiet time.Duration) {
	g.tb.Helper()
	began := time.Now()
	for {
		left, last := l.Left()
		n, _ := g.Spooled()
		if left == 0 && n == 0 {
			return
		}
		if last.Before(began) {
			last = began
		}
		if time.Since(last) > quiet {
			g.tb.Errorf("nothing has come for %s: %d recipients are missing, %d messages are in the spool", quiet, left, n)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}
