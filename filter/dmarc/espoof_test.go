package dmarc

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/mail"
)

// The corpora of espoofer (Chen, Paxson, Jiang: "Composition Kills") and ESpoofing (Shen et al.: "Weak Links in
// Authentication Chains") stand beside the repository. The attacker has DNS, hosts and a key; what he must not get is
// an aligned pass that a reader could take for another domain's.

// attackZones: the attackers' domains let 203.0.113.66 send, and their key signs; the victims' do not.
func attackZones(t testing.TB, victims ...string) string {
	zones := ""
	for _, d := range []string{"attack.com", "helo.attack.com", "33.attack.com", "a.attack.com", "any.attack.com", "example.com"} {
		zones += d + " TXT v=spf1 ip4:203.0.113.66 -all\n" + d + " MX 10 mx.attack.com\n"
	}
	zones += "mx.attack.com A 203.0.113.66\n_dmarc.attack.com TXT v=DMARC1; p=none\n_dmarc.example.com TXT v=DMARC1; p=none\n" +
		"test._domainkey.attack.com TXT " + testRecord(t) + "\nselector._domainkey.attack.com TXT " + testRecord(t) + "\n"
	for _, d := range victims {
		zones += d + " TXT v=spf1 ip4:192.0.2.1 -all\n" + d + " MX 10 mx.victim.example\n_dmarc." + d + " TXT v=DMARC1; p=reject\n"
	}
	return zones
}

// TestEspoofer: no case passes, but for the one in which an account of a domain writes as that domain's other account,
// which has two From fields and so does not pass either.
func TestEspoofer(t *testing.T) {
	folder := peertest.Shared(t, "suites/smtp/espoofer")
	raw, err := os.ReadFile(filepath.Join(folder, "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		ID, File, Helo string
		MailFrom       string `json:"mail_from"`
		DKIM           *struct {
			D, S       string
			SignHeader string `json:"sign_header"`
		}
	}
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	c := newChain(t, attackZones(t, "legitimate.com"), "")
	ran := 0
	for _, x := range cases {
		t.Run(x.ID, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(folder, x.File))
			if err != nil {
				t.Fatal(err)
			}
			text := strings.ReplaceAll(string(b), "\r\n", "\n")
			if x.DKIM != nil {
				// The attacker signs with a key of his own, and names a selector that C programs read as his.
				field := signature(t, x.DKIM.D, text)
				text = strings.Replace(field, "s=test", "s="+x.DKIM.S, 1) + text
			}
			from, err := mail.ParsePath(x.MailFrom)
			if err != nil {
				t.Logf("the session refuses %s: %v", x.MailFrom, err)
				from = mail.Address{} // what a server that knows no better would do
			}
			v, fact := c.run(t, "203.0.113.66", x.Helo, from, text)
			t.Logf("dmarc=%s (%s), %s", fact.Result, fact.Reason, v.Action)
			if fact.Result == auth.Pass || fact.SPFAligned || fact.DKIMAligned {
				t.Errorf("passes: %+v", fact)
			}
			if strings.HasPrefix(x.ID, "server_") && v.Action == 0 {
				t.Error("and nothing is done about it")
			}
		})
		ran++
	}
	if ran < 12 {
		t.Errorf("only %d cases", ran)
	}
}

// TestESpoofing: each From field of the corpus arrives with the passes that the owner of one of its domains can have. It
// may only pass where there is no other domain to be seen in it.
func TestESpoofing(t *testing.T) {
	folder := peertest.Shared(t, "suites/smtp/espoofing-rules/config")
	raw, err := os.ReadFile(filepath.Join(folder, "fuzz.json"))
	if err != nil {
		t.Fatal(err)
	}
	var corpus struct {
		From []string `json:"mime_from"`
	}
	if err := json.Unmarshal(raw, &corpus); err != nil {
		t.Fatal(err)
	}
	raw, err = os.ReadFile(filepath.Join(folder, "rule.json"))
	if err != nil {
		t.Fatal(err)
	}
	var rule struct{ Domain []string }
	if err := json.Unmarshal(raw, &rule); err != nil {
		t.Fatal(err)
	}
	domains := append(rule.Domain, "attack.com", "a.com", "b.com")
	var records []string
	for _, d := range domains {
		records = append(records, "_dmarc."+d+" v=DMARC1; p=none")
	}
	_, f := build(t, newDNS(records...), "")
	ran, passed := 0, 0
	for i, field := range corpus.From {
		octets := make([]byte, 0, len(field))
		for _, r := range field { // the strings hold octets as code points
			octets = append(octets, byte(r))
		}
		text := strings.TrimSuffix(string(octets), "\r\n") + "\nTo: x@example.org\nSubject: x\n\ntext\n"
		shown := shownIn(string(octets), domains)
		for _, owner := range shown {
			got, err := f.Check(t.Context(), input(t, text, "spf=pass "+owner+" dkim=pass "+owner))
			if err != nil {
				t.Fatal(err)
			}
			ran++
			fact, _ := auth.DMARC.Among(got.Facts)
			if fact.Result != auth.Pass {
				continue
			}
			passed++
			if fact.From != owner || len(shown) > 1 {
				t.Errorf("%d: %q passes for %s, and shows %s", i, field, fact.From, shown)
			}
		}
	}
	t.Logf("%d fields, %d ways to send them, %d of which pass", len(corpus.From), ran, passed)
	if len(corpus.From) < 2000 || passed == 0 {
		t.Error("too few")
	}
}

// shownIn gives those of the domains that stand behind an "@" in a text, also in its encoded words.
func shownIn(text string, domains []string) (shown []string) {
	text = strings.ToLower(text + " " + mail.DecodeWords(text))
	for _, d := range domains {
		for at := text; ; {
			_, rest, ok := strings.Cut(at, "@"+d)
			if !ok {
				break
			}
			if rest == "" || !strings.ContainsAny(rest[:1], "abcdefghijklmnopqrstuvwxyz0123456789-.") {
				shown = append(shown, d)
				break
			}
			at = rest
		}
	}
	return shown
}

// TestESpoofingRules: the attacks that the tool's configuration names, in their own form.
func TestESpoofingRules(t *testing.T) {
	zones := attackZones(t, "mail.spoofing.com", "spoofing.com", "gm", "ail.com")
	c := newChain(t, zones, "")
	for name, x := range map[string]struct{ from, helo, header string }{
		"A2.2 other domain":            {"x@attack.com", "attack.com", "From: Alice@mail.spoofing.com"},
		"A3 empty reverse-path":        {"", "attack.com", "From: x@spoofing.com"},
		"A4 two fields":                {"x@attack.com", "attack.com", "From: admin@mail.spoofing.com\nFrom: x@attack.com"},
		"A5 two mailboxes":             {"x@attack.com", "attack.com", "From: <alice@mail.spoofing.com>, <Oscar@attack.com>"},
		"A6 octet":                     {"x@attack.com", "attack.com", "From: <Alice@mail.spoofing.com\xffattack.com>"},
		"A7 encoded words":             {"x@attack.com", "attack.com", "From: <=?utf-8?b?QWxpY2VAc3Bvb2ZpbmcuY29t?==?utf-8?b?/w==?=@attack.com>"},
		"A8 subdomain":                 {"x@attack.com", "attack.com", "From: <admin@mail.spoofing.com>"},
		"A13 two @":                    {"x@attack.com", "attack.com", "From: <Alice@gm@ail.com>"},
		"A14.1 right to left":          {"x@attack.com", "attack.com", "From: \u202emoc.qq@\u202d@attack.com"},
		"A14.2 right to left":          {"x@attack.com", "attack.com", "From: test@\u202eattack.com\u202d"},
		"null reverse-path and a name": {"", "attack.com", "From: =?utf-8?b?eEBzcG9vZmluZy5jb20=?="},
	} {
		t.Run(name, func(t *testing.T) {
			var from mail.Address
			if x.from != "" {
				var err error
				if from, err = mail.ParseAddress(x.from); err != nil {
					t.Fatal(err)
				}
			}
			text := x.header + "\nTo: y@example.org\nSubject: x\n\ntext\n"
			v, fact := c.run(t, "203.0.113.66", x.helo, from, signature(t, "attack.com", text)+text)
			if fact.Result == auth.Pass {
				t.Errorf("passes: %+v", fact)
			}
			t.Logf("dmarc=%s, %s: %s", fact.Result, v.Action, v.Because)
		})
	}
}
