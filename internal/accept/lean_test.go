//go:build accept

package accept

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
)

// relayed is a program that passes mail on to the sink, and is measured while it does.
type relayed struct {
	name string
	addr string
	pid  int // of what is measured, with its children
}

// kind is one kind of load.
type kind struct {
	name string
	args []string // of smtpload
	most float64  // the gateway's processor time, as a multiple of the lean relay's
	rate float64  // the least of its messages per second, as a multiple of the naive relay's
}

// TestLeanRelay runs the gateway without filters beside relays that do nothing but relay, in turn, and compares the
// processor time that each takes. The lean relay shows what Go's standard library can do at its best, the naive one is
// go-smtp as it comes, and haproxy does not even look at what it passes on. The gateway is there with go-smtp as its engine, too.
func TestLeanRelay(t *testing.T) {
	bin := loadkit(t)
	s := startSink(t, bin)
	peers := []relayed{
		startLoadkitRelay(t, bin, "leanrelay", s.addr), startLoadkitRelay(t, bin, "naiverelay", s.addr), startHAProxy(t, s.addr),
	}
	p := start(t, s.addr, "filters: []\n")
	library := startListener(t, s.addr, "engine: go-smtp, early_talkers: 0s, "+manyClients, "filters: []\n")
	peers = append(peers, relayed{"postern, engine: go-smtp", library.addr, library.cmd.Process.Pid}, relayed{"postern", p.addr, p.cmd.Process.Pid})
	kinds := []kind{
		{name: "4 KB, connections used again", args: []string{"-len", "4096", "-perconn", "0"}, most: 1.35},
		{name: "4 KB, a connection each", args: []string{"-len", "4096", "-perconn", "1"}, most: 1.5},
		{name: "100 KB, connections used again", args: []string{"-len", "102400", "-perconn", "0"}, most: 1.6},
		{name: "4 KB, connections used again, pipelined", args: []string{"-len", "4096", "-perconn", "0", "-pipeline"}, rate: 3},
	}
	var rows [][]string
	for _, k := range kinds {
		rows = append(rows, compare(t, bin, k, peers)...)
	}
	table(t, "Processor time beside other relays, `filters: []`",
		"go test -tags accept -run TestLeanRelay ./internal/accept: smtpload -s 20 for 1 s, each relay in turn, median of 5 turns; ratios are medians of those within a turn",
		[]string{"load", "relay", "processor time of 1000 messages, s", "of the lean relay's", "messages/s", "of the naive relay's", "p50 / p99 ms", "goals"}, rows)
}

// turn is what one relay did in one turn.
type turn struct{ cpu, rate, p50, p99 float64 }

// compare lets the relays have one kind of load in turn, and gives the rows of the table.
func compare(t *testing.T, bin string, k kind, peers []relayed) (rows [][]string) {
	t.Helper()
	all := map[string][]turn{}
	for range 5 {
		for _, p := range peers {
			all[p.name] = append(all[p.name], measure(t, bin, k, p))
		}
	}
	for _, p := range peers {
		own := all[p.name]
		against := func(other string, f func(turn) float64) float64 {
			var ratios []float64
			for i := range own {
				ratios = append(ratios, f(own[i])/f(all[other][i]))
			}
			return median(ratios)
		}
		mid := func(f func(turn) float64) float64 {
			var values []float64
			for _, o := range own {
				values = append(values, f(o))
			}
			return median(values)
		}
		cpu, rate := func(o turn) float64 { return o.cpu }, func(o turn) float64 { return o.rate }
		toLean, toNaive := against("leanrelay", cpu), against("naiverelay", rate)
		var g goals
		cell := ""
		if p.name == "postern" {
			g.want(t, k.most == 0 || toLean <= k.most, fmt.Sprintf("%.2f of the lean relay's time", k.most),
				"%s: %.2f times the processor time of the lean relay, more than %.2f", k.name, toLean, k.most)
			g.want(t, toNaive >= k.rate, fmt.Sprintf("%.2f of the naive relay's messages", k.rate),
				"%s: %.2f times the messages of the naive relay, fewer than %.2f", k.name, toNaive, k.rate)
			cell = g.String()
		}
		rows = append(rows, []string{
			k.name, p.name, fmt.Sprintf("%.3f", mid(cpu)), fmt.Sprintf("%.2f", toLean), fmt.Sprintf("%.0f", mid(rate)), fmt.Sprintf("%.2f", toNaive),
			fmt.Sprintf("%.2f / %.2f", mid(func(o turn) float64 { return o.p50 }), mid(func(o turn) float64 { return o.p99 })), cell,
		})
	}
	return rows
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// measure sends one relay so much load, and gives what that took of the relay.
func measure(t *testing.T, bin string, k kind, p relayed) turn {
	t.Helper()
	args := []string{fmt.Sprintf("relay=%d", p.pid), "--", filepath.Join(bin, "smtpload"), "-addr", p.addr, "-s", "20", "-m", "1000000", "-maxtime", "1s"}
	cmd := exec.Command(filepath.Join(bin, "procmeter"), append(args, k.args...)...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", p.name, err, out, said.String())
	}
	var l load
	if err := json.Unmarshal(out, &l); err != nil {
		t.Fatalf("%s: %v\n%s", p.name, err, out)
	}
	var used struct {
		Group string  `json:"group"`
		CPU   float64 `json:"cpu_s"`
	}
	if err := json.NewDecoder(strings.NewReader(said.String())).Decode(&used); err != nil || used.Group != "relay" {
		t.Fatalf("%s: %v\n%s", p.name, err, said.String())
	}
	if len(l.Replies) != 1 || l.OK == 0 {
		t.Fatalf("%s, %s: %s", k.name, p.name, l)
	}
	return turn{cpu: used.CPU * 1000 / float64(l.OK), rate: l.Rate, p50: l.Latency.P50, p99: l.Latency.P99}
}

// startLoadkitRelay starts one of loadkit's relays. It takes a message in whole before it passes it on, as whoever
// judges messages must.
func startLoadkitRelay(t *testing.T, bin, name, upstream string) relayed {
	t.Helper()
	addr := peertest.FreeAddr(t)
	cmd := exec.Command(filepath.Join(bin, name), "-listen", addr, "-upstream", upstream, "-mode", "buffer")
	peertest.Start(t, cmd)
	peertest.Await(t, addr)
	return relayed{name, addr, cmd.Process.Pid}
}

// startHAProxy starts haproxy with one thread, passing connections on.
func startHAProxy(t *testing.T, upstream string) relayed {
	t.Helper()
	addr := peertest.FreeAddr(t)
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	text := fmt.Sprintf("global\n  nbthread 1\n  maxconn 1000\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n"+
		"listen smtp\n  bind %s\n  server s %s\n", addr, upstream)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := peertest.Command(t, "haproxy", "-db", "-f", file)
	peertest.Start(t, cmd)
	peertest.Await(t, addr)
	return relayed{"haproxy", addr, cmd.Process.Pid}
}
