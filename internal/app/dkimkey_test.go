package app

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/dns/zone"
)

// TestCheckOfKeys asks a DNS server for the records of a configuration's keys: one is right, one is of another key, one is
// missing, one can't be had. What is wrong decides the exit code.
func TestCheckOfKeys(t *testing.T) {
	dir := t.TempDir()
	path, record := makeKeyFile(t, dir, "key.pem")
	_, other := makeKeyFile(t, dir, "other.pem")
	server, err := zone.Serve(fmt.Sprintf("right._domainkey.example.org TXT %s\nother._domainkey.example.org TXT %s\n"+
		"broken._domainkey.example.org SERVFAIL\n", record, other))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	for _, c := range []struct {
		selectors []string
		code      int
		words     []string
	}{
		{[]string{"right"}, 0, []string{"right._domainkey.example.org: ok"}},
		{[]string{"right", "broken"}, ExitUnavailable, []string{"right._domainkey.example.org: ok", "broken._domainkey.example.org: not known"}},
		{[]string{"broken", "other"}, ExitData, []string{"other._domainkey.example.org: wrong: the record is of another key"}},
		{[]string{"missing"}, ExitData, []string{"missing._domainkey.example.org: wrong: there is no key"}},
	} {
		text := strings.ReplaceAll(signingHead, "{{dir}}", dir) + fmt.Sprintf("dns: {servers: [%q]}\nsigning:\n  keys:\n", server.Addr())
		for _, s := range c.selectors {
			text += fmt.Sprintf("    - {domain: example.org, selector: %s, key: %q}\n", s, path)
		}
		config := filepath.Join(dir, "postern.yaml")
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		a, err := New(Options{Config: config, ConfigGiven: true, Stdout: &out, Stderr: &out})
		if err != nil {
			t.Fatal(err)
		}
		code := 0
		var ended *Exit
		if err := a.DKIMKey(t.Context(), DKIMKeyOptions{Check: true}); errors.As(err, &ended) {
			code = ended.Code
		} else if err != nil {
			t.Fatal(err)
		}
		if code != c.code {
			t.Errorf("%v: exit %d, want %d", c.selectors, code, c.code)
		}
		for _, w := range c.words {
			if !strings.Contains(out.String(), w) {
				t.Errorf("%v: no %q in\n%s", c.selectors, w, &out)
			}
		}
	}
}

func TestOneFileOfAKey(t *testing.T) {
	a, err := New(Options{Stdout: new(bytes.Buffer)})
	if err != nil {
		t.Fatal(err)
	}
	var ended *Exit
	err = a.DKIMKey(t.Context(), DKIMKeyOptions{Domain: "example.org", Selector: "s", In: "a.pem", Out: "b.pem"})
	if !errors.As(err, &ended) || ended.Code != ExitUsage {
		t.Errorf("got %v, want exit %d", err, ExitUsage)
	}
}
