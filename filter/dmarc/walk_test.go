package dmarc

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/dns"
)

// fakeDNS answers from lines of "name TEXT", "name SERVFAIL" and "name EXISTS" (with no record of any type). It notes
// the names of TXT records that were asked for.
type fakeDNS struct {
	lines map[string][]string
	asked []string
}

func newDNS(lines ...string) *fakeDNS {
	f := &fakeDNS{lines: map[string][]string{}}
	for _, l := range lines {
		name, text, _ := strings.Cut(l, " ")
		f.lines[name] = append(f.lines[name], text)
	}
	return f
}

func (f *fakeDNS) ask(name string) ([]string, error) {
	texts, ok := f.lines[strings.ToLower(name)]
	switch {
	case !ok:
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	case slices.Contains(texts, "SERVFAIL"):
		return nil, &net.DNSError{Err: "server failure", Name: name, IsTemporary: true}
	case slices.Contains(texts, "EXISTS"):
		return nil, &net.DNSError{Err: "no such record", Name: name, IsNotFound: true, UnwrapErr: dns.ErrNoData}
	}
	return texts, nil
}

func (f *fakeDNS) LookupTXT(_ context.Context, name string) ([]string, error) {
	f.asked = append(f.asked, name)
	return f.ask(name)
}

func (f *fakeDNS) LookupMX(_ context.Context, name string) ([]*net.MX, error) {
	_, err := f.ask(name)
	return nil, err
}

func (f *fakeDNS) LookupIPAddr(_ context.Context, name string) ([]net.IPAddr, error) {
	_, err := f.ask(name)
	return nil, err
}

func (f *fakeDNS) LookupAddr(_ context.Context, name string) ([]string, error) {
	_, err := f.ask(name)
	return nil, err
}

// TestWalk: the names that are asked about, with the RFC's own examples.
func TestWalk(t *testing.T) {
	for _, c := range []struct{ domain, want string }{
		{"com", "com"},
		{"example.com", "example.com com"},
		{"a.mail.example.com", "a.mail.example.com mail.example.com example.com com"}, // RFC 9989 4.10.2
		{"a.b.c.d.e.f.g.h.i.j.mail.example.com", // RFC 9989 4.10
			"a.b.c.d.e.f.g.h.i.j.mail.example.com g.h.i.j.mail.example.com h.i.j.mail.example.com i.j.mail.example.com " +
				"j.mail.example.com mail.example.com example.com com"},
		{"mail.a.b.c.d.e.f.g.example.com", // RFC 9989 5.1.8
			"mail.a.b.c.d.e.f.g.example.com c.d.e.f.g.example.com d.e.f.g.example.com e.f.g.example.com f.g.example.com " +
				"g.example.com example.com com"},
		{"1.2.3.4.5.6.7", "1.2.3.4.5.6.7 2.3.4.5.6.7 3.4.5.6.7 4.5.6.7 5.6.7 6.7 7"},
		{"1.2.3.4.5.6.7.8", "1.2.3.4.5.6.7.8 2.3.4.5.6.7.8 3.4.5.6.7.8 4.5.6.7.8 5.6.7.8 6.7.8 7.8 8"},
		{"1.2.3.4.5.6.7.8.9", "1.2.3.4.5.6.7.8.9 3.4.5.6.7.8.9 4.5.6.7.8.9 5.6.7.8.9 6.7.8.9 7.8.9 8.9 9"},
	} {
		got := walk(c.domain)
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.domain, strings.Join(got, " "), c.want)
		}
		if len(got) > maxQueries {
			t.Errorf("%s: %d queries", c.domain, len(got))
		}
	}
}

func TestTree(t *testing.T) {
	for _, c := range []struct {
		name, domain string
		dns          []string
		organization string
		record       string // where the record stands that applies
		queries      int
	}{
		// The examples of RFC 9989 4.10.2.
		{
			"the fewest labels", "a.mail.example.com",
			[]string{"_dmarc.mail.example.com v=DMARC1; p=none", "_dmarc.example.com v=DMARC1; p=reject"},
			"example.com", "example.com", 4,
		},
		{"psd=n", "a.mail.example.com", []string{"_dmarc.mail.example.com v=DMARC1; p=none; psd=n", "_dmarc.example.com v=DMARC1; p=reject"}, "mail.example.com", "mail.example.com", 2},
		{"psd=y at com", "a.mail.example.com", []string{"_dmarc.com v=DMARC1; p=reject; psd=y"}, "example.com", "com", 4},
		{"psd=y at example.com", "mail.example.com", []string{"_dmarc.example.com v=DMARC1; p=reject; psd=y"}, "mail.example.com", "example.com", 2},
		// RFC 9989 5.1.8: the record at the zone cut is never found.
		{
			"a zone cut too low", "mail.a.b.c.d.e.f.g.example.com",
			[]string{"_dmarc.b.c.d.e.f.g.example.com v=DMARC1; p=reject; psd=n", "_dmarc.example.com v=DMARC1; p=none"},
			"example.com", "example.com", 8,
		},
		// RFC 9989 B.1.2 and the like: an organization below a PSD that has a record.
		{"below a PSD with a record", "mail.example.gov", []string{"_dmarc.example.gov v=DMARC1; p=none", "_dmarc.gov v=DMARC1; p=reject; psd=y"}, "example.gov", "example.gov", 3},
		{"own record, organization above", "mail.example.com", []string{"_dmarc.mail.example.com v=DMARC1; p=none", "_dmarc.example.com v=DMARC1; p=reject"}, "example.com", "mail.example.com", 3},
		{"own record below a PSD", "a.b.gov", []string{"_dmarc.a.b.gov v=DMARC1; p=none", "_dmarc.gov v=DMARC1; p=reject; psd=y"}, "b.gov", "a.b.gov", 3},
		{"nothing", "a.example.com", nil, "a.example.com", "", 3},
		{"the PSD itself", "gov", []string{"_dmarc.gov v=DMARC1; p=reject; psd=y"}, "gov", "gov", 1},
		{"psd=y where the walk begins", "b.gov", []string{"_dmarc.b.gov v=DMARC1; p=reject; psd=y", "_dmarc.gov v=DMARC1; p=none"}, "b.gov", "b.gov", 1},
		{"a TLD without psd", "a.example.com", []string{"_dmarc.com v=DMARC1; p=none"}, "com", "com", 3},
		{"several records are none", "a.example.com", []string{"_dmarc.a.example.com v=DMARC1; p=reject", "_dmarc.a.example.com v=DMARC1; p=none", "_dmarc.example.com v=DMARC1; p=none"}, "example.com", "example.com", 3},
		{"others' records beside", "example.com", []string{"_dmarc.example.com v=spf1 -all", "_dmarc.example.com v=DMARC1; p=none"}, "example.com", "example.com", 2},
		{"long name below a PSD", "a.b.c.d.e.f.g.h.gov", []string{"_dmarc.gov v=DMARC1; p=reject; psd=y"}, "h.gov", "gov", 8},
		{"too long for a name", strings.Repeat("a.", 122) + "example", []string{"_dmarc.example v=DMARC1; p=none"}, "example", "example", 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newDNS(c.dns...)
			d := &discovery{dns: f}
			got, err := d.treeOf(t.Context(), c.domain)
			if err != nil || got.organization != c.organization || got.domain != c.record || (got.record != nil) != (c.record != "") {
				t.Errorf("got %+v, %v; want the organization %s and the record of %q", got, err, c.organization, c.record)
			}
			if len(f.asked) != c.queries {
				t.Errorf("%d queries, want %d: %s", len(f.asked), c.queries, f.asked)
			}
		})
	}
}

func TestTreeWithoutAnswer(t *testing.T) {
	for _, name := range []string{"_dmarc.a.example.com", "_dmarc.example.com", "_dmarc.com"} {
		d := &discovery{dns: newDNS(name + " SERVFAIL")}
		if _, err := d.treeOf(t.Context(), "a.example.com"); !errors.Is(err, errTemporary) {
			t.Errorf("%s: %v", name, err)
		}
	}
	d := &discovery{dns: newDNS("_dmarc.a.example.com v=DMARC1; p=none; psd=n", "_dmarc.com SERVFAIL")}
	if _, err := d.treeOf(t.Context(), "a.example.com"); err != nil {
		t.Errorf("the walk went on behind psd=n: %v", err)
	}
}
