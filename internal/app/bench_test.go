package app

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/dkim"
	"github.com/postern-mail/postern/internal/dns/zone"
	"github.com/postern-mail/postern/internal/edge"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/pipeline"
)

// benchMessage is an unsigned message of text, HTML and a small attachment, of some 5 kB.
func benchMessage() string {
	prose := strings.Repeat("The quick brown fox jumps over the lazy dog, and so on.\r\n", 20)
	return "Received: from app.author.example (app.author.example [192.0.2.33])\r\n\tby mx.author.example with ESMTPS id 4XyZ1\r\n" +
		"\tfor <bob@example.org>; Sun, 01 Nov 2026 10:00:00 +0000\r\n" +
		"From: \"Ann of Accounts\" <ann@author.example>\r\nTo: Bob <bob@example.org>\r\nSubject: The invoice of October\r\n" +
		"Date: Sun, 01 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@author.example>\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/mixed; boundary=\"mixed\"\r\nX-Mailer: None 1.0\r\n\r\n" +
		"--mixed\r\nContent-Type: multipart/alternative; boundary=\"alternative\"\r\n\r\n" +
		"--alternative\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + prose +
		"\r\n--alternative\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<!DOCTYPE html>\r\n<html><body><p>" + prose +
		"</p></body></html>\r\n\r\n--alternative--\r\n\r\n" +
		"--mixed\r\nContent-Type: application/pdf; name=\"invoice.pdf\"\r\nContent-Disposition: attachment; filename=\"invoice.pdf\"\r\n" +
		"Content-Transfer-Encoding: base64\r\n\r\nJVBERi0xLjcK" + strings.Repeat("Zm9v", 16) + "\r\n" + strings.Repeat(strings.Repeat("Zm9v", 19)+"\r\n", 16) +
		"\r\n--mixed--\r\n"
}

// BenchmarkMessage is what one message costs from its client's name to the octets that are handed on, SMTP aside: the
// standard filters on a signed message of 5 kB that passes, with everything that they ask for in the resolver's cache.
func BenchmarkMessage(b *testing.B) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	record, err := dkim.Record(key.Public())
	if err != nil {
		b.Fatal(err)
	}
	server, err := zone.Serve("example SOA ns.example. root.example. 1 3600 600 86400 3600\n" +
		"author.example TXT v=spf1 ip4:192.0.2.10 -all\nauthor.example A 192.0.2.10\n" +
		"10.2.0.192.in-addr.arpa PTR mx.author.example.\nmx.author.example A 192.0.2.10\n" +
		"s._domainkey.author.example TXT " + record + "\n_dmarc.author.example TXT v=DMARC1; p=reject\n")
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	a, err := New(Options{Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard})
	if err != nil {
		b.Fatal(err)
	}
	cfg, err := config.Parse("bench", fmt.Appendf(nil, "%sdns: {servers: [%q]}\n", standard, server.Addr()), a.kinds)
	if err != nil {
		b.Fatal(err)
	}
	from := "ann@author.example"
	o := ScanOptions{IP: "192.0.2.10", Helo: "mx.author.example", From: &from, Rcpt: []string{"bob@postern.invalid"}}
	s, err := a.newScan(cfg, o, true)
	if err != nil {
		b.Fatal(err)
	}
	message := []byte(signedFor(b, benchMessage(), "author.example", key))
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	var out bytes.Buffer
	for b.Loop() {
		out.Reset()
		if err := s.benchOnce(o, message, &out); err != nil {
			b.Fatal(err)
		}
	}
	if got := out.String(); !strings.Contains(got, "dmarc=pass") || !strings.Contains(got, "iprev=pass") || s.verdict.Action != filter.Continue {
		b.Fatal(s.verdict, got)
	}
}

// benchOnce judges one message and writes it as it is handed on.
func (s *scan) benchOnce(o ScanOptions, message []byte, w io.Writer) error {
	s.reports = nil
	if err := s.surround(o); err != nil {
		return err
	}
	content := mail.NewContent(mail.NewBlob(message), mail.LineFaults{}, mail.Limits{HeaderOctets: s.listener.Limits.Header})
	defer content.Release()
	s.run(context.Background(), content)
	edits := pipeline.Stamp(s.verdict, s.input(), s.stampOptions())
	edits = append(edits, edge.Received(s.cfg.Hostname, s.session, s.transaction, s.transaction.Recipients, time.Now()))
	m, err := mail.Rewrite(content, edits, s.verdict.Rebuild)
	if err != nil {
		return err
	}
	defer m.Release()
	_, err = m.WriteTo(w)
	return err
}

// BenchmarkPolicies is what it costs to judge one message for recipients of several policies that differ in their thresholds: by default rules.
func BenchmarkPolicies(b *testing.B) {
	a, err := New(Options{Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard})
	if err != nil {
		b.Fatal(err)
	}
	server, err := zone.Serve("example SOA ns.example. root.example. 1 3600 600 86400 3600\nauthor.example A 192.0.2.10\n")
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	cfg, err := config.Parse("bench", fmt.Appendf(nil, `
hostname: mx.example.org
listeners: {public: {address: ":25"}}
routes:
- {to: [a@example.org], upstream: local, policy: a, spool: true}
- {to: [b@example.org], upstream: local, policy: b, spool: true}
- {to: [example.org], upstream: local, spool: true}
upstreams: {local: {maildir: /nonexistent}}
filters: [rules]
policies: {default: {}, a: {reject: 10}, b: {tag: 3}}
dns: {servers: [%q]}
`, server.Addr()), a.kinds)
	if err != nil {
		b.Fatal(err)
	}
	small := benchMessage()
	prose := "The quick brown fox jumps over the lazy dog, and so on.\r\n"
	large := strings.Replace(small, prose, strings.Repeat(prose, 28), -1)
	for _, c := range []struct {
		name, message string
		to            []string
	}{
		{"5kB/1", small, []string{"a@example.org"}},
		{"5kB/3", small, []string{"a@example.org", "b@example.org", "c@example.org"}},
		{"68kB/1", large, []string{"a@example.org"}},
		{"68kB/3", large, []string{"a@example.org", "b@example.org", "c@example.org"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			from := "ann@author.example"
			o := ScanOptions{IP: "192.0.2.10", Helo: "mx.author.example", From: &from, Rcpt: c.to}
			s, err := a.newScan(cfg, o, false)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(c.message)))
			b.ReportAllocs()
			for b.Loop() {
				s.reports, s.others, s.outcomes = nil, nil, nil
				if err := s.surround(o); err != nil {
					b.Fatal(err)
				}
				content := mail.NewContent(mail.NewBlob([]byte(c.message)), mail.LineFaults{}, mail.Limits{HeaderOctets: s.listener.Limits.Header})
				s.run(b.Context(), content)
				content.Release()
			}
			if len(s.others) != len(c.to)-1 {
				b.Fatalf("%d judgements", len(s.others)+1)
			}
		})
	}
}
