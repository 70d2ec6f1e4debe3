package app

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/dns/zone"
)

// bigness is a user's filter that says which big sender the client is of.
var bigness = filter.Factory{Kind: "bigness", New: func(_ filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
	var none struct{}
	check := func(_ context.Context, in *filter.Input) (filter.Result, error) {
		return filter.Result{Findings: []filter.Finding{{Symbol: "BIG", Strength: 1, Detail: "of <" + in.Session.Big + ">"}}}, nil
	}
	return filter.Spec{Phases: filter.In(filter.Connect), Symbols: []filter.Symbol{{Name: "BIG", Description: "whose it is"}}}, filter.Func(check), decode(&none)
}}

// TestScanKnowsBigSenders, as the gateway would that has learnt of them.
func TestScanKnowsBigSenders(t *testing.T) {
	names, err := zone.Serve("big.example TXT v=spf1 ip4:192.0.2.0/24\n" + faulty("bad.example", "SERVFAIL"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = names.Close() })
	cfg := filepath.Join(t.TempDir(), "c.yaml")
	text := "hostname: mx.example.org\nlisteners: {public: {address: \":25\"}}\nroutes: [{to: [example.org], upstream: x}]\nupstreams: {x: {maildir: m}}\n" +
		"filters: [bigness]\nbig_senders: [bad.example, big.example]\ndns: {servers: [\"" + names.Addr() + "\"]}\nexempt_networks: [192.0.2.128/25]\n"
	if err := os.WriteFile(cfg, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, ip, want string }{
		{"big", "192.0.2.7", "of <big.example>"},
		{"not big", "198.51.100.7", "of <>"},
		{"exempt, too", "192.0.2.200", "of <big.example>"},
		{"no address", "", "of <>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			a, err := New(Options{Config: cfg, ConfigGiven: true, Factories: []filter.Factory{bigness}, Stdin: strings.NewReader(invoice), Stdout: &out, Stderr: &out})
			if err != nil {
				t.Fatal(err)
			}
			if err := a.Scan(context.Background(), ScanOptions{IP: c.ip, File: "-"}); err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			if !strings.Contains(out.String(), c.want) {
				t.Errorf("no %q in\n%s", c.want, out.String())
			}
		})
	}
}
