//go:build accept

// Package accept holds the long comparisons: load with faults, the corpora message by message, memory under
// large content. They run the built program as a process, on loopback, and write their figures to
// docs/accept.md. `make accept` runs them.
package accept

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
)

// report collects the tables; TestMain writes them.
var report struct {
	sync.Mutex
	tables []string
}

// table adds a table to the document. A test calls it when everything that stands in the table has been measured.
func table(t *testing.T, title, command string, head []string, rows [][]string) {
	t.Helper()
	var b strings.Builder
	writeTable(&b, t.Failed(), title, command, head, rows)
	if testing.Verbose() {
		fmt.Println(b.String()) // also where only a part is run, which does not get into the document
	}
	report.Lock()
	defer report.Unlock()
	report.tables = append(report.tables, b.String())
}

// writeReport writes the document: after a run that passed, its tables; else these and the old ones that they don't
// replace.
func writeReport(passed bool) error {
	file := filepath.Join("..", "..", "docs", "accept.md")
	tables := report.tables
	if !passed {
		old, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		tables = merge(string(old), tables)
	}
	text := fmt.Sprintf("# Acceptance runs\n\nWritten by `make accept` on %s/%s with %d processors, %s. Rates depend on the machine; counts must not. "+
		"A goal that was missed is marked so in its row.\n\n%s",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), strings.Join(tables, "\n"))
	return os.WriteFile(file, []byte(text), 0o644)
}

func TestMain(m *testing.M) {
	if spec := os.Getenv(crowdVariable); spec != "" {
		if err := runCrowd(spec); err != nil {
			fmt.Fprintln(os.Stderr, "crowd:", err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv(starterVariable) != "" {
		if err := serveStarts(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "starter:", err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	// A part of the tables in the place of all would say that the others were not run.
	if whole := flag.Lookup("test.run").Value.String()+flag.Lookup("test.skip").Value.String() == ""; whole && len(report.tables) > 0 {
		if err := writeReport(code == 0); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// loadkit builds the load tools beside the checkout, with more of them where they are wanted, and gives the folder of their
// programs.
func loadkit(t *testing.T, more ...string) string {
	t.Helper()
	src := peertest.Shared(t, "loadkit")
	dir := t.TempDir()
	args := []string{"build", "-o", dir + "/"}
	for _, name := range append([]string{"smtpload", "smtpsinkd", "procmeter", "leanrelay", "naiverelay"}, more...) {
		args = append(args, "./cmd/"+name)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = src
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("loadkit: %v\n%s", err, out)
	}
	return dir
}

// postern is a gateway that runs as a process of its own.
type postern struct {
	cmd  *exec.Cmd
	addr string
	log  string
}

func binary(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "bin", "postern"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal("bin/postern is missing: make build")
	}
	return path
}

func start(t *testing.T, upstream, more string) *postern {
	t.Helper()
	return startListener(t, upstream, "early_talkers: 0s, "+manyClients, more)
}

// manyClients are the limits of a listener to which a load comes from one address.
const manyClients = "limits: {per_client: 1000, per_network: 1000, rate: 1000000, total_rate: 1000000}"

// startListener starts a gateway; keys are those of its listener but the address, more are keys of the top.
func startListener(t *testing.T, upstream, keys, more string) *postern {
	t.Helper()
	dir := t.TempDir()
	p := &postern{addr: peertest.FreeAddr(t), log: filepath.Join(dir, "log")}
	cfg := fmt.Sprintf("hostname: mx.bench.test\nlisteners: {public: {address: %q, %s}}\n"+
		"routes: [{to: [bench.test], upstream: sink}]\nupstreams: {sink: {servers: [%q], tls: none}}\n"+
		"state: {directory: %q}\n%s", p.addr, keys, upstream, filepath.Join(dir, "state"), more)
	file := filepath.Join(dir, "postern.yaml")
	if err := os.WriteFile(file, []byte(cfg), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p.cmd = exec.Command(binary(t), "-c", file, "serve")
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		_ = p.cmd.Wait()
		if t.Failed() {
			out, _ := os.ReadFile(p.log)
			if len(out) > 4000 {
				out = out[len(out)-4000:]
			}
			t.Logf("the gateway said:\n%s", out)
		}
	})
	peertest.Await(t, p.addr)
	return p
}

// sink is a running smtpsinkd.
type sink struct {
	cmd  *exec.Cmd
	addr string
	out  io.ReadCloser
}

func startSink(t *testing.T, bin string, args ...string) *sink {
	t.Helper()
	s := &sink{addr: peertest.FreeAddr(t)}
	s.cmd = exec.Command(filepath.Join(bin, "smtpsinkd"), append([]string{"-listen", s.addr}, args...)...)
	var err error
	if s.out, err = s.cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.cmd.Process.Kill(); _ = s.cmd.Wait() })
	peertest.Await(t, s.addr)
	return s
}

// counts are what the sink saw.
type counts struct {
	Accepted  int64 `json:"accepted"`
	BodyBad   int64 `json:"body_bad"`
	NoID      int64 `json:"no_id"`
	Truncated int64 `json:"truncated"`
	Runs      map[string]struct {
		Unique     int64 `json:"unique"`
		Missing    int64 `json:"missing_below_highest"`
		Duplicates int64 `json:"duplicates"`
	} `json:"runs"`
}

func (s *sink) stop(t *testing.T) (counts, int64, int64) {
	t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	var c counts
	if err := json.NewDecoder(s.out).Decode(&c); err != nil {
		t.Fatalf("sink: %v", err)
	}
	var unique, dups int64
	for _, r := range c.Runs {
		unique += r.Unique
		dups += r.Duplicates
	}
	return c, unique, dups
}

// load is what smtpload printed.
type load struct {
	OK      int64            `json:"ok"`
	Replies map[string]int64 `json:"replies"`
	Rate    float64          `json:"msgs_per_s"`
	Wall    float64          `json:"wall_s"`
	Latency struct {
		P50 float64 `json:"p50_ms"`
		P99 float64 `json:"p99_ms"`
	} `json:"latency"`
}

func runLoad(t *testing.T, bin, addr string, args ...string) load {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "smtpload"), append([]string{"-addr", addr}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("smtpload: %v\n%s", err, out)
	}
	var l load
	if err := json.Unmarshal(out, &l); err != nil {
		t.Fatalf("smtpload: %v\n%s", err, out)
	}
	return l
}

// permanent counts 5yz replies.
func (l load) permanent() (n int64) {
	for code, k := range l.Replies {
		if strings.HasPrefix(code, "5") {
			n += k
		}
	}
	return n
}

func (l load) String() string {
	b, _ := json.Marshal(l.Replies)
	return string(b)
}

// flaky is a TCP relay in front of the sink, whose port can go away and come back: a backend that restarts.
type flaky struct {
	mu     sync.Mutex
	addr   string
	target string
	l      net.Listener
	conns  map[net.Conn]bool
}

func newFlaky(t *testing.T, target string) *flaky {
	f := &flaky{addr: peertest.FreeAddr(t), target: target, conns: map[net.Conn]bool{}}
	f.up(t)
	t.Cleanup(f.down)
	return f
}

func (f *flaky) up(t *testing.T) {
	l, err := net.Listen("tcp", f.addr)
	if err != nil {
		t.Error(err)
		return
	}
	f.mu.Lock()
	f.l = l
	f.mu.Unlock()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d, err := net.Dial("tcp", f.target)
			if err != nil {
				c.Close()
				continue
			}
			f.mu.Lock()
			f.conns[c], f.conns[d] = true, true
			f.mu.Unlock()
			go func() { io.Copy(c, d); c.Close(); f.forget(c, d) }()
			go func() { io.Copy(d, c); d.Close() }()
		}
	}()
}

func (f *flaky) forget(cs ...net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range cs {
		delete(f.conns, c)
	}
}

func (f *flaky) down() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.l.Close()
	for c := range f.conns {
		c.Close()
	}
	clear(f.conns)
}

// TestLoad sends 20,000 messages over 20 sessions: alone, with the backend restarted, and with injected faults.
func TestLoad(t *testing.T) {
	bin := loadkit(t)
	const n = 20000
	cases := []struct {
		name    string
		args    []string // of the sink
		restart bool
		faulty  bool
	}{
		{name: "a healthy backend"},
		{name: "the backend restarted three times", restart: true},
		{name: "faults `dot:451:.05,dot:lost:.02,body:drop:.02,mail:421:.02`", args: []string{"-fault", "dot:451:.05,dot:lost:.02,body:drop:.02,mail:421:.02"}, faulty: true},
	}
	var rows [][]string
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := startSink(t, bin, c.args...)
			target := s.addr
			var f *flaky
			if c.restart {
				f = newFlaky(t, s.addr)
				target = f.addr
			}
			p := start(t, target, "filters: []\n")
			if c.restart {
				done := make(chan struct{})
				defer func() { <-done }()
				go func() {
					defer close(done)
					for range 3 {
						time.Sleep(700 * time.Millisecond)
						f.down()
						time.Sleep(300 * time.Millisecond)
						f.up(t)
					}
				}()
			}
			l := runLoad(t, bin, p.addr, "-s", "20", "-m", fmt.Sprint(n), "-perconn", "10", "-retry", "-maxtime", "300s")
			got, unique, dups := s.stop(t)
			var unknown int64
			if c.restart || c.faulty {
				unknown = unknownOutcomes(t, p.log)
			}
			var g goals
			g.want(t, l.permanent() == 0, "no 5yz", "%d replies were 5yz: %s", l.permanent(), l)
			g.want(t, unique == n && l.OK == n, "all arrive", "acknowledged %d, arrived %d of %d", l.OK, unique, n)
			g.want(t, dups <= unknown, "none doubled but of unknown outcome", "%d duplicates, but only %d outcomes unknown", dups, unknown)
			g.want(t, got.BodyBad == 0 && got.NoID == 0, "no content changed", "content changed: %+v", got)
			rows = append(rows, []string{
				c.name, fmt.Sprint(l.OK), fmt.Sprint(unique), fmt.Sprint(n - unique), fmt.Sprint(dups),
				fmt.Sprint(unknown), l.String(), fmt.Sprintf("%.0f", l.Rate), fmt.Sprintf("%.1f / %.1f", l.Latency.P50, l.Latency.P99), g.String(),
			})
		})
	}
	if len(rows) < len(cases) {
		return // a case did not come to its end
	}
	table(t, "20,000 messages over 20 sessions, `filters: []`",
		"smtpload -s 20 -m 20000 -perconn 10 -retry; smtpsinkd",
		[]string{"backend", "acknowledged", "arrived", "lost", "doubled", "outcomes unknown (250 lost)", "replies", "messages/s", "p50 / p99 ms", "goals"}, rows)
}

// unknownOutcomes counts the deliveries whose confirmation was lost, in the gateway's log.
func unknownOutcomes(t *testing.T, log string) (n int64) {
	t.Helper()
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, `"msg":"delivery"`) && strings.Contains(line, "did not confirm") {
			n++
		}
	}
	return n
}

// TestSmtpSource is the same with Postfix's own source and sink.
func TestSmtpSource(t *testing.T) {
	addr := peertest.FreeAddr(t)
	var out strings.Builder
	sink := peertest.Command(t, "smtp-sink", "-c", "-u", "nobody", addr, "100")
	sink.Stdout = &out
	peertest.Start(t, sink)
	peertest.Await(t, addr)
	p := start(t, addr, "filters: []\n")
	begin := time.Now()
	cmd := peertest.Command(t, "smtp-source", "-s", "20", "-m", "20000", "-l", "4096", "-f", "a@client.test", "-t", "u@bench.test", p.addr)
	if o, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("smtp-source: %v\n%s", err, o)
	}
	wall := time.Since(begin)
	log, err := os.ReadFile(p.log)
	if err != nil {
		t.Fatal(err)
	}
	delivered := strings.Count(string(log), `"msg":"delivery"`)
	ok := strings.Count(string(log), `"code":250`)
	if delivered != 20000 || ok != 20000 {
		t.Errorf("%d delivery lines, %d with 250", delivered, ok)
	}
	table(t, "Postfix's smtp-source through the gateway to smtp-sink", "smtp-source -s 20 -m 20000 -l 4096",
		[]string{"sent", "delivered (250)", "messages/s"},
		[][]string{{"20000", fmt.Sprint(ok), fmt.Sprintf("%.0f", 20000/wall.Seconds())}})
}

// TestLargeContent sends 20 messages of 50 MB at once, filtered.
func TestLargeContent(t *testing.T) {
	bin := loadkit(t)
	s := startSink(t, bin)
	p := start(t, s.addr, "exempt_networks: []\ndns: {servers: [\"127.0.0.1:9\"]}\nfilters: [dkim: {}, attachments: {}, heuristics: {sender_domain: off}]\npolicies: {default: {}}\n")
	l := runLoad(t, bin, p.addr, "-s", "20", "-m", "20", "-len", fmt.Sprint(50_000_000), "-maxtime", "300s", "-timeout", "300s")
	peak := peakRSS(t, p.cmd.Process.Pid)
	_, unique, _ := s.stop(t)
	var g goals
	g.want(t, unique == 20 && l.OK == 20, "all arrive", "acknowledged %d, arrived %d of 20: %s", l.OK, unique, l)
	g.want(t, peak <= 128<<20, "128 MiB", "peak resident memory %d MiB, more than 128", peak>>20)
	table(t, "20 messages of 50 MB at once, with dkim, attachments and heuristics", "smtpload -s 20 -m 20 -len 50000000",
		[]string{"arrived", "peak resident memory, MiB", "MB/s", "replies", "goals"},
		[][]string{{fmt.Sprint(unique), fmt.Sprint(peak >> 20), fmt.Sprintf("%.0f", 20*50/l.Wall), l.String(), g.String()}})
}

// peakRSS reads the peak of a process's resident memory, in octets.
func peakRSS(t *testing.T, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var kb int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kb); n == 1 {
			return kb << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}
