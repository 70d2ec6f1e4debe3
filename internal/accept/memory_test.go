//go:build accept

package accept

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestCrowds lets thousands of clients do nothing, or next to nothing, and looks at what that costs: resident memory and
// processor time of the gateway, and the patience of other clients, who are served beside by the same gateway, and in
// turn by one that has no crowd.
func TestCrowds(t *testing.T) {
	bin := loadkit(t)
	s := startSink(t, bin)
	limits := "limits: {connections: 18000}, " + listenerTLS(t)
	alone := startListener(t, s.addr, limits, "filters: []\n")
	var rows [][]string
	cases := []struct {
		crowd
		name string
		most int64 // octets of memory for each
	}{
		{crowd{N: 15000, Do: crowdIdle}, "idle since EHLO", 10 << 10},
		{crowd{N: 15000, Do: crowdMessage}, "idle, each after a message of 100 KB", 10 << 10},
		{crowd{N: 5000, Do: crowdSlow}, "sending an octet of content each second", 10 << 10},
		{crowd{N: 8000, Do: crowdSilent}, "silent since STARTTLS", 10 << 10},
		{crowd{N: 8000, Do: crowdHalfHello}, "silent after half a ClientHello", 10 << 10},
		{crowd{N: 2000, Do: crowdHello}, "silent after a whole ClientHello", 48 << 10},
		{crowd{N: 5000, Do: crowdIdle, TLS: true}, "idle since EHLO, TLS", 24 << 10},
		{crowd{N: 5000, Do: crowdMessage, TLS: true}, "idle, each after a message of 100 KB, TLS", 72 << 10},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := startListener(t, s.addr, limits, "filters: []\n")
			warm(t, bin, p, alone)
			c.Addr = p.addr
			before := resident(t, p)
			end := gather(t, c.crowd)
			cpu, begin := processorTime(t, p.cmd.Process.Pid), time.Now()
			// A busy machine makes others wait now and then; a crowd would always.
			others, control := patience(t, bin, p), patience(t, bin, alone)
			for turn := 1; turn < 3 || turn < 10 && others > 2*control; turn++ {
				others, control = min(others, patience(t, bin, p)), min(control, patience(t, bin, alone))
			}
			share := (processorTime(t, p.cmd.Process.Pid) - cpu).Seconds() / time.Since(begin).Seconds()
			each := (resident(t, p) - before) / int64(c.N)
			left := end().Open
			var g goals
			g.want(t, left == c.N, "all are left", "%d of %d are left", left, c.N)
			g.want(t, each <= c.most, fmt.Sprintf("%d KiB for each", c.most>>10), "%d octets for each, more than %d", each, c.most)
			g.want(t, others <= 2*control, "others' p99 twice that without a crowd", "others wait for %.1f ms, %.1f where there is no crowd", others, control)
			rows = append(rows, []string{
				fmt.Sprint(c.N), c.name, fmt.Sprintf("%.1f", float64(each)/1024), fmt.Sprintf("%.0f", float64(before)/(1<<20)),
				fmt.Sprintf("%.2f", share), fmt.Sprintf("%.1f", others), fmt.Sprintf("%.1f", control), g.String(),
			})
		})
	}
	if len(rows) < len(cases) {
		return // a crowd did not come together, or did not stay
	}
	table(t, "Crowds that do next to nothing, `filters: []`", "go test -tags accept -run TestCrowds ./internal/accept",
		[]string{"clients", "each", "resident memory for each, KiB", "without them, MiB", "processors in use", "others' p99, ms (best of 3 to 10 turns)", "p99 without a crowd, ms", "goals"}, rows)
}

// warm lets gateways serve some mail, so that what they keep for good is there.
func warm(t *testing.T, bin string, gateways ...*postern) {
	t.Helper()
	for _, p := range gateways {
		runLoad(t, bin, p.addr, "-s", "20", "-m", "500", "-perconn", "10", "-len", "102400")
		patience(t, bin, p)
	}
}

// patience gives the p99 of others' messages, in milliseconds: 200 a second for a second and a half.
func patience(t *testing.T, bin string, p *postern) float64 {
	t.Helper()
	l := runLoad(t, bin, p.addr, "-s", "20", "-m", "300", "-rate", "200", "-perconn", "10")
	if l.OK != 300 {
		t.Errorf("%d of 300 messages: %s", l.OK, l)
	}
	return l.Latency.P99
}

// resident gives a process's resident memory, in octets.
func resident(t *testing.T, p *postern) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var kb int64
		if n, _ := fmt.Sscanf(line, "Pss: %d kB", &kb); n == 1 {
			return kb << 10
		}
	}
	t.Fatal("no Pss")
	return 0
}

// processorTime gives what a process has used.
func processorTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+2:]))
	var user, system int64
	fmt.Sscan(fields[11], &user)
	fmt.Sscan(fields[12], &system)
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}
