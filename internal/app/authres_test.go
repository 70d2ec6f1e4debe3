package app

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/dns/zone"
)

// TestScanShowsWhatGoesOnTop: the results with the configured name, the client's confirmed name, and no field from
// outside that the configuration does not let in.
func TestScanShowsWhatGoesOnTop(t *testing.T) {
	names, err := zone.Serve("7.2.0.192.in-addr.arpa PTR client.sender.example.\nclient.sender.example A 192.0.2.7\n" +
		"7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR elsewhere.example.\nelsewhere.example AAAA 2001:db8::8\n")
	if err != nil {
		t.Fatal(err)
	}
	defer names.Close()
	dir := t.TempDir()
	cfg := filepath.Join(dir, "c.yaml")
	text := "hostname: mx.example.org\nlisteners: {public: {address: \":25\"}}\nroutes: [{to: [example.org], upstream: x}]\nupstreams: {x: {maildir: m}}\n" +
		"filters: [iprev]\nauthres: {id: example.org, keep: [kept.example]}\ndns: {servers: [\"" + names.Addr() + "\"]}\n"
	if err := os.WriteFile(cfg, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, ip, helo string
		want           []string
	}{
		{"confirmed", "192.0.2.7", "client.sender.example", []string{
			"Authentication-Results: example.org;\r\n\tiprev=pass reason=\"client.sender.example\" policy.iprev=192.0.2.7\r\n",
			"Received: from client.sender.example (client.sender.example [192.0.2.7])\r\n",
		}},
		{"not confirmed", "2001:db8::7", "mx.example.org", []string{
			"\tiprev=fail reason=\"elsewhere.example does not lead back to the address\"\r\n\tpolicy.iprev=\"2001:db8::7\"\r\n",
			"Received: from mx.example.org (unknown [IPv6:2001:db8::7])\r\n",
		}},
		{"no name", "192.0.2.8", "[192.0.2.8]", []string{"\tiprev=permerror reason=\"the address has no name\" policy.iprev=192.0.2.8\r\n"}},
		{"not looked at", "127.0.0.1", "localhost", []string{"Authentication-Results: example.org; none\r\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			const message = "authentication-results: EXAMPLE.org; dkim=pass\nAuthentication-Results: spf=pass x\nAuthentication-Results: kept.example; spf=pass\n" +
				"ARC-Authentication-Results: i=1; example.org; dkim=pass\nFrom: a@sender.example\nSubject: s\n\nbody\n"
			var out bytes.Buffer
			a, err := New(Options{Config: cfg, ConfigGiven: true, Stdin: strings.NewReader(message), Stdout: &out, Stderr: &out})
			if err != nil {
				t.Fatal(err)
			}
			result := filepath.Join(dir, "out")
			var exit *Exit
			err = a.Scan(context.Background(), ScanOptions{IP: c.ip, Helo: c.helo, Rcpt: []string{"b@example.org"}, File: "-", Out: result, Trace: true})
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			b, err := os.ReadFile(result)
			if err != nil {
				t.Fatal(err)
			}
			got := string(b)
			for _, w := range c.want {
				if !strings.Contains(got, w) {
					t.Errorf("no %q in\n%s", w, got)
				}
			}
			if below := "Authentication-Results: kept.example; spf=pass\r\nARC-Authentication-Results: i=1; example.org; dkim=pass\r\nFrom: a@sender.example\r\nSubject: s\r\n\r\nbody\r\n"; !strings.HasSuffix(got, below) {
				t.Errorf("changed below our fields:\n%s", got)
			}
			if strings.Contains(got, "EXAMPLE.org") || strings.Contains(got, "spf=pass x") {
				t.Errorf("a foreign field is left:\n%s", got)
			}
			if t.Failed() {
				t.Logf("%s", out.String())
			}
		})
	}
}
