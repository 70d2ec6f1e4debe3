package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/internal/dns/zone"
)

// TestLameDNS sends honest, signed mail of domains whose name servers fail in every way that we know, all at once. It
// arrives, marked with what could not be found out; only where the policy of the author's domain is known, and would have
// had the message refused, is the sender asked to come back. Nothing takes longer than a message's budget, and nothing
// is left running.
func TestLameDNS(t *testing.T) {
	t.Parallel()
	ended := watchGoroutines(t)
	keyFile, record := makeKeyFile(t, t.TempDir(), "key.pem")
	key := mustRead(t, keyFile).Signer
	cases := []struct{ name, spf, dkim, dmarc, reply string }{
		// Of a domain nothing can be found out.
		{"SERVFAIL", "temperror", "temperror", "temperror", "250"},
		{"SILENT", "temperror", "temperror", "temperror", "250"},
		{"REFUSED", "temperror", "temperror", "temperror", "250"},
		{"WRONGID", "temperror", "temperror", "temperror", "250"},
		{"WRONGNAME", "temperror", "temperror", "temperror", "250"},
		{"LOOPING", "temperror", "temperror", "temperror", "250"},
		{"GARBAGE", "temperror", "temperror", "temperror", "250"},
		{"LAME", "temperror", "temperror", "temperror", "250"},
		// These only cost more questions.
		{"TRUNCATED", "pass", "pass", "pass", "250"},
		{"NOEDNS", "pass", "pass", "pass", "250"},
		{"NOISY", "pass", "pass", "pass", "250"},
		{"DELAY 500ms", "pass", "pass", "pass", "250"},
		// Only the policy is known.
		{"ask reject", "temperror", "temperror", "temperror", "451"},
		{"ask none", "temperror", "temperror", "temperror", "250"},
	}
	var zones strings.Builder
	domain := func(name string) string { return strings.ToLower(strings.Map(letters, name)) + ".example" }
	for _, c := range cases {
		d := domain(c.name)
		fault := c.name
		fmt.Fprintf(&zones, "%s A 127.0.0.1\n", d)
		for _, r := range [][2]string{{d, "v=spf1 ip4:127.0.0.1 -all"}, {"s._domainkey." + d, record}, {"_dmarc." + d, "v=DMARC1; p=reject"}} {
			switch p, known := strings.CutPrefix(c.name, "ask "); {
			case known && r[0] == "_dmarc."+d:
				fmt.Fprintf(&zones, "%s TXT v=DMARC1; p=%s\n", r[0], p)
				continue
			case known:
				fault = "SERVFAIL"
			}
			fmt.Fprintf(&zones, "%s TXT %s\n%s %s\n", r[0], r[1], r[0], fault)
		}
	}
	zones.WriteString("1.0.0.127.in-addr.arpa SILENT\n")
	server, err := zone.Serve(zones.String())
	if err != nil {
		t.Fatal(err)
	}
	g := startGatewayWith(t, fmt.Sprintf("hostname: mx.example.org\nexempt_networks: []\n"+
		"listeners: {public: {address: \"127.0.0.1:0\", early_talkers: 0s, limits: {per_client: 100}}}\n"+
		"routes: [{to: [example.org], upstream: local}]\nupstreams: {local: {maildir: \"{{dir}}/mail\"}}\n"+
		"state: {directory: \"{{dir}}/state\"}\ndns: {servers: [%q]}\n", server.Addr()))
	var all sync.WaitGroup
	for _, c := range cases {
		all.Go(func() {
			d := domain(c.name)
			message := signedFor(t, fmt.Sprintf("From: Ann <ann@%s>\r\nTo: bob@example.org\r\nSubject: %s\r\n"+
				"Date: Thu, 26 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@%s>\r\n\r\nHello\r\n", d, d, d), d, key)
			began := time.Now()
			reply, err := sample{from: "ann@" + d, to: "bob@example.org", content: []byte(message)}.send(context.Background(), g.addr)
			if err != nil || !strings.HasPrefix(reply, c.reply) {
				t.Errorf("%s: reply %q, %v; want %s", c.name, reply, err, c.reply)
			}
			// The client's own name is asked for before there is a message; the rest is what a machine under load takes.
			if took, most := time.Since(began), dns.MessageTime+30*time.Second; took > most {
				t.Errorf("%s: took %s, more than %s", c.name, took, most)
			}
		})
	}
	all.Wait()
	got := authResultsBySubject(t, filepath.Join(g.dir, "mail", "new"))
	for _, c := range cases {
		if c.reply != "250" {
			continue
		}
		want := fmt.Sprintf("spf=%s dkim=%s dmarc=%s", c.spf, c.dkim, c.dmarc)
		if got[domain(c.name)] != want {
			t.Errorf("%s: got %q, want %q", c.name, got[domain(c.name)], want)
		}
	}
	g.close()
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	ended()
}

func letters(r rune) rune {
	if r == ' ' {
		return -1
	}
	return r
}

var (
	subjectLine = regexp.MustCompile(`(?m)^Subject: (\S+)`)
	methodWord  = regexp.MustCompile(`(?m)^\s+(spf|dkim|dmarc)=([a-z]+)(?:[^;]*smtp\.helo=)?`)
)

// authResultsBySubject reads the results of three methods out of each message of a folder.
func authResultsBySubject(t *testing.T, folder string) map[string]string {
	t.Helper()
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, f := range files {
		raw, err := os.ReadFile(filepath.Join(folder, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(raw), "\r\n", "\n")
		field, _, _ := strings.Cut(text, "\nReceived:")
		results := map[string]string{}
		for _, m := range methodWord.FindAllStringSubmatch(field, -1) {
			if _, twice := results[m[1]]; !twice {
				results[m[1]] = m[2]
			}
		}
		if m := subjectLine.FindStringSubmatch(text); m != nil {
			all[m[1]] = fmt.Sprintf("spf=%s dkim=%s dmarc=%s", results["spf"], results["dkim"], results["dmarc"])
		}
	}
	return all
}
