package rules

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/eval"
	"github.com/postern-mail/postern/rules/text"
)

// fakeDNS has addresses of names, texts under "TXT name", mail servers under "MX name"; SERVFAIL and SILENT are faults.
type fakeDNS struct {
	names map[string]string
	mu    sync.Mutex
	asked []string
}

func (f *fakeDNS) find(ctx context.Context, name string) ([]string, error) {
	f.mu.Lock()
	f.asked = append(f.asked, name)
	f.mu.Unlock()
	value, ok := f.names[name]
	switch {
	case !ok:
		return nil, &net.DNSError{Name: name, Err: "no such name", IsNotFound: true}
	case value == "SERVFAIL":
		return nil, &net.DNSError{Name: name, Err: "servfail", IsTemporary: true}
	case value == "SILENT":
		<-ctx.Done()
		return nil, &net.DNSError{Name: name, Err: "no answer", IsTimeout: true}
	}
	return strings.Fields(value), nil
}

func (f *fakeDNS) LookupTXT(ctx context.Context, name string) ([]string, error) {
	all, err := f.find(ctx, "TXT "+name)
	if err != nil {
		return nil, err
	}
	return []string{strings.Join(all, " ")}, nil
}

func (f *fakeDNS) LookupMX(ctx context.Context, name string) (all []*net.MX, err error) {
	hosts, err := f.find(ctx, "MX "+name)
	for _, h := range hosts {
		all = append(all, &net.MX{Host: h})
	}
	return all, err
}

func (f *fakeDNS) LookupIPAddr(ctx context.Context, name string) (all []net.IPAddr, err error) {
	addrs, err := f.find(ctx, name)
	for _, a := range addrs {
		if a == "FAIL" {
			err = &net.DNSError{Name: name, Err: "servfail", IsTemporary: true}
			continue
		}
		all = append(all, net.IPAddr{IP: net.ParseIP(a)})
	}
	return all, err
}

func (f *fakeDNS) LookupAddr(context.Context, string) ([]string, error) { panic("not asked for") }

const asked = `From: Bob <bob@author.com>
Subject: x
Content-Type: text/html

<a href="http://www.link.com/x">click</a> <a href="http://198.51.100.9/">here</a> <img src="http://img.pixel.com/">
<a href="http://www.skipped.com/">x</a>
`

// hitsWith gives the rules that hit, with the message handed over by 203.0.113.7, which had it from 203.0.113.8.
func hitsWith(t *testing.T, lines string, dns filter.Resolver) (names []string) {
	t.Helper()
	res := resultWith(t, lines, dns)
	for i := range res.Hits {
		names = append(names, res.Hits[i].Rule.Name)
	}
	return names
}

func resultWith(t *testing.T, lines string, dns filter.Resolver) Result {
	t.Helper()
	_, res := setResultWith(t, lines, dns)
	return res
}

func setResultWith(t *testing.T, lines string, dns filter.Resolver) (*Set, Result) {
	t.Helper()
	s, problems, err := Load([]Source{{Name: "t.cf", Octets: []byte(lines)}}, Options{Network: true})
	if err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	received := "Received: from b.example (b.example [203.0.113.8])\r\n\tby a.example (Postfix) with ESMTP id 1;\r\n\tThu, 26 Nov 2026 12:00:00 +0000\r\n"
	c := mail.NewContent(mail.NewBlob([]byte(received+strings.ReplaceAll(asked, "\n", "\r\n"))), mail.LineFaults{}, mail.Limits{})
	defer c.Release()
	from, err := mail.ParseAddress("x@Envelope.com")
	if err != nil {
		t.Fatal(err)
	}
	o := text.Options{HasEnvelope: true, From: from, Client: text.Client{
		Addr: netip.MustParseAddr("203.0.113.7"), Helo: "helo.example", By: "mx.example.org", ID: "1", ESMTP: true,
	}}
	in := &filter.Input{Transaction: &filter.Transaction{}, Content: c}
	in.Transaction.Record(auth.DKIM.Of([]auth.DKIMResult{{Result: auth.Pass, Domain: "signed.com"}, {Result: auth.Fail, Domain: "broken.com"}}))
	res, err := s.Run(t.Context(), &eval.Mail{Text: text.Of(c, o), In: in, DNS: dns})
	if err != nil {
		t.Fatal(err)
	}
	return s, res
}

// TestUnanswered: a rule that counts, has not hit, and of which a question has failed, is told; none is where all is known.
func TestUnanswered(t *testing.T) {
	const rbl = "header A eval:check_rbl('s-lastexternal', 'bl.example.')\n"
	const listed, other = "7.113.0.203.bl.example=", "8.113.0.203.bl.example="
	const hosts = "uridnsbl A sbl.example. A\nbody A eval:check_uridnsbl('A')\ntflags A net a\n"
	for _, c := range []struct{ name, lines, dns, want string }{
		{"no such name", rbl, "", ""},
		{"a hit", rbl, listed + "127.0.0.2", ""},
		{"a fault", rbl, listed + "SERVFAIL", "A"},
		{"another code", rbl + "header B eval:check_rbl_sub('s-lastexternal', '127.0.0.3')\n", listed + "127.0.0.2", ""},
		{"a fault, for two", rbl + "header B eval:check_rbl_sub('s-lastexternal', '127.0.0.3')\n", listed + "SERVFAIL", "A B"},
		{"a list that does not answer us", rbl, listed + "127.255.255.254", "A"},
		{"a fault beside a hit", "header A eval:check_rbl('s', 'bl.example.')\n", listed + "127.0.0.2;" + other + "SERVFAIL", ""},
		{"a fault beside no hit", "header A eval:check_rbl('s', 'bl.example.')\n", other + "SERVFAIL", "A"},
		{"one that does not count", rbl + "score A 0\n", listed + "SERVFAIL", ""},
		{"one that serves none", strings.ReplaceAll(rbl, " A ", " __A "), listed + "SERVFAIL", ""},
		{"one that serves another", strings.ReplaceAll(rbl, " A ", " __A ") + "meta M __A && __A\n", listed + "SERVFAIL", "__A"},
		{"one of both families", rbl, listed + "127.0.0.2 FAIL", ""},
		{"a host in links", hosts, "www.link.com=SERVFAIL", "A"},
		{"a host in links that is not there", hosts, "", ""},
		{"a sender", "header A eval:check_dns_sender()\n", "envelope.com=SERVFAIL", "A"},
		{"a sender who is there", "header A eval:check_dns_sender()\n", "envelope.com=SERVFAIL;MX envelope.com=a.example", ""},
	} {
		f := &fakeDNS{names: map[string]string{}}
		for _, pair := range strings.Split(c.dns, ";") {
			name, value, _ := strings.Cut(pair, "=")
			f.names[name] = value
		}
		var got []string
		for _, r := range resultWith(t, c.lines, f).Unanswered {
			got = append(got, r.Name)
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: %q, not %q", c.name, s, c.want)
		}
	}
}

// TestUnansweredTeaches: what rules teach lies between what it would be whichever way a list had answered.
func TestUnansweredTeaches(t *testing.T) {
	const list = "header LIST eval:check_rbl('s-lastexternal', 'bl.example.')\nscore LIST 2\n"
	const friend = "header FRIEND eval:check_rbl('t-lastexternal', 'wl.example.')\nscore FRIEND -5\ntflags FRIEND nice\n"
	const body = "body B /click/\nscore B 3\n"
	const dead = "7.113.0.203.bl.example=SERVFAIL;7.113.0.203.wl.example=SERVFAIL"
	sum := func(points, body float64) auth.Tally { return auth.Tally{Points: points, Body: body, Score: points} }
	for _, c := range []struct {
		name, lines, dns string
		least, most      auth.Tally
		force            bool
	}{
		{"all answer", list + friend + body, "7.113.0.203.bl.example=127.0.0.2", sum(5, 3), sum(5, 3), false},
		{"a list", list + body, dead, sum(3, 3), sum(5, 3), false},
		{"one that speaks for a message", friend + body, dead, sum(-2, 3), sum(3, 3), false},
		{"both", list + friend + body, dead, sum(-2, 3), sum(5, 3), false},
		{"a meta that hangs on it", strings.ReplaceAll(list, "LIST", "__LIST") + body + "meta M __LIST && B\nscore M 4\n", dead, sum(3, 3), sum(7, 7), false},
		{"a meta that it would undo", strings.ReplaceAll(list, "LIST", "__LIST") + body + "meta M B && !__LIST\nscore M 4\ntflags M autolearn_force\n", dead, sum(3, 3), sum(7, 7), false},
		{"one that says it of the body", list + "tflags LIST autolearn_body\n" + body, dead, sum(3, 3), sum(5, 5), false},
		{"one that is not to teach", list + "tflags LIST noautolearn\n" + body, dead, sum(3, 3), auth.Tally{Points: 3, Body: 3, Score: 5}, false},
		{"one that is safe if it hits", list + "tflags LIST autolearn_force\n" + body, dead, sum(3, 3), sum(5, 3), false},
		{"beside one that is safe", list + body + "tflags B autolearn_force\n", dead, sum(3, 3), sum(5, 3), true},
	} {
		f := &fakeDNS{names: map[string]string{}}
		for _, pair := range strings.Split(c.dns, ";") {
			name, value, _ := strings.Cut(pair, "=")
			f.names[name] = value
		}
		s, r := setResultWith(t, c.lines, f)
		if got, want := s.Teaching(&r), (auth.Teaching{Least: c.least, Most: c.most, Force: c.force}); got != want {
			t.Errorf("%s: %+v, not %+v", c.name, got, want)
		}
	}
}

func TestNetworkRules(t *testing.T) {
	const rbl = "header A eval:check_rbl('s', 'bl.example.')\nheader B eval:check_rbl_sub('s', '%')\n"
	for _, c := range []struct{ name, lines, dns, want string }{
		{"not listed", rbl, "", ""},
		{"listed", rbl, "7.113.0.203.bl.example=127.0.0.2", "A"},
		{"an older hop", rbl, "8.113.0.203.bl.example=127.0.0.2", "A"},
		{"an older hop is not the last", "header A eval:check_rbl('s-lastexternal', 'bl.example')", "8.113.0.203.bl.example=127.0.0.2", ""},
		{"the last", "header A eval:check_rbl('s-lastexternal', 'bl.example')", "7.113.0.203.bl.example=127.0.0.2", "A"},
		{"not the first hop", "header A eval:check_rbl('s-notfirsthop', 'bl.example')", "8.113.0.203.bl.example=127.0.0.2", ""},
		{"a sub by address", strings.Replace(rbl, "%", "127.0.0.3", 1), "7.113.0.203.bl.example=127.0.0.3", "A B"},
		{"a sub by another address", strings.Replace(rbl, "%", "127.0.0.3", 1), "7.113.0.203.bl.example=127.0.0.2", "A"},
		{"a sub by bits", strings.Replace(rbl, "%", "4", 1), "7.113.0.203.bl.example=127.0.0.6", "A B"},
		{"a sub by a pattern", strings.Replace(rbl, "%", `^127\.0\.0\.[5-9]$`, 1), "7.113.0.203.bl.example=127.0.0.6", "A B"},
		{"of another set", "header A eval:check_rbl('s', 'bl.example')\nheader B eval:check_rbl_sub('r', '127.0.0.2')", "7.113.0.203.bl.example=127.0.0.2", "A"},
		{"an error code", strings.Replace(rbl, "%", "2", 1), "7.113.0.203.bl.example=127.255.255.254", ""},
		{"an error code that is asked for", strings.Replace(rbl, "%", "127.255.255.254", 1), "7.113.0.203.bl.example=127.255.255.254", "B"},
		{"an error code, a pattern of any answer", strings.Replace(rbl, "%", `^127\.`, 1), "7.113.0.203.bl.example=127.255.255.254", ""},
		{"an error code, a pattern that names it", strings.Replace(rbl, "%", `^127\.255\.255\.`, 1), "7.113.0.203.bl.example=127.255.255.254", "B"},
		{"an error code, a wide range", "urirhssub A u.example. A 127.0.0.0-127.255.255.255\nbody A eval:check_uridnsbl('A')", "link.com.u.example=127.255.255.252", ""},
		{"an error code, a range of such", "urirhssub A u.example. A 127.255.255.250-127.255.255.255\nbody A eval:check_uridnsbl('A')", "link.com.u.example=127.255.255.252", "A"},
		{"an error code, under a wide mask", "urirhssub A u.example. A 127.255.255.0/0xff000000\nbody A eval:check_uridnsbl('A')", "link.com.u.example=127.255.255.252", ""},
		{"an error code, under a mask of such", "urirhssub A u.example. A 127.255.255.0/255.255.255.0\nbody A eval:check_uridnsbl('A')", "link.com.u.example=127.255.255.252", "A"},
		{"an error code, an address", "uridnssub A u.example. A 127.255.255.255\nbody A eval:check_uridnsbl('A')\ntflags A net a", "www.link.com=198.51.100.7; 7.100.51.198.u.example=127.255.255.255", "A"},
		{"an error code, a question", `askdns A _AUTHORDOMAIN_.l.example A /./`, "author.com.l.example=127.255.255.254", ""},
		{"an error code, a question that names it", `askdns A _AUTHORDOMAIN_.l.example A /^127\.255\./`, "author.com.l.example=127.255.255.254", "A"},
		{"a resolver that lies", rbl, "7.113.0.203.bl.example=198.51.100.80", ""},
		{"a failure", rbl, "7.113.0.203.bl.example=SERVFAIL", ""},
		{"texts", "header A eval:check_rbl_txt('s', 'bl.example', '(?i:BAD)')", "TXT 7.113.0.203.bl.example=is bad", "A"},
		{"the envelope's sender", "header A eval:check_rbl_envfrom('s', 'bl.example')", "envelope.com.bl.example=127.0.0.2", "A"},
		{"the author", "header A eval:check_rbl_from_host('s', 'bl.example')", "author.com.bl.example=127.0.0.2", "A"},
		{"no such sender", "header A eval:check_dns_sender()", "", "A"},
		{"a sender", "header A eval:check_dns_sender()", "MX envelope.com=mx.envelope.com", ""},
		{"a sender of whom nothing is known", "header A eval:check_dns_sender()", "envelope.com=SERVFAIL", ""},
		{"a link", "urirhssub A u.example. A 2\nbody A eval:check_uridnsbl('A')", "link.com.u.example=127.0.0.2", "A"},
		{"a link, other bits", "urirhssub A u.example. A 2\nbody A eval:check_uridnsbl('A')", "link.com.u.example=127.0.0.4", ""},
		{"a link, a range", "urirhssub A u.example. A 127.0.0.4-127.0.0.9\nbody A eval:check_uridnsbl('A')", "pixel.com.u.example=127.0.0.5", "A"},
		{"a link, under a mask", "urirhssub A u.example. A 0x8/0xf\nbody A eval:check_uridnsbl('A')", "pixel.com.u.example=127.0.0.8", "A"},
		{"a link, any answer", "urirhsbl A u.example. A\nbody A eval:check_uridnsbl('A')", "link.com.u.example=127.0.0.9", "A"},
		{"a link that is an address", "urirhsbl A u.example. A\nbody A eval:check_uridnsbl('A')", "9.100.51.198.u.example=127.0.0.9", "A"},
		{"names alone", "urirhsbl A u.example. A\nbody A eval:check_uridnsbl('A')\ntflags A net domains_only", "9.100.51.198.u.example=127.0.0.9", ""},
		{"the whole host", "urirhsbl A u.example. A\nbody A eval:check_uridnsbl('A')\ntflags A net notrim", "www.link.com.u.example=127.0.0.9", "A"},
		{"a link that is skipped", "urirhsbl A u.example. A\nbody A eval:check_uridnsbl('A')\nuridnsbl_skip_domain skipped.com", "skipped.com.u.example=127.0.0.9", ""},
		{"a link that is skipped no more", "urirhsbl A u.example. A\nbody A eval:check_uridnsbl('A')\nuridnsbl_skip_domain skipped.com a.com\nclear_uridnsbl_skip_domain Skipped.com", "skipped.com.u.example=127.0.0.9", "A"},
		{"no link is skipped any more", "urirhsbl A u.example. A\nbody A eval:check_uridnsbl('A')\nuridnsbl_skip_domain skipped.com a.com\nclear_uridnsbl_skip_domain", "skipped.com.u.example=127.0.0.9", "A"},
		{"the address of a link", "uridnssub A u.example. A 127.0.0.2\nbody A eval:check_uridnsbl('A')\ntflags A net a", "www.link.com=198.51.100.7; 7.100.51.198.u.example=127.0.0.2", "A"},
		{"the address of a link that is one", "uridnssub A u.example. A 127.0.0.2\nbody A eval:check_uridnsbl('A')\ntflags A net a", "9.100.51.198.u.example=127.0.0.2", "A"},
		{"an answer, and a failure of the other family", rbl, "7.113.0.203.bl.example=127.0.0.2 FAIL", "A"},
		{"a question about the author", `askdns A _AUTHORDOMAIN_.new.example. A /^127\.2\.0\.2$/`, "author.com.new.example=127.2.0.2", "A"},
		{"about who signed", `askdns A _DKIMDOMAIN_.l.example A /^127\./` + "\nmeta B A", "signed.com.l.example=127.0.3.5", "A B"},
		{"not about whose signature fails", `askdns A _DKIMDOMAIN_.l.example A /^127\./`, "broken.com.l.example=127.0.3.5", ""},
		{"about the name in HELO", `askdns A _LASTEXTERNALHELO_ A /./`, "helo.example=192.0.2.1", "A"},
		{"about a text", `askdns A _SENDERDOMAIN_ TXT /^v=spf1 \+all$/`, "TXT envelope.com=v=spf1 +all", "A"},
		{"a meta", rbl + "meta C A && !B", "7.113.0.203.bl.example=127.0.0.2", "A C"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fakeDNS{names: map[string]string{}}
			for entry := range strings.SplitSeq(c.dns, "; ") {
				name, value, _ := strings.Cut(entry, "=")
				f.names[name] = value
			}
			c.lines = strings.Replace(c.lines, "%", "127.0.0.99", 1)
			if got := strings.Join(hitsWith(t, c.lines, f), " "); got != c.want {
				t.Errorf("%q hit, want %q; asked %q", got, c.want, f.asked)
			}
		})
	}
}

// TestNetworkRulesAskOnce: what several rules ask is asked once; who is not to be asked is not.
func TestNetworkRulesAskOnce(t *testing.T) {
	f := &fakeDNS{}
	hitsWith(t, "header A eval:check_rbl('s', 'bl.example')\nheader B eval:check_rbl('s', 'bl.example', '127.0.0.3')\nscore A 1 0 1 1\n"+
		"header C eval:check_rbl('t', 'off.example')\nscore C 1 0 1 0\n", f)
	slices.Sort(f.asked)
	if got := strings.Join(f.asked, " "); got != "7.113.0.203.bl.example 8.113.0.203.bl.example" {
		t.Errorf("asked %s", got)
	}
	if got := hitsWith(t, "header A eval:check_rbl('s', 'bl.example')", nil); got != nil {
		t.Errorf("%q hit without a DNS", got)
	}
}

// TestNetworkRulesEnd: silence costs the budget and no more, and is no hit.
func TestNetworkRulesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		got := hitsWith(t, "header A eval:check_rbl('s', 'bl.example')\nheader S Subject =~ /x/\nmeta M !A && S",
			&fakeDNS{names: map[string]string{"7.113.0.203.bl.example": "SILENT"}})
		if strings.Join(got, " ") != "S M" {
			t.Errorf("%q hit", got)
		}
		if took := time.Since(began); took != networkTime {
			t.Errorf("took %v", took)
		}
	})
}

func TestNetworkLint(t *testing.T) {
	for line, want := range map[string]string{
		"header A eval:check_rbl('s')":                               "takes 2 arguments",
		"header A eval:check_rbl('s', 'z', '(')":                     "",
		"header A eval:check_rbl_headers('s', 'z')":                  "no function check_rbl_headers",
		"body A eval:check_uridnsbl('A')":                            "no line urirhssub",
		"urirhssub A z A\nbody A eval:check_uridnsbl('A')":           "takes a zone",
		"urirhssub A z NS 2\nbody A eval:check_uridnsbl('A')":        "takes A or TXT",
		"uridnsbl A z A\nbody A eval:check_uridnsbl('A')":            "name servers",
		"askdns A _NOSUCH_.z A /x/":                                  "tag _NOSUCH_",
		"askdns A _AUTHORDOMAIN_.z SRV /x/":                          "type SRV",
		"askdns A _AUTHORDOMAIN_._DKIMDOMAIN_.z A /x/":               "more than one tag",
		"urirhssub A z A 1.2.3.4-x\nbody A eval:check_uridnsbl('A')": "neither a number nor an address",
		"header A eval:check_rbl_sub('s')":                           "takes a set",
	} {
		_, problems, err := Load([]Source{{Name: "t.cf", Octets: []byte(line)}}, Options{Network: true})
		if err != nil {
			t.Fatal(err)
		}
		if len(problems) != 1 || problems[0].Rule != "A" || !strings.Contains(problems[0].What, want) {
			t.Errorf("%q: %v, want %s", line, problems, want)
		}
	}
}

// TestQuestionsAreDealt: where more would be asked than may be, each list is asked about the link that matters most, and the
// look-ups of hosts count.
func TestQuestionsAreDealt(t *testing.T) {
	var lines, links strings.Builder
	for i := range 12 {
		fmt.Fprintf(&lines, "urirhsbl L%d l%d.example. A\nbody L%d eval:check_uridnsbl('L%d')\n", i, i, i, i)
	}
	lines.WriteString("uridnsbl H h.example. A\ntflags H a net\nbody H eval:check_uridnsbl('H')\n")
	for i := range 300 { // one owner's
		fmt.Fprintf(&links, "<a href=\"http://h%d.many.com/\">x</a>\n", i)
	}
	for i := range 60 {
		fmt.Fprintf(&links, "<a href=\"http://www.d%d.com/\">x</a>\n", i)
	}
	s, problems := load(t, lines.String(), Options{Network: true})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	dns := &fakeDNS{names: map[string]string{}}
	m := mailOf(t, "From: a@b.example\nContent-Type: text/html\n\n"+links.String())
	m.DNS = dns
	if _, err := s.Run(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if len(dns.asked) != maxQuestions {
		t.Errorf("%d look-ups, not %d", len(dns.asked), maxQuestions)
	}
	for _, want := range []string{"many.com.l0.example", "many.com.l11.example", "d8.com.l0.example", "d8.com.l11.example", "h0.many.com", "www.d8.com"} {
		if !slices.Contains(dns.asked, want) {
			t.Errorf("%s was not asked for", want)
		}
	}
}

// panicDNS is a resolver with a fault.
type panicDNS struct{ fakeDNS }

func (*panicDNS) LookupIPAddr(context.Context, string) ([]net.IPAddr, error) { panic("a fault") }

// children counts the contexts below one that have not ended.
type children struct {
	context.Context
	n int
}

func (c *children) AfterFunc(func()) func() bool {
	c.n++
	return func() bool { c.n--; return true }
}

// TestAskingPanics: a rule that panics before the look-ups are awaited leaves none behind.
func TestAskingPanics(t *testing.T) {
	s, _ := load(t, "urirhsbl A u.example. A\nbody A eval:check_uridnsbl('A')\n", Options{Network: true})
	s.network = append(s.network, &Rule{Name: "BROKEN"})
	m := mailOf(t, asked)
	m.DNS = &fakeDNS{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	parent := &children{Context: ctx}
	if p := recovered(func() { _, _ = s.Run(parent, m) }); p == nil {
		t.Error("no panic")
	}
	if parent.n != 0 {
		t.Errorf("%d contexts are left", parent.n)
	}
}

// recovered gives what a function panics with.
func recovered(f func()) (p any) {
	defer func() { p = recover() }()
	f()
	return nil
}

// TestLookupPanics: a panic of a look-up is one of the run, and not of the program.
func TestLookupPanics(t *testing.T) {
	s, _ := load(t, "urirhsbl A u.example. A\nbody A eval:check_uridnsbl('A')\nuridnsbl B h.example. A\ntflags B a net\nbody B eval:check_uridnsbl('B')\n", Options{Network: true})
	m := mailOf(t, asked)
	m.DNS = &panicDNS{}
	if err, _ := recovered(func() { _, _ = s.Run(t.Context(), m) }).(error); err == nil || err.Error() != "a fault" {
		t.Errorf("panic %v", err)
	}
}
