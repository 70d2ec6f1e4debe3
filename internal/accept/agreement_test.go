//go:build accept

package accept

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/internal/peertest/agreement"
	sa "github.com/postern-mail/postern/internal/peertest/spamassassin"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules"
	"github.com/postern-mail/postern/rules/eval"
	"github.com/postern-mail/postern/rules/text"
)

var updateAgreement = flag.Bool("update-agreement", false, "write what was measured into docs/spamassassin-agreement.md")

// TestAgreementWithSpamAssassin has SpamAssassin and our engine, with the same stock rules, look at all messages of the suites.
func TestAgreementWithSpamAssassin(t *testing.T) {
	messages := sa.Corpus(t)
	verdicts := sa.Verdicts(t, messages)
	set, _ := agreement.Stock(t)
	r := agreement.Compare(t, set, messages, verdicts)
	details := filepath.Join(peertest.Module(t), ".cache", "spamassassin", "differences.txt")
	if err := os.WriteFile(details, []byte(r.Details()), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d messages, ours took %v; differences are in %s\n%s", r.Messages, r.Ours, details, r.Summary())
	if got := 100 * r.Sum(false).Agreement(); got < 99.5 {
		t.Errorf("%.3f %% of the hits agree", got)
	}
	if got := 100 * float64(r.SameScore) / float64(r.Messages); got < 98 {
		t.Errorf("%.2f %% of the scores agree", got)
	}
	if got := 100 * float64(r.SameWord) / float64(r.Messages); got < 99.9 {
		t.Errorf("%.3f %% of the verdicts agree", got)
	}
	if *updateAgreement {
		page := filepath.Join(peertest.Module(t), "docs", "spamassassin-agreement.md")
		text := fmt.Sprintf(agreementPage, r.Messages, r.Summary(), r.Table())
		if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

const agreementPage = `# Agreement with SpamAssassin

Debian's SpamAssassin 4.0.1 and Postern's engine looked at the same %d messages with the same stock rules: no network, no Bayes, nobody's
preferences. How it is measured, and what departs knowingly, stands in [ADR 38](adr/0038-agreement-is-measured.md). This page is
written by

    POSTERN_PEERS=required POSTERN_SHARED=required go test -tags accept -run TestAgreementWithSpamAssassin ./internal/accept -update-agreement

%s
## Rules

Rules that no message hits on either side are left out; TestPatternsAgreeWithSpamAssassin tries them with texts made from their patterns,
TestMadeMessagesAgreeWithSpamAssassin with messages around such texts. Names that begin with two underscores serve other rules and have no
score.

%s`

// TestPatternsAgreeWithSpamAssassin tries all patterns, those of rules that no message of the suites hits too, with texts made
// from them: how often each side's compiled pattern matches.
func TestPatternsAgreeWithSpamAssassin(t *testing.T) {
	set, _ := agreement.Stock(t)
	judge := sa.Start(t)
	known, err := judge.Rules()
	if err != nil {
		t.Fatal(err)
	}
	var asked []sa.Match
	var ours []int
	patterns := 0
	for _, r := range set.Rules() {
		if len(known[r.Name].Pattern) == 0 {
			continue
		}
		texts := agreement.Texts(set, r)
		if len(texts) > 0 {
			patterns++
		}
		for _, text := range texts {
			n, err := set.Pattern(r).Count(text, 1000)
			if err != nil {
				t.Errorf("%s: %v", r.Name, err)
				continue
			}
			asked, ours = append(asked, sa.Match{Rule: r.Name, Text: text}), append(ours, n)
		}
	}
	theirs, err := judge.Matches(asked)
	if err != nil {
		t.Fatal(err)
	}
	hits, differ := 0, 0
	for i, a := range asked {
		if ours[i] > 0 {
			hits++
		}
		if theirs[i] != ours[i] {
			if differ++; differ <= 20 {
				t.Errorf("%s matches %.200q %d times, for SpamAssassin %d times", a.Rule, a.Text, ours[i], theirs[i])
			}
		}
	}
	t.Logf("%d texts for %d patterns, %d of them match, %d are judged in another way", len(asked), patterns, hits, differ)
}

// TestMadeMessagesAgreeWithSpamAssassin has both sides look at messages that are made around texts which match.
func TestMadeMessagesAgreeWithSpamAssassin(t *testing.T) {
	set, _ := agreement.Stock(t)
	var messages []sa.Message
	for _, r := range set.Rules() {
		if m, ok := agreement.Made(set, r); ok && set.Active(r) {
			messages = append(messages, m)
		}
	}
	r := agreement.Compare(t, set, messages, sa.Verdicts(t, messages))
	t.Logf("%d messages\n%s", r.Messages, r.Summary())
	if got := 100 * r.Sum(false).Agreement(); got < 99.5 {
		t.Errorf("%.3f %% of the hits agree\n%s", got, r.Details())
	}
}

// linkConditions are of rules "uri_detail"; linkMessages, what they look at.
var (
	linkConditions = []string{
		`raw =~ /%2E/i`, `raw !~ /^https?:/`, `cleaned =~ /^http:..www\.shown\.com/`, `cleaned !~ /^https?:/`, `text =~ /click/i`, `text !~ /click/`,
		`text =~ /https?:/ cleaned !~ /https:/`, `type =~ /^a$/`, `type =~ /^img$/`, `type =~ /^parsed$/`, `type !~ /^a$/`, `type =~ /^schemeless$/`,
		`host =~ /^www\./`, `host !~ /^www\./`, `domain =~ /^shown\.com$/`, `domain !~ /^shown\.com$/ type =~ /^a$/`, `text =~ /<img>/`,
		`raw =~ m!://[^/]*/a! domain =~ /\.org$/`, `raw =~ /other/ raw =~ /shown/`, `text =~ /^\s*$/`, `type =~ /^domainkeys$/`, `raw =~ /^mailto:/ host =~ /./`,
	}
	linkMessages = []string{
		"\nplain http://www.shown.com/a and www.other.org/b, or mail bob@third.net\n",
		"Content-Type: text/html\n\n<a href=\"http://www.shown%2Ecom/a\">Click <b>here</b></a> <a href='https://other.org/a'>http://www.shown.com/</a>\n",
		"Content-Type: text/html\n\n<a href=\"https://other.org/a\"><img src=\"http://pixel.shown.com/1.gif\"></a> <a href=\"mailto:bob@third.net\">write</a>\n",
		"Content-Type: text/html\n\n<a href=\"http://www.shown.com/a\">click</a><a href=\"http://www.shown.com/a\">other</a> <form action=\"/x\"><a href=\"\"> </a>\n",
		"Content-Type: text/html\n\n<base href=\"http://other.org/\"><a href=\"a/b\">click https://x</a> <a href=\"http://198.51.100.9/\"> </a>\n",
		"DKIM-Signature: v=1; a=rsa-sha256; d=signed.shown.com; s=x; h=from; bh=x; b=x\n\nnothing\n",
		"\nno link at all\n",
	}
)

// TestLinkDetailsAgreeWithSpamAssassin has both sides look at messages with rules about details of links.
func TestLinkDetailsAgreeWithSpamAssassin(t *testing.T) {
	var lines []string
	for i, c := range linkConditions {
		lines = append(lines, fmt.Sprintf("uri_detail LINK_%d %s", i, c))
	}
	judge := sa.Start(t, lines...)
	set, _, err := rules.Load([]rules.Source{{Name: "links.cf", Octets: []byte(strings.Join(lines, "\n"))}}, rules.Options{})
	if err != nil || len(set.Rules()) != len(lines) {
		t.Fatalf("%d rules of %d, %v", len(set.Rules()), len(lines), err)
	}
	hits := 0
	for _, m := range linkMessages {
		m = "From: ann@client.test\nSubject: x\nMIME-Version: 1.0\n" + m
		theirs, err := judge.Judge([]byte(m))
		if err != nil {
			t.Fatal(err)
		}
		c := mail.NewContent(mail.NewBlob([]byte(strings.ReplaceAll(m, "\n", "\r\n"))), mail.LineFaults{}, mail.Limits{})
		found, err := set.Run(t.Context(), &eval.Mail{Text: text.Of(c, text.Options{})})
		if err != nil {
			t.Fatal(err)
		}
		ours := map[string]bool{}
		for i := range found.Hits {
			ours[found.Hits[i].Rule.Name] = true
			hits++
		}
		for i, l := range lines {
			if name := fmt.Sprintf("LINK_%d", i); ours[name] != (theirs.Hits[name] > 0) {
				t.Errorf("%s in %q: %v, for SpamAssassin %v", l, m, ours[name], !ours[name])
			}
		}
		c.Release()
	}
	t.Logf("%d rules, %d messages, %d hits", len(lines), len(linkMessages), hits)
}

// TestNetworksAgreeWithSpamAssassin has both sides part the hosts that messages have passed, by networks that lines name.
func TestNetworksAgreeWithSpamAssassin(t *testing.T) {
	lines := []string{
		"trusted_networks 203.0.113.1", "clear_trusted_networks", "trusted_networks !10.0.1.5 10.0.1/24 192.0.2.",
		"trusted_networks 2001:db8:1::1 !2001:db8:1::/64 2001:db8::/32 198.51.100.0/255.255.255.128", "internal_networks 10.0.1. 2001:db8::/32",
		"msa_networks 192.0.2.9",
	}
	judge := sa.Start(t, lines...)
	set, problems, err := rules.Load([]rules.Source{{Name: "networks.cf", Octets: []byte(strings.Join(lines, "\n"))}}, rules.Options{})
	if err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	selectors := []string{"X-Spam-Relays-Trusted", "X-Spam-Relays-Untrusted", "X-Spam-Relays-Internal", "X-Spam-Relays-External"}
	for _, chain := range []string{
		"10.0.1.4 192.0.2.7 203.0.113.1", "10.0.1.5 10.0.1.4", "10.0.1.4 10.0.1.5", "10.0.1.4 10.0.2.1", "127.0.0.1 10.0.1.4 127.0.0.1 192.0.2.9 203.0.113.1",
		"192.0.2.9 203.0.113.1 203.0.113.2", "198.51.100.127 198.51.100.128", "2001:db8:1::1 2001:db8:1::2", "2001:db8:2::1 2001:db9::1", "203.0.113.1 10.0.1.4",
	} {
		m := ""
		for i, a := range strings.Fields(chain) {
			if strings.Contains(a, ":") {
				a = "IPv6:" + a
			}
			m += fmt.Sprintf("Received: from h%d.example (h%d.example [%s])\n\tby mx%d.example (Postfix) with ESMTP id %d;\n\tThu, 26 Nov 2026 12:00:00 +0000\n", i, i, a, i, i)
		}
		m += "From: ann@client.test\nSubject: x\n\nx\n"
		theirs, err := judge.Show([]byte(m), selectors...)
		if err != nil {
			t.Fatal(err)
		}
		c := mail.NewContent(mail.NewBlob([]byte(strings.ReplaceAll(m, "\n", "\r\n"))), mail.LineFaults{}, mail.Limits{})
		message := text.Of(c, set.Texts())
		for _, name := range selectors {
			selector, err := text.ParseSelector(name)
			if err != nil {
				t.Fatal(err)
			}
			var want []byte
			if b := theirs.Get[name]; b != nil {
				want = bytes.TrimSpace(*b)
			}
			if got, _ := message.Header(selector); !bytes.Equal(bytes.TrimSpace(got), want) {
				t.Errorf("%s: %s is %q, for SpamAssassin %q", chain, name, got, want)
			}
		}
		c.Release()
	}
}
