package app

import (
	"bytes"
	"crypto"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/dkim"
	"github.com/postern-mail/postern/internal/dkim/arc"
	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/internal/dns/zone"
	"github.com/postern-mail/postern/mail"
)

const arcHead = `
hostname: mx.example.org
listeners: {a: {address: "127.0.0.1:0"}}
routes: [{to: [example.org], upstream: local}]
upstreams: {local: {maildir: "%[1]s/mail"}}
state: {directory: "%[1]s/state"}
dns: {servers: ["%[2]s"]}
filters: [spf, dkim, dmarc, arc: {trusted_sealers: [%[3]s]}]
signing: {seal: {domain: example.org, selector: arc, key: "%[4]s"}}
`

// signedBy puts on top of a message what sign makes of it.
func signedBy(t testing.TB, message string, sign func(*dkim.Fields, *dkim.Bodies) string) string {
	t.Helper()
	c := mail.NewContent(mail.NewBlob([]byte(message)), mail.LineFaults{}, mail.Limits{})
	defer c.Release()
	bodies := &dkim.Bodies{}
	bodies.Want(dkim.Relaxed, dkim.Whole)
	if err := bodies.Hash(dkim.Body(c.Blob(), c.Header().Octets(), c.Blob().Size())); err != nil {
		t.Fatal(err)
	}
	return sign(dkim.NewFields(c.Header().Fields()), bodies) + message
}

// signedFor puts a DKIM signature of a domain on top, with the selector s.
func signedFor(t testing.TB, message, domain string, key crypto.Signer) string {
	t.Helper()
	return signedBy(t, message, func(f *dkim.Fields, b *dkim.Bodies) string {
		field, err := (&dkim.Signer{Domain: domain, Selector: "s", Key: key}).Sign(f, b)
		if err != nil {
			t.Fatal(err)
		}
		return field
	})
}

// forwarded gives a message as it comes from a list: its author has signed it, a mailbox provider has seen that and sealed
// it, the list has changed the subject, which breaks the author's signature, and sealed it as well.
func forwarded(t *testing.T, key crypto.Signer) string {
	t.Helper()
	message := "From: Ann <ann@author.example>\r\nTo: list@list.example\r\nSubject: Tea\r\nDate: Sun, 01 Nov 2026 10:00:00 +0000\r\n" +
		"Message-ID: <1@author.example>\r\n\r\nAt five?\r\n"
	signed := func(sign func(*dkim.Fields, *dkim.Bodies) string) { message = signedBy(t, message, sign) }
	sealed := func(domain string, came arc.Status, results string) {
		signed(func(f *dkim.Fields, b *dkim.Bodies) string {
			set, err := (&arc.Sealer{Domain: domain, Selector: "s", Key: key}).Seal(f, b, came, results)
			if err != nil {
				t.Fatal(err)
			}
			text := ""
			for _, f := range set {
				text += f.Name + ": " + f.Body + "\r\n"
			}
			return text
		})
	}
	message = signedFor(t, message, "author.example", key)
	sealed("big.example", arc.None, "mx.big.example; dmarc=pass header.from=author.example")
	message = strings.Replace(message, "Subject: Tea", "Subject: [list] Tea", 1)
	sealed("list.example", arc.Pass, "list.example; arc=pass; dmarc=fail header.from=author.example")
	return message
}

// TestTrustedChain: what a list has broken of a p=reject author is excused where those are trusted who have seen it
// whole and have changed it, and nowhere else; and what is handed on carries our own seal.
func TestTrustedChain(t *testing.T) {
	dir := t.TempDir()
	path, record := makeKeyFile(t, dir, "key.pem")
	private := mustRead(t, path)
	zones := []zone.Record{
		{Name: "_dmarc.author.example", Type: "TXT", Text: []string{"v=DMARC1; p=reject"}},
		{Name: "author.example", Type: "TXT", Text: []string{"v=spf1 -all"}},
		{Name: "arc._domainkey.example.org", Type: "TXT", Text: []string{record}},
	}
	for _, d := range []string{"author.example", "big.example", "list.example"} {
		zones = append(zones, zone.Record{Name: "s._domainkey." + d, Type: "TXT", Text: []string{record}})
	}
	server, err := zone.ServeRecords(zones)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	message := filepath.Join(dir, "message.eml")
	if err := os.WriteFile(message, []byte(forwarded(t, private.Signer)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ trusted, symbol string }{
		{"", "DMARC_FAIL_REJECT"},
		{"list.example", "DMARC_FAIL_REJECT"}, // it has seen a failure itself, and says so
		{"big.example", "DMARC_FAIL_REJECT"},  // who has changed the message since is nobody that is trusted
		{"big.example, list.example", "DMARC_FAIL_FORWARDED"},
	} {
		var out bytes.Buffer
		config, left := filepath.Join(dir, "postern.yaml"), filepath.Join(dir, "out.eml")
		text := fmt.Sprintf(arcHead, dir, server.Addr(), c.trusted, path)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := New(Options{Config: config, ConfigGiven: true, Stdout: &out, Stderr: &out})
		if err != nil {
			t.Fatal(err)
		}
		from := "bounce@list.example"
		err = a.Scan(t.Context(), ScanOptions{
			IP: "192.0.2.1", Helo: "list.example", From: &from, Rcpt: []string{"u@example.org"},
			JSON: true, Out: left, Trace: true, File: message,
		})
		if err != nil {
			t.Fatalf("%v\n%s", err, &out)
		}
		var said struct {
			Action   string
			Findings []struct{ Symbol string }
		}
		if err := json.Unmarshal(out.Bytes(), &said); err != nil {
			t.Fatal(err)
		}
		action := "tag"
		if c.symbol == "DMARC_FAIL_FORWARDED" {
			action = "continue"
		}
		if said.Action != action {
			t.Errorf("trusted %q: %s, want %s", c.trusted, said.Action, action)
		}
		if !strings.Contains(fmt.Sprint(said.Findings), "{"+c.symbol+"}") || !strings.Contains(fmt.Sprint(said.Findings), "{ARC_PASS}") {
			t.Errorf("trusted %q: findings %v, want %s", c.trusted, said.Findings, c.symbol)
		}
		if action == "continue" {
			checkSealed(t, left, server.Addr())
		}
	}
}

// checkSealed validates what leaves: three sets, the last of them ours, with our results.
func checkSealed(t *testing.T, path, server string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c := mail.NewContent(mail.NewBlob(text), mail.LineFaults{}, mail.Limits{})
	defer c.Release()
	m, err := dkim.MaterialOf(c)
	if err != nil {
		t.Fatal(err)
	}
	resolver, err := dns.New([]netip.AddrPort{netip.MustParseAddrPort(server)})
	if err != nil {
		t.Fatal(err)
	}
	chain, err := arc.Validate(t.Context(), m, arc.Options{Resolver: resolver})
	if err != nil {
		t.Fatal(err)
	}
	if chain.Status != arc.Pass || len(chain.Sets) != 3 || chain.Sets[2].SealDomain() != "example.org" || chain.Oldest != 2 {
		t.Fatalf("what leaves: %s, %s, %d sets, oldest %d\n%s", chain.Status, chain.Reason, len(chain.Sets), chain.Oldest, text)
	}
	_, body, _ := strings.Cut(chain.Sets[2].AuthResults.Raw, ":")
	results, ok := arc.ParseAuthResults(body)
	said := map[string]string{}
	for _, r := range results.Results {
		said[r.Method] = r.Value
		for _, name := range []string{"header.oldest-pass", "header.from"} {
			if v, one := r.Property(name); one {
				said[r.Method] += " " + v
			}
		}
	}
	if !ok || said["arc"] != "pass 2" || said["dmarc"] != "fail author.example" {
		t.Errorf("our results: %v, %q", ok, body)
	}
}
