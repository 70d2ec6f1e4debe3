//go:build accept

package accept

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/internal/peertest/campaign"
	"github.com/postern-mail/postern/internal/spool"
	"github.com/postern-mail/postern/upstream/queue"
)

// campaignHead are the columns of an account.
var campaignHead = []string{
	"messages acknowledged", "recipients of them", "delivered", "lost", "refused (5yz)", "clients without a reply",
	"replies of servers lost", "doubled", "by a kill", "by a lost reply", "otherwise", "set aside or changed", "longest from a delivery to the kill that doubled it", "goals",
}

// campaignRow gives the cells of an account, and holds it to what must never be.
func campaignRow(t *testing.T, a campaign.Account, least int) []string {
	t.Helper()
	var g goals
	g.want(t, a.Messages >= least, "enough to tell", "%d messages, of %d", a.Messages, least)
	g.want(t, a.Lost == 0, "none lost", "%d lost", a.Lost)
	g.want(t, a.Refused == 0, "no 5yz", "%d refused", a.Refused)
	g.want(t, a.Wrong == 0, "none doubled but by a kill or a lost reply", "%d doubled otherwise", a.Wrong)
	g.want(t, a.Broken == 0, "none changed", "%d changed or set aside", a.Broken)
	g.want(t, a.Longest < 3*time.Second, "marked at once", "%s between a delivery and its kill", a.Longest)
	if len(a.Details) > 0 {
		t.Log(strings.Join(a.Details, "\n"))
	}
	var row []string
	for _, n := range []int{a.Messages, a.Acknowledged, a.Delivered, a.Lost, a.Refused, a.Unknown, a.Replies, a.Doubled, a.ByCrash, a.ByReply, a.Wrong, a.Broken} {
		row = append(row, fmt.Sprint(n))
	}
	return append(row, a.Longest.Round(time.Millisecond).String(), g.String())
}

// TestSpoolKills kills the gateway at 200 random instants.
func TestSpoolKills(t *testing.T) {
	a := campaign.Kills(t, binary(t), 200, 0)
	row := campaignRow(t, a, 10_000)
	table(t, "kill -9 at 200 random instants under load for the spool, while the servers come and go",
		"go test -tags accept -run TestSpoolKills ./internal/accept", campaignHead, [][]string{row})
}

// TestSpoolFaults sends 100,000 messages to servers that restart, lose replies and cut connections in every state, while name servers come and go.
func TestSpoolFaults(t *testing.T) {
	const n = 100_000
	more, during := campaign.Names(t)
	a := campaign.Faults(t, binary(t), n, 100, more, during)
	row := campaignRow(t, a, n)
	table(t, "100,000 messages, relayed, by the spool and past it, to servers that restart, lose replies and cut connections in every state, with name servers that come and go",
		"go test -tags accept -run TestSpoolFaults ./internal/accept", campaignHead, [][]string{row})
}

// spooled is a gateway all of whose mail may wait.
const spooled = `hostname: %%s
listeners: {public: {address: %q, early_talkers: 0s, %s}}
routes: [{to: [bench.test], upstream: sink, spool: true}]
upstreams: {sink: {servers: [%q], tls: none}}
state: {directory: "{{dir}}/state"}
filters: []
`

// fsyncs tells how often a second the disk syncs a file to which 4 KB are added each time.
func fsyncs(t *testing.T, dir string) float64 {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	began, n, block := time.Now(), 0, make([]byte, 4096)
	for ; time.Since(began) < 3*time.Second; n++ {
		if _, err := f.Write(block); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	return float64(n) / time.Since(began).Seconds()
}

// said waits until the gateway's log has something behind from, and gives when it had.
func said(t *testing.T, log string, from int64, what string, limit time.Duration) time.Time {
	t.Helper()
	f, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if _, err := all.ReadFrom(f); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(all.Bytes(), []byte(what)) {
			return time.Now()
		}
	}
	t.Fatalf("the log has no %q after %s", what, limit)
	return time.Time{}
}

func sizeOf(t *testing.T, file string) int64 {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// TestSpoolRate fills the spool with 100,000 messages while the server is away, starts the gateway anew on them, and lets them go.
func TestSpoolRate(t *testing.T) {
	bin := loadkit(t)
	s := startSink(t, bin)
	f := newFlaky(t, s.addr)
	f.down()
	addr := peertest.FreeAddr(t)
	g := campaign.NewGateway(t, binary(t), fmt.Sprintf(spooled, addr, manyClients, f.addr))
	g.Start()
	pid := g.Pid()
	g.Await(addr, 20*time.Second)
	const large, small = 20_000, 80_000
	t.Run("rate", func(t *testing.T) { // one that falls short must not mark what follows
		before := fsyncs(t, g.Dir)
		fill := runLoad(t, bin, addr, "-s", "20", "-m", fmt.Sprint(large), "-len", "16384", "-perconn", "100", "-retry", "-maxtime", "600s")
		after := fsyncs(t, g.Dir)
		var goal goals
		goal.want(t, fill.Rate >= 1500, "1500 a second", "%.0f messages/s", fill.Rate)
		goal.want(t, fill.OK == large && len(fill.Replies) == 1, "all taken at once", "%s", fill)
		table(t, "16 KB messages into the spool, 20 sessions, the server away", "smtpload -s 20 -m 20000 -len 16384 -perconn 100",
			[]string{"acknowledged", "messages/s", "p50 / p99 ms", "single fsyncs/s of the disk, before / after", "peak resident memory, MiB", "goals"},
			[][]string{{
				fmt.Sprint(fill.OK), fmt.Sprintf("%.0f", fill.Rate), fmt.Sprintf("%.1f / %.1f", fill.Latency.P50, fill.Latency.P99),
				fmt.Sprintf("%.0f / %.0f", before, after), fmt.Sprint(peakRSS(t, pid) >> 20), goal.String(),
			}})
	})
	rest := runLoad(t, bin, addr, "-s", "50", "-m", fmt.Sprint(small), "-len", "4096", "-perconn", "100", "-retry", "-maxtime", "600s")
	if rest.OK != small {
		t.Fatalf("only %s were taken", rest)
	}
	filled := peakRSS(t, pid)
	g.Kill()
	page, listed := firstPage(t, filepath.Join(g.Dir, "state", "spool"))
	t.Run("backlog", func(t *testing.T) { backlog(t, g, f, s, addr, large+small, page, listed, filled) })
}

// firstPage opens a spool and its queue as an operator's command does where no gateway runs, and gives how long the first 100 messages take.
func firstPage(t *testing.T, dir string) (page time.Duration, listed int) {
	t.Helper()
	store, err := spool.Open(dir, spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	q := queue.New(queue.Options{Store: store, Idle: true, Log: slog.New(slog.DiscardHandler)}, queue.Settings{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	defer q.Close(ctx)
	began := time.Now()
	n := 0
	if _, _, err := q.List(t.Context(), queue.Filter{}, queue.Place{}, 0, func(queue.Listed) bool { n++; return n < 100 }); err != nil || n != 100 {
		t.Errorf("%d of 100 were listed: %v", n, err)
	}
	page = time.Since(began)
	listed, _ = q.Len()
	return page, listed
}

// backlog starts a gateway on what lies in its spool, and lets the server come back.
func backlog(t *testing.T, g *campaign.Gateway, f *flaky, s *sink, addr string, n int, page time.Duration, listed int, filled int64) {
	t.Helper()
	g.Start()
	started := g.Await(addr, time.Minute)
	time.Sleep(15 * time.Second) // everything is read, and the server's absence known
	resident, _ := process(t, g.Pid())
	read := peakRSS(t, g.Pid())
	from := sizeOf(t, g.Log)
	back := time.Now()
	f.up(t)
	first := said(t, g.Log, from, "delivered from the spool", time.Minute).Sub(back)
	for end := time.Now().Add(10 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if left, _ := g.Spooled(); left == 0 {
			break
		}
	}
	drained := time.Since(back)
	peak := peakRSS(t, g.Pid())
	got, unique, doubled := s.stop(t)
	var goal goals
	goal.want(t, listed == n, "all in the queue", "%d in the queue", listed)
	goal.want(t, started < 5*time.Second, "starts within 5 s", "took %s to start", started)
	goal.want(t, peak < 200<<20, "200 MiB", "peak resident memory %d MiB", peak>>20)
	goal.want(t, first < 2*time.Second, "first delivery within 2 s", "the first delivery took %s", first)
	goal.want(t, page < time.Second, "a page within a second", "the first page took %s", page)
	goal.want(t, unique == int64(n) && doubled == 0 && got.BodyBad == 0, "none lost, doubled or changed", "%d arrived, %d doubled, %+v", unique, doubled, got)
	table(t, "100,000 messages in the spool: a start, the server back, all of them delivered", "go test -tags accept -run TestSpoolRate ./internal/accept",
		[]string{"messages", "takes mail after", "resident MiB: after reading / peak then / peak in all / peak when filled", "first page of 100", "first delivery after the server is back", "drained at messages/s", "lost", "doubled", "goals"},
		[][]string{{
			fmt.Sprint(n), started.Round(time.Millisecond).String(), fmt.Sprintf("%d / %d / %d / %d", resident>>20, read>>20, peak>>20, filled>>20), page.Round(time.Millisecond).String(),
			first.Round(time.Millisecond).String(), fmt.Sprintf("%.0f", float64(n)/drained.Seconds()), fmt.Sprint(int64(n) - unique), fmt.Sprint(doubled), goal.String(),
		}})
}
