package eval

import (
	"fmt"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
)

// atHome reports whether a message is at home, with where its mailer is or not.
func atHome(t *testing.T, m *Mail, args ...string) bool {
	t.Helper()
	check, err := Functions()["postern_at_home"].Compile(posternSettings(t), args)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := check(m)
	return n > 0
}

// TestAtHome: only who is proven is at home, and where links and replies lead.
func TestAtHome(t *testing.T) {
	spf := func(domain string) filter.Fact {
		return auth.SPF.Of(auth.SPFResult{Result: auth.Pass, Domain: domain, Identity: "mailfrom", Mechanism: "mx"})
	}
	author := auth.DKIM.Of([]auth.DKIMResult{{Result: auth.Pass, Domain: "a.com", KeyBits: 2048}})
	for name, c := range map[string]struct {
		fields       string
		hosts        []string
		facts        []filter.Fact
		home, mailer bool
	}{
		"not proven":                     {"", []string{"a.com"}, []filter.Fact{spf("m.com")}, false, false},
		"no links":                       {"", nil, []filter.Fact{spf("a.com")}, true, true},
		"links home":                     {"", []string{"a.com", "www.a.com"}, []filter.Fact{author}, true, true},
		"a link elsewhere":               {"", []string{"a.com", "b.com"}, []filter.Fact{author}, false, false},
		"a link to the mailer":           {"", []string{"a.com", "c.m.com"}, []filter.Fact{author, spf("m.com")}, false, true},
		"a link to a mailer, not proven": {"", []string{"a.com", "c.m.com"}, []filter.Fact{author}, false, false},
		"a host by its number":           {"", []string{"192.0.2.9"}, []filter.Fact{author}, false, false},
		"letters to draw with":           {"", []string{"fonts.googleapis.com", "www.gstatic.com"}, []filter.Fact{author}, true, true},
		"a store of files":               {"", []string{"storage.googleapis.com"}, []filter.Fact{author}, false, false},
		"a script of anybody's":          {"", []string{"script.googleapis.com"}, []filter.Fact{author}, false, false},
		"pictures of anybody's":          {"", []string{"encrypted-tbn0.gstatic.com"}, []filter.Fact{author}, false, false},
		"replies home":                   {"\nReply-To: y@mail.a.com", []string{"a.com"}, []filter.Fact{author}, true, true},
		"replies elsewhere":              {"\nReply-To: y@b.com", []string{"a.com"}, []filter.Fact{author}, false, false},
		"replies elsewhere, too":         {"\nReply-To: y@a.com, z@b.com", nil, []filter.Fact{author}, false, false},
		"a second field for replies":     {"\nReply-To: y@a.com\nReply-To: z@b.com", nil, []filter.Fact{author}, false, false},
		"a field for replies of mutt":    {"\nMail-Followup-To: z@b.com", nil, []filter.Fact{author}, false, false},
		"replies to nobody":              {"\nReply-To: somebody", nil, []filter.Fact{author}, false, false},
		"a second author":                {", z@b.com", nil, []filter.Fact{author}, false, false},
		"a second field of authors":      {"\nFrom: z@b.com", nil, []filter.Fact{author}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := linkedFrom(t, "x@a.com"+c.fields, c.hosts, c.facts...)
			if at := atHome(t, m); at != c.home {
				t.Errorf("at home: %v", at)
			}
			if at := atHome(t, m, "mailer"); at != c.mailer {
				t.Errorf("at home or the mailer's: %v", at)
			}
		})
	}
}

// TestLettersAtHome: addresses lead elsewhere, too, but for those of the recipients.
func TestLettersAtHome(t *testing.T) {
	for text, home := range map[string]bool{
		"write to desk@a.com":                                     true,
		"write to desk@help.a.com":                                true,
		"write to desk@b.com":                                     false,
		"your mailbox joe@c.com is full":                          true,
		"your mailbox ann@c.com is full":                          false,
		`<a href="mailto:desk@a.com">x</a>`:                       true,
		`<a href="mailto:desk@b.com">x</a>`:                       false,
		`<a href="MAILTO:desk%40b.com">x</a>`:                     false,
		`<a href="mailto:desk@a.com?cc=desk@b.com">x</a>`:         false,
		`<a href="mailto:desk@a.com,desk@b.com">x</a>`:            false,
		`<a href="mailto:?subject=Look">x</a>`:                    true,
		`<a href="mailto:desk">x</a>`:                             false,
		`<a href="mailto:desk@a.com?subject=me@@b.com">x</a>`:     false,
		`<a href="mailto:desk%ZZ@a.com">x</a>`:                    false,
		`<a href="tel:+49341123">x</a> <a href="#top">x</a>`:      true,
		`<a href="javascript:x()">x</a>`:                          false,
		`<a href="//b.com/x">x</a>`:                               false,
		`<base href="https://b.com/"><a href="/x">x</a>`:          false,
		`<a href="https://my_host.b.com/x">x</a>`:                 false,
		`<a href="https://a.com/x"><img src="http://b.com/"></a>`: true,
	} {
		m := posternMail(t, "From: x@a.com\nContent-Type: text/html\n\n<p>"+text+"</p>\n")
		joe, err := mail.ParseAddress("joe@c.com")
		if err != nil {
			t.Fatal(err)
		}
		m.In = &filter.Input{Session: &filter.Session{}, Transaction: &filter.Transaction{Recipients: []mail.Address{joe}}, Content: m.Text.Content()}
		m.In.Transaction.Record(auth.DKIM.Of([]auth.DKIMResult{{Result: auth.Pass, Domain: "a.com", KeyBits: 2048}}))
		if at := atHome(t, m); at != home {
			t.Errorf("%s: at home: %v", text, at)
		}
	}
}

// TestLinksWithoutEndAreNotAtHome: where links are left out, nobody knows where they lead.
func TestLinksWithoutEndAreNotAtHome(t *testing.T) {
	author := auth.DKIM.Of([]auth.DKIMResult{{Result: auth.Pass, Domain: "a.com", KeyBits: 2048}})
	for n, home := range map[int]bool{900: true, 1100: false, 7000: false} {
		var hosts []string
		for i := range n {
			hosts = append(hosts, fmt.Sprintf("h%d.a.com", i))
		}
		if at := atHome(t, linkedFrom(t, "x@a.com", hosts, author)); at != home {
			t.Errorf("%d links: at home: %v", n, at)
		}
	}
	long := linkedFrom(t, "x@a.com\nSubject: x", []string{"a.com/" + strings.Repeat("a ", 4<<20)}, author)
	if atHome(t, long) {
		t.Error("a text that is not read to its end is at home")
	}
}
