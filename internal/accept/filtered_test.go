//go:build accept

package accept

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
)

// TestFilteredLoad lets signed messages of 68 KB through filters that prove, look into and judge them, and measures what that
// takes. What it is compared with is the sink alone, without anybody in between.
func TestFilteredLoad(t *testing.T) {
	bin := loadkit(t, "dnsstub", "mkcorpus")
	corpus := filepath.Join(t.TempDir(), "corpus")
	if out, err := exec.Command(filepath.Join(bin, "mkcorpus"), "-dir", corpus).CombinedOutput(); err != nil {
		t.Fatalf("mkcorpus: %v\n%s", err, out)
	}
	names := peertest.FreeAddr(t)
	peertest.Start(t, exec.Command(filepath.Join(bin, "dnsstub"), "-listen", names, "-zone", filepath.Join(corpus, "zone.json")))
	peertest.Await(t, names)
	s := startSink(t, bin)
	more := fmt.Sprintf("dns: {servers: [%q]}\nfilters: [{iprev: {}}, {spf: {}}, {dkim: {}}, {arc: {}}, {dmarc: {}}, {attachments: {}}, {heuristics: {}}", names)
	keys := "early_talkers: 0s, xclient: [127.0.0.1/32], " + manyClients
	plain := startListener(t, s.addr, keys, more+"]\n")
	ruled := startListener(t, s.addr, keys, more+", {rules: {}}]\n")
	peers := []relayed{
		{"the sink alone", s.addr, s.cmd.Process.Pid},
		{"postern without `rules`", plain.addr, plain.cmd.Process.Pid},
		{"postern", ruled.addr, ruled.cmd.Process.Pid},
	}
	args := []string{"-dir", corpus, "-perconn", "10"}
	through := append([]string{"-xclient", "ADDR=192.0.2.10 NAME=mx.ext.test"}, args...)
	all := map[string][]turn{}
	for range 5 {
		all[peers[0].name] = append(all[peers[0].name], measure(t, bin, kind{name: "signed mail", args: args}, peers[0]))
		for _, p := range peers[1:] {
			all[p.name] = append(all[p.name], measure(t, bin, kind{name: "signed mail", args: through}, p))
		}
	}
	var rows [][]string
	for _, p := range peers {
		mid := func(f func(o turn, floor turn) float64) float64 {
			var values []float64
			for i, o := range all[p.name] {
				values = append(values, f(o, all[peers[0].name][i]))
			}
			return median(values)
		}
		cpu := mid(func(o, _ turn) float64 { return o.cpu })
		ratio := mid(func(o, floor turn) float64 { return o.rate / floor.rate })
		cell := ""
		if p.name == "postern" {
			var g goals
			g.want(t, cpu <= 0.9, "0.9 s", "1000 messages take %.2f s of the processor, more than 0.9", cpu)
			g.want(t, ratio >= 0.2, "0.2 of the sink's rate", "%.2f of the sink's rate, less than 0.2", ratio)
			cell = g.String()
		}
		rows = append(rows, []string{
			p.name, fmt.Sprintf("%.2f", cpu), fmt.Sprintf("%.0f", mid(func(o, _ turn) float64 { return o.rate })), fmt.Sprintf("%.2f", ratio),
			fmt.Sprintf("%.1f / %.1f", mid(func(o, _ turn) float64 { return o.p50 }), mid(func(o, _ turn) float64 { return o.p99 })), cell,
		})
	}
	table(t, "Signed messages of 68 KB, filtered: SPF, DKIM, ARC, DMARC, attachments, heuristics and the default rules",
		"go test -tags accept -run TestFilteredLoad ./internal/accept: mkcorpus; dnsstub; smtpload -s 20 -perconn 10 for 1 s, in turn, median of 5 turns",
		[]string{"", "processor time of 1000 messages, s", "messages/s", "of the sink's rate", "p50 / p99 ms", "goals"}, rows)
}
